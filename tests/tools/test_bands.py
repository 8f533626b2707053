"""A comparison run elsewhere is held against the published one by bands."""

import json
from copy import deepcopy

from labkit.compare.tables import published
from labkit.store import ROOT
from tools.bands import PUBLISHED, main, outside
from tools.notebooks import results_table


def test_the_published_result_is_within_its_own_bands_and_a_lost_arm_is_not(tmp_path, monkeypatch):
    published = json.loads(PUBLISHED.read_text("utf-8"))
    assert published["size"] == "full" and outside(published, published) == []
    worse = deepcopy(published)
    worse["arms"]["rag"]["accuracy"]["mean"] -= 0.3
    worse["arms"]["rag"]["recall_at_k"]["mean"] -= 0.3
    del worse["arms"]["hybrid"]
    told = outside(worse, published)
    assert any(line.startswith("rag, accuracy") for line in told)
    assert any(line.startswith("rag, recall_at_k") for line in told)
    assert any(line.startswith("hybrid, joint: None") for line in told)
    path = tmp_path / "result.json"
    path.write_text(json.dumps(worse))
    assert (main(str(PUBLISHED)), main(str(path)), main(str(tmp_path / "none.json"))) == (0, 1, 2)
    newest = tmp_path / "compare" / "latest" / "result.json"
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    newest.parent.mkdir(parents=True)
    path.rename(newest)
    assert main() == 1


def test_readme_shows_the_published_result():
    assert results_table(published()) in (ROOT / "README.md").read_text("utf-8")
    assert PUBLISHED.is_file() and "pocket, company" in published()
