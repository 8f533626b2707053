"""The recipe's curve asks development questions only, and its page shows what was measured."""

import csv
import json

from labkit.data import data_folder
from labkit.store import ROOT
from tools import recipe


def test_only_development_questions_are_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    with open(data_folder() / "prose" / "questions.csv", encoding="utf-8", newline="") as file:
        split = {row["question"]: row["split"] for row in csv.DictReader(file)}
    lab = recipe.development()
    assert {split[item.question] for item in lab.questions} == {"dev"}
    assert {split[item.question] for item in lab.pairs} == {"train"}
    assert len(lab.questions) == list(split.values()).count("dev")


def test_the_page_shows_what_was_measured():
    points = json.loads(recipe.RESULT.read_text("utf-8"))
    assert [point["arm"] for point in points] == ["base", "rag", *(arm for arm, _ in recipe.GRID)]
    assert recipe.table(points) in (ROOT / "docs" / "models.md").read_text("utf-8")
    assert recipe.table(points).count("**") == 4  # the profile's own epochs and rows
