"""The site, built once for all tests, and the Chromium that looks at it where the machine has one."""

import shutil
import subprocess
import sys

import pytest

from labkit.store import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
collect_ignore = [] if CHROMIUM else ["test_browser.py"]


def pytest_terminal_summary(terminalreporter):
    if not CHROMIUM:
        terminalreporter.write_line("No Chromium on this machine: tests/site/test_browser.py was left out.")


@pytest.fixture(scope="session")
def chromium():
    return CHROMIUM


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(made)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made
