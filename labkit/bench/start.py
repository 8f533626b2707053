"""How soon there is something to see: the import, and a comparison cold and warm. Introduced in 12_compare."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from labkit.bench import Figure


def measure(quick: bool = False) -> list[Figure]:
    """Seconds of `import labkit` beside the imports that a tutorial begins with, and of a comparison cold and warm.

    Cold: an empty folder of runs, so that everything is embedded and answered; the shipped adapters are used. `quick`
    leaves the comparison out. Introduced in 12_compare.

    >>> [figure.ratio for figure in measure(quick=True)]
    """
    ours = min(_python("import labkit") for _ in range(3))
    theirs = _python("import transformers, sentence_transformers, langchain_community.vectorstores, peft")
    found = [Figure("import labkit", "import transformers, sentence_transformers, langchain_community, peft", ours, theirs, "s", False)]  # fmt: skip
    if quick:
        return found
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-c", "from labkit.cli import app; app()", "compare"]
        cold, warm = (_seconds(command, {"LABKIT_RUNS": runs}) for _ in "12")
    return [*found, Figure("labkit compare, warm", "labkit compare, cold", warm, cold, "s", False)]


def _python(code: str) -> float:
    return _seconds([sys.executable, "-c", code], {})


def _seconds(command: list[str], more: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **more})
    return time.perf_counter() - began
