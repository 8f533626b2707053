"""Questions proposed from documents: what a model replies is checked against its passage, and nothing edited is lost."""

import pytest

from data.make.pocket import make_tokenizer
from labkit import LabError
from labkit.data import data_folder
from labkit.practice.own_data import open_own
from labkit.practice.own_data_propose import _spread, ask_for_question, gap, parse, propose, propose_into
from labkit.practice.own_data_questions import check, read_rows
from labkit.rag.chunk import Chunk
from labkit.tune.prepare import Example, dataset
from labkit.tune.train import TrainSettings, train

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


def test_every_passage_of_a_small_folder_is_used_once_and_a_few_are_spread_over_all_documents(lab):
    assert {chunk.document_id for chunk in _spread(lab, 120)} == {d.id for d in lab.documents}
    every = _spread(lab, 10_000)
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
    chunks = _spread(open_own("pocket", documents, "", "smoke", progress=False), 99)
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
