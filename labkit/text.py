"""One way to read text: whatever compares a value, a word or a question takes it as `plain` and `words` give it."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex

_CLOSE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"
UNSPACED = rf"[{_CLOSE}\p{{Hangul}}]"
"""Letters of scripts with no space between words, or, as in Korean, with none between a word and its endings."""
SPACED = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--{UNSPACED}]"
"""All other letters, marks and digits: of words that spaces and punctuation divide."""

_SIGNS = str.maketrans(
    dict.fromkeys("‘’‚‛`´ʹʼ′", "'") | dict.fromkeys("“”„‟«»″〝〞", '"') | dict.fromkeys("‐‑‒–−﹣－", "-")
    | dict.fromkeys("—―", " - ") | dict.fromkeys("™℠", "") | {"٫": ".", "٬": ",", "٪": "%", "⁄": "/"}
)  # fmt: skip
# A word that a line end divides; a hyphen before a capital or a digit belongs to the word.
_BROKEN = regex.compile(r"\u00ad\s*\n\s*|(?<=\p{L})-[ \t]*\r?\n\s*(?=\p{Ll})|(?<=[\p{L}\p{N}]-)[ \t]*\r?\n\s*(?=\S)")
# Soft hyphens, zero-width and direction marks; Arabic lengthening and vowel signs, which most writers leave out.
_UNSEEN = regex.compile(r"[\p{Cf}\u034f\u0640\u064b-\u0652\u0670\ufe00-\ufe0f]")
_RAISED = regex.compile(r"(?<=\d)[⁰¹²³⁴-⁹]+|(?<=\d)(?=[¼-¾⅐-⅞])")  # 10⁶ is not 106, 5½ is not 51/2
_DIGIT = regex.compile(r"[\d--[0-9]]", regex.V1)
_NUMBER = regex.compile(
    r"(?<![\d.,])(?:\d{1,3}(?:[\u00a0\u2007\u2009\u202f]\d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,']\d+)+)"
)
_THOUSANDS = regex.compile(r"[1-9]\d{0,2}(?:\D\d{3})+|[1-9]\d?(?:,\d\d)+,\d{3}")
_WORD = regex.compile(
    r"(?=[-\d])(?:(?:(?<![\p{L}\p{N}])-|(?<![\d.]))\d+\.\d+(?!\.?\d)|(?<![\p{L}\p{N}])-\d+)|[\p{L}\p{M}\p{N}]+"
)


@lru_cache(maxsize=1024)
def plain(text: str) -> str:
    """One spelling for what is the same to a reader: the form in which texts are compared.

    Unicode's compatible, composed form without case (ligatures, full width, accents); no soft hyphens and other unseen
    characters; words whole that a line end divides; one kind of quotes, dashes, digits and spaces; numbers without marks
    of thousands, with a decimal point, percent and currency beside them. A mark that may be either, as in 12.500, stays.

    >>> plain("Crème ‘Brûlée’ – 1.240,50 %"), plain("sup\\u00adply ad-\\ndress")
    ("crème 'brûlée' - 1240.50%", 'supply address')
    """
    text = _BROKEN.sub("", text)
    if not text.isascii():
        text = _RAISED.sub(lambda match: "^" + match[0] if match[0] else " ", _UNSEEN.sub("", text))
        text = _DIGIT.sub(lambda match: str(unicodedata.digit(match[0], match[0])), text).translate(_SIGNS)
        text = _NUMBER.sub(_number, text)  # while a thin space is still one
        for _ in range(2):  # as the Unicode Standard, section 3.13, compares without case what is compatible
            text = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold()).translate(_SIGNS)
            text = _UNSEEN.sub("", text)
    text = " ".join(text.casefold().split())
    if not text.isascii():
        text = regex.sub(rf" (?=[{_CLOSE}])|(?<=[{_CLOSE}]) ", "", text)  # of a line end, or beside a number
    text = _NUMBER.sub(_number, text)
    return regex.sub(r"(?<=\d) ?(?:%|per ?cent\b)", "%", regex.sub(r"([$€£]) (?=\d)", r"\1", text))


def _number(match: regex.Match[str]) -> str:
    """A number without marks of thousands, its decimal mark a point; as it is where its marks say neither."""
    whole = match[0]
    marks = regex.findall(r"\D", whole)
    if len(set(marks)) > 1 and marks.count(marks[-1]) == 1 and marks[-1] in ".,":
        head, _, tail = whole.rpartition(marks[-1])
        return "".join(regex.findall(r"\d", head)) + "." + tail if _THOUSANDS.fullmatch(head) else whole
    if _THOUSANDS.fullmatch(whole) and len(set(marks)) == 1 and marks != ["."]:
        return "".join(regex.findall(r"\d", whole))
    return whole.replace(",", ".") if marks == [","] else whole


def words(text: str, grams: int = 2) -> list[str]:
    """The words of `plain` text, numbers whole and with their sign; of unspaced scripts the runs of `grams` characters.

    >>> words("The KX-200 weighs 12.5 kg"), words("北京市")
    (['the', 'kx', '200', 'weighs', '12.5', 'kg'], ['北京', '京市'])
    """
    found: list[str] = []
    for word in _WORD.findall(plain(text)):
        if word.isascii() or not regex.search(UNSPACED, word):
            found.append(word)
            continue
        for run in regex.findall(rf"{UNSPACED}+|{SPACED}+", word, regex.V1):
            ends = range(len(run) - grams + 1) if regex.match(UNSPACED, run) and len(run) > grams else ()
            found += [run[i : i + grams] for i in ends] or [run]
    return found
