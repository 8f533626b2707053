"""The project's own promises: pins agree, files are small and name no machine, README's commands exist."""

import ast
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import pytest_socket
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NEEDED = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
TESTING = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["test"]]
BIG = 1_000_000


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "a constraint is a name and one exact version"
    return {canonicalize_name(name): version for name, version in pairs}


def files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    raw = [(path.relative_to(ROOT).as_posix(), path.read_bytes()) for path in files()]
    return [(name, data.decode("utf-8", "ignore")) for name, data in raw if b"\0" not in data]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("needed", NEEDED + TESTING, ids=str)
def test_a_direct_dependency_is_bounded_and_pinned_within_its_range(needed):
    signs = {spec.operator for spec in needed.specifier}
    assert signs == {"=="} or signs == {">=", "<"}
    assert Version(pins()[canonicalize_name(needed.name)]) in needed.specifier


def test_pins_are_complete():
    """What is installed here, for any direct dependency or what it needs in turn, is pinned."""
    from importlib.metadata import PackageNotFoundError, requires

    waiting, seen = [canonicalize_name(need.name) for need in NEEDED + TESTING], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            below = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        waiting += [canonicalize_name(n.name) for n in below if not n.marker or n.marker.evaluate({"extra": ""})]
    assert seen - set(pins()) <= {"pip", "setuptools"}


def test_no_cuda_package_is_forced():
    assert pins()["torch"] == "2.13.0"
    assert not [name for name in pins() if re.match(r"nvidia|cuda|triton|kernels", name)]


def test_conda_installs_the_package_under_the_same_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, nested = environment["dependencies"]
    assert environment["channels"] == ["conda-forge"] and pip == "pip"
    assert nested == {"pip": ["-c constraints.txt", "-e .[stores]"]}
    assert python.startswith("python=")
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["project"]["requires-python"])


def test_python_versions_agree():
    floor = PROJECT["project"]["requires-python"].removeprefix(">=")
    major, minor = floor.split(".")
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{major}{minor}"
    assert f"sys.version_info < ({major}, {minor})" in (ROOT / "Makefile").read_text()
    assert f"Python {floor} or newer" in (ROOT / "Makefile").read_text()


def test_no_machine_path_and_no_package_host():
    home = r"(?<![\w.~<-])/(?:root|home|Users|work|tmp|opt|mnt|workspace)/\w"
    host = r"pythonhosted\.org|pypi\.org/simple|/simple/|index-url|find-links|trusted-host"
    this = "tests/test_project.py"
    found = [(name, hit[0]) for name, text in texts() if name != this and (hit := re.search(f"{home}|{host}", text))]
    assert not found


def test_no_large_file():
    large = [path.relative_to(ROOT).as_posix() for path in files() if path.stat().st_size > BIG]
    assert not [name for name in large if not name.startswith(("data/models/", "data/artifacts/"))]
    adapters = [path.stat().st_size for path in (ROOT / "data" / "artifacts").glob("*/adapter_model.safetensors")]
    assert max(adapters) <= 8 * 2**20 and sum(adapters) <= 40 * 2**20


def test_readme_names_only_targets_that_exist():
    readme = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"(?:^\s*\$? ?|`)make ([a-z]+)", readme, re.MULTILINE))
    assert {"compare", "test"} <= named <= targets()


def test_ci_runs_the_readme_test_command():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"


def test_help_lists_every_target():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z]+)", listed, re.MULTILINE)) == targets()


@pytest.mark.parametrize(
    "python, said",
    [("no-such-python", "is not installed"), ("./old", "is older"), ("./bare", "venv module is missing")],
)
def test_a_machine_that_cannot_make_the_environment_is_told_in_one_line(tmp_path, python, said):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name, fails_on in (("old", "version_info"), ("bare", "venv")):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\ncase "$2" in *{fails_on}*) exit 1;; esac\n')
        script.chmod(0o755)
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    words = ["make", "test", f"PYTHON={python}"]
    done = subprocess.run(words, cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert done.returncode != 0 and said in done.stdout and len(done.stdout.splitlines()) == 1


def test_import_is_light():
    heavy = "{'torch', 'transformers', 'faiss', 'scipy', 'pandas', 'matplotlib', 'langchain_core'}"
    code = f"import sys, labkit; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_windows_is_told_where_to_run_it():
    asked = [sys.executable, "-c", "import os; os.name = 'nt'; import labkit"]
    refused = subprocess.run(asked, capture_output=True, text=True)
    assert refused.stderr.splitlines()[-1].startswith("ImportError: ") and "WSL" in refused.stderr
    assert "WSL" in (ROOT / "README.md").read_text()


def test_modules_are_finished():
    sources = [(name, text) for name, text in texts() if re.match(r"(labkit|tools)/.*\.py$", name)]
    assert not [name for name, text in sources if re.search(r"\bTODO\b|\bFIXME\b|NotImplementedError", text)]


def words_of(name: str, text: str) -> str:
    """What people read in a file: a page or a lesson whole, of other code its strings."""
    if name.endswith(".py") and not name.startswith("notebooks/"):
        strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        text = "\n".join(value for value in strings if isinstance(value, str))
    return " ".join(re.sub(r"^# ", "", text, flags=re.M).lower().split())


def test_no_text_holds_a_turn_that_the_style_sheet_lists():
    table = (ROOT / "docs" / "style.md").read_text("utf-8").partition("## Turns to avoid")[2].partition("\n## ")[0]
    turns = re.findall(r"^\| ([a-z ]+) \| [a-z ]+ \|$", table, re.M)[1:]  # the first is the table's head
    assert len(turns) >= 30
    read = r"(README|CONTRIBUTING|CHANGELOG|docs/(?!style).+|data/(\w+/)*README)\.md|(labkit|tools|notebooks/source)/.+\.py"
    read_here = {name: words_of(name, text) for name, text in texts() if re.fullmatch(read, name)}
    assert {"README.md", "docs/method.md", "labkit/cli.py"} < set(read_here)
    found = [(n, t) for n, text in read_here.items() for t in turns if re.search(rf"\b{re.escape(t)}\b", text)]
    assert not found, "docs/style.md says what to write instead"


REACH_OUT = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"


@pytest.mark.filterwarnings("ignore:A test tried")
def test_the_network_is_closed_here_and_in_child_processes():
    with pytest.raises(pytest_socket.SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 9), timeout=1)
    done = subprocess.run([sys.executable, "-c", REACH_OUT], capture_output=True, text=True)
    assert done.returncode == 1 and "child process tried to reach 192.0.2.1" in done.stderr


def test_loopback_stays_open():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        code = f"import socket; socket.create_connection({server.getsockname()!r}, timeout=5)"
        subprocess.run([sys.executable, "-c", code], check=True)


def test_every_promise_names_a_test_that_exists():
    rows = re.findall(
        r"^\| (.+?) \| `(tests/[\w/]+\.py)::(test_\w+)` \|$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M
    )
    assert len(rows) > 20
    for promise, file, name in rows:
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), promise
