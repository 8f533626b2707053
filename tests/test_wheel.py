"""A wheel carries what it needs: the comparison runs far from any checkout."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from labkit.profile import POCKET
from labkit.store import ROOT


@pytest.mark.slow
def test_the_comparison_runs_from_a_wheel_outside_the_checkout(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("labkit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    known = {key: value for key, value in os.environ.items() if key != "LABKIT_RUNS"}
    path = os.pathsep.join([str(tmp_path / "installed"), known.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", "from labkit.cli import app; app()", "compare"]
    command += ["--profile", "pocket", "--size", "smoke"]
    done = subprocess.run(command, cwd=elsewhere, env={**known, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads((elsewhere / "runs" / "compare" / "latest" / "result.json").read_text("utf-8"))
    assert tuple(result["arms"]) == POCKET.arms
    assert not list((tmp_path / "installed" / "labkit" / "shipped").glob("runs"))
    assert not (tmp_path / "installed" / "labkit" / "shipped" / "data" / "make").exists()
