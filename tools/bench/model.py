"""The model's answers beside their rivals: a plain chain, plain transformers and llama.cpp; and how fast labkit starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from tools.bench import Contest, Size, Way, chain, llama, timed

if TYPE_CHECKING:
    from labkit.compare.arms import Arm
    from labkit.compare.lab import Lab
    from labkit.data import Item

CHAIN = "LangChain: FAISS retriever, prompt, HuggingFacePipeline, one question a call, {}"
ALONE = "labkit, one prompt a call"
GENERATE = "transformers' generate, {}"
TUTORIAL = "import transformers, sentence_transformers, langchain_community.vectorstores, peft"
QUESTIONS = {"smol": 6, "pocket": 24}
PROMPT, WRITTEN = 500, 30  # tokens, about those of a question over passages and of an answer


def rag(size: Size) -> Iterator[Contest]:
    """Questions a second, from question to text, and the share right.

    The rival retrieves as many chunks from the same embeddings and puts them into the same prompt. It computes in the
    precision that transformers chooses, and in ours where that is another.

    >>> [contest.work for contest in rag(Size(quick=True, models=("pocket",)))]
    """
    for lab in _labs(size):
        yield _rag(lab, _items(lab, size))


def _rag(lab: Lab, items: Sequence[Item]) -> Contest:
    from labkit.quiet import quiet

    arm, questions = _arm(lab), [item.question for item in items]
    with TemporaryDirectory() as folder, quiet():
        chain.save(lab, folder)
        default = str(chain.plain(lab.profile.model_path)[0].dtype).removeprefix("torch.")
        # A mapping, as both may be the same.
        chains = {dtype: chain.load(folder, dtype) for dtype in (default, arm.model.dtype)}
    rivals = {
        CHAIN.format(dtype): _scored(items, lambda ask=ask: [ask(question) for question in questions])
        for dtype, ask in chains.items()
    }
    ours = _scored(items, lambda: [answer.text for answer in arm.answer(questions)])
    return Contest(f"{lab.profile.name}: {len(items)} questions over passages", ours, rivals)


def answer(size: Size) -> Iterator[Contest]:
    """Answers to the prompts of the arm rag; and one of 30 tokens after a prompt of 500: labkit, plain calls, llama.cpp.

    >>> [contest.work for contest in answer(Size(quick=True, models=("pocket",)))]
    """
    for lab in _labs(size):
        yield _answers(lab, _items(lab, size))
        yield _one_answer(lab)


def _answers(lab: Lab, items: Sequence[Item]) -> Contest:
    room, talks = lab.profile.max_new_tokens, _prompts(lab, items)
    ids = [lab.model.encode(talk) for talk in talks]

    def ours(batches: Sequence[Sequence]) -> Way:
        return _scored(items, lambda: [one.text for batch in batches for one in lab.model.generate(batch, room)])

    rivals: dict[str, Way | str] = {ALONE: ours([[talk] for talk in talks])}
    rivals |= _llama(
        lab, {name: _scored(items, lambda work=work: work(ids, room)) for name, work in llama.WAYS.items()}
    )
    return Contest(f"{lab.profile.name}: {len(items)} prompts answered", ours([talks]), rivals)


def _one_answer(lab: Lab) -> Contest:
    from labkit.decode import greedy

    network, (prompt,) = lab.model.network, prompts(lab, 1)
    plain, _ = chain.plain(lab.profile.model_path)

    def generate() -> None:
        import torch

        ids = torch.tensor([prompt])
        plain.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=WRITTEN, min_new_tokens=WRITTEN, do_sample=False
        )

    rivals: dict[str, Way | str] = {
        GENERATE.format(str(plain.dtype).removeprefix("torch.")): timed(generate, "s"),
        **_llama(lab, {llama.ONE: timed(lambda: llama.written(prompt, WRITTEN), "s")}),
    }
    ours = timed(lambda: greedy(network, [prompt], (), WRITTEN), "s")
    return Contest(f"{lab.profile.name}: one question, {PROMPT} tokens read, {WRITTEN} written", ours, rivals)


def prompts(lab: Lab, count: int) -> list[list[int]]:
    """So many prompts of 500 tokens of the company's documents, each another."""
    ids = lab.model.tokenizer("\n".join(document.text for document in lab.documents), verbose=False)["input_ids"]
    return [ids[start : start + PROMPT] for start in range(0, count * PROMPT, PROMPT)]


def busy(size: Size) -> Iterator[Contest]:
    """Questions a second while another process keeps one processor busy: the share of the speed alone, and against llama.cpp.

    >>> [contest.work for contest in busy(Size(quick=True, models=("pocket",)))]
    """
    for lab in _labs(size):
        yield _busy(lab, _prompts(lab, _items(lab, size)[:4]))


def _busy(lab: Lab, talks: Sequence) -> Contest:
    room = lab.profile.max_new_tokens
    ids = [lab.model.encode(talk) for talk in talks]

    def disturbed(work: Callable[[], object]) -> Way:
        def beside() -> None:
            with _busy_process():
                work()

        return timed(beside, "questions/s", len(talks))

    def ours() -> object:
        return lab.model.generate(talks, room)

    rivals: dict[str, Way | str] = {"the same alone": timed(ours, "questions/s", len(talks))}
    rivals |= _llama(
        lab,
        {f"{name}, beside it": disturbed(lambda work=work: work(ids, room)) for name, work in llama.WAYS.items()},
    )
    return Contest(f"{lab.profile.name}: {len(talks)} prompts beside a busy process", disturbed(ours), rivals)


@contextmanager
def _busy_process() -> Iterator[subprocess.Popen]:
    """A process that computes without end, for as long as the block takes; it starts within milliseconds."""
    code = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # nor does it outlive a killed bench
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        try:
            yield process
        finally:
            process.kill()


def _llama(lab: Lab, ways: dict[str, Way]) -> dict[str, Way | str]:
    """Ways through llama.cpp, which reads smol's weights; the remedy for each where it is not installed."""
    if lab.profile.name != "smol":
        return {}
    return {name: llama.INSTALL for name in ways} if llama.absent() else dict(ways)


def _scored(items: Sequence[Item], work: Callable[[], list[str]]) -> Way:
    """Questions a second, and the share that the answers get right."""
    from labkit.compare.score import is_right

    def right(texts: list[str]) -> float:
        return float(np.mean([is_right(item, text) for item, text in zip(items, texts, strict=True)]))

    return timed(work, "questions/s", len(items), {"share right": right})


def _labs(size: Size) -> Iterator[Lab]:
    import labkit

    for name in size.models:
        yield labkit.open(name, progress=False)


def _items(lab: Lab, size: Size) -> list[Item]:
    from labkit.compare.lab import spread

    known = [item for item in lab.questions if item.gold]
    return spread(known, 2 if size.quick else QUESTIONS[lab.profile.name])


def _arm(lab: Lab) -> Arm:
    return replace(lab.arm("rag"), cache=None)


def _prompts(lab: Lab, items: Sequence[Item]) -> list:
    """The conversations that the arm rag gives the model."""
    arm = _arm(lab)
    rankings = arm.retriever.search_batch([item.question for item in items], arm.top_k)
    return [
        arm.messages(item.question, arm.fitting(item.question, hits))
        for item, hits in zip(items, rankings, strict=True)
    ]


def start(size: Size) -> Iterator[Contest]:
    """Seconds of `import labkit` beside the imports that a tutorial begins with; and from the shell to the first model's answer.

    Warm: all documents are embedded before. Each round asks another question, as labkit keeps its answers.

    >>> [contest.work for contest in start(Size(quick=True, models=("pocket",)))]
    """
    yield Contest("import labkit", _python("import labkit"), {TUTORIAL: _python(TUTORIAL)})
    lab = next(_labs(size))
    with TemporaryDirectory() as folder:
        yield _first_answer(lab, Path(folder))


def _first_answer(lab: Lab, folder: Path) -> Contest:
    chain.save(lab, folder)
    name, (first, *others) = lab.profile.name, [item.question for item in lab.questions]

    def ours(question: str) -> None:
        code = "from labkit.cli import app; app()"
        _run("-c", code, "ask", question, "--profile", name, LABKIT_RUNS=str(folder / "runs"))

    def theirs(question: str) -> None:
        _run("-m", "tools.bench.chain", str(folder), question)

    ours(first)  # embeds the documents
    asked = {way: cycle(others) for way in ("ours", "theirs")}
    return Contest(
        f"{name}: labkit ask, to the answer",
        timed(lambda: ours(next(asked["ours"])), "s"),
        {"the chain of LangChain as a script": timed(lambda: theirs(next(asked["theirs"])), "s")},
    )


def _python(code: str) -> Way:
    return timed(lambda: _run("-c", code), "s")


def _run(*words: str, **more: str) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env={**os.environ, **more})
