"""The site: `make site` builds it offline from the committed notebooks and the docstrings."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from docutils.nodes import SkipNode, image, section  # noqa: E402
from docutils.utils.math.latex2mathml import tex2mathml  # noqa: E402
from jinja2 import Template  # noqa: E402

from labkit import __version__  # noqa: E402
from labkit.compare.claims import PAPERS, RULES, VERDICTS, load_claims, load_papers  # noqa: E402
from tools import colab  # noqa: E402

PARTS = {"0_start": "Start", "1_rag": "Retrieval", "2_tune": "Fine-tuning", "3_compare": "The comparison", "4_practice": "Practice"}  # fmt: skip

KEPT = ROOT / "notebooks" / "3_compare" / "18_papers.ipynb"


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
            shutil.copy2(path, lessons)
            if repository := os.environ.get("GITHUB_REPOSITORY"):
                colab.add_link(lessons / path.name, repository)
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
    numbers = {path.name[:2] for path in (ROOT / "notebooks").glob("*/[0-9][0-9a-z]_*.ipynb")}
    told = {f"s{n}": "not measured" for n in numbers}
    told |= {f"s{stem[:2]}": f"{run['seconds']:.0f} s" for stem, run in found.items()}
    machine = next((f"{run['cpus']} processors" for run in found.values()), "no machine yet")
    return told | {
        "times_note": f"Each lesson when it was last run at full size, results of earlier runs kept; {machine}."
    }


def judged() -> dict[str, object]:
    """What the first pages show: README's claims with their verdicts, and the papers with those of lesson 18."""
    ledger = (ROOT / "README.md").read_text("utf-8").partition("<!-- claims -->")[2].partition("<!-- /claims -->")[0]
    rows = {claim: told for claim, *told in re.findall(r"^\| (.+?) \| (.+?) \| (.+) \|$", ledger, re.M)}
    claims = [(claim, *rows.get(claim.claim, ("not judged yet", ""))) for claim in load_claims()]
    cells = json.loads(KEPT.read_text("utf-8"))["cells"]
    said = "".join(line for cell in cells for out in cell.get("outputs", ()) for line in out.get("text", ()))
    verdicts = {claim: verdict for verdict, claim in re.findall(rf"^({'|'.join(VERDICTS)}): (.+)$", said, re.M)}
    papers = [row | {"verdict": verdicts.get(row["claim"], "not judged yet")} for row in load_papers().values()]
    size = re.search(r"^size (\w+), on these questions", said, re.M)
    shares = [f"{n} {verdict}" for verdict in VERDICTS if (n := [told for _, told, _ in claims].count(verdict))]
    return {
        "claims": claims,
        "papers": papers,
        "size": size and size[1],
        "counts": ", ".join(shares) or "not judged yet",
    }


lay_out()
PAGES = judged()
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
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]


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


def fill_in(app: object, page: str, source: list[str]) -> None:
    """The first pages are templates."""
    if page in ("index", "claims", "papers"):
        for path in (ROOT / "README.md", KEPT, RULES, PAPERS):
            app.env.note_dependency(str(path))
        source[0] = Template(source[0], trim_blocks=True).render(PAGES)


def describe(app: object, tree: object, page: str) -> None:
    """A figure is told to a screen reader by its section: its numbers stand in the lines that its cell prints."""
    for figure in tree.findall(lambda node: isinstance(node, image) and "alt" not in node):
        above = figure.parent
        while above.parent and not isinstance(above, section):
            above = above.parent
        figure["alt"] = f"Figure of the section '{above[0].astext()}'; the text beside it says what it shows"


def mend(app: object, page: str, template: str, context: dict[str, object], tree: object) -> None:
    """The captions of the sidebar are headings: say of which level."""
    navigation = str(context.get("furo_navigation_tree", ""))
    context["furo_navigation_tree"] = navigation.replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
    app.connect("doctree-resolved", describe)
    app.connect("html-page-context", mend, priority=900)
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("autodoc-process-docstring", as_text)
