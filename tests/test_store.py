"""What the store trusts: only whole, unchanged folders, whatever was killed and whoever else was writing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from labkit import LabError, store

ADDRESS = store.address(model="m", seed=1)


def build(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "a.bin").write_bytes(b"abc")
    (folder / "note.txt").write_text("made")


@dataclass(frozen=True)
class Setting:
    rank: int = 8


def test_an_address_depends_on_the_parts_and_nothing_else():
    assert store.address(a=1, b=[1, 2]) == store.address(b=[1, 2], a=1)
    assert store.address(a=Setting()) == store.address(a={"rank": 8}) != store.address(a=Setting(4))
    assert store.address(a=1) != store.address(a="1") != store.address(a=1.5)
    for part in (Path("x"), float("nan"), {1, 2}):
        with pytest.raises(LabError, match="no content address"):
            store.address(part=part)


def test_hashes_follow_contents(tmp_path):
    build(tmp_path)
    before = store.hash_tree(tmp_path)
    os.utime(tmp_path / "note.txt", (1, 1))
    (tmp_path / "empty").mkdir()
    assert store.hash_tree(tmp_path) == before
    (tmp_path / "note.txt").rename(tmp_path / "renamed.txt")
    assert store.hash_tree(tmp_path) != before
    assert store.hash_file(tmp_path / "weights" / "a.bin").startswith("ba7816bf")
    (tmp_path / "link").symlink_to(tmp_path / "renamed.txt")
    with pytest.raises(LabError, match="link"):
        store.hash_tree(tmp_path)
    with pytest.raises(LabError, match="not a folder"):
        store.hash_tree(tmp_path / "missing")


def test_a_failed_write_keeps_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "result.json"
    store.write_json(path, {"schema": 1, "name": "é"})
    with pytest.raises(ValueError):
        store.write_json(path, {"value": float("nan")})
    with pytest.raises(TypeError):
        store.write_bytes(path, "text")
    assert json.loads(path.read_text("utf-8")) == {"schema": 1, "name": "é"}
    assert [item.name for item in path.parent.iterdir()] == ["result.json"]


def test_commit_builds_once_and_fresh_builds_again(tmp_path):
    shelf, calls = store.Store(tmp_path), []

    def counted(folder):
        calls.append(folder)
        build(folder)

    assert shelf.find(ADDRESS) is None
    folder = shelf.commit(ADDRESS, counted)
    assert shelf.commit(ADDRESS, counted) == folder == shelf.find(ADDRESS)
    assert len(calls) == 1 and (folder / "weights" / "a.bin").read_bytes() == b"abc"
    assert shelf.commit(ADDRESS, counted, fresh=True) == folder and len(calls) == 2
    assert sorted(item.name for item in tmp_path.iterdir()) == [".locks", ADDRESS]


def test_a_fresh_run_makes_all_again_and_goes_on_where_it_was_stopped(tmp_path):
    built = []

    def ask(artifacts, seed):
        artifacts.folder(lambda folder: (build(folder), built.append(seed)), seed=seed)

    def run(*seeds, fresh=True):
        artifacts = store.Artifacts(tmp_path, tmp_path / "none", fresh)
        for seed in seeds:
            ask(artifacts, seed)
        return artifacts

    run(1, 2, fresh=False)
    run(1)  # and is stopped
    run(1, 2, 2).finish()
    assert built == [1, 2, 1, 2]
    run(1).finish()
    assert built == [1, 2, 1, 2, 1]


def spoil_contents(folder):
    (folder / "note.txt").write_text("other")


def remove_a_file(folder):
    (folder / "note.txt").unlink()


def add_a_file(folder):
    (folder / "planted.py").write_text("")


def cut_the_manifest(folder):
    manifest = folder / store.MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-20])


def manifest_of_another(folder):
    store.write_json(folder / store.MANIFEST, {**json.loads((folder / store.MANIFEST).read_text()), "address": "x"})


def manifest_of_another_shape(folder):
    store.write_json(folder / store.MANIFEST, [1])


def file_becomes_a_link(folder):
    (folder / "note.txt").rename(folder.parent / "note.txt")
    (folder / "note.txt").symlink_to(folder.parent / "note.txt")


@pytest.mark.parametrize(
    "damage",
    [
        spoil_contents,
        remove_a_file,
        add_a_file,
        cut_the_manifest,
        manifest_of_another,
        manifest_of_another_shape,
        file_becomes_a_link,
    ],
)
def test_a_damaged_folder_is_reported_and_made_again(tmp_path, damage):
    shelf = store.Store(tmp_path)
    damage(shelf.commit(ADDRESS, build))
    with pytest.warns(UserWarning, match="damaged and not used"):
        assert shelf.find(ADDRESS) is None
    with pytest.warns(UserWarning, match=ADDRESS[:12]):
        shelf.commit(ADDRESS, build)
    assert shelf.find(ADDRESS) is not None


def test_a_folder_without_its_manifest_does_not_exist(tmp_path):
    shelf = store.Store(tmp_path)
    (shelf.commit(ADDRESS, build) / store.MANIFEST).unlink()
    assert shelf.find(ADDRESS) is None
    assert (shelf.commit(ADDRESS, build) / store.MANIFEST).is_file()


def test_shipped_folders_are_used_only_when_whole_and_never_written(tmp_path):
    shipped, other = tmp_path / "shipped", store.address(seed=2)
    store.Store(shipped).commit(ADDRESS, build)
    before = store.hash_tree(shipped)
    shelf = store.Store(tmp_path / "runs", shipped)
    assert shelf.find(ADDRESS) == shipped / ADDRESS
    assert shelf.find(other) is None
    assert shelf.commit(ADDRESS, build).parent == tmp_path / "runs" and shelf.find(ADDRESS).parent != shipped
    assert store.hash_tree(shipped) == before
    spoil_contents(shipped / ADDRESS)
    with pytest.warns(UserWarning, match="damaged"):
        assert store.Store(tmp_path / "elsewhere", shipped).find(ADDRESS) is None


def test_an_error_while_building_leaves_nothing(tmp_path):
    def fails(folder):
        build(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.Store(tmp_path).commit(ADDRESS, fails)
    assert [item.name for item in tmp_path.iterdir()] == [".locks"]


CHILD = """
import sys, time
from pathlib import Path
from labkit import store

def build(folder):
    for n in range(40):
        (folder / f"{n:02d}.bin").write_bytes(bytes(20_000))
        print(n, flush=True)
        time.sleep(0.005)

store.Store(sys.argv[1]).commit(sys.argv[2], build)
print("done", flush=True)
"""


def start(root: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(root), ADDRESS], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("after", ["0", "20", "39"])
def test_killed_while_building_and_repeated(tmp_path, after):
    child = start(tmp_path)
    for line in child.stdout:
        if line.strip() == after:
            break
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    shelf = store.Store(tmp_path)
    assert shelf.find(ADDRESS) is None
    repeated = start(tmp_path)
    assert "done" in repeated.communicate()[0] and repeated.returncode == 0
    assert len(list(shelf.find(ADDRESS).glob("*.bin"))) == 40
    assert sorted(item.name for item in tmp_path.iterdir()) == [".locks", ADDRESS]


def test_killed_at_any_system_call_that_matters(tmp_path, monkeypatch):
    """Stop, as a kill would, before each of the steps that reach the disk; nothing is ever half trusted."""

    class Killed(BaseException):
        pass

    shelf, steps, whole = store.Store(tmp_path), [0], {"weights", "note.txt", store.MANIFEST}
    monkeypatch.setattr(store.Store, "_clear", lambda self, address: None)

    def dying(real, at):
        def step(*args, **kwargs):
            steps[0] += 1
            if steps[0] == at:
                raise Killed
            return real(*args, **kwargs)

        return step

    real = {name: getattr(os, name) for name in ("fsync", "replace", "rename")}
    for at in range(1, 20):
        steps[0] = 0
        for name, call in real.items():
            monkeypatch.setattr(os, name, dying(call, at))
        try:
            shelf.commit(ADDRESS, build)
            break
        except Killed:
            found = shelf.find(ADDRESS)
            assert found is None or {item.name for item in found.iterdir()} == whole
    assert 8 < at < 19 and {item.name for item in shelf.find(ADDRESS).iterdir()} == whole


def test_two_processes_end_with_one_good_folder(tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    said = [process.communicate()[0].split() for process in (first, second)]
    assert sorted(len(words) for words in said) == [1, 41]
    assert store.Store(tmp_path).find(ADDRESS) is not None


def test_a_waiting_thread_takes_what_the_first_made(tmp_path):
    calls = []

    def slow(folder):
        calls.append(folder)
        time.sleep(0.1)
        build(folder)

    threads = [threading.Thread(target=store.Store(tmp_path).commit, args=(ADDRESS, slow)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_provenance_names_what_made_a_result():
    made = store.provenance()
    assert json.loads(json.dumps(made)) == made
    assert made["packages"]["torch"].startswith("2.13.0") and made["cpus"] >= 1
    assert made["commit"] is None or len(made["commit"].partition("+")[0]) == 40


def test_peak_memory_counts_a_finished_child():
    before = store.peak_rss_mb()
    size = int(before) + 80
    subprocess.run([sys.executable, "-c", f"x = b'1' * ({size} << 20)"], check=True)
    assert size <= store.peak_rss_mb() <= size + 120
