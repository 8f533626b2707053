"""Questions answered and scored beside a plain LangChain chain, which is asked one at a time. Introduced in 12_compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from labkit.bench import Figure

if TYPE_CHECKING:
    from labkit.data import Item
    from labkit.lab import Lab

CHAIN = "LangChain: FAISS retriever, prompt, HuggingFacePipeline, one question at a time"
ALONE = "the same model, one question a call"


def measure(quick: bool = False) -> list[Figure]:
    """Questions a second, from question to score, and the share right, both ways; and batches against single calls.

    The rival retrieves as many chunks from the same embeddings and sees the same prompt. Introduced in 12_compare.

    >>> [figure.ratio for figure in measure(quick=True)]
    """
    import labkit

    lab = labkit.open("pocket", progress=False)
    items = [item for item in lab.questions if item.gold][:: 60 if quick else 5]
    ways = {"ours": _ours(lab), "theirs": _chain(lab), "alone": _alone(lab)}
    for answer in ways.values():
        answer(items[:2])
    found = {name: _scored(answer, items) for name, answer in ways.items()}
    speed = {name: len(items) / seconds for name, (seconds, _) in found.items()}
    right = {name: share for name, (_, share) in found.items()}
    return [
        Figure(f"{len(items)} questions answered and scored", CHAIN, speed["ours"], speed["theirs"], "questions/s"),
        Figure(f"right of {len(items)} questions", CHAIN, right["ours"], right["theirs"], "share"),
        Figure("batches sorted by length", ALONE, speed["ours"], speed["alone"], "questions/s"),
    ]


def _scored(answer: Callable[[Sequence[Item]], list[str]], items: Sequence[Item]) -> tuple[float, float]:
    from labkit.compare.score import is_right

    began = time.perf_counter()
    right = [is_right(item, text) for item, text in zip(items, answer(items), strict=True)]
    return time.perf_counter() - began, float(np.mean(right))


def _ours(lab: Lab) -> Callable[[Sequence[Item]], list[str]]:
    arm = lab.arm("rag")
    return lambda items: [answer.text for answer in arm.answer([item.question for item in items])]


def _alone(lab: Lab) -> Callable[[Sequence[Item]], list[str]]:
    arm = lab.arm("rag")
    return lambda items: [arm.answer([item.question])[0].text for item in items]


def _chain(lab: Lab) -> Callable[[Sequence[Item]], list[str]]:
    """What tutorials print, with the model's own chat template and greedy decoding."""
    from langchain_community.llms import HuggingFacePipeline
    from langchain_community.vectorstores import FAISS
    from langchain_core.runnables import RunnableLambda, RunnablePassthrough
    from transformers import pipeline

    from labkit.chat import render
    from labkit.model import load_model
    from labkit.quiet import quiet
    from labkit.rag.augment import build_messages

    model = load_model(lab.profile.model_path, dtype="float32")
    texts, about = [c.text for c in lab.vectors.chunks], [{"title": c.title} for c in lab.vectors.chunks]
    search = FAISS.from_texts(texts, lab.embedder, about).as_retriever(search_kwargs={"k": lab.profile.top_k})
    with quiet():
        made = pipeline("text-generation", model=model.network, tokenizer=model.tokenizer, return_full_text=False)
        llm = HuggingFacePipeline(
            pipeline=made, pipeline_kwargs={"max_new_tokens": lab.profile.max_new_tokens, "do_sample": False}
        )

    def prompt(given: dict) -> str:
        shown = [(found.metadata["title"], found.page_content) for found in given["context"]]
        return render(model.tokenizer, build_messages(given["question"], shown), prompt=True)

    chain = {"context": search, "question": RunnablePassthrough()} | RunnableLambda(prompt) | llm
    return lambda items: [chain.invoke(item.question) for item in items]
