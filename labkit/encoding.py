"""Bytes become text: by their mark, their form, what they declare, or the code page that fits their letters."""

from __future__ import annotations

import re

from labkit.errors import Unreadable

_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # fmt: skip
_SAMPLE = 100_000
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_LATIN = "cp1252 cp1250 cp1254 iso8859_2 cp1257 mac_roman cp850".split()  # in case of a tie the first
_OTHERS = "cp1251 koi8_r cp866 cp1253 cp1255 cp1256 cp932 euc_jp gb18030 big5 cp949".split()
# Letters beyond ASCII of German, French, Spanish, Portuguese, Italian, Nordic, Icelandic, Polish, Czech, Slovak, Hungarian,
# Romanian, Slovene and Croatian, Turkish, Lithuanian, Latvian, Estonian; and signs that stand between words in any of them.
_ALPHABETS = (
    "äöüßé àâæçéèêëîïôœùûüÿ áéíñóúüç ãáàâçéêíõóôúü àèéìíîòóùú åäöæøé áðéíóúýþæö ąćęłńóśźż áčďéěíňóřšťúůýž "
    "áäčďéíĺľňóôŕšťúýž áéíóöőúüű ăâîşţ čćđšž çğıiöşüâî ąčęėįšųūž āčēģīķļņšūž äõöüšž"
).split()
_SIGNS = set("„“”‘’‚«»‹›–—…€£§°±²³µ·•º©®™¿¡½×\u00a0\u00ad")
# What a declared encoding means in practice, as browsers take it (encoding.spec.whatwg.org); a page in UTF-16 declares nothing
# that can be read, so this declaration is wrong.
_MEANT = {
    "iso-8859-1": "cp1252", "iso-8859-9": "cp1254", "iso-8859-8-i": "iso8859_8", "gb2312": "gb18030", "gbk": "gb18030",
    "x-gbk": "gb18030", "shift_jis": "cp932", "x-sjis": "cp932", "x-euc-jp": "euc_jp", "euc-kr": "cp949", "windows-874": "cp874",
    "tis-620": "cp874", "iso-8859-11": "cp874", "x-mac-cyrillic": "mac_cyrillic", "x-cp1251": "cp1251", "utf-16": "",
}  # fmt: skip
DECLARED = re.compile(rb"""<meta[^>]{1,300}charset\s*=\s*["']?([\w-]+)|^\s*<\?xml[^>]{1,300}encoding\s*=\s*["']([\w-]+)""", re.I)  # fmt: skip


def decode(data: bytes, declared: str = "", errors: str = "replace") -> tuple[str, list[str]]:
    """Text and notes: by its mark, as UTF-16 or UTF-8, as `declared`, else in the code page that fits its letters.

    A few bad bytes in UTF-8 are replaced, or treated as `errors` says. Raises `Unreadable` for binary data.

    >>> decode("Größe".encode("cp1252"))
    ('Größe', [])
    """
    notes: list[str] = []
    if not data.rstrip(b"\0").count(0):
        data = data.rstrip(b"\0")
    marked = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    encoding = marked or _with_escapes(data) or _without_mark(data)
    if encoding is None and b"\0" in data:
        notes.append(f"zero bytes left out: {data.count(0)}; save it again")
        data = data.replace(b"\0", b"")
    if encoding is None:
        declared = _MEANT.get(declared.lower(), declared)
        encoding, unsure = (declared, False) if _fits(data, declared) else _code_page(data)
        notes += [f"its encoding is unsure, read as {encoding}; save it again as UTF-8"] if unsure else []
    text = data.decode(encoding, errors).removeprefix("\ufeff")
    if encoding == "utf-8" and (bad := text.count("\ufffd") - data.count("\ufffd".encode())):
        line = text[: text.index("\ufffd")].count("\n") + 1
        notes.append(f"bytes that are not UTF-8: {bad}, the first in line {line}, replaced; save it again as UTF-8")
    if len(_CONTROL.findall(text[:_SAMPLE])) > len(text[:_SAMPLE]) / 100:
        raise Unreadable("broken", "binary data under the name of a text file; leave it out")
    return text, notes


def _with_escapes(data: bytes) -> str | None:
    """The encoding of Japanese or Korean mail, in seven bits: its escapes would pass for UTF-8."""
    names = ("iso2022_jp_ext", "iso2022_kr") if re.search(rb"\x1b\$[@B(]|\x1b\$\)C", data) else ()
    return next((name for name in names if _fits(data, name)), None)


def _without_mark(data: bytes) -> str | None:
    """UTF-8 if it is, but for a few bytes; UTF-16 or UTF-32 by where zero bytes stand; None for anything else."""
    if b"\0" in data:
        rest = data.replace(b"\0", b"")
        if len(rest) > 0.75 * len(data) and _fits(rest, "utf-8") and not _CONTROL.search(rest.decode()):
            return None
        little = data[1::2].count(0) >= data[::2].count(0)
        names = ("utf-32-le", "utf-32-be", "utf-16-le" if little else "utf-16-be")
        return next((name for name in names if _fits(data, name) and not _CONTROL.search(data.decode(name))), None)
    text = data.decode("utf-8", "replace")
    # By chance two bytes of a code page look like one letter of UTF-8, but then many more do not.
    letters, bad = sum(char > "\x7f" for char in text) if not text.isascii() else 0, text.count("\ufffd")
    return "utf-8" if letters >= 3 * bad else None


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
        return True
    except (UnicodeError, LookupError):
        return False


def _code_page(data: bytes) -> tuple[str, bool]:
    """The code page in which most letters are those of one language, and whether another is as likely."""
    from charset_normalizer import from_bytes

    # Only lines with such letters tell: English around them would drown a few words of Russian.
    sample = b"\n".join(line for line in data[:_SAMPLE].splitlines() if not line.isascii())
    matches = list(from_bytes(sample, cp_isolation=[*_LATIN, *_OTHERS]))
    if not matches or matches[0].encoding in _LATIN:
        scores = {name: _likeness(sample.decode(name)) for name in _LATIN if _fits(sample, name)}
        best = max(scores, key=scores.__getitem__, default="cp1252")
        rivals = {sample.decode(name) for name, score in scores.items() if score >= scores[best]}
        return best, scores.get(best, 0) < 0.95 or len(rivals) > 1
    best = matches[0]
    near = [m for m in matches[1:] if m.chaos < best.chaos + 0.02 and m.coherence > best.coherence - 0.1]
    return best.encoding, bool(near)


def _likeness(text: str) -> float:
    """The share of the characters beyond ASCII that one language would write where they stand."""
    signs, letters = 0, []
    for before, char, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if char > "\x7f":
            if char in _SIGNS and (char in "’\u00ad" or not (before.isalpha() and after.isalpha())):
                signs += 1
            else:
                letters.append("?" if char.isupper() and before.islower() else char.lower())
    known = max(sum(letter in alphabet for letter in letters) for alphabet in _ALPHABETS)
    return (signs + known) / max(1, signs + len(letters))
