"""Say what made a result: code, versions, machine, memory.

Introduced in 12_compare.
"""

import os
import platform
import re
import resource
import subprocess
import sys
from hashlib import sha256
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
    """The commit this code is at, a hash of the changes added where tracked files differ from it; None outside git."""
    commit, changes = _git("rev-parse", "HEAD"), _git("diff", "HEAD")
    return f"{commit}+{sha256(changes.encode()).hexdigest()[:12]}" if commit and changes else commit


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name where the system tells it, and whether it computes in bfloat16."""
    from labkit.checkpoint import precision

    try:
        name = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        name = None
    return f"{name[1] if name else platform.processor() or 'unknown'}, {precision('cpu')}"


def provenance() -> dict[str, Any]:
    """Commit, Python, platform, processors and package versions, for JSON. Introduced in 12_compare.

    >>> sorted(provenance())
    ['commit', 'cpus', 'packages', 'platform', 'processor', 'python']
    """
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "packages": {package: _version(package) for package in PACKAGES},
    }


def here() -> dict[str, Any]:
    """What a timing is bound to: the commit with its changes, and the machine.

    >>> sorted(here())
    ['commit', 'cpus', 'platform', 'processor']
    """
    return {name: value for name, value in provenance().items() if name not in ("python", "packages")}


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
