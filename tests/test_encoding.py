"""Bytes become the text that was written, or the note says what is unsure or lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.encoding import decode
from labkit.errors import Unreadable

RUSSIAN = "Насос весит двенадцать килограммов. "


@pytest.mark.parametrize(
    "text, encoding",
    [
        ("Umowa: właściciel Żółkiewski, czynsz płatny.", "cp1250"),
        ("Smlouva: nájemce Dvořák, záruční doba.", "cp1250"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy.", "iso8859_2"),
        ("Kiracı Işık Yılmaz, süre üç yıl, beş bin.", "cp1254"),
        ("Az őszi időjárás hűvös volt, a fűtés működött.", "cp1250"),
        ("La société a été créée à Orléans, où elle a dépassé.", "cp1252"),
        ("Größe: 5 m², Preis: 10 €, “schön” – § 5", "cp1252"),
        ("Größe café", "mac-roman"),
        (("2024-01-02 INFO service started on port 8080\n" * 2 + RUSSIAN + "\n") * 3, "cp1251"),
        ("Η αντλία ζυγίζει δώδεκα κιλά και είναι βαριά.", "cp1253"),
        ("设备名称: pump KX-100, weight 12 kg; 由北厅制造", "gbk"),
        ("名前,年齢\n佐藤太郎,30\n髙橋淳,35", "cp932"),
        ("The pump weighs 12 kg.", "utf-16-le"),
        ("The pump weighs 12 kg.", "utf-16-be"),
        ("The pump", "utf-32-be"),
        ("ポンプの重さは41キログラムです。", "iso2022_jp"),
        ("펌프의 무게는 41킬로그램입니다.", "iso2022_kr"),
    ],
)
def test_code_pages_are_told_apart(text, encoding):
    assert decode(text.encode(encoding)) == (text, [])


@pytest.mark.parametrize(
    "text, encoding, note",
    [
        ("Device RX-2040, port 8080: " + RUSSIAN[:12], "cp1251", "unsure, read as cp1251"),
        ("Größe 5 µm\ncafé\n", "utf-8", "not UTF-8: 1, the first in line 3"),
        ("Power failed here", "utf-8", "zero bytes left out: 2"),
    ],
)
def test_what_is_unsure_or_lost_in_a_text_is_noted(text, encoding, note):
    bad = {"utf-8": b"\xff tail", "cp1251": b""}[encoding] if "zero" not in note else b"\0\0, and goes on"
    found, notes = decode(text.encode(encoding) + bad)
    assert found.startswith(text) and len(notes) == 1 and note in notes[0] and "; save it again" in notes[0]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff")))
def test_utf_8_is_always_read_as_it_is(text):
    assert decode(text.encode()) == (text, [])


@pytest.mark.parametrize("data", [bytes(range(1, 256)) * 4, b"\xff\xd8\xff\xe0" + bytes(range(1, 32)) * 90])
def test_binary_data_is_refused(data):
    with pytest.raises(Unreadable, match="binary"):
        decode(data)
