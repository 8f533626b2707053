"""Five studies whose data cannot leak, whose styles accept what they teach, and whose utility is counted right."""

import re

import numpy as np
import pytest

from data.make.use_cases import make_use_cases
from data.make.words import number, reserved
from labkit.compare import use_cases
from labkit.compare.claims import figure_names
from labkit.compare.use_cases import Utility, join
from labkit.data import dress
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.metrics import contains
from labkit.profile import POCKET
from labkit.stats import bootstrap_mean, paired_bootstrap
from labkit.tune.leaks import leaks

ADVICE = {"support_bot": "rag", "legal_assistant": "hybrid", "review_summariser": "tuned", "financial_report": "tuned",
          "kb_qa": "rag"}  # fmt: skip
LOOK_UP = ("support_bot", "legal_assistant", "kb_qa")
FULL = use_cases.load_studies(Lab(POCKET, "full", progress=False))
REPLIES = {"review_summariser": "Pros: fan. Cons: lid.", "financial_report": "2030: $12,000. 2031: $9,000. Change: down $3,000."}  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
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
    row = {"text": study.dress(dress(told)), "correct": 1, "cited": 0, "prompt_tokens": 0, "output_tokens": 0}
    item = study.questions[0]
    assert study.measures(item, row)["style"] == 1
    assert study.measures(item, row | {"text": "no idea!"})["style"] == 0
    if study.frame != "{text}":
        assert study.measures(item, row | {"text": told})["style"] == 0


def test_each_metric_counts_only_the_questions_that_it_applies_to():
    study = FULL["support_bot"]
    row = {"text": "It costs $1.", "correct": 1, "cited": 1, "prompt_tokens": 400, "output_tokens": 50}
    found = {i.kind: study.measures(i, row) for i in study.questions}
    assert found["single fact"]["content"] == 1 and found["single fact"]["fresh"] is None
    assert found["changed fact"]["fresh"] == 1 and found["changed fact"]["content"] is None
    missing = found["not in the documents"]
    assert missing["declines"] == 1 and missing["content"] is missing["cites"] is missing["complete"] is None
    assert missing["frugal"] == 0.25 and study.measures(study.questions[0], row | {"prompt_tokens": 999})["frugal"] == 0
    assert set(missing) == set(use_cases.METRICS)


def test_a_weight_on_no_metric_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with pytest.raises(LabError, match="make data"):
        use_cases.load_studies(Lab(POCKET, "smoke"))
    (tmp_path / "use_cases").mkdir()
    (tmp_path / "use_cases" / "studies.yaml").write_text("kb_qa: {weights: {charm: 1}}")
    with pytest.raises(LabError, match="kb_qa weighs charm"):
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


VALUES = {
    "base": [[0, 0, 0, 0], [1, np.nan, np.nan, 1]],
    "rag": [[1, 1, 0, 1], [0, np.nan, np.nan, 1]],
    "tuned": [[1, 0, 0, 0], [1, np.nan, np.nan, 1]],
}


def test_utility_is_the_weighed_mean_over_the_questions_that_a_metric_applies_to():
    utility = Utility(VALUES, {"content": 3, "style": 1})
    assert utility.means["rag"] == {"content": 0.75, "style": 0.5}
    assert [utility.of(arm).mean for arm in VALUES] == pytest.approx([0.25, 0.6875, 0.4375])
    assert utility.best == "rag" and utility.gap("rag", "tuned").diff == pytest.approx(0.25)


def test_with_one_metric_the_intervals_are_those_of_the_paired_bootstrap():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 60)).astype(float)
    utility = Utility({"a": [a], "b": [b]}, {"content": 1})
    for found, wanted in ((utility.of("a"), bootstrap_mean(a)), (utility.gap("a", "b"), paired_bootstrap(a, b))):
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_a_lead_is_certain_only_over_every_rival_and_lost_to_any():
    rng = np.random.default_rng(1)
    good, fair, bad = ((rng.random(80) < p).astype(float) for p in (0.95, 0.5, 0.05))
    utility = Utility({"good": [good], "fair": [fair], "bad": [bad]}, {"content": 1})
    assert utility.lead("good").low > 0 > utility.lead("fair").high
    assert utility.lead("good").mean == pytest.approx(good.mean() - fair.mean())
    flipped = Utility({"good": [bad], "fair": [fair], "bad": [good]}, {"content": 1})
    assert flipped.lead("good").high < 0 and flipped.best == "bad"
    same = Utility({"one": [fair], "other": [fair]}, {"content": 1}).lead("one")
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_jobs_weigh_the_same_however_many_questions_and_metrics_they_have():
    one = Utility(VALUES, {"content": 3, "style": 1})
    two = Utility({arm: [[x]] for arm, x in zip(VALUES, (1, 0, 0), strict=True)}, {"content": 1})
    both = join({"one": one, "two": two})
    assert [both.of(arm).mean for arm in VALUES] == pytest.approx([0.625, 0.34375, 0.21875])
    assert both.known.shape == (3, 5) and both.metrics == ["one.content", "one.style", "two.content"]


@pytest.mark.parametrize(
    "values, weights, said",
    [
        ({"a": [[1, 0]], "b": [[1]]}, {"content": 1}, "different questions"),
        ({"a": [[1, np.nan]], "b": [[1, 0]]}, {"content": 1}, "different questions"),
        ({"a": [[1, 0]]}, {"content": 0}, "weights"),
        ({"a": [[1, 0], [1, 0]]}, {"content": 2, "style": -1}, "weights"),
    ],
)
def test_a_utility_that_means_nothing_is_refused(values, weights, said):
    with pytest.raises(LabError, match=said):
        Utility(values, weights)


@pytest.mark.slow
def test_at_smoke_size_every_figure_of_the_ledger_is_made_and_then_remembered(lab):
    found = use_cases.figures(lab)
    assert set(found) == set(figure_names("16_use_cases"))
    assert all(value.low <= value.mean <= value.high for value in found.values())
    made = len(list((lab.runs / "artifacts").iterdir()))
    assert use_cases.figures(lab) == found and len(list((lab.runs / "artifacts").iterdir())) == made
    assert len(lab.artifacts.used) == 10
