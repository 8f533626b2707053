"""The report of a folder names every file, what is wrong with it and what to do."""

import json

import pandas as pd
import pytest

from labkit import LabError
from labkit.rag.ingest import ingest
from labkit.rag.quarantine import verdicts, write_quarantine


@pytest.fixture
def found(tmp_path):
    for name, text in {"good.txt": "words", "empty.md": "", "bad, very.pdf": "no", "größe.xyz": "x"}.items():
        (tmp_path / name).write_text(text)
    return ingest(tmp_path, progress=False)


def test_every_file_has_a_verdict_and_every_bad_one_a_remedy(found):
    table = verdicts(found).set_index("file")
    assert table.verdict.to_dict() == {
        "bad, very.pdf": "broken", "empty.md": "empty", "größe.xyz": "unsupported", "good.txt": "loaded",
    }  # fmt: skip
    bad = table[table.verdict != "loaded"]
    assert bad.wrong.astype(bool).all() and bad.remedy.astype(bool).all()
    assert not table.loc["good.txt", ["wrong", "remedy"]].any()


def test_the_quarantine_is_written_as_csv_and_as_json(found, tmp_path):
    write_quarantine(found, tmp_path / "out" / "left.csv")
    write_quarantine(found, tmp_path / "out" / "left.json")
    rows = json.loads((tmp_path / "out" / "left.json").read_text("utf-8"))
    assert pd.read_csv(tmp_path / "out" / "left.csv").to_dict("records") == rows
    assert [row["file"] for row in rows] == ["bad, very.pdf", "empty.md", "größe.xyz"]


def test_a_report_of_unknown_kind_is_an_error(found, tmp_path):
    with pytest.raises(LabError, match="csv or .json"):
        write_quarantine(found, tmp_path / "left.xlsx")
