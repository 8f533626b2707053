"""Five studies whose data cannot leak, whose styles accept what they teach, and whose arms read what they should."""

import re

import pytest

from data.make.use_cases import make_use_cases
from data.make.words import number, reserved
from labkit.compare import use_cases
from labkit.compare.lab import Lab
from labkit.data import dress
from labkit.errors import LabError
from labkit.metrics import contains
from labkit.profile import POCKET
from labkit.tune.leaks import leaks

ADVICE = {"support_bot": "rag", "legal_assistant": "hybrid", "review_summariser": "tuned", "financial_report": "tuned",
          "kb_qa": "rag"}  # fmt: skip
LOOK_UP = ("support_bot", "legal_assistant", "kb_qa")
FULL = use_cases.load_studies(Lab(POCKET, "full", progress=False))
REPLIES = {"review_summariser": "Pros: fan. Cons: lid.", "financial_report": "2030: $12,000. 2031: $9,000. Change: down $3,000."}  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory, with_vectors):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(with_vectors(tmp_path_factory.mktemp("runs"))))
        yield Lab(POCKET, "smoke", progress=False)


def test_the_studies_are_the_articles_five_with_its_advice():
    assert {name: study.advised for name, study in FULL.items()} == ADVICE
    assert all(len(s.questions) == 40 and len(s.pairs) >= 40 and sum(s.weights.values()) == pytest.approx(1)
               for s in FULL.values())  # fmt: skip


@pytest.mark.parametrize("study", FULL.values(), ids=FULL)
def test_no_test_question_is_among_the_pairs(study):
    assert not leaks([i.question for i in study.pairs], [i.question for i in study.questions])
    assert len({i.question for i in study.questions}) == len(study.questions)


@pytest.mark.parametrize("study", FULL.values(), ids=FULL)
def test_every_answer_is_proved_by_the_documents_of_its_version(study):
    for items, documents in ((study.questions, study.today), (study.pairs, study.documents)):
        texts = {d.id: d.text for d in documents}
        for item in items:
            assert (item.gold is None) == (not item.evidence)
            assert all(e.passage in texts[e.document] and contains(e.passage, e.value) for e in item.evidence)


@pytest.mark.parametrize("name", LOOK_UP)
def test_what_changed_is_known_to_no_pair(name):
    study = FULL[name]
    old = {(e.entity, e.attribute): e.value for i in study.pairs for e in i.evidence}
    changed = [i for i in study.questions if i.kind == "changed fact"]
    assert len(changed) >= 8 and study.today != study.documents
    assert all(old[e.entity, e.attribute] != e.value for i in changed for e in i.evidence)
    others = [i for i in study.questions if i.kind != "changed fact"]
    assert all(old[e.entity, e.attribute] == e.value for i in others for e in i.evidence)


@pytest.mark.parametrize("name", ["review_summariser", "financial_report"])
def test_jobs_that_transform_are_tested_on_other_products(name):
    study = FULL[name]
    trained, tested = ({e.entity for i in items for e in i.evidence} for items in (study.pairs, study.questions))
    assert trained.isdisjoint(tested) and len(tested) == len(study.questions)


def test_names_and_values_are_of_the_companys_half():
    facts = [
        e for study in FULL.values() for i in study.questions for e in i.evidence if e.attribute not in ("pros", "cons")
    ]
    assert all(reserved(e.entity) and reserved(e.value) for e in facts)


def test_the_change_that_a_report_states_is_the_difference_of_its_figures():
    for item in FULL["financial_report"].questions + FULL["financial_report"].pairs:
        first, last = (number(e.value) for e in item.evidence)
        assert number(item.gold) == abs(last - first) and item.gold not in [e.value for e in item.evidence]
        assert item.answer == f"2030: {item.evidence[0].value}. 2031: {item.evidence[1].value}. Change: {'up' if last > first else 'down'} {item.gold}."  # fmt: skip


def test_another_seed_makes_other_data_and_the_same_seed_the_same():
    assert make_use_cases(2026) == make_use_cases(2026) != make_use_cases(7)


@pytest.mark.parametrize("study", FULL.values(), ids=FULL)
def test_a_style_accepts_what_it_teaches_and_little_else(study):
    assert all(re.fullmatch(study.shape, study.dress(dress(item.answer))) for item in study.pairs)
    told = REPLIES.get(study.name, "[1][3] The Amber Falcon costs $420.")
    assert re.fullmatch(study.shape, study.dress(dress(told))) and not re.fullmatch(study.shape, "no idea!")
    assert study.frame == "{text}" or not re.fullmatch(study.shape, told)


def test_every_weight_is_on_a_metric():
    assert all(study.weights.keys() <= use_cases.METRICS.keys() for study in FULL.values())


def test_without_data_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with pytest.raises(LabError, match="make data"):
        use_cases.load_studies(Lab(POCKET, "smoke"))


def test_handed_material_comes_first_and_an_items_own_reply_never(lab):
    study = use_cases.load_studies(lab)["review_summariser"]
    for item in (study.pairs[0], study.questions[0]):
        alone = use_cases.retriever(lab, study, "tuned").search(item.question, study.passages)
        found = use_cases.retriever(lab, study, "hybrid").search(item.question, study.passages)
        assert [h.chunk.document_id for h in alone] == [f"{item.id}/{n}" for n in (1, 2, 3)]
        assert [h.chunk.id for h in found[:3]] == [h.chunk.id for h in alone] and len(found) == study.passages
        assert all(h.chunk.title == "Earlier reply" and h.chunk.document_id != item.id for h in found[3:])


def test_an_arm_that_looks_up_reads_today_and_trains_on_what_was(lab):
    study = use_cases.load_studies(lab)["support_bot"]
    item = next(i for i in study.questions if i.kind == "changed fact")
    now, then = (use_cases.retriever(lab, study, "hybrid", t).search(item.question, 3) for t in (False, True))
    assert any(contains(h.chunk.text, item.gold) for h in now if h.chunk.document_id == item.evidence[0].document)
    assert not any(item.evidence[0].passage in h.chunk.text for h in then)
    assert use_cases.retriever(lab, study, "tuned") is None


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_trains_until_nothing_is_gained_and_judges_each_advice(lesson):
    said = lesson("16_use_cases")
    for words in (
        "stopped by itself",
        "lead of the hybrid",
        "A legal document assistant is best served by a hybrid",
        "The advised arm",
    ):
        assert words in said
