"""Take out what a log must not hold: e-mail addresses, keys, long numbers. Introduced in 20_log."""

import re

_NUMBERS = (
    re.compile(r"\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,4})?\b", re.I),  # IBAN (ISO 13616)
    re.compile(r"[+(]*\d(?:[\s()./\u2010-\u2015-]{0,2}\d){6,}"),  # telephone, card, account
)
_KEYS = (
    re.compile(r"-----BEGIN[ A-Z]*PRIVATE KEY-----.*?(?:-----END[ A-Z]*PRIVATE KEY-----|\Z)", re.S),
    re.compile(r"\b(?:password|passwd|passphrase|pwd|secret|token|api[ _-]?key)(?:\s*[:=]\s*|\s+is\s+)\S+", re.I),
    re.compile(r"\b(?:(?:sk|pk|rk|gh[a-z]|github_pat|glpat|hf|xox[a-z])[-_]|AKIA|ASIA|AIza|eyJ)[\w+/=~.-]{8,}"),
)
_RUN = re.compile(r"[\w+/=~.-]{16,}")
_PIECE = re.compile(r"[A-Za-z0-9+=]{16,}")


def redact(text: str) -> str:
    """The text with [e-mail], [key] and [number] in place of what looks like one.

    An e-mail address is a word with an @ inside; a key begins as known ones do, follows "password:" and its like, or
    is 16 or more letters and digits, mixed; a number has seven digits or more, spaced or not, or the form of an IBAN.
    It sees form, not meaning: names, addresses, birthdays, short PINs, a password said in passing, digits spelt out
    and "ann at example dot org" stay. Introduced in 20_log.

    >>> redact("Mail ann@example.org or call +49 30 1234567.")
    'Mail [e-mail] or call [number].'
    """
    text = re.sub(r"\S+", lambda word: "[e-mail]" if re.search(".@.", word[0]) else word[0], text)
    for pattern in _KEYS:
        text = pattern.sub("[key]", text)
    text = _RUN.sub(lambda run: "[key]" if any(map(_mixed, _PIECE.findall(run[0]))) else run[0], text)
    for pattern in _NUMBERS:
        text = pattern.sub("[number]", text)
    return text


def _mixed(piece: str) -> bool:
    return bool(re.search(r"\d", piece) and re.search("[A-Za-z]", piece))
