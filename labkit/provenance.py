"""Say what made a result: code, versions, machine, memory.

Introduced in 12_compare.
"""

import os
import platform
import re
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    *("torch", "transformers", "peft", "bitsandbytes", "sentence-transformers"),
    *("faiss-cpu", "langchain-core", "bm25s", "numpy", "scipy"),
)


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit() -> str | None:
    """The commit this code is at, "+changes" added where tracked files differ from it; None outside git."""
    commit = _git("rev-parse", "HEAD")
    return f"{commit}+changes" if commit and _git("status", "--porcelain", "-uno") else commit


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def provenance() -> dict[str, Any]:
    """Commit, Python, platform, processors and package versions, for JSON. Introduced in 12_compare.

    >>> sorted(provenance())
    ['commit', 'cpus', 'packages', 'platform', 'python']
    """
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "packages": {package: _version(package) for package in PACKAGES},
    }


def peak_rss_mb() -> float:
    """Most memory that this process, or any one of its finished children, ever held, in MB of 2**20 bytes.

    Introduced in 12_compare.

    >>> peak_rss_mb() > 1
    True
    """
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(_own_peak_bytes() or own * unit, children * unit) / 2**20


def _own_peak_bytes() -> int | None:
    """Linux's own count: there getrusage starts at what the parent held when it started this process."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
