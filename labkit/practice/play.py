"""The playground: a page that asks all four arms one question and shows their answers side by side.

`make play` serves it with Voila from a notebook of two lines. Introduced in 12_compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labkit.cli_options import alone, checked, watched
from labkit.compare.arms import ARMS, Answer, arm_class, passages
from labkit.data import CLOSING, OPENING, load_questions, style_faults
from labkit.errors import LabError
from labkit.lab import Lab, spread
from labkit.metrics import abstained, contains
from labkit.profile import PROFILES, resolve
from labkit.rag.augment import build_messages, check_citations, cited, values
from labkit.store import Artifacts, address

if TYPE_CHECKING:
    from ipywidgets import Widget

CHUNKS, MOST, EXAMPLES = (48, 96, 144, 192), 10, 12
"""Chunk sizes to choose from, in tokens; the most passages; how many of the test questions are offered."""
SHOWN = 300
"""So many characters of the question stand above the cards."""
LOCAL = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: ws:"
"""The browser loads from this server only; Voila's template would ask a content network for icons."""


class Kept(Artifacts):
    """Artifacts made before, and no others: a click must not start hours of training."""

    def folder(self, build: Any, name: str | None = None, **parts: Any) -> Path:
        """The folder at the address of `parts`; LabError if it is not there."""
        if not self.store.find(address(**parts)):
            raise LabError(f"{name}, is not trained yet: run labkit compare with this profile once")
        return super().folder(build, name, **parts)


@cache
def opened(profile: str, size: str, chunk: int | None = None) -> Lab:
    """The lab of a profile, which never trains; with `chunk`, the same models over chunks of so many tokens.

    Its adapters stay those trained at the profile's own settings. LabError for an unknown profile or size.

    >>> opened("pocket", "full", 48).profile.chunk_overlap
    7
    """
    if chunk is None:
        lab = Lab(resolve(profile), size, progress=False)
        lab.artifacts = Kept(lab.artifacts.store.root, lab.artifacts.store.shipped_root)
        return lab
    lab = opened(profile, size)
    if chunk == lab.profile.chunk_size:
        return lab
    overlap = round(chunk * lab.profile.chunk_overlap / lab.profile.chunk_size)
    cut = Lab(replace(lab.profile, chunk_size=chunk, chunk_overlap=overlap), size, progress=False)
    vars(cut).update(ingested=lab.ingested, embedder=lab.embedder, model=lab.model, tuned_model=lab.tuned_model)
    return cut


def answers(lab: Lab, question: str, k: int) -> Iterator[tuple[str, Answer | str]]:
    """Each arm's name with its answer over `k` passages, or with the one line that says why there is none.

    LabError for a question that is empty, or longer than the model's context.

    >>> dict(answers(opened("pocket", "full"), "Where is the Amber Falcon made?", k=5))["rag"].text
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


def page(profile: str = "pocket", size: str = "full") -> Widget:
    """The playground: a question, the settings that decide what is read, and the cards of the four arms.

    LabError for an unknown profile or size.

    >>> page("pocket")
    """
    import ipywidgets as widgets

    own, wide = resolve(profile), {"width": "100%"}
    some = [item.question for item in spread(load_questions(), EXAMPLES)]
    question = widgets.Textarea(some[0], description="Question", rows=3, layout=wide, continuous_update=False)
    offered = [("choose one of the test questions …", ""), *((q, q) for q in some)]
    example = widgets.Dropdown(options=offered, description="Example", layout=wide)
    example.observe(lambda change: setattr(question, "value", change.new or question.value), "value")
    settings = [
        widgets.Dropdown(options=list(dict.fromkeys([profile, *PROFILES])), description="Profile"),
        widgets.Dropdown(
            options=sorted({*CHUNKS, own.chunk_size}), value=own.chunk_size, description="Chunk size, tokens"
        ),
        widgets.BoundedIntText(own.top_k, min=1, max=MOST, description="Passages, k"),
    ]
    button, status, result = widgets.Button(description="Ask all four arms"), widgets.HTML(), widgets.HTML()
    button.on_click(lambda _: _ask(question.value, size, [s.value for s in settings], button, status, result))
    style = widgets.HTML(f"<style>{Path(__file__).with_suffix('.css').read_text('utf-8')}</style><h1>Playground</h1>")
    row = widgets.Box([*settings, button]).add_class("play-row")
    return widgets.VBox([style, question, example, row, status, result]).add_class("play")


def _ask(question: str, size: str, settings: Sequence[Any], button: Any, status: Any, result: Any) -> None:
    """Fill `result` card by card; whatever goes wrong is one line in `status`."""
    profile, chunk, k = settings
    gold = {item.question: item.gold for item in load_questions()}.get(question)
    button.disabled, result.value, replies = True, "", {}
    status.value = line("Opening documents and models: with new settings the first answer takes longest …")
    try:
        for name, reply in answers(opened(profile, size, chunk), question, k):
            replies[name] = reply
            result.value = cards(question, replies, gold)
            status.value = line(f"{len(replies)} of {len(ARMS)} arms have answered.")
    except LabError as error:
        status.value = line(str(error), wrong=True)
    except Exception as error:  # a page tells a reader one line, never a traceback
        status.value = line(f"{type(error).__name__}: {error}", wrong=True)
    finally:
        button.disabled = False


def cards(question: str, replies: Mapping[str, Answer | str], gold: str | None = None) -> str:
    """HTML with a card for each arm; `gold` is the value that a right answer holds, where it is known.

    A reply that is a string is shown as what went wrong. Everything is escaped.

    >>> cards("Why?", {"rag": "no adapter yet"}).count("<article")
    1
    """
    text = question if len(question) <= SHOWN else f"{question[:SHOWN]} …"
    known = f"<p class='play-soft'>A right answer holds <b>{escape(gold)}</b></p>" if gold else ""
    articles = "".join(_card(name, reply) for name, reply in replies.items())
    return f"<section><h2>{escape(text)}</h2>{known}<div class='play-cards'>{articles}</div></section>"


def _card(name: str, reply: Answer | str) -> str:
    what = (arm_class(name).__doc__ or "").strip()
    head = f"<h3>{escape(name)}</h3><p class='play-soft'>{escape(what)}</p>"
    if isinstance(reply, str):
        return f"<article>{head}<p class='play-error'>{escape(reply)}</p></article>"
    broken = style_faults(reply.text)
    facts = {
        "Seconds": f"{reply.retrieval_seconds:.2f} searching, " * bool(reply.hits)
        + f"{reply.generation_seconds:.2f} answering",
        "Tokens": f"{reply.prompt_tokens} read, {reply.output_tokens} written",
        "House style": f"✗ breaks: {', '.join(broken)}" if broken else "✓ kept",
    }
    rows = "".join(f"<dt>{fact}</dt><dd>{value}</dd>" for fact, value in facts.items())
    text = escape(reply.text.strip()) or "(no answer)"
    return f"<article>{head}<p class='play-answer'>{text}</p><dl>{rows}</dl>{_sources(reply)}</article>"


def _sources(answer: Answer) -> str:
    """What was cited, open, with what it holds of the answer; what else was read, folded."""
    if not answer.hits:
        return "<p class='play-soft'>Reads no documents: all it says comes from its weights.</p>"
    text, count = answer.text.strip().removeprefix(OPENING).removesuffix(CLOSING), len(answer.hits)
    claims = [] if abstained(text) else values(re.sub(r"\[\d+\]", " ", text), answer.question)
    verdicts = {c.number: c.verdict for c in check_citations(text, passages(answer.hits), answer.question)}
    listed = {n: _passage(n, answer, claims, verdicts.get(n, "")) for n in range(1, count + 1)}
    shown = "".join(listed.pop(n) for n in cited(text) if n in listed)
    wrong = "".join(f"<p class='play-error'>Cites [{n}]: {verdicts[n]}.</p>" for n in verdicts if not 1 <= n <= count)
    top = f"<h4>Cited</h4><ol>{shown}</ol>" if shown else "<p class='play-soft'>Cites no passage.</p>"
    rest = f"<details><summary>Read, not cited: {len(listed)}</summary><ol>{''.join(listed.values())}</ol></details>"
    return top + wrong + rest * bool(listed)


def _passage(number: int, answer: Answer, claims: Sequence[str], verdict: str) -> str:
    chunk = answer.hits[number - 1].chunk
    where = escape(chunk.document_id) + (f", page {chunk.page}" if chunk.page else "")
    support = f"<span class='play-soft'>{verdict} of the answer</span>" if verdict else ""
    return f"<li value='{number}'><b>{where}</b> {support}<blockquote>{marked(chunk.text, claims)}</blockquote></li>"


def marked(text: str, claims: Sequence[str]) -> str:
    """The text escaped, with <mark> around each sentence or line that holds one of the values claimed.

    >>> marked("It is <red>. It costs $10.", ["$10"])
    'It is &lt;red&gt;. <mark>It costs $10.</mark>'
    """
    parts = re.split(r"((?<=[.!?])\s+|\s*\n\s*)", text.strip())
    return "".join(f"<mark>{escape(p)}</mark>" if any(contains(p, v) for v in claims) else escape(p) for p in parts)


def line(text: str, wrong: bool = False) -> str:
    """One line of HTML about what happens, escaped; `wrong` for what went wrong.

    >>> line("3 of 4 answered")
    "<p class='play-soft' role='status'>3 of 4 answered</p>"
    """
    kind, role = ("error", "alert") if wrong else ("soft", "status")
    return f"<p class='play-{kind}' role='{role}'>{escape(' '.join(text.split())[:300])}</p>"


def serve(profile: str = "pocket", options: Sequence[str] = ()) -> None:
    """Serve the page on this machine until Ctrl-C; `options` go to Voila.

    LabError for an unknown profile, or without Voila.

    >>> serve("pocket", ["--no-browser", "--port=8866"])
    """
    import nbformat

    from labkit.execute import environment

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


def main(
    context: typer.Context, profile: Annotated[str, typer.Argument(help="As for labkit ask --profile.")] = "smol"
) -> None:
    """Ask all four arms one question in the browser, until Ctrl-C; further options go to Voila.

    Example: python -m labkit.practice.play pocket --no-browser --port=8866
    """
    checked(resolve, profile), watched()
    serve(profile, context.args)


if __name__ == "__main__":
    alone(main, allow_extra_args=True, ignore_unknown_options=True)
