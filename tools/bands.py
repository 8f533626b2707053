"""Does a comparison run elsewhere land where the published one did?

`python -m tools.bands` takes the newest result; another file may be named.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.store import ROOT, runs_folder

PUBLISHED = ROOT / "docs" / "result.json"
METRICS = ("accuracy", "style", "joint", "abstention", "recall_at_k", "citation")
ROOM = 0.05
"""How far a mean may lie outside the published interval: other versions round otherwise, and near ties turn."""


def outside(result: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    """One line for each mean that lies outside its band, the published interval and `ROOM` on either side.

    >>> outside(result, result)
    []
    """
    lines = []
    for arm, known in published["arms"].items():
        for metric in (metric for metric in METRICS if metric in known):
            low, high = known[metric]["low"] - ROOM, known[metric]["high"] + ROOM
            found = result["arms"].get(arm, {}).get(metric, {}).get("mean")
            if found is None or not low <= found <= high:
                lines.append(f"{arm}, {metric}: {found} is not within {low:.2f} and {high:.2f}")
    return lines


def main(path: str | None = None) -> int:
    """Print what is outside its band; 1 if anything is, 2 without a result."""
    file = Path(path) if path else runs_folder() / "compare" / "latest" / "result.json"
    if not file.is_file():
        print(f"error: no result at {file}: run make compare", file=sys.stderr)
        return 2
    result, published = (json.loads(p.read_text("utf-8")) for p in (file, PUBLISHED))
    lines = outside(result, published)
    print("\n".join(lines) or f"every mean of {len(published['arms'])} arms is within its band")
    return min(len(lines), 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
