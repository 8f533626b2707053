"""The site: `make site` builds it offline from the committed notebooks and the docstrings."""

import json
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from docutils.nodes import SkipNode  # noqa: E402
from docutils.utils.math.latex2mathml import tex2mathml  # noqa: E402

from labkit import __version__  # noqa: E402

PARTS = {"0_start": "Start", "1_rag": "Retrieval", "2_tune": "Fine-tuning", "3_compare": "The comparison", "4_practice": "Practice"}  # fmt: skip


def lay_out() -> None:
    """Copy the notebooks to where Sphinx finds them, and write a page for every package and each part of the course."""
    lessons, api = HERE / "lessons", HERE / "api"
    for folder in (lessons, api):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for part, title in PARTS.items():
        kept = sorted((ROOT / "notebooks" / part).glob("*.ipynb"))
        found = [path for path in kept if ".partial" not in path.suffixes]
        for path in found:
            shutil.copy(path, lessons)
        names = "\n".join(path.stem for path in found)
        (lessons / f"{part}.md").write_text(f"# {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n", "utf-8")
    for package in ("labkit", *(f"labkit.{p.parent.name}" for p in sorted((ROOT / "labkit").glob("*/__init__.py")))):
        folder = ROOT / package.replace(".", "/")
        names = [f"{package}.{p.stem}" for p in sorted(folder.glob("*.py")) if not p.stem.startswith("_")]
        body = "\n".join(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n" for name in names)
        (api / f"{package}.md").write_text(f"# {package}\n\n{body}", "utf-8")


def run_times() -> dict[str, str]:
    """What the teaching pages say of how long a lesson computes: from the last runs at full size."""
    found = json.loads((HERE / "times.json").read_text("utf-8"))
    numbers = {path.name[:2] for path in (ROOT / "notebooks").glob("*/[0-9][0-9]_*.ipynb")}
    told = {f"s{n}": "not measured" for n in numbers}
    told |= {f"s{stem[:2]}": f"{run['seconds']:.0f} s" for stem, run in found.items()}
    machine = next((f"{run['cpus']} processors" for run in found.values()), "no machine yet")
    return told | {
        "times_note": f"Each lesson when it was last run at full size, results of earlier runs kept; {machine}."
    }


lay_out()
myst_substitutions = run_times()
project, author, release = "labkit", "the labkit contributors", __version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["README.md"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "deflist", "substitution"]
myst_heading_anchors = 3
autodoc_typehints = "none"
suppress_warnings = ["mystnb.unknown_mime_type", "misc.highlighting_failure"]
html_theme = "furo"
html_math_renderer = "mathml"
copyright = "2026, the labkit contributors"
html_title = "labkit"
html_static_path = ["_static"]
html_css_files = ["site.css"]


def as_text(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Our docstrings are plain text with Markdown's code marks: make them reStructuredText."""
    lines[:] = [re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", re.sub(r"(?<![\w`])\*{1,2}(?=\w)", r"\\*", line)) for line in lines]  # fmt: skip


def inline_math(translator: object, node: object) -> None:
    """Formulas as MathML, which browsers show by themselves: no script is fetched."""
    translator.body.append(tex2mathml(node.astext()))
    raise SkipNode


def block_math(translator: object, node: object) -> None:
    """A formula on a line of its own."""
    translator.body.append(tex2mathml(node.astext(), as_block=True))
    raise SkipNode


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("autodoc-process-docstring", as_text)
