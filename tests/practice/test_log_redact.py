"""What is planted in any text of an answer is never in the bytes of the log; what is no secret stays."""

import re
import string
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.compare.arms import Answer
from labkit.data import load_pairs, load_questions
from labkit.practice.log_redact import redact
from labkit.practice.log_store import Log
from labkit.rag.chunk import Chunk
from labkit.rag.retrieve import Hit

ALNUM = string.ascii_letters + string.digits
numbers = st.builds(
    lambda digits, seps: "".join(d + s for d, s in zip(digits, seps, strict=False)) + digits[-1],
    st.text(string.digits, min_size=8, max_size=19),
    st.lists(st.sampled_from(["", "", " ", "-", ".", "/", ") "]), min_size=18, max_size=18),
)
ibans = st.from_regex(r"[A-Z]{2}[0-9]{2}( [A-Z0-9]{4}){3,7}", fullmatch=True)
mixed = st.text(ALNUM, min_size=16, max_size=60).filter(lambda t: re.search("[0-9]", t) and re.search("[A-Za-z]", t))
known = st.builds("{}{}".format, st.sampled_from(["sk-", "ghp_", "AKIA", "hf_", "eyJ"]), st.text(ALNUM, min_size=12))
assigned = st.builds("{}".format, st.text(string.ascii_letters + string.punctuation, min_size=6)).filter(str.isascii)
secrets = st.one_of(st.emails(), numbers, ibans, mixed, known)
around = st.sampled_from(["{}", "Call {} now.", "<{}>", "({})", "mailto:{}", "is it\n{}?", "“{}”", "id={};"])


def written(text: str) -> bytes:
    """Every byte on the disk once an answer was kept that holds the text wherever it can."""
    chunk = Chunk(f"{text}#1", text, text, text, 0, len(text))
    with TemporaryDirectory() as place:
        with Log(Path(place) / "log.sqlite") as log:
            log.keep([Answer(text, text, (Hit(chunk, 0.5, 1),), 3, 2, 0.1, 0.2)], text, text)
            during = [path.read_bytes() for path in Path(place).iterdir()]
        return b"".join([*during, *(path.read_bytes() for path in Path(place).iterdir())])


@settings(max_examples=60, deadline=None)
@given(secrets, around)
def test_what_is_planted_is_never_in_the_bytes_of_the_log(secret, form):
    held = written(form.format(secret))
    assert secret.encode() not in held
    assert b"[e-mail]" in held or b"[key]" in held or b"[number]" in held


@settings(max_examples=50, deadline=None)
@given(assigned, st.sampled_from(["password: {}", "my api key = {}", "the token is {}", "Secret={}"]))
def test_what_a_password_is_said_to_be_is_taken_out(secret, form):
    assert secret not in redact(form.format(secret)).replace("[key]", "").replace("[e-mail]", "")


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_redacting_twice_is_redacting_once(text):
    assert redact(redact(text)) == redact(text)


def test_a_private_key_goes_whole():
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nab12\n-----END RSA PRIVATE KEY-----"
    assert redact(f"see {pem} there") == "see [key] there"


def test_no_question_answer_or_source_of_the_course_is_changed():
    for item in [*load_questions(), *load_pairs()]:
        for text in (item.question, item.answer, *(f"{fact.document}#12" for fact in item.evidence)):
            assert redact(text) == text


@pytest.mark.parametrize("said", ["Ann Smith, born on 4 May 1981", "ann at example dot org", "my PIN was 4711"])
def test_what_has_no_form_of_its_own_stays_as_the_docstring_says(said):
    assert redact(said) == said


def test_a_long_text_without_a_space_is_read_in_no_time():
    assert (
        len(redact("a" * 200_000)) and len(redact("1a-" * 70_000)) and len(redact("-----BEGIN PRIVATE KEY-----" * 5000))
    )
