"""What every test runs under: no network but loopback, two threads or one beside another worker, no window.

pytest-socket guards this process (addopts in pyproject.toml); tests/offline every process that a test starts.
"""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

THREADS = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"  # threads of two workers would wait for each other
OFFLINE = str(Path(__file__).parent / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    OMP_NUM_THREADS=THREADS,  # read by torch and faiss when they are first imported, here and in child processes
    MKL_NUM_THREADS=THREADS,
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)
settings.register_profile("labkit", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("labkit")

# A suite started in the background inherits an ignored SIGINT, which the processes that tests interrupt would inherit too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """One folder of runs for all lessons, also of several workers: what one of them computed, the next ones find.

    Its parent's name shows in no kept notebook; pytest's own folder may lie elsewhere.
    """
    if not hasattr(config, "workerinput"):  # the workers inherit its name
        folder = TemporaryDirectory()
        os.environ["LESSONS_RUNS"] = str(Path(folder.name) / "runs")
        config.add_cleanup(folder.cleanup)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with most lessons first, then those with most slow tests: a worker that begins a long one last would end alone."""
    long = {
        mark: Counter(item.path for item in items if item.get_closest_marker(mark)) for mark in ("notebook", "slow")
    }
    items.sort(key=lambda item: (-long["notebook"][item.path], -long["slow"][item.path]))


@pytest.fixture(scope="session")
def with_vectors():
    """Let a folder of runs share the lessons' vectors: a test of something else need not embed all documents again."""
    vectors = Path(os.environ["LESSONS_RUNS"]) / "vectors"

    def link(folder: Path) -> Path:
        vectors.mkdir(parents=True, exist_ok=True)
        (folder / "vectors").symlink_to(vectors)
        return folder

    return link


@pytest.fixture
def lesson(monkeypatch):
    """Run a lesson at smoke size; gives all that its cells put out, each piece after its kind."""
    from tools import execute

    folder = Path(os.environ["LESSONS_RUNS"]).parent
    monkeypatch.setenv("LABKIT_RUNS", os.environ["LESSONS_RUNS"])

    def run(stem: str) -> str:
        source = next(path for path in execute.sources() if path.stem == stem)
        made = execute.execute(source, folder / f"{stem}.ipynb", {"SIZE": "smoke"}, progress=False)
        outputs = [one for cell in json.loads(made.read_text("utf-8"))["cells"] for one in cell.get("outputs", [])]
        pieces = [(one.get("name"), one["text"]) for one in outputs if "text" in one]
        pieces += [(kind, text) for one in outputs for kind, text in one.get("data", {}).items()]
        said = "".join(f"[{kind}]\n{''.join(text)}\n" for kind, text in pieces)
        assert str(folder) not in said
        return said

    return run
