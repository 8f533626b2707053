"""The playground: a page, served by `labkit play`, that asks all four arms one question and shows their answers side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from labkit.compare.arms import ARMS, Answer, arm_class, passages
from labkit.compare.lab import Lab, spread
from labkit.compare.report import render
from labkit.data import CLOSING, OPENING, load_questions, style_faults
from labkit.errors import LabError
from labkit.metrics import abstained, contains
from labkit.profile import PROFILES, resolve
from labkit.rag.augment import build_messages, check_citations, cited, values
from labkit.runs import environment

if TYPE_CHECKING:
    from ipywidgets import Widget

MOST, EXAMPLES, SHOWN = 10, 12, 300
"""The most passages; how many test questions are offered; characters of the question that stand above the cards."""
LOCAL = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: ws:"
"""The browser loads from this server only; Voila's template would ask a content network for icons."""


@cache
def open_lab(profile: str) -> Lab:
    """The lab of a profile, which never trains: a click must not start hours of it. LabError for an unknown profile."""
    lab = Lab(resolve(profile), progress=False)
    lab.artifacts.read_only = True
    return lab


def answers(lab: Lab, question: str, k: int) -> Iterator[tuple[str, Answer | str]]:
    """Each arm's name with its answer over `k` passages, or with the one line that says why there is none.

    LabError for a question that is empty, or longer than the model's context.
    """
    if not question.strip():
        raise LabError("The question is empty: write one, or choose an example.")
    tokens, room = lab.model.count(build_messages(question)), lab.model.context - lab.profile.max_new_tokens
    if tokens > room:
        fits = len(question) * room // tokens
        raise LabError(f"The question has {tokens:,} tokens and {room:,} fit: cut it to about {fits:,} characters.")
    for name in ARMS:
        try:
            yield name, replace(lab.arm(name), top_k=k).answer([question])[0]
        except LabError as error:
            yield name, str(error)


def page(profile: str = "pocket") -> Widget:
    """The playground: a question, what decides what is read, the cards of the four arms; LabError for an unknown profile."""
    import ipywidgets as widgets

    wide, some = {"width": "100%"}, [item.question for item in spread(load_questions(), EXAMPLES)]
    question = widgets.Textarea(some[0], description="Question", rows=3, layout=wide, continuous_update=False)
    offers = [("choose one of the test questions …", ""), *((q, q) for q in some)]
    example = widgets.Dropdown(options=offers, description="Example", layout=wide)
    example.observe(lambda change: setattr(question, "value", change.new or question.value), "value")
    settings = [
        widgets.Dropdown(options=list(dict.fromkeys([profile, *PROFILES])), description="Profile"),
        widgets.BoundedIntText(resolve(profile).top_k, min=1, max=MOST, description="Passages, k"),
    ]
    button, status, result = widgets.Button(description="Ask all four arms"), widgets.HTML(), widgets.HTML()
    button.on_click(lambda _: _ask(question.value, [s.value for s in settings], button, status, result))
    style = widgets.HTML(f"<style>{Path(__file__).with_suffix('.css').read_text('utf-8')}</style><h1>Playground</h1>")
    row = widgets.Box([*settings, button]).add_class("play-row")
    return widgets.VBox([style, question, example, row, status, result]).add_class("play")


def _ask(question: str, settings: Sequence[Any], button: Any, status: Any, result: Any) -> None:
    """Fill `result` card by card; whatever goes wrong is one line in `status`."""
    profile, k = settings
    gold = {item.question: item.gold for item in load_questions()}.get(question)
    button.disabled, result.value, replies = True, "", {}
    status.value = line("Opening documents and models: with new settings the first answer takes longest …")
    try:
        for name, reply in answers(open_lab(profile), question, k):
            replies[name] = reply
            result.value = cards(question, replies, gold)
            status.value = line(f"{len(replies)} of {len(ARMS)} arms have answered.")
    except Exception as error:  # a page tells a reader one line, never a traceback
        kind = "" if isinstance(error, LabError) else f"{type(error).__name__}: "
        status.value = line(f"{kind}{error}", wrong=True)
    finally:
        button.disabled = False


def cards(question: str, replies: Mapping[str, Answer | str], gold: str | None = None) -> str:
    """HTML, all escaped, with a card for each arm: its answer or, a string, what went wrong; `gold` is the right value if known."""
    text = question if len(question) <= SHOWN else f"{question[:SHOWN]} …"
    about = {name: (arm_class(name).__doc__ or "").strip() for name in replies}
    arms = [{"name": name, "about": about[name], **_card(reply)} for name, reply in replies.items()]
    return render("play.html", Path(__file__).parent, question=text, gold=gold, arms=arms)


def _card(reply: Answer | str) -> dict[str, Any]:
    """What a card shows: the passages that were cited, with what they hold of the answer, and what else was read."""
    if isinstance(reply, str):
        return {"problem": reply}
    text = reply.text.strip().removeprefix(OPENING).removesuffix(CLOSING)
    claims = [] if abstained(text) else values(re.sub(r"\[\d+\]", " ", text), reply.question)
    verdicts = {c.number: c.verdict for c in check_citations(text, passages(reply.hits), reply.question)}
    listing = {
        n: {"chunk": hit.chunk, "verdict": verdicts.get(n), "text": mark(hit.chunk.text, claims)}
        for n, hit in enumerate(reply.hits, start=1)
    }
    numbers = [n for n in cited(text) if n in listing]
    rest, missing = [n for n in listing if n not in numbers], [n for n in verdicts if n not in listing]
    shown = {"passages": listing, "cited": numbers, "missing": missing, "rest": rest}
    return {"problem": "", "reply": reply, "faults": style_faults(reply.text), **shown}


def mark(text: str, claims: Sequence[str]) -> Markup:
    """The text escaped, with <mark> around each sentence or line that holds one of the values claimed.

    >>> str(mark("It is <red>. It costs $10.", ["$10"]))
    'It is &lt;red&gt;. <mark>It costs $10.</mark>'
    """
    parts = re.split(r"((?<=[.!?])\s+|\s*\n\s*)", text.strip())
    holds = (any(contains(part, claim) for claim in claims) for part in parts)
    return Markup("").join(
        Markup("<mark>{}</mark>").format(p) if h else escape(p) for p, h in zip(parts, holds, strict=True)
    )


def line(text: str, wrong: bool = False) -> str:
    """One line of HTML about what happens, escaped; `wrong` for what went wrong."""
    kind, role = ("error", "alert") if wrong else ("soft", "status")
    return f"<p class='play-{kind}' role='{role}'>{escape(' '.join(text.split())[:300])}</p>"


def serve(profile: str = "pocket", options: Sequence[str] = ()) -> None:
    """Serve the page on this machine until Ctrl-C; `options` go to Voila. LabError without Voila."""
    import nbformat

    try:
        from voila.app import Voila
    except ImportError as error:
        raise LabError("Voila is not installed: pip install -c constraints.txt -e '.[play]'") from error
    lines = f"from labkit.practice.play import page\npage({profile!r})"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(lines)], metadata={"title": "Playground"})
    with environment(profile), TemporaryDirectory() as folder:
        nbformat.write(book, path := f"{folder}/play.ipynb")
        settings = {"headers": {"Content-Security-Policy": LOCAL}}
        Voila.launch_instance([path, *options], tornado_settings=settings)
