"""What is the same to a reader is the same text, and what differs stays different: in values, words and questions."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.metrics import contains, overlap
from labkit.text import plain, words
from labkit.tune.leaks import duplicates

SIGNS = "0123456789.,' -–−\u00a0\u202f\u00ad\u200b\n%$€abAßée\u0301½²—™京のกา٣٫ﬁİ"
TEXTS = st.text(st.one_of(st.sampled_from(SIGNS), st.characters(codec="utf-8")), max_size=14)
LETTERS = st.text(st.characters(categories=["Ll", "Lu"], max_codepoint=0x24F), min_size=1, max_size=8)


@given(TEXTS)
def test_plain_text_is_plain_already(text):
    assert plain(plain(text)) == plain(text)


@given(TEXTS)
def test_normal_forms_and_case_say_the_same(text):
    forms = {plain(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert len(forms) == 1
    assert words(text) == words(plain(text))


@given(LETTERS, LETTERS, st.sampled_from(["\u00ad", "\u200b", "\u2060", "\u00ad\n", "-\n"]))
def test_a_word_is_one_however_it_is_broken(one, other, mark):
    whole = f"x{one}{other.lower()}"
    assert words(f"a x{one}{mark}{other.lower()} b") == words(f"a {whole} b")


@given(st.integers(1000, 10**9), st.integers(0, 99), st.sampled_from([",", "'", "’", "\u00a0", "\u202f"]))
def test_a_number_is_one_however_its_thousands_are_marked(whole, part, mark):
    apart = f"{whole:,}".replace(",", mark)
    assert words(apart) == [str(whole)] and contains(f"It has {apart} parts", str(whole))
    assert (
        plain(f"{apart}.{part:02d}") == f"{whole}.{part:02d}" == plain(f"{whole:,}".replace(",", ".") + f",{part:02d}")
    )
    assert contains(f"es sind {whole:,} Teile".replace(",", " "), f"{whole:,}")


@given(*[st.decimals(-999, 999, places=1) for _ in "ab"])
def test_numbers_that_differ_are_not_the_same(one, other):
    texts = [str(value).replace("-", "−") for value in (one, other)]
    assert contains(f"It is {texts[0]} now", texts[1]) == (texts[0] == texts[1]) == (overlap(*map(words, texts)) == 1)
    asked = [f"What is the pump at {text} degrees?" for text in texts]
    assert (duplicates(asked) != []) == (texts[0] == texts[1])


@pytest.mark.parametrize(
    "text, same",
    [
        ("ﬁne Ｔｏｋｙｏ", "fine tokyo"),
        ("“Straße” – ‘Ａ’", "\"STRASSE\" - 'a'"),
        ("ﺍﻟﻀﻤﺎﻥ", "الضمان"),
        ("٤١٫٥", "41,5"),
        ("12,34,567", "1234567"),
        ("Berg-\nHolm, KX-\n204", "Berg-Holm, KX-204"),
        ("重量为 41\n公斤", "重量为41公斤"),
        ("5½ kg", "5 1/2 kg"),
        ("15 per cent", "15 %"),
    ],
)
def test_written_otherwise_it_is_the_same(text, same):
    assert plain(text) == plain(same)


@pytest.mark.parametrize("text, other", [("1.2", "12"), ("12.500", "12.5"), ("10⁶", "106"), ("5½", "51/2"), ("ä", "a")])
def test_what_means_something_else_stays_apart(text, other):
    assert plain(text) != plain(other)


def test_words_are_whole_numbers_letters_of_any_script_and_pairs_where_no_space_parts_them():
    assert words("The KX-200's Größe: −12.5 км_h") == ["the", "kx", "200", "s", "grösse", "-12.5", "км", "h"]
    assert words("北京市 3号, 08.05.2031") == ["北京", "京市", "3", "号", "08", "05", "2031"]
    assert words("北京市", 1) == ["北", "京", "市"] and words("हिन्दी") == ["हिन्दी"]
