"""The comparison end to end at smoke size: made here or shipped, the table is the same, and no test question is trained on."""

import json
from dataclasses import replace

import pytest

from labkit.compare.arms import ARMS
from labkit.compare.experiment import ask_arms, in_turn, latencies, run_compare
from labkit.compare.lab import Lab
from labkit.compare.training import closed_book, supporting, with_context
from labkit.data import style_faults
from labkit.profile import POCKET
from labkit.store import Artifacts

SOME = replace(POCKET, arms=(*ARMS, "naive"))
"""With every arm that takes trained weights; the other rivals run as `rag` does."""
TIMED = ("latency_ms_p50", "latency_ms_p95")


def lab_in(folder, shipped=None, fresh=False) -> Lab:
    """A smoke lab that keeps its artifacts in a folder of its own."""
    lab = Lab(SOME, "smoke", progress=False)
    lab.runs = folder
    lab.artifacts = Artifacts(folder / "artifacts", shipped or folder / "none", fresh)
    return lab


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, with_vectors):
    """A comparison whose adapters were all trained now, and the lab that made it."""
    lab = lab_in(with_vectors(tmp_path_factory.mktemp("fresh")), fresh=True)
    return run_compare(lab), lab


@pytest.mark.slow
def test_shipped_artifacts_give_the_table_that_fresh_ones_give(fresh, tmp_path, with_vectors):
    made, lab = fresh
    again = run_compare(lab_in(with_vectors(tmp_path), shipped=lab.runs / "artifacts"))
    assert [a["shipped"] for a in made.result["artifacts"]] == [False, False]
    assert [a["shipped"] for a in again.result["artifacts"]] == [True, True]
    for arm, metrics in made.result["arms"].items():
        for name, value in metrics.items():
            if name not in TIMED:
                assert again.result["arms"][arm][name] == value
    assert made.answers.text.tolist() == again.answers.text.tolist()


def test_every_arm_is_timed_on_every_question_and_none_is_always_first(tmp_path, with_vectors):
    lab, arms = lab_in(with_vectors(tmp_path)), ["base", "rag"]
    asked = [(name, item.id) for name, _, item in in_turn(lab, {name: lab.arm(name) for name in arms})]
    assert [name for name, _ in asked][:4] == ["base", "rag", "rag", "base"]
    assert len(set(asked)) == len(asked) >= 2 * lab.profile.latency_questions
    times = latencies(lab, arms)
    assert {name: len(found) for name, found in times.items()} == dict.fromkeys(arms, len(asked) // 2)
    assert min(min(found) for found in times.values()) > 0
    assert latencies(lab, arms) == times


@pytest.mark.slow
def test_a_damaged_artifact_is_made_again(fresh, tmp_path):
    _, lab = fresh
    folder = lab.adapter("tuned", 0)
    weights = folder / "adapter_model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.warns(UserWarning, match="damaged"):
        found = lab_in(lab.runs).adapter("tuned", 0)
    assert (found / "adapter_model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_repeated_comparison_asks_no_model_again(fresh):
    made, lab = fresh
    again = lab_in(lab.runs)
    assert ask_arms(again, again.profile.arms).text.tolist() == made.answers.text.tolist()
    assert "tuned_model" not in again.__dict__ and json.dumps(made.result)


def test_no_test_question_is_in_any_training_row():
    lab = Lab(POCKET, progress=False)
    asked = {item.question for item in lab.questions}
    rows = [*closed_book(lab.pairs), *with_context(lab.hybrid_pairs, lab.old_retriever(), 5)]
    told = {row[1]["content"].rpartition("Question: ")[2] for row in rows}
    assert len(told) > 300 and not asked & told
    assert not any(style_faults(row[-1]["content"]) for row in rows)


def test_the_hybrid_learns_to_answer_only_what_its_passages_hold():
    lab = Lab(POCKET, progress=False)
    items, retriever = lab.hybrid_pairs[:60], lab.old_retriever()
    rankings = retriever.search_batch([item.question for item in items], 5)
    for item, row, hits in zip(items, with_context(items, retriever, 5, seed=1), rankings, strict=True):
        found = supporting(hits, item) if item.evidence else None
        assert ("do not say" in row[-1]["content"]) == (found is None)
        if found:
            assert item.gold in row[1]["content"]


@pytest.mark.parametrize("distractors", [0, 2])
def test_a_hybrid_may_practise_on_the_proof_and_so_many_distractors(distractors):
    lab = Lab(POCKET, progress=False)
    items, retriever = lab.hybrid_pairs[:40], lab.old_retriever()
    rows = with_context(items, retriever, 5, distractors=distractors)
    rankings = retriever.search_batch([item.question for item in items], 5)
    for item, row, hits in zip(items, rows, rankings, strict=True):
        shown = row[1]["content"].count("\n[")
        found = supporting(hits, item) if item.evidence else None
        assert shown == distractors + (len(found) if found else 1)
        assert not found or item.gold in row[1]["content"]


def test_many_chunks_are_embedded_in_groups_with_a_bar_and_found_as_if_at_once(monkeypatch, capsys):
    lab = Lab(POCKET, "smoke")
    some = lab.documents[:6]
    monkeypatch.setattr("labkit.compare.lab.GROUP", 4)
    grouped, bar = lab.index(some), capsys.readouterr().err
    monkeypatch.undo()
    whole = lab.index(some)
    assert "embed and index 100%" in bar and "embed and index" not in capsys.readouterr().err
    question = lab.questions[0].question
    assert [h.id for h in grouped.similarity_search(question)] == [h.id for h in whole.similarity_search(question)]
