"""Lessons in Colab: a badge, one setup cell, and a torch that pip leaves alone."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from labkit import LabError
from tools.colab import add_link, copy, export, link, plan
from tools.execute import sources
from tools.notebooks import target


def metadata(folder, name, version, *needs):
    made = folder / f"{name}-{version}.dist-info"
    made.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
    (made / "METADATA").write_text("\n".join(lines) + "\n")
    (made / "RECORD").write_text("")
    (made / "INSTALLER").write_text("pip\n")


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """A Python path on which another torch, and Colab's own package, come before what is installed here."""
    metadata(tmp_path, "torch", "2.9.0+cu126")
    metadata(tmp_path, "google_colab", "1.0.0", "pandas==2.2.2", "rich; extra == 'x'", "never-installed")
    monkeypatch.syspath_prepend(tmp_path)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])}


def test_copies_of_all_lessons_are_notebooks_with_badge_and_setup_in_front(tmp_path):
    export("owner/repo", tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(source.stem for source in sources())
    made = nbformat.read(tmp_path / "05_retrieve.ipynb", as_version=4)
    nbformat.validate(made)
    assert link("owner/repo", "05_retrieve") in made.cells[0].source
    assert "git clone -q --depth 1 https://github.com/owner/repo ~/labkit" in made.cells[1].source
    kept = next(target(source) for source in sources() if source.stem == "05_retrieve")
    assert made.cells[2:] == nbformat.read(kept, as_version=4).cells


def test_a_page_of_the_site_gets_a_link_below_its_title(tmp_path):
    path = tmp_path / "05_retrieve.ipynb"
    path.write_bytes(target(next(source for source in sources() if source.stem == path.stem)).read_bytes())
    add_link(path, "owner/repo")
    title, linked, *_ = nbformat.read(path, as_version=4).cells
    assert title.source.startswith("# 05") and linked.source == f"[Open in Colab]({link('owner/repo', path.stem)})"


@pytest.mark.parametrize("repository", ["", "owner", "owner/repo/more", "owner/repo; rm -rf x"])
def test_what_is_no_repository_is_refused(repository):
    with pytest.raises(LabError, match="give OWNER/REPO"):
        copy({"cells": []}, repository, "05_retrieve")


def test_the_plan_keeps_torch_and_what_colab_asks_for_and_brings_no_server(colab):
    wanted, kept = plan()
    assert "torch==2.9.0+cu126" in kept and any(line.startswith("pandas==") for line in kept)
    assert not any(line.startswith("never") for line in kept)
    assert not {"torch", "jupyterlab", "ipykernel"} & {line.split(">")[0].split("=")[0] for line in wanted}
    assert any(line.startswith("transformers>=") for line in wanted)


def test_pip_would_not_touch_a_torch_of_another_version(colab, tmp_path):
    wanted, kept = plan()
    (tmp_path / "kept.txt").write_text("\n".join(kept))
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-q"]
    report = tmp_path / "report.json"
    install = [*pip, "--report", report, "-c", tmp_path / "kept.txt", *wanted]
    done = subprocess.run(install, env=colab, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["install"] == []
    pinned = [*pip, "--no-deps", "-c", tmp_path / "kept.txt", "torch==2.13.0"]
    refused = subprocess.run(pinned, env=colab, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode != 0
