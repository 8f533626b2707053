"""Every claim has a rule, and every rule turns its verdict when the data turn."""

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from rich.console import Console

from labkit.compare import claims
from labkit.compare.claims import (
    PAPERS,
    RULES,
    VERDICTS,
    Claim,
    Need,
    blame,
    figure,
    figure_names,
    judge,
    load_claims,
    load_papers,
    read_ledger,
    rules_hash,
    verdict,
)
from labkit.errors import LabError
from labkit.profile import POCKET, SMOL
from labkit.stats import Interval, bootstrap_mean, paired_bootstrap
from labkit.store import write_json
from tools import ledger
from tools.notebooks import claims_table

CLAIMS = load_claims()


def beside(need: Need, claimed: bool) -> Interval:
    """An interval wholly on one side of a need's bound."""
    middle = need.bound + (1 if need.above == claimed else -1)
    return Interval(middle, middle - 0.5, middle + 0.5)


def test_the_article_has_46_claims_and_each_names_a_lesson():
    assert len(CLAIMS) == 46 and len({claim.id for claim in CLAIMS}) == 46
    assert all(claim.needs and claim.lesson[:2].isdecimal() and claim.claim.endswith(".") for claim in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_turning_the_data_turns_the_verdict(claim):
    # One figure may stand in two needs of one claim, with two bounds: then a value beyond both is looked for.
    for claimed, expected in ((True, "supported"), (False, "refuted")):
        figures = {need.figure: beside(need, claimed) for need in claim.needs}
        assert verdict(claim, figures) == expected
    figures.popitem()
    assert verdict(claim, figures) == "not measurable here"


def test_an_interval_across_the_bound_supports_nothing():
    need = Need("style: tuned", 0.9, above=True)
    assert need.holds(Interval(0.92, 0.85, 0.99)) is None
    claim = replace(CLAIMS[0], needs=(need, Need("style: rag", 0.5, above=False)))
    across = {"style: tuned": Interval(0.92, 0.85, 0.99), "style: rag": Interval(0.1, 0.0, 0.2)}
    assert verdict(claim, across) == "mixed"
    assert verdict(claim, across | {"style: tuned": Interval(0.5, 0.4, 0.6)}) == "mixed"
    assert verdict(claim, across | {"style: rag": Interval(0.8, 0.7, 0.9)}) == "refuted"


@pytest.mark.parametrize(
    ("low", "high", "above"),
    [
        (0.51, 0.6, True),
        (0.5, 0.6, None),
        (0.4, 0.6, None),
        (0.5, 0.5, None),
        (0.4, 0.5, None),
        (0.4, 0.49, False),
    ],
)
def test_a_bound_that_is_met_but_not_passed_holds_for_no_side(low, high, above):
    value = Interval((low + high) / 2, low, high)
    assert Need("a", 0.5, above=True).holds(value) is above
    assert Need("a", 0.5, above=False).holds(value) is (None if above is None else not above)


def test_the_evidence_says_figure_interval_side_and_bound():
    claim = Claim(
        "a", "It is so.", "12_compare", (Need("f: x", 0.25, True), Need("g: y", 12, False), Need("h", 1, True))
    )
    values = {"f: x": Interval(0.51234, 0.3, 0.70006), "g: y": Interval(1234.5, 0.00123456, 2000)}
    (row,) = judge([claim], values, {})
    assert claims.evidence(row).splitlines() == [
        "NOT MEASURABLE HERE: It is so.",
        "    f: x: 0.512 [0.3, 0.7], claimed above 0.25",
        "    g: y: 1.23e+03 [0.00123, 2e+03], claimed below 12",
        "    h: not measured, claimed above 1",
    ]
    assert [need["holds"] for need in row["needs"]] == [True, None, None]
    assert claims.first_figure(row) == "f: x: 0.512 [0.3, 0.7]"
    (row,) = judge([claim], {}, {})
    assert claims.first_figure(row) == "12_compare has not measured it"


def some_lab(folder: Path, size: str = "full") -> SimpleNamespace:
    return SimpleNamespace(profile=POCKET, hashes={"documents": "a"}, size=size, runs=folder)


def test_a_ledger_holds_what_lessons_recorded_and_nothing_of_other_data_or_rules(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    lab = some_lab(tmp_path)
    figures = {
        name: Interval(float(n), n - 1.0, n + 1.0) for n, name in enumerate([*figure_names("03_embed"), "another"])
    }
    said = claims.record(lab, "03_embed", figures)
    assert said.startswith(VERDICTS) or said.split(":")[0].lower() in VERDICTS
    assert list(claims.recorded(lab, "03_embed")) == figure_names("03_embed")
    path = ledger.write_ledger(lab)
    record = read_ledger()
    assert path.parent.joinpath("ledger.html").is_file() and json.loads(path.read_text()) == record
    assert (record["profile"], record["size"], record["rules"]) == ("pocket", "full", rules_hash())
    measured = {row["lesson"] for row in record["claims"] if row["run"]}
    assert measured == {"03_embed"} == {row["lesson"] for row in record["claims"] if row["value"] is not None}
    assert claims.recorded(SimpleNamespace(**{**vars(lab), "hashes": {"documents": "b"}}), "03_embed") == {}
    monkeypatch.setattr(claims, "rules_hash", lambda: "other rules")
    assert claims.recorded(lab, "03_embed") == {}


def test_where_two_models_disagree_the_verdict_depends_on_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "published")
    claim = next(claim for claim in CLAIMS if claim.lesson == "03_embed")
    lab, other = some_lab(tmp_path), SimpleNamespace(**{**vars(some_lab(tmp_path / "other")), "profile": SMOL})
    for turn, one in ((True, lab), (False, other)):
        figures = {need.figure: beside(need, turn) for c in CLAIMS if c.lesson == "03_embed" for need in c.needs}
        claims.record(one, "03_embed", figures)
    (tmp_path / "published").mkdir()
    (tmp_path / "other" / "figures" / "smol").rename(tmp_path / "published" / "smol")
    row = next(row for row in claims.ledger(lab)["claims"] if row["id"] == claim.id)
    assert row["verdict"] == "depends on the model" and list(row["models"]) == ["pocket", "smol"]
    assert "pocket" in claims.first_figure(row) and "smol" in claims.first_figure(row)
    lab.hashes = {"documents": "other ones"}
    assert claims.others(lab) == {}


def test_a_smoke_lab_keeps_nothing_and_a_missing_figure_is_named(tmp_path):
    figures = {name: Interval(0.5, 0.4, 0.6) for name in figure_names("03_embed")}
    claims.record(some_lab(tmp_path, "smoke"), "03_embed", figures)
    assert claims.recorded(some_lab(tmp_path), "03_embed") == {}
    name, _ = figures.popitem()
    with pytest.raises(LabError, match=re.escape(name)):
        claims.record(some_lab(tmp_path), "03_embed", figures)
    smoke = claims.ledger(some_lab(tmp_path, "smoke"))
    assert {(row["verdict"], row["run"]) for row in smoke["claims"]} == {(VERDICTS[-1], None)}


def test_a_constant_decides_nothing_and_is_shown_as_one():
    claim = Claim("a", "It is so.", "12_compare", (Need("f", 0.5, True), Need("g", 0.5, True)))
    values = {"f": Interval(1.0, 1.0, 1.0), "g": Interval(0.2, 0.1, 0.3)}
    assert verdict(claim, values) == "refuted"
    assert verdict(claim, values | {"g": Interval(0.8, 0.8, 0.8)}) == "not measurable here"
    (row,) = judge([claim], values, {})
    assert claims.evidence(row).splitlines()[1].endswith("a constant, which decides nothing")


def test_a_row_tells_the_first_figure_with_its_interval_and_its_run():
    claim = next(claim for claim in CLAIMS if claim.id == "ideal-use")
    figures = {need.figure: beside(need, True) for need in claim.needs}
    row = judge([claim], figures, {claim.lesson: "abc"})[0]
    assert {"id", "claim", "verdict", "metric", "value", "low", "high", "run"} <= set(row)
    assert (row["verdict"], row["metric"], row["run"]) == ("supported", claim.needs[0].figure, "abc")
    assert row["low"] < row["value"] < row["high"] and len(row["needs"]) == len(claim.needs)
    assert (
        judge([claim], {}, {})[0] | {"verdict": "not measurable here", "value": None, "run": None}
        == judge([claim], {}, {})[0]
    )


@pytest.mark.parametrize("path", [RULES, PAPERS], ids=lambda path: path.stem)
def test_every_rule_has_an_id_of_its_own_and_every_need_one_bound(path: Path):
    rows = next(yaml.safe_load_all(path.read_text("utf-8")))
    assert len({row["id"] for row in rows}) == len(rows) == len(load_claims(path))
    assert all(len({"above", "below"} & need.keys()) == 1 for row in rows for need in row["needs"])


def test_the_ledger_is_written_as_a_page_and_a_table():
    figures = {need.figure: beside(need, True) for need in CLAIMS[0].needs}
    found = {"profile": "pocket", "size": "full", "rules": rules_hash(), "claims": judge(CLAIMS, figures, {})}
    page, table = ledger.page(found), claims_table(found)
    console = Console(width=200, record=True, file=StringIO())
    console.print(claims.table(found))
    shown = console.export_text()
    assert all(row["verdict"] in shown and row["claim"] in shown for row in found["claims"]) and "[green]" not in shown
    assert all(f'id="{claim.id}"' in page for claim in CLAIMS) and "not measured" in page
    assert claims.SMOKE not in page and claims.SMOKE in ledger.page(found | {"size": "smoke"})
    assert table.startswith("1 supported, 45 not measurable here.")
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 47


def test_a_ledger_under_other_rules_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims, "runs_folder", lambda: tmp_path)
    with pytest.raises(LabError, match="make claims"):
        read_ledger()
    path = tmp_path / "claims" / "latest" / "ledger.json"
    path.parent.mkdir(parents=True)
    write_json(path, {"rules": rules_hash(), "claims": judge(CLAIMS, {}, {})})
    assert {row["verdict"] for row in read_ledger()["claims"]} == {VERDICTS[-1]}
    write_json(path, {**json.loads(path.read_text()), "rules": "other"})
    with pytest.raises(LabError, match="rules changed"):
        read_ledger()


def test_five_papers_are_cited_with_the_place_of_what_is_quoted():
    found = load_papers()
    assert len(found) == len(load_claims(PAPERS)) == 5
    for row in found.values():
        assert re.fullmatch(r"\d{4}\.\d{5}", row["arxiv"]) and 2000 + int(row["arxiv"][:2]) == row["year"]
        assert row["title"] and row["authors"] and row["place"] and row["here"] and row["claim"].endswith(".")
        assert bool(row["published"]) == bool(row["unit"]), "numbers have a unit"


def test_every_rule_asks_for_a_direction_only_and_turns_with_the_data():
    for claim in load_claims(PAPERS):
        assert claim.lesson == "18_papers" and all(need.bound == 0 for need in claim.needs)
        for claimed, said in ((True, "supported"), (False, "refuted")):
            sign = [1 if need.above == claimed else -1 for need in claim.needs]
            made = {n.figure: Interval(s, s - 0.5, s + 0.5) for n, s in zip(claim.needs, sign, strict=True)}
            assert verdict(claim, made) == said


def test_rafts_rule_asks_what_its_table_shows_in_every_row():
    rows = load_papers()["practise-reading"]["published"].values()
    assert all(row["RAG"] < row["DSF + RAG"] < row["RAFT"] for row in rows)
    needs = {need.figure for claim in load_claims(PAPERS) if claim.id == "practise-reading" for need in claim.needs}
    assert needs == {"accuracy: naive - rag", "accuracy: hybrid-4 - naive"}


def test_the_numbers_of_raft_give_the_gains_that_its_text_names():
    table = load_papers()["practise-reading"]["published"]
    for data, over, gain in (
        ("HotPot", "RAG", 35.25),
        ("Torch Hub", "RAG", 76.35),
        ("HotPot", "DSF + RAG", 30.87),
        ("HuggingFace", "DSF + RAG", 31.41),
    ):
        assert table[data]["RAFT"] - table[data][over] == pytest.approx(gain)


FLAGS = ("style", "joint", "cited", "abstained", "prompt_tokens", "output_tokens")


def answered(arm: str, correct: list[int], retrieved: list[int], seed: int = 0) -> list[dict]:
    kinds = ["single fact", "two-hop"]
    return [
        {"id": f"q{n}", "kind": kinds[n % 2], "arm": arm, "seed": seed, "answerable": True, "correct": right, "retrieved": found}
        | dict.fromkeys(FLAGS, 0)
        for n, (right, found) in enumerate(zip(correct, retrieved, strict=True))
    ]  # fmt: skip


ANSWERS = pd.DataFrame(
    answered("rag", [1, 0, 1, 0], [1, 1, 1, 0])
    + answered("tuned", [0, 1, 0, 0], [0, 0, 0, 0])
    + answered("tuned", [0, 1, 0, 1], [0, 0, 0, 0], seed=1)
)


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("accuracy: rag", 0.5),
        ("accuracy: rag - tuned", 0.125),
        ("accuracy: tuned - rag (two-hop)", 0.75),
        ("style: tuned", 0.0),
    ],
)
def test_a_figure_is_what_its_name_says(name, mean):
    found = figure(ANSWERS, name)
    assert found.mean == pytest.approx(mean) and found.low <= found.mean <= found.high


@pytest.mark.parametrize("name", ["accuracy", "accuracy rag", "accuracy: base", "accuracy: rag (growth)"])
def test_a_figure_without_answers_is_refused(name):
    with pytest.raises(LabError, match=r"accuracy"):
        figure(ANSWERS, name)


def test_search_and_reader_share_the_blame():
    told = blame(ANSWERS)
    assert told["accuracy where all was found: rag"].mean == pytest.approx(2 / 3)
    assert told["found but answered wrong: rag"].mean == pytest.approx(1 / 4)
    assert told["something was missed: rag"].mean == pytest.approx(1 / 4)
    assert told["accuracy where all passages were found minus where one was missed: rag"].mean == pytest.approx(2 / 3)
    # Either arm: questions 0 and 2 by rag, 1 by tuned, 3 by tuned with one of two seeds.
    assert told["accuracy of either: rag or tuned minus the better alone"].mean == pytest.approx(3.5 / 4 - 0.5)


def test_a_figure_is_the_bootstrap_of_its_metric_question_by_question():
    right = ANSWERS[ANSWERS.arm == "rag"].correct.to_numpy(float)
    assert figure(ANSWERS, "accuracy: rag") == bootstrap_mean(right)
    tuned = ANSWERS[ANSWERS.arm == "tuned"].groupby("id").correct.mean().to_numpy()
    assert figure(ANSWERS, "accuracy: rag - tuned") == paired_bootstrap(right, tuned).interval


def test_one_passage_of_two_is_a_miss_and_one_complete_question_is_enough():
    answers = pd.DataFrame(answered("rag", [1, 0, 0], [1, 0.5, 0]) + answered("tuned", [0, 0, 0], [0, 0, 0]))
    shares = {name: value.mean for name, value in blame(answers).items()}
    assert shares["accuracy where all was found: rag"] == 1
    assert shares["accuracy where all passages were found minus where one was missed: rag"] == 1
    assert shares["something was missed: rag"] == pytest.approx(2 / 3)
    assert shares["found but answered wrong: rag"] == 0
    nothing = pd.DataFrame(answered("rag", [1, 0], [0.5, 0]) + answered("tuned", [0, 0], [0, 0]))
    assert blame(nothing)["accuracy where all was found: rag"].mean == 0
    lone = pd.DataFrame(answered("rag", [1, 1, 0], [1, 1, 0.5]) + answered("tuned", [0, 0, 1], [0, 0, 0]))
    found = blame(lone)
    assert found["accuracy where all passages were found minus where one was missed: rag"].mean == 1
    assert found["accuracy of either: rag or tuned minus the better alone"].mean == pytest.approx(1 / 3)


def test_a_resample_without_any_complete_question_counts_as_none_right():
    answers = pd.DataFrame(answered("rag", [1, 1], [1, 0]) + answered("tuned", [0, 0], [0, 0]))
    whole = blame(answers)["accuracy where all was found: rag"]
    assert (whole.mean, whole.low, whole.high) == (1, 0, 1)
