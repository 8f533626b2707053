"""What this machine has and lacks, one line for each thing that could go wrong, and the remedy."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labkit import LabError, doctor
from labkit.cli import app
from labkit.doctor import NEEDS, Check, adapters, answering, examine, minutes, pins, port
from labkit.profile import POCKET, PROFILES
from labkit.store import ROOT


@pytest.fixture(scope="module")
def here() -> dict[str, Check]:
    return {check.name: check for check in examine()}


def test_what_is_here_is_found_and_what_is_not_has_a_remedy(here, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "adapters", lambda: Check("adapters", False, "none", "train them"))
    bare = {check.name: check for check in examine(tmp_path)}
    for name in ("Python", "packages", "writable", "data", "adapters"):
        assert here[name].good, here[name]
    assert all(check.good or check.remedy for check in here.values())
    assert not bare["data"].good and bare["data"].required and "models/pocket/config.json" in bare["data"].seen
    assert str(bare["data"]).startswith("FAILS  data: ") and not here["adapters"].required


def test_the_profiles_that_run_here_are_told(here):
    assert NEEDS.keys() == PROFILES.keys()
    assert here["profile pocket"].good and here["profile pocket"].seen == "can run"
    assert here["profile gpu"].good == ("lacks" not in here["profile gpu"].seen)
    assert not any(here[f"profile {name}"].required for name in NEEDS)


@pytest.mark.parametrize("good, required, status", [(True, True, 0), (False, False, 0), (False, True, 1)])
def test_the_status_says_whether_anything_required_is_missing(monkeypatch, good, required, status):
    monkeypatch.setattr(doctor, "examine", lambda workshop: [Check("disk", good, "1 GiB", "make room", required)])
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == status and done.stderr == "" and "disk: 1 GiB" in done.stdout
    assert ("-> make room" in done.stdout) == (not good)


def test_packages_hold_the_projects_pins_and_another_version_is_named(tmp_path):
    assert pins(ROOT / "constraints.txt").good
    wrong = tmp_path / "constraints.txt"
    wrong.write_text(f"# pins\ntyper==0.0.1\nrich=={version('rich')}\nnever-installed==1.0\n")
    assert pins(wrong).seen == f"typer {version('typer')}, not 0.0.1" and pins(wrong).remedy
    assert not pins(tmp_path / "none.txt").good and "git clone" in pins(tmp_path / "none.txt").remedy


def test_a_taken_port_is_passed_over_and_no_free_port_is_told(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", range(number, number + 20))
        assert port().good and int(port().seen) > number
        monkeypatch.setattr(doctor, "PORTS", range(number, number + 1))
        assert not port().good and port().seen == f"none of {number} to {number} can be bound"


@pytest.mark.slow
def test_adapters_of_another_model_do_not_count(tmp_path, monkeypatch):
    assert adapters().good
    model = tmp_path / "pocket"
    shutil.copytree(ROOT / POCKET.model, model)
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    monkeypatch.setitem(PROFILES, "pocket", replace(POCKET, model=str(model)))
    found = adapters()
    assert not found.good and "not trained yet" in found.seen and "trains them" in found.remedy


def test_a_notebook_that_does_not_run_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(doctor, "CELL", "import labkit; raise labkit.LabError('no memory: close programs')")
    with pytest.raises(LabError, match="^LabError: no memory: close programs$"):
        answering()


def docs(folder: Path, **seconds: float) -> Path:
    (folder / "teaching").mkdir()
    pages = {
        "index": "# All\n{{ s00 }}",
        "short": "# Short\n{{ s00 }} {{ s00 }} {{ s05 }}",
        "long": "# Long\n{{ s09 }}",
    }
    for name, text in pages.items():
        (folder / "teaching" / f"{name}.md").write_text(text)
    times = {f"{name[1:]}_topic": {"seconds": value, "cpus": 2} for name, value in seconds.items()}
    (folder / "times.json").write_text(json.dumps(times))
    (folder / "result.json").write_text(json.dumps({"arms": {"rag": {"latency_ms_p50": {"mean": 200.0}}}}))
    return folder


def test_minutes_are_those_measured_times_how_much_slower_this_machine_answers(tmp_path):
    assert minutes(docs(tmp_path, s00=60, s05=240, s10=1), 400.0) == "of short about 10 min"


def test_minutes_of_lessons_that_were_not_measured_are_not_told(tmp_path):
    assert minutes(docs(tmp_path, s00=60), 400.0) == "the lessons' times are not measured yet"
    assert minutes(tmp_path / "none", 400.0) == "the lessons' times come with a clone of the course"


@pytest.mark.slow
def test_the_day_before_a_workshop_a_wrong_package_fails_and_a_notebook_runs(tmp_path):
    older = tmp_path / "rich-1.0.dist-info"
    older.mkdir()
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: rich\nVersion: 1.0\n")
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])}
    words = [sys.executable, "-c", "from labkit.cli import app; app()", "doctor", "--workshop"]
    done = subprocess.run(words, cwd=ROOT, env=known, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert [line.split(": ")[0] for line in lines if line.startswith("FAILS")] == ["FAILS  packages", "FAILS  pins"], (
        lines
    )
    assert all("-> run make compare" in line for line in lines if line.startswith("FAILS"))
    told = {line[7:].split(": ")[0]: line for line in lines}
    assert told["adapters"].startswith("ok") and told["JupyterLab's port"].startswith("ok")
    assert "ms" in told["a notebook"] and told["computing"]
