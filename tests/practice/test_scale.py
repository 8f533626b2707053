"""A sweep gives one row a cell, goes on where it was stopped, and on two Ray nodes gives the table that it gives here."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from labkit import LabError
from labkit.practice.scale import (
    COLUMNS,
    RETRIEVAL,
    Cell,
    Grid,
    embed_folder,
    key,
    read_grid,
    run_at,
    run_cell,
    sweep,
)
from labkit.store import ROOT

LABKIT = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')"]
HEAD, WORKER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def inside(small, monkeypatch):
    """This process works on the small company too."""
    for name in ("LABKIT_DATA", "LABKIT_RUNS"):
        monkeypatch.setenv(name, small[name])


def labkit(environment, *words):
    """The command in a process of its own, whose data is another company's."""
    done = subprocess.run(
        [*LABKIT, *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done


def swept(environment, out, *words):
    labkit(environment, "sweep", grid_of(environment), "--out", out, *words)
    return table(out)


def grid_of(environment) -> Path:
    return Path(environment["LABKIT_DATA"], "grid.yaml")


def table(out) -> pd.DataFrame:
    return pd.read_csv(out / "table.csv", keep_default_na=False)


def cells_in(out) -> list[Path]:
    return sorted(path.parent for path in (out / "cells").glob("*/manifest.json"))


def until(true, process, seconds=300):
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def plain(small, tmp_path_factory):
    """The folder of the experiment swept in one process, without Ray."""
    out = tmp_path_factory.mktemp("plain")
    swept(small, out)
    return out


def test_an_arm_has_one_cell_for_all_settings_that_it_does_not_use():
    grid = Grid(k=[3, 5], chunk_sizes=[64, 96], arms=["base", "rag", "tuned"], seeds=[0, 1])
    cells = grid.cells()
    assert [cell.arm for cell in cells].count("base") == 1
    assert [cell.arm for cell in cells].count("rag") == 4
    assert [cell.seed for cell in cells if cell.arm == "tuned"] == [0, 1]
    assert len(cells) == len(set(cells)) == 7
    assert read_grid(ROOT / "data" / "sweeps" / "small.yaml").cells()


@pytest.mark.parametrize(
    "text, said",
    [
        ("chunks: [64]", "chunks: Extra inputs are not permitted"),
        ("k: [0]", "k.0: Input should be greater than or equal to 1"),
        ("overlaps: [15]", "overlaps.0: Input should be less than 1"),
        ("arms: [ragg]", "unknown arm 'ragg'"),
        ("profiles: [pockt]", "unknown profile 'pockt'"),
        ("k: [", "cannot read"),
        ("", "the file: Input should be"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_it(tmp_path, text, said):
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(LabError, match=re.escape(said)) as told:
        read_grid(tmp_path / "grid.yaml")
    assert "\n" not in str(told.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(LabError, match="cannot read .*none.yaml"):
        read_grid(tmp_path / "none.yaml")


@pytest.mark.slow
def test_every_cell_is_a_row_with_what_was_measured(plain):
    rows = table(plain)
    assert list(rows.columns) == COLUMNS and len(rows) == len(cells_in(plain)) == 8
    assert [cell.name for cell in cells_in(plain)] == sorted(json.loads((plain / "result.json").read_text())["cells"])
    assert (rows.n > 0).all()
    assert (rows.error == "").all() and (rows.seconds > 0).all()
    searched, answered = rows[rows.arm == RETRIEVAL], rows[rows.arm == "rag"]
    assert (searched.accuracy == "").all() and answered.accuracy.astype(float).between(0, 1).all()
    recall = searched.pivot(index="chunk_size", columns="k", values="recall_at_k").astype(float)
    assert (recall[3] >= recall[1]).all() and recall[3].max() > 0, "more passages never hold fewer facts"
    assert list(searched.recall_at_k) == pytest.approx(list(answered.recall_at_k)), "one search, whoever measures it"


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_and_measures_nothing_twice(small, plain, tmp_path):
    words = ["sweep", str(grid_of(small)), "--out", str(tmp_path)]
    fresh = {**small, "LABKIT_RUNS": str(tmp_path / "runs")}  # no answer is remembered from the plain sweep
    process = subprocess.Popen([*LABKIT, *words], cwd=ROOT, env=fresh)
    until(lambda: len(cells_in(tmp_path)) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {cell.name: cell.joinpath("row.json").read_bytes() for cell in cells_in(tmp_path)}
    assert 2 <= len(before) < 8 and not (tmp_path / "table.csv").exists()
    rows = swept(fresh, tmp_path)
    assert len(cells_in(tmp_path)) == 8
    assert all((tmp_path / "cells" / name / "row.json").read_bytes() == row for name, row in before.items())
    assert rows.drop(columns="seconds").equals(table(plain).drop(columns="seconds"))


def test_a_cell_that_fails_is_a_row_with_its_error_and_is_tried_again(inside, tmp_path):
    grid = Grid(methods=["bm25", "rerank"], k=[1], arms=[RETRIEVAL], size="smoke")
    for _ in range(2):
        rows = sweep(grid, tmp_path, progress=False)
        assert list(rows.error == "") == [True, False] and "rerank" in rows.error[1]
        assert len(cells_in(tmp_path)) == 1 and len(table(tmp_path)) == 2
    damaged = cells_in(tmp_path)[0] / "row.json"
    damaged.write_text(damaged.read_text().replace('"error": ""', '"error": "no"'))
    with pytest.warns(UserWarning, match="damaged"):
        assert sweep(grid, tmp_path, progress=False).error[0] == "", "a damaged cell is measured again"


def test_any_exception_in_a_cell_is_told_on_one_line(inside):
    made = run_cell(Cell("pocket", 96, 0.1, "bm25", 3, RETRIEVAL, None, "medium", None))
    assert made["error"].startswith("unknown size 'medium'") and made["n"] is None and list(made) == COLUMNS


def test_a_machine_with_other_code_or_data_refuses_a_cell(inside):
    [cell] = Grid(arms=[RETRIEVAL], size="smoke").cells()
    made = run_cell(cell, key(cell)[::-1])
    assert made["error"].endswith("install the same checkout there") and made["n"] is None


@pytest.mark.slow
def test_a_trained_arm_is_trained_with_the_seed_of_its_cell(inside, tmp_path):
    rows = sweep(Grid(arms=["tuned"], seeds=[3, 4], size="smoke", questions=2), tmp_path, progress=False)
    assert list(rows.seed) == [3, 4] and list(rows.error) == ["", ""] and rows.k.isna().all()
    trained = {path.parent for path in Path(os.environ["LABKIT_RUNS"], "artifacts").glob("*/adapter_config.json")}
    assert len(trained) == 2


def test_embedding_names_what_it_left_out_and_what_it_cannot_do(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.txt").write_text("")
    with pytest.raises(LabError, match="nothing in .* can be read: empty.txt is empty"):
        embed_folder(tmp_path / "in", tmp_path / "out.parquet", progress=False)
    (tmp_path / "in" / "lamp.md").write_text("# Lamps\n\nThe Amber lamp weighs two kilograms.\n")
    with pytest.raises(LabError, match="must end in .parquet"):
        embed_folder(tmp_path / "in", tmp_path / "out.npy", progress=False)
    capsys.readouterr()
    assert embed_folder(tmp_path / "in", tmp_path / "out.parquet", progress=False) == (1, 384)
    assert "empty.txt" in capsys.readouterr().err
    [row] = pd.read_parquet(tmp_path / "out.parquet").itertuples()
    assert row.document_id == "lamp.md" and "Amber lamp" in row.text and np.linalg.norm(row.vector) == pytest.approx(1)


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def tree(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        above = psutil.Process(process.pid)
        return [above, *above.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(process: subprocess.Popen) -> None:
    """The machine's power fails."""
    doomed = tree(process)
    for one in doomed:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    assert not psutil.wait_procs(doomed, timeout=60)[1]


def working(node: subprocess.Popen, title: str) -> bool:
    """Whether a process of this node runs something of this name; Ray writes it into the process's title."""
    for one in tree(node):
        try:
            if title in " ".join(one.cmdline()):
                return True
        except psutil.Error:
            continue
    return False


class Cluster:
    """A head and a worker with a processor each, started by `ray start` on two addresses of loopback."""

    def __init__(self, environment, folder):
        slow = {
            "RAY_raylet_start_wait_time_s": "300",
            "RAY_worker_register_timeout_seconds": "300",
            "RAY_worker_niceness": "0",
        }
        own = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0" * 64,
            "LABKIT_RUNS": str(folder / "runs"),
        }
        self.environment, self.folder, self.nodes = {**environment, **slow, **own}, folder, {}
        [self.port] = free_ports(1)
        self.address = f"{HEAD}:{self.port}"

    def begin(self):
        self.start(HEAD, "--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        self.start(WORKER, f"--address={self.address}")

    def start(self, address, *words):
        agents = ("metrics-export", "dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent")
        ports = [f"--{name}-port={port}" for name, port in zip(agents, free_ports(4), strict=True)]
        sizes = ["--num-cpus=1", "--object-store-memory=80000000", "--include-log-monitor=false", "--block"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--node-ip-address={address}"]
        log = self.folder / f"{address}.log"
        with open(log, "w") as told:
            options = {"env": self.environment, "stdout": told, "stderr": told, "start_new_session": True}
            self.nodes[address] = subprocess.Popen([*command, *sizes, *ports, *words], **options)
        until(lambda: self.patient() or "Ray runtime started" in log.read_text(), self.nodes[address])

    def patient(self) -> None:
        """Tell each raylet what its agent will: that there is no dashboard. It dies where that takes over 15 seconds.

        On a busy machine it does (https://github.com/ray-project/ray/issues/65983).
        """
        for log in self.folder.glob("session_2*/logs/raylet*.out"):
            for node in re.findall(r"Setting node ID node_id=(\w+)", log.read_text()):
                (log.parent.parent / f"dashboard_agent_listen_port_{node}").write_text("-1")

    def end(self):
        for node in self.nodes.values():
            kill(node)


@pytest.fixture(scope="module")
def cluster(small):
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Cluster(small, Path(folder))
        try:
            made.begin()
            yield made
        finally:
            made.end()


@pytest.mark.cluster
def test_vectors_from_two_nodes_are_those_of_one_process_in_the_same_order(cluster, tmp_path):
    documents = Path(cluster.environment["LABKIT_DATA"], "documents")
    chunks, _ = embed_folder(documents, tmp_path / "here.parquet", progress=False)
    words = ["embed", documents, "--out", tmp_path / "there.parquet", "--address", cluster.address]
    told = labkit(cluster.environment, *words).stdout
    here, there = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("here", "there"))
    kept = {str(path.relative_to(documents)) for path in documents.rglob("*.html")}
    assert here.drop(columns="vector").equals(there.drop(columns="vector")) and set(here.document_id) == kept
    cosines = (np.stack(here.vector) * np.stack(there.vector)).sum(1)
    assert cosines == pytest.approx(1, abs=1e-3)
    assert told == f"{chunks} chunks, vectors of 384 numbers: {tmp_path / 'there.parquet'}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.parquet", "there.parquet"]


@pytest.mark.cluster
def test_a_worker_killed_mid_sweep_costs_nothing_and_doubles_nothing(cluster, plain, tmp_path):
    words = ["sweep", str(grid_of(cluster.environment)), "--out", str(tmp_path), "--address", cluster.address]
    process = subprocess.Popen([*LABKIT, *words], cwd=ROOT, env=cluster.environment, stderr=subprocess.PIPE, text=True)
    worker = cluster.nodes[WORKER]
    until(lambda: working(worker, "ray::run_cell"), process)
    kill(worker)
    killed_at = len(cells_in(tmp_path))
    assert process.wait(timeout=500) == 0, process.stderr.read()
    process.stderr.close()
    rows = table(tmp_path)
    assert killed_at < 8 and len(rows) == len(cells_in(tmp_path)) == 8
    assert rows.drop(columns="seconds").equals(table(plain).drop(columns="seconds"))
    told = (tmp_path / "table.csv").read_bytes()
    swept(cluster.environment, tmp_path)
    assert (tmp_path / "table.csv").read_bytes() == told, "nothing is measured again, not even its seconds"


def test_no_cluster_there_is_one_line():
    [port] = free_ports(1)
    with pytest.raises(LabError, match=f"no Ray cluster at '{HEAD}:{port}'"):
        next(run_at([], f"{HEAD}:{port}"))


def test_a_cluster_of_its_own_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    with pytest.raises(LabError, match=r"no Ray cluster at 'local' \(.*Not a directory.*\): try again when"):
        next(run_at([], "local"))
