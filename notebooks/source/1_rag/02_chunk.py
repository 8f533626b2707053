# %% [markdown]
# # 02 · Chunk
#
# You will cut documents into *chunks*, pieces that a search can find and a model can read:
#
# - cut the same text by tokens, sentences, paragraphs and headings, and see what each way breaks;
# - prove that every chunk is an exact span of its document, so that an answer can say where it stands;
# - see the embedder go blind after a certain number of tokens, without a word;
# - sweep chunk size and overlap, and put the advice "about 500 tokens, 10 to 20 % overlap" to the test.
#
# *Before this: 01 Ingest. About 25 minutes; the sweep computes for two of them.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE, progress=False)
lab

# %% [markdown]
# ## 1. A length in tokens
#
# A model reads neither letters nor words but *tokens*: frequent words are one, rare ones are cut into pieces.
# The embedder, which will turn each chunk into a vector, has its own tokenizer; chunks are measured with that one.

# %%
document = next(document for document in lab.documents if document.id.startswith("plans/service"))
tokens = lab.embedder.tokenizer.tokenize(document.text)
print(len(document.text), "characters,", len(document.text.split()), "words,", len(tokens), "tokens:")
print(" ".join(tokens[:40]), "…")

# %% [markdown]
# ## 2. Four places to cut
#
# `chunk_documents` fills chunks up to a size, each repeating up to `overlap` tokens of the one before. It uses
# LangChain's recursive splitter, which is given a list of places to cut and takes the first that fits. A blank line
# below is where a chunk ends; no overlap yet.

# %%
from labkit.rag.chunk import chunk_documents

for by in ("token", "sentence"):
    print(f"—— by {by} " + "—" * 60)
    chunks = chunk_documents([document], lab.embedder.tokenizer, size=40, overlap=0, by=by)
    print("\n\n".join(" ".join(chunk.text.split()) for chunk in chunks[:3]))

# %% [markdown]
# By token, a chunk is as full as can be, and may end in the middle of a sentence. The two halves of a fact are then in
# two chunks, and neither states it. How often does that happen? A cut is clean if a line or a sentence ends there.

# %%
import re

import numpy as np
import pandas as pd


def clean_cuts(by: str) -> float:
    """Share of chunks that end where a sentence or a line does."""
    chunks = chunk_documents(lab.documents, lab.embedder.tokenizer, size=64, overlap=0, by=by)
    text = {document.id: document.text for document in lab.documents}
    return sum(bool(re.match(r"\n|$", text[c.document_id][c.end :]) or c.text[-1] in ".!?") for c in chunks) / len(
        chunks
    )


cuts = pd.Series({by: clean_cuts(by) for by in ("token", "sentence", "paragraph")}, name="clean cuts")
assert cuts["token"] < cuts["sentence"]
cuts.round(2).to_frame()

# %% [markdown]
# The fourth way cuts by *heading*: a chunk never crosses a heading, and the heading joins its title. The title is
# embedded and shown to the model together with the text. Compare the titles: who does the second chunk speak of?

# %%
for by in ("paragraph", "heading"):
    chunks = chunk_documents([document], lab.embedder.tokenizer, size=40, overlap=0, by=by)
    print(f"by {by}:", *(f"\n  {chunk.title} → {' '.join(chunk.text.split())[:60]}…" for chunk in chunks[2:6]))

# %% [markdown]
# ## 3. Overlap
#
# With overlap, a chunk begins with the end of the one before, so that a fact at the seam stands whole in one of them.

# %%
first, second = chunk_documents([document], lab.embedder.tokenizer, size=64, overlap=19, by="token")[:2]
shared = document.text[second.start : first.end]
print("first chunk: …", " ".join(first.text.split()[-24:]))
print("second chunk:", " ".join(second.text.split()[:24]), "…")
print("both hold:   ", repr(shared), "·", len(lab.embedder.tokenizer.tokenize(shared)), "tokens, 19 are allowed")

# %% [markdown]
# ## 4. Where does it stand?
#
# Each chunk keeps its document, its page and its span of characters. That is a promise which can be checked:
# cutting the document at `start` and `end` gives the very text of the chunk.

# %%
text = {document.id: document.text for document in lab.documents}
chunks = chunk_documents(lab.documents, lab.embedder.tokenizer, lab.profile.chunk_size, lab.profile.chunk_overlap)
assert all(text[chunk.document_id][chunk.start : chunk.end] == chunk.text for chunk in chunks)
print("all", len(chunks), "chunks are exact spans of their documents")
pd.DataFrame(chunks)[["id", "page", "start", "end"]].sample(3, random_state=0)

# %% [markdown]
# LangChain's splitter offers `add_start_index` for it, by searching for the chunk in the document.

# %%
from langchain_text_splitters import RecursiveCharacterTextSplitter

settings = {"chunk_size": lab.profile.chunk_size, "chunk_overlap": lab.profile.chunk_overlap, "add_start_index": True}
splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(lab.embedder.tokenizer, **settings)
made = splitter.create_documents([document.text for document in lab.documents], [{"id": d.id} for d in lab.documents])
starts = [(chunk.metadata["id"], chunk.metadata["start_index"], chunk.page_content) for chunk in made]
wrong = sum(start < 0 or text[name][start : start + len(content)] != content for name, start, content in starts)
print(f"{wrong} of {len(made)} start indexes are wrong or missing")

# %% [markdown]
# Where some are wrong, the reason is a mix of units: to know where to search, it subtracts the overlap, counted in
# tokens, from a position counted in characters. This is why our chunks count for themselves.
#
# ## 5. The embedder's limit
#
# An embedder reads a fixed number of tokens and ignores the rest. To see it, put a sentence behind more and more other
# text, and ask how similar the whole is to a question about that sentence (by the *cosine*, see lesson 03).

# %%
limit = lab.embedder.max_tokens
fact, question = "The night guard keeps the spare key in the blue cabinet.", "Where is the spare key kept?"
filler = [word for document in lab.documents[:20] for word in document.text.split()]
texts = [" ".join(filler[:words]) for words in range(20, 281, 20)]
behind = [f"{text} {fact}" for text in texts]
tokens = [len(lab.embedder.tokenizer.tokenize(text, verbose=False)) for text in behind]

# %%
import matplotlib.pyplot as plt

asked = lab.embedder.encode([question], query=True)[0]
with_fact, without = lab.embedder.encode(behind) @ asked, lab.embedder.encode(texts) @ asked
plt.plot(tokens, with_fact, "o-", label="the sentence stands at the end")
plt.plot(tokens, without, "s--", label="without the sentence")
plt.axvline(limit, color="black", linewidth=0.8)
plt.gca().set(
    xlabel="tokens in the text", ylabel="cosine with the question", title=f"the embedder reads {limit} tokens"
)
plt.legend(frameon=False)
gaps = dict(zip(tokens, abs(with_fact - without), strict=True))
print("what the sentence adds:", ", ".join(f"{gap:.3f} at {n} tokens" for n, gap in gaps.items()))

# %% [markdown]
# Beyond the limit the two lines are one: the embedder does not know that the sentence is there. Nothing fails and
# nothing is said. So labkit counts, and warns.

# %%
from labkit.rag.chunk import truncated

chunks = chunk_documents(lab.documents, lab.embedder.tokenizer, size=500, overlap=75)
print(len(truncated(chunks, lab.embedder.tokenizer)), "chunks are not read to their end")
assert max(gap for n, gap in gaps.items() if n > limit + 40) < 0.01

# %% [markdown]
# ## 6. A corpus worth cutting
#
# The company's documents are short: at 500 tokens most of them are one chunk, and no setting could matter. So we bind
# them into books, one for each folder, as a real handbook would be: each document is a chapter under its own heading,
# and the chunks' title is only that of the book.

# %%
from labkit.rag.ingest import Document
from labkit.store import address


def bind(documents):
    """A book for each folder; and where each document stands: its book, first and last character."""
    texts, places = {}, {}
    for document in documents:
        book = document.id.rpartition("/")[0] or "book"
        start = len(texts.setdefault(book, ""))
        texts[book] += f"# {document.title}\n\n{document.text.removeprefix(document.title).strip()}\n\n"
        places[document.id] = (book, start, len(texts[book]))
    return [Document(name, name.capitalize(), t, "markdown", address(text=t)) for name, t in texts.items()], places


# %%
items = [item for item in lab.questions if item.evidence][: None if SIZE == "full" else 12]
needed = {fact.document for item in items for fact in item.evidence}
books, places = bind([document for document in lab.documents if SIZE == "full" or document.id in needed])
text |= {book.id: book.text for book in books}
length = {name: len(lab.embedder.tokenizer.tokenize(text[name], verbose=False)) for name in text}
print(f"{np.mean([length[document.id] <= 500 for document in lab.documents]):.0%} of the documents fit into 500 tokens")
pd.Series({book.title: length[book.id] for book in books}, name="tokens").to_frame()

# %% [markdown]
# Because every fact's passage is known, and every chunk's span too, "found" needs no judge: a chunk proves a fact if its
# span covers the whole passage, or if a line of an overview in it names both the thing and the value.

# %%
from labkit.metrics import contains


def span(fact):
    """The book and the characters of the passage that states a fact; line breaks may differ."""
    book, start, end = places[fact.document]
    match = re.search(r"\s+".join(map(re.escape, fact.passage.split())), text[book][start:end])
    return book, start + match.start(), start + match.end()


def proves(chunk, fact):
    book, start, end = span(fact)
    if chunk.document_id == book and chunk.start <= start and end <= chunk.end:
        return True
    overviews = {places[name][0] for name in fact.also if name in places}
    lines = chunk.text.splitlines() if chunk.document_id in overviews else []
    return any(fact.entity in line and contains(line, fact.value) for line in lines)


# %%
item, fact = items[0], items[0].evidence[0]
chunks = chunk_documents(books, lab.embedder.tokenizer, size=64, overlap=0)
proof = next(chunk for chunk in chunks if proves(chunk, fact))
print(item.question, "→", item.gold)
print("passage, {1} to {2} of {0}:".format(*span(fact)), repr(fact.passage))
print(f"chunk {proof.id}, {proof.start} to {proof.end}:", repr(proof.text))

# %% [markdown]
# ## 7. The sweep
#
# How large should a chunk be? We change one thing, the size or the overlap, and do all the rest again: cut, embed, index,
# search, answer.
#
# - `found`: share of the needed facts in the top chunks, over all questions that the documents answer;
# - `read`: what is left of it in the prompt. A sample of the questions, spread over their kinds, is answered from at
#   most 1024 tokens: large chunks do not all fit, so the best are taken first and the last one is cut;
# - `correct`: share of those answers that hold the gold value; `prompt_tokens`: what the model was given;
# - `chunks`: how many the index holds; `truncated`: those that the embedder does not read to the end.

# %%
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import retriever


def search(chunks):
    """The best chunks for each question, by the question's id."""
    finder = retriever(lab.profile.method, FaissStore.from_chunks(chunks, lab.embedder))
    found = finder.search_batch([item.question for item in items], lab.profile.top_k)
    return {item.id: hits for item, hits in zip(items, found, strict=True)}


def share(item, hits):
    """The share of the facts needed that these chunks prove."""
    return np.mean([any(proves(hit.chunk, fact) for hit in hits) for fact in item.evidence])


# %% [markdown]
# What the model reads: as much of the best chunks as the budget holds.

# %%
from dataclasses import replace

from labkit.compare.arms import passages
from labkit.compare.lab import spread
from labkit.rag.augment import fit

BUDGET = 1024
asked = spread(items, 60 if SIZE == "full" else 6)


def shorten(question, hits):
    fitted = fit(question, passages(hits), BUDGET, lab.model.count, cut=True).passages
    ends = [replace(h.chunk, text=t, end=h.chunk.start + len(t)) for h, (_, t) in zip(hits, fitted, strict=False)]
    return [replace(hit, chunk=chunk) for hit, chunk in zip(hits, ends, strict=False)]


# %% [markdown]
# One setting is one call of `measure`: a row for each question.

# %%
from labkit.compare.reading import read
from labkit.compare.score import is_right


def measure(size, overlap, by="paragraph"):
    chunks = chunk_documents(books, lab.embedder.tokenizer, size, round(overlap * size), by)
    hits = search(chunks)
    about = {"size": size, "overlap": overlap, "chunks": len(chunks)}
    about["truncated"] = len(truncated(chunks, lab.embedder.tokenizer))
    rows = {item.id: {**about, "id": item.id, "found": share(item, hits[item.id])} for item in items}
    shown = [shorten(item.question, hits[item.id]) for item in asked]
    answers = read(lab, [item.question for item in asked], shown)
    for item, some, answer in zip(asked, shown, answers, strict=True):
        right = float(is_right(item, answer.text))
        rows[item.id] |= {"read": share(item, some), "correct": right, "prompt_tokens": answer.prompt_tokens}
    return list(rows.values())


# %%
import warnings

from tqdm.auto import tqdm

SIZES, OVERLAPS = ((64, 128, 256, 500), (0.0, 0.15, 0.3)) if SIZE == "full" else ((64, 500), (0.0, 0.15))
warnings.filterwarnings("ignore", message=".*chunks of up to")  # the column `truncated` counts them
settings = [(size, overlap) for size in SIZES for overlap in OVERLAPS]
swept = pd.DataFrame([row for setting in tqdm(settings) for row in measure(*setting)])
columns = ["found", "read", "correct", "prompt_tokens", "chunks", "truncated"]
means = swept.groupby(["size", "overlap"])[columns].mean()
means.round(2)

# %%
figure, axes = plt.subplots(1, 2, sharey=True, figsize=(7.2, 2.8))
for panel, metric in zip(axes, ["found", "correct"], strict=True):
    grid = means[metric].unstack()
    panel.imshow(grid, cmap="cividis", aspect="auto")
    for (row, column), value in np.ndenumerate(grid):
        ink = "white" if value < (grid.values.min() + grid.values.max()) / 2 else "black"
        panel.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink)
    panel.set(title=metric, xlabel="overlap", xticks=range(grid.shape[1]), yticks=range(len(grid)))
    panel.set_xticklabels([f"{o:.0%}" for o in grid.columns]), panel.set_yticklabels(grid.index), panel.grid(False)
axes[0].set_ylabel("tokens in a chunk")
for metric in ("found", "correct"):
    line = means[metric]
    best, worst = (f"{line[at]:.2f} at {at[0]} tokens, {at[1]:.0%}" for at in (line.idxmax(), line.idxmin()))
    print(f"{metric}: best {best}; worst {worst}")

# %% [markdown]
# ## 8. What a size costs
#
# Small chunks make many vectors; large ones make long prompts, which every single question pays for.

# %%
by_size = means.groupby("size")[["chunks", "truncated", "prompt_tokens"]].mean()
by_size.insert(1, "megabytes", by_size.chunks * lab.embedder.dimensions * 4 / 1e6)
assert by_size.chunks.is_monotonic_decreasing and by_size.prompt_tokens.iloc[0] < by_size.prompt_tokens.iloc[-1]
by_size.round(2)

# %% [markdown]
# Every mean deserves its interval. Here each question is averaged over the overlaps first:

# %%
from labkit import plot
from labkit.stats import bootstrap_mean

lines = {}
for metric in ("found", "read", "correct"):
    table = swept.dropna(subset=[metric]).pivot_table(metric, "id", "size", aggfunc="mean")
    lines[metric] = {size: bootstrap_mean(table[size]) for size in table}
figure, words = plot.curve(lines, "tokens in a chunk", "share")
print(words)
figure

# %% [markdown]
# ## 9. The advice, tested
#
# The article says "≈500 tokens" and "10–20 %" overlap. Each is set against every alternative here, on the same
# questions: `diff` above zero favours the advice. `p` says how easily luck alone would make such a difference, `holm`
# corrects it for the number of comparisons, and the `verdict` goes by that.

# %%
from labkit.stats import holm, paired_bootstrap


def against(advice, metric, column, ours, others):
    """The advised value of a column against each of the others, over the same questions."""
    wide = swept.dropna(subset=[metric]).pivot_table(metric, "id", column)
    for other in others:
        gap = paired_bootstrap(wide[ours], wide[other])
        named = f"{other} tokens" if column == "size" else f"{other:.0%} overlap"
        yield {"advice": advice, "against": named, "metric": metric, "questions": len(wide), **vars(gap)}


# %%
tested = []
for metric in ("found", "read", "correct"):
    tested += against("≈500 tokens", metric, "size", 500, SIZES[:-1])
    tested += against("15 % overlap", metric, "overlap", 0.15, [o for o in OVERLAPS if o != 0.15])
tested = pd.DataFrame(tested).assign(holm=lambda rows: holm(rows.p))
clear = np.where(tested["diff"] > 0, "better", "worse")
tested["verdict"] = np.where(tested.holm < 0.05, clear, "not told apart")
tested.round(3)

# %%
shown = tested[tested.metric != "read"]
around = [shown["diff"] - shown.low, shown.high - shown["diff"]]
plt.figure(figsize=(5, 2.8))
plt.errorbar(shown["diff"], range(len(shown)), xerr=around, fmt="o", color="#0072B2")
plt.axvline(0, color="black", linewidth=0.8)
plt.yticks(range(len(shown)), shown.advice.str.split().str[0] + " against " + shown.against + ", " + shown.metric)
plt.gca().invert_yaxis()
plt.xlabel("difference; to the right the advice is better")
print("\n".join(f"{verdict}: {count} of {len(tested)}" for verdict, count in tested.verdict.value_counts().items()))

# %% [markdown]
# `found` judges embedder and search; `read` and `correct` also the reader. A reader with a long context, trained on
# long passages, may lose less on large chunks than a small one: a verdict holds for the profile above, not for all.
#
# ## 10. Do headings help?
#
# In a book, "Warranty: two years" has lost whose warranty that is. Cut by heading, the chunk carries the names of its
# chapter and section. All four ways, at the profile's size:

# %%
size, overlap = lab.profile.chunk_size, 0.15
kinds = ("token", "sentence", "paragraph", "heading")[0 if SIZE == "full" else 2 :]
ways = {by: pd.DataFrame(measure(size, overlap, by)) for by in kinds}
pd.DataFrame({by: way[["found", "read", "correct", "chunks"]].mean() for by, way in ways.items()}).round(2).T

# %%
metrics = ["found", "correct"]
pairs = [[ways[by][metric].dropna() for by in ("heading", "paragraph")] for metric in metrics]
print("by heading minus by paragraph, with its interval:")
pd.DataFrame([paired_bootstrap(*pair) for pair in pairs], index=metrics).round(3)

# %% [markdown]
# ## 11. The claim of the article
#
# "10–20 % overlap": what 15 % bring against none, each question averaged over all sizes. Both figures are kept for the
# ledger of lesson 19.

# %%
from labkit.compare import claims

figures = {}
for name, metric in {"accuracy": "correct", "recall": "found"}.items():
    wide = swept.dropna(subset=[metric]).pivot_table(metric, "id", "overlap")
    figures[f"{name} with 15 % overlap less with none"] = paired_bootstrap(wide[0.15], wide[0.0]).interval
print(claims.record(lab, "02_chunk", figures))

# %% [markdown]
# ## Takeaways
#
# - A chunk is a span: with its document, page and characters it can always be shown where it was said.
# - What exceeds the embedder's limit is invisible to a dense search, and only a count of tokens reveals it.
# - Larger chunks mean fewer vectors and longer prompts, up to what the prompt may hold. Compare sizes by what was
#   *read* and answered too: the same number of larger chunks is more text.
# - Advice about sizes is an empirical question about your documents, your embedder and your reader. On these questions:

# %%
for row in tested.itertuples():
    line = f"{row.verdict} ({row.diff:+.2f} [{row.low:+.2f}, {row.high:+.2f}])"
    print(f"• {row.advice} against {row.against}, {row.metric}: {line}")

# %% [markdown]
# ## Exercises
#
# 1. Measure every size with `by="heading"`. What happens to the number of chunks as the size grows, and why?
# 2. `found` counts chunks, not tokens. Take the smallest size, but as many chunks as fit into the prompt of the largest
#    (`top_k`). Which finds more now?
# 3. Read one book as `bind` made it. Choose a passage that sits at a seam at 64 tokens without overlap and watch
#    what overlap does to it.
# 4. Bind the articles in `data/prose` into a book and cut it: which of the four ways would you choose for real prose?
