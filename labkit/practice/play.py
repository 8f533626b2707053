"""The playground: a page that asks all four arms one question and shows their answers side by side.

`make play` serves it with Voila from a notebook of two lines. Introduced in 12_compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labkit.artifacts import Artifacts
from labkit.cli_options import alone, checked, watched
from labkit.data import load_questions
from labkit.errors import LabError
from labkit.lab import Lab, spread
from labkit.profile import PROFILES, resolve
from labkit.store import address

if TYPE_CHECKING:
    from ipywidgets import Widget

    from labkit.compare.arms import Answer

CHUNKS, MOST, EXAMPLES = (48, 96, 144, 192), 10, 12
"""Chunk sizes to choose from, in tokens; the most passages; how many of the test questions are offered."""

LOCAL = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: ws:"
"""The browser loads from this server only; Voila's template would ask a content network for icons."""


class Kept(Artifacts):
    """Artifacts made before, and no others: a click must not start hours of training. Introduced in 12_compare."""

    def folder(self, build: Any, name: str | None = None, **parts: Any) -> Path:
        """The folder at the address of `parts`; LabError if it is not there."""
        if not self.store.find(address(**parts)):
            raise LabError(f"{name}, is not trained yet: run labkit compare with this profile once")
        return super().folder(build, name, **parts)


@cache
def opened(profile: str, size: str, chunk: int | None = None) -> Lab:
    """The lab of a profile, which never trains; with `chunk`, the same models over chunks of so many tokens.

    Its adapters stay those trained at the profile's own settings. LabError for an unknown profile or size.
    Introduced in 12_compare.

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

    LabError for a question that is empty, or longer than the model's context. Introduced in 12_compare.

    >>> dict(answers(opened("pocket", "full"), "Where is the Amber Falcon made?", k=5))["rag"].text
    """
    from labkit.compare.arms import ARMS
    from labkit.rag.augment import build_messages

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

    LabError for an unknown profile or size. Introduced in 12_compare.

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
    from labkit.compare.arms import ARMS
    from labkit.practice.play_cards import cards, line

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


def serve(profile: str = "pocket", options: Sequence[str] = ()) -> None:
    """Serve the page on this machine until Ctrl-C; `options` go to Voila.

    LabError for an unknown profile, or without Voila. Introduced in 12_compare.

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
    context: typer.Context, profile: Annotated[str, typer.Argument(help="As for labkit ask --profile.")] = "pocket"
) -> None:
    """Ask all four arms one question in the browser, until Ctrl-C; further options go to Voila.

    Example: python -m labkit.practice.play pocket --no-browser --port=8866
    """
    checked(resolve, profile), watched()
    serve(profile, context.args)


if __name__ == "__main__":
    alone(main, allow_extra_args=True, ignore_unknown_options=True)
