"""The small company of the studies: every fact is stated once, asked once, and changes only where it says so."""

import inspect
from dataclasses import asdict, replace
from types import SimpleNamespace

import pandas as pd
import pytest

from data.make.small import EACH, REPEATS
from labkit.compare import small
from labkit.compare.lab import Lab
from labkit.data import data_folder, dress
from labkit.errors import LabError
from labkit.metrics import contains
from labkit.profile import POCKET
from labkit.stats import paired_bootstrap
from labkit.store import hash_tree


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(POCKET, "smoke", progress=False)


def test_before_an_update_the_company_is_the_same_whatever_share_will_change():
    assert small.company(0.5).documents == small.company().documents == small.step(1).documents


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_of_facts_changes_and_their_questions_stay(share):
    old, new = small.company().questions, small.company(share).questions
    differ = [a.gold != b.gold for a, b in zip(old, new, strict=True)]
    assert differ == [item.kind == "changed" for item in new]
    assert sum(differ) / len(differ) == pytest.approx(share, abs=0.05)
    assert [a.question for a in old] == [b.question for b in new]


@pytest.mark.parametrize("made", [small.company(0.25), small.step(10)], ids=["share", "step"])
def test_every_fact_stands_in_the_document_that_proves_it(made):
    texts = {document.id: document.text for document in made.updates}
    assert all(contains(texts[item.evidence[0].document], item.gold) for item in made.questions)


@pytest.mark.parametrize("made", [small.company(0.5), small.step(10)], ids=["share", "step"])
def test_held_out_words_ask_for_the_same_values_and_are_never_those_of_training(made):
    assert [(a.id, a.gold, a.kind) for a in made.questions] == [(b.id, b.gold, b.kind) for b in made.reworded]
    assert not {item.question for item in made.questions} & {item.question for item in made.reworded}
    names = [item.id.split("|")[1] for item in made.reworded]
    assert all(name in item.question for name, item in zip(names, made.reworded, strict=True))


def test_every_canary_has_a_name_of_its_own_and_its_answer_tells_the_code():
    found = small.items("canaries")
    assert len({item.question for item in found}) == len(found) == EACH * len(REPEATS)
    assert all(len(item.gold) == 4 and contains(item.answer, item.gold) for item in found)


def test_updates_follow_each_other():
    for number in range(2, 11):
        last, now = small.step(number - 1).questions, small.step(number).questions
        assert [a.gold != b.gold for a, b in zip(last, now, strict=True)] == [i.kind == "changed" for i in now]


def test_indexing_a_change_finds_what_it_had_and_the_new_facts(lab):
    made = small.company(0.5)
    store, seconds = small.reindex(lab, made.documents, made.updates)
    assert seconds > 0 and {chunk.document_id for chunk in store.chunks} == {document.id for document in made.updates}


def test_learning_changes_the_copy_and_not_the_model(lab):
    told = small.company().questions[:8]
    before = [weight.clone() for weight in lab.model.network.parameters()]
    learned, seconds = small.learn(lab, lab.model, told, seed=0)
    assert seconds > 0 and learned.dtype == lab.model.dtype
    assert all((a == b).all() for a, b in zip(before, lab.model.network.parameters(), strict=True))
    assert any((a != b).any() for a, b in zip(before, learned.network.parameters(), strict=True))


def test_an_answer_is_scored_for_content_and_style(lab):
    item = small.company().questions[0]

    class Told:
        name = "told"

        def answer(self, questions):
            return [type("A", (), {"text": dress(item.answer)})() for _ in questions]

    row = small.ask(lab, Told(), [item], share=0.0)[0]
    assert (row["arm"], row["correct"], row["style"], row["joint"], row["share"]) == ("told", 1, 1, 1, 0.0)


def keys(study) -> list[dict]:
    """What decides where a study's rows are kept."""
    parts = []

    def value(make, **about):
        parts.append(about)
        return make()

    adapter = lambda name, seed=0: SimpleNamespace(name=f"{name} {seed}")  # noqa: E731
    profile = replace(POCKET, seeds=(3, 4, 5))
    study(SimpleNamespace(profile=profile, hashes={"model": "m"}, size="full", adapter=adapter, artifacts=SimpleNamespace(value=value)))  # fmt: skip
    about = {"profile": asdict(profile), "hashes": {"model": "m"}, "size": "full", "recipe": small.RECIPE, "what": "a"}
    about |= {"small": hash_tree(data_folder() / "small")}
    assert all(part | about == part for part in parts)
    return [{name: part[name] for name in part.keys() - about.keys()} for part in parts]


def rows(lab, seed=None):
    return [{"id": "q", "correct": 1}]


def test_rows_are_found_by_source_settings_seed_and_the_adapters_that_take_part():
    about = {"source": inspect.getsource(rows), "settings": [], "adapters": []}
    assert keys(small.study("a")(rows)) == [about]
    assert keys(small.study("a", seeds=True)(rows)) == [{**about, "seed": 3}, {**about, "seed": 4}]
    settings = [(1, 2), inspect.getsource(keys)]
    assert keys(small.study("a", (1, 2), keys)(rows)) == [{**about, "settings": settings}]
    assert keys(small.study("a", arms=["tuned", "hybrid"])(rows)) == [{**about, "adapters": ["tuned 0", "hybrid 0"]}]
    assert [key["adapters"] for key in keys(small.study("a", seeds=True, arms=["hybrid"])(rows))] == [
        ["hybrid 3"],
        ["hybrid 4"],
    ]


def test_a_study_that_is_edited_measures_again_and_one_that_is_not_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    calls, lab = [], Lab(POCKET, "smoke", progress=False)

    def measure(lab):
        calls.append(1)
        return [{"id": "q"}]

    for _ in range(2):
        assert small.study("b")(measure)(lab).id.tolist() == ["q"]
    assert len(calls) == 1

    def measure(lab):
        calls.append(2)
        return [{"id": "r"}]

    assert small.study("b")(measure)(lab).id.tolist() == ["r"] and calls == [1, 2]


def test_what_the_first_version_teaches_is_trained_once(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    made = small.first(Lab(POCKET, "smoke", progress=False), 0)
    monkeypatch.setattr("labkit.tune.adapters.train_adapter", None)
    again = small.first(Lab(POCKET, "smoke", progress=False), 0)
    pairs = zip(made.network.parameters(), again.network.parameters(), strict=True)
    assert all((a == b).all() for a, b in pairs)


def test_a_gap_is_between_two_arms_question_by_question_over_seeds():
    rows = [("a", "q1", 1), ("a", "q1", 0), ("a", "q0", 1), ("a", "q0", 1), ("b", "q0", 0), ("b", "q1", 1)]
    table = pd.DataFrame(rows, columns=["arm", "id", "correct"])
    assert small.by_question(table, "a").tolist() == [1.0, 0.5]
    assert small.gap(table, "a", "b") == paired_bootstrap([1, 0.5], [0, 1]).interval


def test_a_process_that_fails_ends_in_one_line():
    assert small.alone(["-c", "print('one'); print('two')"], "it failed") == "two"
    with pytest.raises(LabError, match="^it failed: ValueError: so$"):
        small.alone(["-c", "raise ValueError('so')"], "it failed")
