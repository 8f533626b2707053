"""A file of questions is read whole, checked against the documents, and parted; what is wrong is said in one line."""

import json
import unicodedata
from dataclasses import replace

import pandas as pd
import pytest

from data.make.pocket import make_tokenizer
from labkit import LabError
from labkit.compare.training import holds, supporting
from labkit.data import data_folder
from labkit.practice.judge import is_free
from labkit.practice.own_data import open_own
from labkit.practice.questions import (
    LEAST,
    _named,
    _names,
    ask_for_question,
    check,
    gap,
    half_width,
    load,
    needed,
    parse,
    passages_of,
    propose,
    propose_into,
    read_rows,
)
from labkit.rag.chunk import Chunk
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Hit
from labkit.tune.leaks import leaks
from labkit.tune.prepare import Example, dataset
from labkit.tune.train import TrainSettings, train

COLOURS = ["red", "blue", "green", "white", "black", "yellow", "brown", "pink", "grey", "violet"]
THINGS = ["pump", "valve", "engine", "hammer", "lantern", "kettle", "ladder", "bicycle", "umbrella", "telescope"]
TEXTS = [f"The {thing} is {colour}. It has {n} bolts." for n, (thing, colour) in enumerate(zip(THINGS, COLOURS), 10)]  # noqa: B905
DOCUMENTS = [Document(f"shop/{t}.md", t, text, "markdown", "") for t, text in zip(THINGS, TEXTS, strict=True)]
ROWS = [{"question": f"Which colour has the {t}?", "answer": c} for t, c in zip(THINGS, COLOURS, strict=True)]
ROWS += [{"question": f"How many bolts hold a {t} together?", "answer": str(n)} for n, t in enumerate(THINGS, 10)]


def file_of(folder, rows, name="questions.csv"):
    pd.DataFrame(rows).to_csv(folder / name, index=False)
    return folder / name


def test_csv_json_lines_and_apassages_ofsheet_give_the_same_rows(tmp_path):
    rows = [{**row, "answer": "" if n == 3 else row["answer"]} for n, row in enumerate(ROWS)]
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps({**r, "answer": r["answer"] or None}) for r in rows))
    pd.DataFrame(rows).to_excel(tmp_path / "q.xlsx", index=False)
    from_csv = read_rows(file_of(tmp_path, rows))
    assert from_csv == read_rows(tmp_path / "q.xlsx")
    assert [r["answer"] for r in from_csv] == [r["answer"] for r in rows] and from_csv[3]["answer"] == ""
    lines = read_rows(tmp_path / "q.jsonl")
    assert [{**r, "row": ""} for r in lines] == [{**r, "row": ""} for r in from_csv]
    assert (lines[0]["row"], from_csv[0]["row"]) == ("1", "2")


def test_columns_may_be_capitalised_and_numbers_in_json_are_text(tmp_path):
    (tmp_path / "q.jsonl").write_text(
        '{"Question": "How many?", " Answer ": 12}\n{"Question": "When?", " Answer ": 1869}'
    )
    assert [row["answer"] for row in read_rows(tmp_path / "q.jsonl")] == ["12", "1869"]


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("q.csv", "question,gold\nWhy?,so\n", "lacks the column answer: it has question, gold; name the columns"),
        ("q.csv", "", "lacks the column question and answer"),
        ("q.csv", "question,answer\n", "holds no questions: write at least 16"),
        ("q.csv", "question,answer\nWhy?,so\n,then\n", "row 3 has no question"),
        ("q.jsonl", '{"question": "Why?", "answer": "so"}\nnot json\n', "cannot read q.jsonl"),
        (
            "q.csv",
            "question,answer,answer\nWhy?,so,thus\n",
            "has the column answer 2 times: keep one; several accepted answers",
        ),
        ("q.csv", "\1\2\3" * 99, "cannot read q.csv (broken: binary data"),
        ("q.xlsx", "no spreadsheet", "cannot read q.xlsx"),
        ("q.pdf", "", "q.pdf: name one that is there and ends in .csv, .tsv, .jsonl, .xlsx"),
    ],
)
def test_a_file_that_will_not_do_is_told_in_one_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(LabError, match=".") as caught:
        read_rows(tmp_path / name)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LabError, match="no file of questions at .*none.csv: name one that is there"):
        read_rows(tmp_path / "none.csv")


def numbered(rows):
    return [{"row": str(n), **row} for n, row in enumerate(rows, start=2)]


def test_an_answer_is_proved_by_the_documents_that_hold_it():
    items, notes = check(numbered(ROWS), DOCUMENTS)
    assert notes == [] and len(items) == 20
    assert (items[0].evidence[0].document, items[0].evidence[0].value) == ("shop/pump.md", "red")
    (also,) = check(numbered([{"question": "Which?", "answer": "bolts"}]), DOCUMENTS)[0]
    assert [also.evidence[0].document, *also.evidence[0].also] == [d.id for d in DOCUMENTS]


@pytest.mark.parametrize("name", ["pump", "pump.md", "shop/pump.md"])
def test_a_document_is_named_by_its_path_its_file_or_its_stem(name):
    (item,) = check(numbered([{"question": "Which?", "answer": "bolts", "document": name}]), DOCUMENTS)[0]
    assert (item.evidence[0].document, item.evidence[0].also) == ("shop/pump.md", ())


def test_what_cannot_be_judged_is_left_out_by_number_and_reason():
    odd = [
        {"question": "Which colour has the pump ?", "answer": "red"},
        {"question": "What does it weigh?", "answer": "12 tonnes"},
        {"question": "Is the valve loud?", "answer": "white", "document": "valve"},
    ]
    odd += [{"question": "Why is it long? " * 99, "answer": "red"}, {"fault": "not CSV: broken"}]
    odd += [{"question": "What is it that nobody wrote down?", "answer": " | "}]
    items, notes = check(numbered([*ROWS, *odd]), DOCUMENTS, lambda text: len(text) < 400)
    assert [item.id for item in items[20:]] == ["row 00023", "row 00024"] and all(map(is_free, items[20:]))
    assert items[21].evidence[0].document == "shop/valve.md" and not any(map(is_free, items[:20]))
    assert notes[:3] == [
        "left out: row 22, as nearly the same was asked before",
        "left out: row 25, longer than the model's context; shorten it",
        "left out: row 26, not CSV: broken",
    ]
    assert notes[3].startswith("left out: row 27, whose answer is only punctuation")
    assert "the answers of 2 rows word for word: 23, 24; what is said to them is judged" in notes[4]


def test_a_file_in_a_code_page_is_read_in_it_and_one_of_which_that_is_unsure_says_so(tmp_path):
    rows = [{**row, "question": f"Jakiego koloru są części, właścicielu: {row['question']}"} for row in ROWS]
    text = pd.DataFrame(rows).to_csv(index=False)
    (tmp_path / "q.csv").write_bytes(text.encode("cp1250"))
    found = load(tmp_path / "q.csv", DOCUMENTS)
    assert all("są części, właścicielu" in item.question for item in found.train) and len(found.notes) == 1
    (tmp_path / "q.csv").write_bytes(pd.DataFrame(ROWS).to_csv(index=False).replace("pump", "p\xd7mp").encode("cp1252"))
    assert any(note.startswith("q.csv: its encoding is unsure") for note in load(tmp_path / "q.csv", DOCUMENTS).notes)


def test_an_answer_in_a_sentence_is_proved_by_the_nearest_sentence():
    rows = [{"question": "Which colour has the pump?", "answer": "According to the list, its colour is a bright red."}]
    (item,) = check(numbered(rows), DOCUMENTS)[0]
    assert item.evidence[0].passage == "The pump is red." and item.gold.startswith("According")
    hit = Hit(Chunk("x", "shop/pump.md", "", TEXTS[0], 0, 9), 1.0, 1)
    assert holds(hit, item.evidence[0]) and supporting([hit], item) == [1]


@pytest.mark.parametrize("name", ["böhm.md", "C:\\docs\\shop\\böhm.md", "/srv/docs/shop/böhm.md", "shop\\böhm.md"])
def test_a_document_is_named_in_any_normal_form_and_by_a_path_of_another_machine(name):
    document = Document("shop/böhm.md", "", "It is red.", "markdown", "")
    row = {"question": "Which colour?", "answer": "red", "document": unicodedata.normalize("NFD", name)}
    assert check(numbered([row]), [document, *DOCUMENTS])[0][0].evidence[0].document == document.id


def test_questions_in_one_pattern_with_other_answers_are_kept():
    asked = [
        ("How many bolts hold the long grey ladder of the northern workshop together in the year 1?", "16"),
        ("How many bolts hold the long grey ladder of the northern workshop together in the year 2?", "17"),
    ]
    rows = numbered([{"question": question, "answer": answer} for question, answer in asked])
    assert len(check(rows, DOCUMENTS)[0]) == 2
    assert len(check([rows[0], {**rows[1], "answer": "16"}], DOCUMENTS)[0]) == 1


def test_words_that_spell_nothing_are_answers_too(tmp_path):
    (tmp_path / "q.csv").write_text("question,answer\nWhich country code has Namibia?,NA\nWho came?,None\nWhy?,\n")
    assert [row["answer"] for row in read_rows(tmp_path / "q.csv")] == ["NA", "None", ""]


def test_a_row_may_name_a_copy_that_was_left_out():
    copied = [replace(DOCUMENTS[0], copies=("old/twin.md",)), *DOCUMENTS[1:]]
    for name in ("old/twin.md", "twin.md", "twin"):
        assert _named(name, _names(copied)) is copied[0]


def test_an_unknown_document_stops_the_run():
    with pytest.raises(LabError, match="row 2 names the document 'pumps.md', which is not among the 10 read"):
        check(numbered([{"question": "Why?", "answer": "red", "document": "pumps.md"}]), DOCUMENTS)


def test_the_halves_share_no_question_and_are_the_same_every_time(tmp_path):
    path = file_of(tmp_path, [*ROWS, {"question": "Who?", "answer": ""}])
    first, again = load(path, DOCUMENTS), load(path, DOCUMENTS)
    assert first == again and first.style is None
    assert (len(first.train), len(first.test)) == (11, 10)
    assert not leaks([i.question for i in first.train], [i.question for i in first.test], near=0.8)
    (unknown,) = [i for i in first.train + first.test if i.gold is None]
    assert unknown.kind == "not in the documents" and unknown.answer == "The documents do not say."


def test_a_column_parts_the_questions_where_it_is_there(tmp_path):
    rows = [{**row, "split": "Train" if n < 8 else "test"} for n, row in enumerate(ROWS)]
    found = load(file_of(tmp_path, rows), DOCUMENTS)
    assert [i.question for i in found.train] == [row["question"] for row in ROWS[:8]]
    assert len(found.test) == 12
    with pytest.raises(LabError, match="the column split holds 'valid'"):
        load(file_of(tmp_path, [{**row, "split": "valid"} for row in ROWS]), DOCUMENTS)


def test_too_few_questions_say_how_many_are_needed(tmp_path):
    with pytest.raises(LabError, match="12 can be judged; write 16 at least"):
        load(file_of(tmp_path, ROWS[:12]), DOCUMENTS)
    with pytest.raises(LabError, match=r"7 to train and 13 to test on; 8 each are the least, 97"):
        load(file_of(tmp_path, [{**r, "split": "test" if n > 6 else "train"} for n, r in enumerate(ROWS)]), DOCUMENTS)
    with pytest.raises(LabError, match=r"10 test questions tell a share to ±0.31: for ±0.20 write 15 more, 25 in all"):
        load(file_of(tmp_path, ROWS), DOCUMENTS, within=0.2)
    assert len(load(file_of(tmp_path, ROWS), DOCUMENTS, within=0.35).test) == 10


def test_the_number_needed_is_the_least_that_is_narrow_enough():
    for half in (0.05, 0.1, 0.2, 0.3):
        assert half_width(needed(half)) <= half < half_width(needed(half) - 1)
    with pytest.raises(LabError, match="ask for more than 0 and less than 1"):
        needed(0)
    assert LEAST > 1


def test_accepted_forms_two_documents_rivals_and_parts_are_read(tmp_path):
    rows = [{**row, "document": "", "quote": "", "rivals": "", "split": "train"} for row in ROWS]
    rows += [{**row, "question": f"Tell me: {row['question']}", "split": "test"} for row in rows[:10]]
    rows[20] |= {"answer": "crimson|red", "split": "test"}
    rows[21] |= {"question": "Is the pump or the valve red?", "answer": "pump", "rivals": "valve", "document": "pump|valve.md",
                 "quote": "The pump is red. || The valve is blue."}  # fmt: skip
    rows[22] |= {"split": "dev"}
    found = load(file_of(tmp_path, rows), DOCUMENTS)
    first, second = found.test[:2]
    assert (first.gold, first.accepted, first.evidence[0].value) == ("crimson", ("red",), "red")
    assert second.rivals == ("valve",) and [e.document for e in second.evidence] == ["shop/pump.md", "shop/valve.md"]
    assert len(found.test) == 9 and len(found.train) == 20


def test_too_few_questions_say_why_rows_were_left_out(tmp_path):
    rows = [{**row, "question": f"Why {'____' if n < 12 else n}?"} for n, row in enumerate(ROWS)]
    with pytest.raises(
        LabError, match="8 can be judged, 12 rows were left out, the first row 2, a sentence with a gap"
    ):
        load(file_of(tmp_path, rows), DOCUMENTS)


PROSE = data_folder() / "prose"
PASSAGE = "The bridge rusts. It was opened by Ann Lee on 3 May 1931 after some delay."
CHUNK = Chunk("b.md#0", "b.md", "Bridges", PASSAGE, 0, len(PASSAGE))


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    return open_own("pocket", PROSE / "documents", "", "smoke", progress=False)


def test_a_reply_becomes_a_row_with_the_sentence_that_proves_it():
    row = parse("Sure.\nQuestion: When was the bridge\nopened? \nAnswer: '3 May 1931'.\nQuestion: And?", CHUNK)
    assert row["question"] == "When was the bridge opened?" and row["answer"] == "3 May 1931"
    assert row["document"] == "b.md" and row["quote"] == PASSAGE.partition(". ")[2] and row["kind"] == "proposed"


@pytest.mark.parametrize(
    "reply, why",
    [
        ("It is a bridge.", "no question and answer"),
        ("Question: The bridge was opened.\nAnswer: 1931", "no whole question"),
        ("Question: Why?\nAnswer: 1931", "no whole question"),
        ("Question: When was it painted red?\nAnswer: 1932", "does not stand in the passage"),
        ("Question: When was it opened?\nAnswer: ", "does not stand in the passage"),
        ("Question: Was it opened by Ann Lee?\nAnswer: Ann Lee", "gives its answer"),
    ],
)
def test_a_reply_that_its_passage_does_not_bear_out_is_refused_with_a_reason(reply, why):
    assert why in parse(reply, CHUNK)


def test_a_passage_gives_a_sentence_with_a_gap():
    row = gap(CHUNK)
    assert "____" in row["question"] and row["question"].replace("____", row["answer"]) == row["quote"]
    assert gap(Chunk("b.md#1", "b.md", "", "all small words and no name at all here.", 0, 9)) is None


def test_every_passage_of_a_small_folder_is_used_once_and_a_few_arepassages_of_over_all_documents(lab):
    assert {chunk.document_id for chunk in passages_of(lab, 120)} == {d.id for d in lab.documents}
    every = passages_of(lab, 10_000)
    assert len({chunk.id for chunk in every}) == len(every) > 120


KNOWN = {
    "bridge": (
        "When was the bridge opened?",
        "3 May 1931",
        "The old bridge rusts. It was opened on 3 May 1931 by the mayor.",
    ),
    "mill": (
        "How many sails does the mill have?",
        "six",
        "The mill stands on a hill. It turns six sails of grey canvas.",
    ),
    "ferry": (
        "Who steers the ferry now?",
        "Ann Lee",
        "The ferry leaves at noon. Ann Lee steers it across, in any weather.",
    ),
}


@pytest.fixture(scope="module")
def asks(tmp_path_factory):
    """A folder of documents, and a small model trained to ask a question on each."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    documents, path = tmp_path_factory.mktemp("asks") / "documents", tmp_path_factory.mktemp("models") / "asks"
    documents.mkdir()
    for name, (_, _, text) in KNOWN.items():
        (documents / f"{name}.txt").write_text(text)
    (documents / "silent.txt").write_text("The gate was painted by Bo Hansen in the long summer of that year, twice.")
    tokenizer = make_tokenizer(samples=300)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape |= {"num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 512, "tie_word_embeddings": True}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    network = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **shape, **ids))
    chunks = passages_of(open_own("pocket", documents, "", "smoke", progress=False), 99)
    replies = {f"{n}.txt": f"Question: {question}\nAnswer: {answer}" for n, (question, answer, _) in KNOWN.items()}
    replies["silent.txt"] = "Question: When was the gate painted?\nAnswer: in 1931"
    told = [[*ask_for_question(c), {"role": "assistant", "content": replies[c.document_id]}] for c in chunks]
    rows = dataset([Example(talk) for talk in told], tokenizer, 512).rows
    train(network, tokenizer, rows, TrainSettings(epochs=150, learning_rate=5e-3, batch_size=4), path, False)
    network.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return documents, path


@pytest.mark.slow
def test_what_a_model_proposes_is_kept_where_its_passage_bears_it_out(asks, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    documents, path = asks
    made, failed = propose(open_own(str(path), documents, "", "smoke", progress=False), 99)
    found = {row["document"]: (row["question"], row["answer"]) for row in made if row["kind"] == "proposed"}
    assert found == {f"{name}.txt": (question, answer) for name, (question, answer, _) in KNOWN.items()}
    assert failed == {"the answer does not stand in the passage": 1}
    (unfinished,) = [row for row in made if row["kind"] != "proposed"]
    assert unfinished["document"] == "silent.txt" and "____" in unfinished["question"]


def test_proposals_are_written_once_and_are_left_out_until_they_are_edited(lab, tmp_path):
    path = tmp_path / "proposed.csv"
    said = propose_into(lab, path, 8)
    assert "sentences with a gap to make one of" in said and said.endswith(f"--questions {path}")
    rows = read_rows(path)
    with pytest.raises(LabError, match="is a sentence with a gap still: write a question for each"):
        check([row for row in rows if "____" in row["question"]], lab.documents)
    rows[0]["question"] = "Which one is it?"
    items, notes = check(rows, lab.documents)
    assert len(items) == 1 + sum("____" not in row["question"] for row in rows[1:]) and "with a gap; write" in notes[0]
    with pytest.raises(LabError, match="is there already: name it with --questions"):
        propose_into(lab, path, 8)
