"""What is written can be read again, and no row of a file is lost without a word."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import LabError
from labkit.tune.pairs import Example, read_examples, write_examples
from labkit.tune.prepare_csv import read_csv, write_csv

ASK = {"role": "user", "content": "How heavy?"}
SAY = {"role": "assistant", "content": 'It "weighs", in all,\n9 kg. é'}
SYSTEM = {"role": "system", "content": "Be brief."}
texts = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
tags = st.dictionaries(st.sampled_from(["entity", "wording, asked"]), texts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@given(
    st.lists(st.builds(lambda q, a, t: Example([ASK | {"content": q}, SAY | {"content": a}], t), texts, texts, tags))
)
def test_any_text_comes_back_from_json_lines_and_from_csv(folder, examples):
    write_examples(folder / "a.jsonl", examples)
    assert read_examples(folder / "a.jsonl") == (examples, [])
    write_csv(folder / "a.csv", examples)
    assert read_csv(folder / "a.csv") == (examples, [])


lines = st.one_of(
    st.sampled_from([json.dumps({"messages": [ASK, SAY]}), json.dumps({"messages": [ASK]}), "{", "null", " "]).map(
        str.encode
    ),
    st.binary(max_size=20).filter(lambda line: b"\n" not in line),
)


@given(st.lists(lines))
def test_every_line_that_is_not_blank_is_good_or_told_as_bad(folder, raw):
    (folder / "b.jsonl").write_bytes(b"\n".join(raw))
    good, bad = read_examples(folder / "b.jsonl")
    decoded = (folder / "b.jsonl").read_bytes().decode("utf-8-sig", "surrogateescape")
    filled = [n for n, line in enumerate(decoded.split("\n"), start=1) if line.strip()]
    assert len(good) + len(bad) == len(filled) and {row.line for row in bad} <= set(filled)


def test_tags_stand_beside_the_messages_in_json_lines(tmp_path):
    example = Example([SYSTEM, ASK, SAY], {"entity": ["A", "B"], "n": 3})
    write_examples(tmp_path / "x.jsonl", [example])
    assert json.loads((tmp_path / "x.jsonl").read_text("utf-8")) == {"messages": example.messages, **example.tags}
    assert read_examples(tmp_path / "x.jsonl")[0] == [example]


def test_bytes_and_fields_that_cannot_be_learned_are_told_by_line(tmp_path):
    path, call = tmp_path / "x.jsonl", {**SAY, "tool_calls": []}
    rows = [{"messages": [ASK, SAY]}, {"messages": [ASK, call]}, {"messages": [ASK, SAY | {"content": "\ud800"}]}]
    path.write_bytes("\n".join(map(json.dumps, rows)).encode() + b'\n{"messages": "\xff"}\n{"a": NaN}')
    good, bad = read_examples(path)
    assert len(good) == 1 and [row.line for row in bad] == [2, 3, 4, 5]
    assert "tool_calls" in bad[0].reason and "message 2 is not UTF-8" in bad[1].reason
    path.write_bytes(json.dumps(rows[0]).encode().replace(b"heavy", b"h\xffavy"))
    assert "message 1 is not UTF-8" in read_examples(path)[1][0].reason


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    for wrong, said in [
        (Example([ASK]), "example 1: the last message"),
        (Example([ASK, SAY | {"content": "\ud800"}]), "not UTF-8"),
        (Example([ASK, SAY], {"messages": "x"}), "a tag is named messages"),
        (Example([ASK, SAY], {"at": object()}), "not JSON"),
    ]:
        with pytest.raises(LabError, match=said):
            write_examples(tmp_path / "x.jsonl", [Example([ASK, SAY]), wrong])
    assert not (tmp_path / "x.jsonl").exists()


def test_a_row_of_csv_holds_one_turn_and_tags_of_text(tmp_path):
    for wrong, said in [
        (Example([ASK, SAY, ASK, SAY]), "example 0: a row of CSV cannot hold the turns"),
        (Example([ASK, SAY], {"n": 3}), "the tag 'n' is not text"),
        (Example([ASK, SAY], {"prompt": "x"}), "named like a column"),
    ]:
        with pytest.raises(LabError, match=said):
            write_csv(tmp_path / "x.csv", [wrong])


def test_bad_rows_of_csv_are_told_by_their_first_line(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(
        b"\xef\xbb\xbfquestion,answer,entity\r\n"  # as a spreadsheet writes it
        b'Why?,"two\r\nlines",\r\n'
        b"Who?, ,x\r\n"
        b"a,b\r\n"
        b"\r\n"
        b"What?,\xe9,x\r\n"
        b'Q?,"never closed,x\r\n'
        b"When?,Now.,y\r\n"
    )
    good, bad = read_csv(path, prompt="question", response="answer")
    assert [example.messages[1]["content"] for example in good] == ["two\r\nlines", "Now."]
    assert good[0].tags == {} and good[1].tags == {"entity": "y"}
    assert [(row.line, row.reason) for row in bad[:3]] == [
        (4, "no answer"),
        (5, "2 cells where the header has 3"),
        (7, "message 2 is not UTF-8 text"),
    ]
    assert bad[3].line == 8 and bad[3].reason.startswith("not CSV") and len(bad) == 4


def test_a_table_without_its_columns_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("question,answer\nWhy?,So.\n")
    with pytest.raises(LabError, match=r"\['question', 'answer'\]: give prompt and response"):
        read_csv(tmp_path / "x.csv")
    for text in ("", "prompt,response,prompt\n"):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(LabError, match="each name once"):
            read_csv(tmp_path / "x.csv")
    with pytest.raises(LabError, match="cannot read"):
        read_csv(tmp_path / "none.csv")


def test_the_system_message_is_a_column_of_its_own(tmp_path):
    examples = [Example([SYSTEM, ASK, SAY], {"entity": "A"}), Example([ASK, SAY])]
    write_csv(tmp_path / "x.csv", examples)
    assert (tmp_path / "x.csv").read_text("utf-8").startswith('"system","prompt","response","entity"\n"Be brief."')
    assert read_csv(tmp_path / "x.csv") == (examples, [])
