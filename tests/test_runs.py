"""Every run has a folder of its own, and what leads to the latest one changes in one step."""

import json
import sys

import pytest

from labkit import LabError
from labkit.runs import kernel_options, new_folder, point


def test_a_folder_in_the_links_place_is_kept_aside(tmp_path):
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine.txt").write_text("kept")
    (tmp_path / "new").mkdir()
    point(tmp_path / "latest", tmp_path / "new")
    assert (tmp_path / "latest").resolve() == tmp_path / "new"
    assert [path.read_text() for path in tmp_path.glob("*/before/mine.txt")] == ["kept"]


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path):
    folders = [new_folder(tmp_path / "runs") for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.is_dir() for folder in folders)


def test_a_place_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(LabError, match="cannot write to .*taken: .*; choose another folder"):
        new_folder(tmp_path / "taken")


def test_a_kernel_is_this_interpreter_s_whatever_lies_on_jupyter_path(tmp_path, monkeypatch):
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    rogue = {"argv": ["/usr/bin/another", "-f", "{connection_file}"], "display_name": "Rogue", "language": "python"}
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(json.dumps(rogue))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert kernel_options()["kernel_manager_class"](kernel_name="python3").kernel_spec.argv[0] == sys.executable
