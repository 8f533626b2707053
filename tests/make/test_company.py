"""The company is the same every time, its parts have the promised size, and tests never reach training."""

import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from data.make.company import make_data, write_data
from data.make.facts import facts_of, make_company
from data.make.questions import PAIRS, QUESTIONS
from data.make.words import kinds, number, reserved
from labkit import data
from labkit.data import CLOSING, OPENING, dress, style_faults
from labkit.metrics import contains
from labkit.store import ROOT, file_hashes

COMPANY = make_company()
QUESTION_ITEMS, PAIR_ITEMS = data.load_questions(), data.load_pairs()
PARTS = ("documents", "updates", "small")


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (data.data_folder() / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return make_data()


def test_regeneration_gives_the_committed_bytes(made):
    folder = data.data_folder()
    assert not [name for name, content in made.items() if (folder / name).read_bytes() != content]
    found = {f"{part}/{name}" for part in PARTS for name in file_hashes(folder / part)}
    assert found == {name for name in made if name.partition("/")[0] in PARTS}


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_makes_the_same_bytes(made, hash_seed, tmp_path, monkeypatch):
    """Neither the order of sets nor a time of day gets into a file."""
    monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    monkeypatch.setenv("TZ", f"Etc/GMT+{hash_seed}")
    subprocess.run([sys.executable, "-m", "data.make.company"], cwd=ROOT, check=True, capture_output=True)
    assert {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == made


def test_another_seed_is_another_company():
    assert make_company(7).facts() != COMPANY.facts() == make_company().facts()


def test_counts():
    documents = file_hashes(data.documents_folder())
    assert 900 <= len(rows("facts.jsonl")) <= 1100 and 60 <= len(documents) <= 120
    assert {name.rpartition(".")[2] for name in documents} == {"pdf", "docx", "html", "md"}
    assert Counter(i.kind for i in QUESTION_ITEMS) == QUESTIONS and len(QUESTION_ITEMS) >= 200
    assert Counter(i.kind for i in PAIR_ITEMS) == PAIRS and 300 <= len(PAIR_ITEMS) <= 1000
    assert len({i.id for i in QUESTION_ITEMS + PAIR_ITEMS}) == len(QUESTION_ITEMS) + len(PAIR_ITEMS)


def test_the_data_card_counts_what_is_there():
    card = (data.data_folder() / "README.md").read_text("utf-8")
    updates = len(file_hashes(data.updates_folder()))
    counted = {"documents as": 117, "second versions": updates, "test questions": 280, "training pairs": 630}
    assert all(f"{count} {name}" in card for name, count in counted.items())


def test_names_are_unique_and_every_fact_has_one_value_of_its_type():
    names = [name for _, name in COMPANY.before]
    assert len(set(names)) == len(names)
    sites = {e.name for e in COMPANY.entities("site")}
    for fact in COMPANY.facts() + COMPANY.facts(updated=True):
        assert (fact.value in sites) == (kinds()[fact.kind][fact.attribute].value == "site")


def test_facts_list_both_versions():
    changed = [row for row in rows("facts.jsonl") if row["updated"] is not None]
    assert {(r["kind"], r["entity"], r["attribute"]) for r in changed} == COMPANY.changed
    assert all(row["updated"] != row["value"] for row in changed)


def test_names_and_values_are_of_the_companys_half():
    """By construction: `reserved` splits names and values between the company and the pretraining stream."""
    assert all(reserved(name) for _, name in COMPANY.before)
    assert all(reserved(fact.value) for fact in COMPANY.facts() + COMPANY.facts(updated=True))


def test_no_test_question_is_trained_on():
    words = {" ".join(re.findall(r"\w+", i.question.lower())) for i in QUESTION_ITEMS}
    assert len(words) == len(QUESTION_ITEMS)
    assert not [i for i in PAIR_ITEMS if " ".join(re.findall(r"\w+", i.question.lower())) in words]


def test_hard_and_unanswerable_pairs_are_about_other_things_than_the_tests():
    def topics(items, kind):
        return {frozenset((e.entity, e.attribute) for e in i.evidence) for i in [i for i in items if i.kind == kind]}

    for kind in ("two-hop", "numeric comparison"):
        assert topics(PAIR_ITEMS, kind).isdisjoint(topics(QUESTION_ITEMS, kind))


def test_pairs_cover_what_is_asked_and_never_use_an_updated_value():
    old = {fact.key: fact.value for fact in COMPANY.facts()}
    trained = {(e.kind, e.entity, e.attribute): e.value for i in PAIR_ITEMS for e in i.evidence}
    assert {(e.kind, e.entity, e.attribute) for i in QUESTION_ITEMS for e in i.evidence} <= set(trained)
    assert all(value == old[key] for key, value in trained.items())
    new = {fact.key: fact.value for fact in COMPANY.facts(updated=True) if fact.key in COMPANY.changed}
    for item in [i for i in PAIR_ITEMS if i.kind == "single fact"]:
        (e,) = item.evidence
        updated = new.get((e.kind, e.entity, e.attribute))
        assert item.gold == e.value != updated and (updated is None or not contains(item.answer, updated))


def test_changed_fact_questions_ask_for_what_changed_and_no_others_do():
    for item in QUESTION_ITEMS:
        for e in item.evidence:
            assert ((e.kind, e.entity, e.attribute) in COMPANY.changed) == (item.kind == "changed fact")
            assert COMPANY.after[e.kind, e.entity].facts[e.attribute] == e.value


def test_gold_answers_are_right():
    for item in QUESTION_ITEMS + PAIR_ITEMS:
        if item.kind == "not in the documents":
            assert item.gold is None and not item.evidence
        elif item.kind == "numeric comparison":
            a, b = sorted(item.evidence, key=lambda e: number(e.value))
            assert (item.gold, item.rivals) == (b.entity, (a.entity,)) and number(a.value) < number(b.value)
        elif item.kind == "growth":
            first, last = (number(e.value) for e in item.evidence)
            assert number(item.gold) == abs(last - first) > 0 and contains(item.answer, item.gold)
            assert ("rose" in item.answer) == (last > first)
        else:
            assert item.gold == item.evidence[-1].value and contains(item.answer, item.gold)
        if item.kind == "two-hop":
            assert item.evidence[0].value == item.evidence[1].entity


def test_unanswerable_questions_ask_for_no_known_fact():
    """No question about a known entity names it with an attribute that is stated."""
    for item in [i for i in QUESTION_ITEMS + PAIR_ITEMS if i.kind == "not in the documents"]:
        for entity in COMPANY.after.values():
            for fact in facts_of(entity) if entity.reference.lower() in item.question.lower() else []:
                asks = kinds()[fact.kind][fact.attribute].asks
                assert not any(form.format(e=entity.reference).lower() in item.question.lower() for form in asks)


def test_the_style_accepts_every_dressed_answer():
    assert not [i for i in QUESTION_ITEMS + PAIR_ITEMS if style_faults(dress(i.answer))]
    assert not style_faults(dress("It is built at the Echo site. [2] The manager is Anna Hale. [1][3]"))


def test_the_written_style_guide_names_the_rules():
    guide = (data.data_folder() / "style.md").read_text("utf-8")
    example = re.search(r"^> (.*)$", guide, re.MULTILINE)[1]
    assert OPENING in guide and CLOSING in guide and not style_faults(example)


def test_writing_again_removes_what_is_no_longer_made(tmp_path):
    write_data({"documents/old/gone.md": b"old", "documents/kept.md": b"1"}, tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "card.md").write_text("kept")
    write_data({"documents/kept.md": b"2"}, tmp_path)
    assert set(file_hashes(tmp_path)) == {"documents/kept.md", "models/card.md"}
    assert not (tmp_path / "documents" / "old").exists()
    assert (tmp_path / "documents" / "kept.md").read_bytes() == b"2"


def test_labkit_never_uses_what_made_its_data():
    sources = {path: path.read_text("utf-8") for path in (ROOT / "labkit").rglob("*.py")}
    assert not [path for path, text in sources.items() if "data.make" in text]
