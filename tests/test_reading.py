"""What people read, reads well: headings, links, figures in words, spelling, colours that everybody can tell apart."""

import ast
import json
import re
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from matplotlib import rc_params_from_file
from matplotlib.colors import to_rgb

from labkit.plot import LOOK
from labkit.store import ROOT
from tools.execute import build, sources
from tools.notebooks import target

SITE = {"docs/index.md", "docs/claims.md", "docs/papers.md"}  # templates of the site: tests/site follows their links
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "tools/README.md")]
PAGES += [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name not in ("lessons", "api")]
EXERCISES = sorted((ROOT / "notebooks" / "exercises").glob("*.ipynb"))
KEPT = [target(source) for source in sources()]
OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
PLAIN = {"black", "white", "grey", "none", "#999999"}
MAPS = {"cividis", "PuOr"}
SEEN = {  # Machado, Oliveira & Fernandes (2009), severity 1.0, on linear RGB
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
APART = 10  # CIE76; about 2.3 is just noticeable (Mahy et al., 1994)


def cells(path):
    """A kept notebook's cells, or those of the source that it comes from."""
    named = {target(source): source for source in sources()}
    return build(named[path]).cells if path in named else json.loads(path.read_text("utf-8"))["cells"]


def prose(path):
    text = path.read_text("utf-8") if path.suffix == ".md" else "\n\n".join(
        "".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown"
    )  # fmt: skip
    return re.sub(r"^(```|~~~).*?^\1|`[^`\n]+`", "", text, flags=re.M | re.S)


def headings(path):
    return [(len(marks), title) for marks, title in re.findall(r"^(#{1,6}) (.+)$", prose(path), re.M)]


def named(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES + KEPT + EXERCISES, ids=named)
def test_a_page_has_one_title_and_skips_no_level_of_headings(path):
    levels = [level for level, _ in headings(path)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below <= above + 1 for above, below in zip(levels, levels[1:], strict=False))


def anchors(path):
    """Of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for _, title in headings(path)}


@pytest.mark.parametrize("path", [p for p in PAGES if named(p) not in SITE] + KEPT + EXERCISES, ids=named)
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)) if not re.match(r"\w+:", link)]
    for file, _, part in (link.partition("#") for link in links):
        there = (path.parent / file).resolve() if file else path
        assert there.exists() and there.is_relative_to(ROOT), file
        assert not part or part in anchors(there), part


@pytest.mark.parametrize("path", KEPT, ids=named)
def test_every_figure_is_told_in_words(path):
    """Its cell prints a line; or the text just before or behind says that it is a picture, or `in words`."""
    kept = json.loads(path.read_text("utf-8"))["cells"]
    for place, cell in enumerate(kept):
        outputs = cell.get("outputs", [])
        if any("image/png" in out.get("data", {}) for out in outputs):
            printed = "".join("".join(out.get("text", "")) for out in outputs if out["output_type"] == "stream")
            beside = [c for c in kept[place - 1 : place + 2 : 2] if c["cell_type"] == "markdown"]
            told = re.search(r"in words|picture of", " ".join("".join(c["source"]) for c in beside))
            assert printed.strip() or told, "".join(cell["source"])


def test_nothing_is_misspelt():
    done = subprocess.run([sys.executable, "-m", "codespell_lib"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def lab(colour, seen):
    """A colour in CIELAB, as it is seen through a matrix on linear RGB."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ np.clip(np.array(seen) @ linear, 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN)
def test_any_two_colours_are_told_apart_by_every_kind_of_colour_vision(seen):
    cycle = rc_params_from_file(ROOT / "matplotlibrc", use_default_template=False)["axes.prop_cycle"].by_key()["color"]
    palette = {colour for colour, _ in LOOK.values()}
    assert palette | {f"#{colour.lstrip('#')}" for colour in cycle} <= OKABE_ITO and len(palette) == len(LOOK)
    points = [lab(colour, SEEN[seen]) for colour in sorted(OKABE_ITO)]
    assert min(np.linalg.norm(a - b) for a, b in combinations(points, 2)) > APART


@pytest.mark.parametrize("path", [*sources(), ROOT / "labkit" / "plot.py"], ids=named)
def test_no_colour_is_named_outside_the_palette(path):
    tree = ast.parse(path.read_text("utf-8"))
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert {word for word in words if re.fullmatch(r"#[0-9a-fA-F]{6}", word)} <= OKABE_ITO | PLAIN
    given = [(k.arg, k.value.value) for k in ast.walk(tree) if isinstance(k, ast.keyword) and isinstance(k.value, ast.Constant)]  # fmt: skip
    assert {value for name, value in given if name and name.endswith("color")} <= OKABE_ITO | PLAIN
    assert {value for name, value in given if name == "cmap"} <= MAPS
