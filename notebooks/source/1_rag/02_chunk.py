# %% [markdown]
# # 02 · Chunk
#
# You will cut documents into *chunks*, spans of text that a search can find and a model can read:
#
# - cut the same text by tokens, sentences, paragraphs and headings, and see what each way breaks;
# - check that every chunk is an exact span of its document, so that an answer can say where it stands;
# - see that the embedder ignores everything after a certain number of tokens, without a warning;
# - vary chunk size and overlap, and test the advice "about 500 tokens, 10 to 20 % overlap";
# - give small chunks of ordinary prose their titles, and hand over the larger chunks around them.
#
# *Before this: 01 Ingest. About 25 minutes, two of them for the sweep.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE, progress=False)
lab

# %% [markdown]
# ## 1. A length in tokens
#
# A model reads *tokens*, not letters or words. A frequent word is one token; a rare word is cut into several. The
# embedder, which will turn each chunk into a vector, has its own tokenizer. We measure chunks with that one.

# %%
document = next(document for document in lab.documents if document.id.startswith("plans/service"))
tokens = lab.embedder.tokenizer.tokenize(document.text)
print(len(document.text), "characters,", len(document.text.split()), "words,", len(tokens), "tokens:")
print(" ".join(tokens[:40]), "…")

# %% [markdown]
# ## 2. Four places to cut
#
# `chunk_documents` fills each chunk up to a size. Each chunk repeats up to `overlap` tokens of the one before it. It
# uses LangChain's recursive splitter, which gets a list of places to cut and takes the first that fits. Below, a blank
# line marks the end of a chunk. There is no overlap yet.

# %%
from labkit.rag.chunk import chunk_documents

for by in ("token", "sentence"):
    print(f"—— by {by} " + "—" * 60)
    chunks = chunk_documents([document], lab.embedder.tokenizer, size=40, overlap=0, by=by)
    print("\n\n".join(" ".join(chunk.text.split()) for chunk in chunks[:3]))

# %% [markdown]
# By token, every chunk is full, but it may end in the middle of a sentence. The two halves of a fact are then in two
# chunks, and neither chunk states the fact. How often does that happen? We call a cut clean if a sentence or a line
# ends there.

# %%
import re

import numpy as np
import pandas as pd


def clean_cuts(by: str) -> float:
    """Share of chunks that end with a sentence or a line."""
    chunks = chunk_documents(lab.documents, lab.embedder.tokenizer, size=64, overlap=0, by=by)
    text = {document.id: document.text for document in lab.documents}
    return sum(bool(re.match(r"\n|$", text[c.document_id][c.end :]) or c.text[-1] in ".!?") for c in chunks) / len(
        chunks
    )


cuts = pd.Series({by: clean_cuts(by) for by in ("token", "sentence", "paragraph")}, name="clean cuts")
assert cuts["token"] < cuts["sentence"]
cuts.round(2).to_frame()

# %% [markdown]
# The fourth way cuts by *heading*. A chunk never crosses a heading, and the heading becomes part of its title. The
# embedder and the model get the title together with the text. Compare the titles below: which plan is the second chunk
# about?

# %%
for by in ("paragraph", "heading"):
    chunks = chunk_documents([document], lab.embedder.tokenizer, size=40, overlap=0, by=by)
    print(f"by {by}:", *(f"\n  {chunk.title} → {' '.join(chunk.text.split())[:60]}…" for chunk in chunks[2:6]))

# %% [markdown]
# ## 3. Overlap
#
# With overlap, each chunk begins with the end of the one before it. A fact at the seam is then complete in one of
# them.

# %%
first, second = chunk_documents([document], lab.embedder.tokenizer, size=64, overlap=19, by="token")[:2]
shared = document.text[second.start : first.end]
print("first chunk: …", " ".join(first.text.split()[-24:]))
print("second chunk:", " ".join(second.text.split()[:24]), "…")
print("both hold:   ", repr(shared), "·", len(lab.embedder.tokenizer.tokenize(shared)), "tokens, 19 are allowed")

# %% [markdown]
# ## 4. Where does it stand?
#
# Each chunk keeps its document, its page and its span of characters. You can check that: if you cut the document at
# `start` and `end`, you get the text of the chunk.

# %%
text = {document.id: document.text for document in lab.documents}
chunks = chunk_documents(lab.documents, lab.embedder.tokenizer, lab.profile.chunk_size, lab.profile.chunk_overlap)
assert all(text[chunk.document_id][chunk.start : chunk.end] == chunk.text for chunk in chunks)
print("all", len(chunks), "chunks are exact spans of their documents")
pd.DataFrame(chunks)[["id", "page", "start", "end"]].sample(3, random_state=0)

# %% [markdown]
# LangChain's splitter offers `add_start_index` for this. It searches for the chunk in the document.

# %%
from langchain_text_splitters import RecursiveCharacterTextSplitter

settings = {"chunk_size": lab.profile.chunk_size, "chunk_overlap": lab.profile.chunk_overlap, "add_start_index": True}
splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(lab.embedder.tokenizer, **settings)
made = splitter.create_documents([document.text for document in lab.documents], [{"id": d.id} for d in lab.documents])
starts = [(chunk.metadata["id"], chunk.metadata["start_index"], chunk.page_content) for chunk in made]
wrong = sum(start < 0 or text[name][start : start + len(content)] != content for name, start, content in starts)
print(f"{wrong} of {len(made)} start indexes are wrong or missing")

# %% [markdown]
# Where start indexes are wrong, LangChain has mixed two units: to decide where to search, it subtracts the overlap,
# counted in tokens, from a position counted in characters. That is why labkit computes the spans itself.
#
# ## 5. The embedder's limit
#
# An embedder reads a fixed number of tokens and ignores the rest. To show it, we append one sentence to longer and
# longer texts. For each text we measure the similarity (the *cosine*, see lesson 03) to a question about that
# sentence.

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
# Beyond the limit the two lines coincide: the embedder does not see the sentence. There is no error and no warning. So
# labkit counts the tokens and warns.

# %%
from labkit.rag.chunk import truncated

chunks = chunk_documents(lab.documents, lab.embedder.tokenizer, size=500, overlap=75)
print(len(truncated(chunks, lab.embedder.tokenizer)), "chunks are not read to their end")
assert max(gap for n, gap in gaps.items() if n > limit + 40) < 0.01

# %% [markdown]
# ## 6. A corpus worth cutting
#
# The company's documents are short. At 500 tokens most of them are one chunk, and no setting could matter. So we bind
# all documents of a folder into one book, like a real handbook. Each document becomes a chapter with its own heading.
# The title of a chunk is only that of the book.

# %%
from labkit.rag.ingest import Document
from labkit.store import address


def bind(documents):
    """Bind the documents of each folder into a book; also give each document's book, first and last character."""
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
# We know the passage of every fact and the span of every chunk. So we can decide without a human judge whether a chunk
# proves a fact. It does if its span covers the whole passage. It also does if it contains a line of an overview that
# names both the thing and the value.

# %%
from labkit.metrics import contains


def span(fact):
    """Book, start and end of the passage that states a fact; its line breaks may differ."""
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
# ## 7. A sweep over sizes
#
# How large should a chunk be? A *sweep* tries every size with every overlap, and repeats everything else each time:
# cut, embed, index, search, answer.
#
# - `found`: the share of the needed facts in the top chunks, over all questions that the documents answer;
# - `read`: the share of the needed facts in the prompt. A prompt holds at most 1024 tokens, so large chunks do not all
#   fit. The best come first and the last is cut. We measure this on a sample of the questions, spread over their
#   kinds;
# - `correct`: the share of the answers to this sample that contain the gold value;
# - `prompt_tokens`: the number of tokens in the prompt;
# - `chunks`: the number of chunks in the index;
# - `truncated`: the number of chunks that the embedder does not read to the end.

# %%
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import retriever


def search(chunks):
    """The best chunks for each question, by the question's id."""
    finder = retriever(lab.profile.method, FaissStore.from_chunks(chunks, lab.embedder))
    found = finder.search_batch([item.question for item in items], lab.profile.top_k)
    return {item.id: hits for item, hits in zip(items, found, strict=True)}


def share(item, hits):
    """Share of the needed facts that these chunks prove."""
    return np.mean([any(proves(hit.chunk, fact) for hit in hits) for fact in item.evidence])


# %% [markdown]
# The model reads as many of the best chunks as fit into the budget.

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
# Each call of `measure` tries one setting and returns a row for each question.

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
# Small chunks mean more vectors. Large chunks mean longer prompts, and every question pays for these.

# %%
by_size = means.groupby("size")[["chunks", "truncated", "prompt_tokens"]].mean()
by_size.insert(1, "megabytes", by_size.chunks * lab.embedder.dimensions * 4 / 1e6)
assert by_size.chunks.is_monotonic_decreasing and by_size.prompt_tokens.iloc[0] < by_size.prompt_tokens.iloc[-1]
by_size.round(2)

# %% [markdown]
# Every mean needs its interval. Here we first average each question over the overlaps:

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
# The article says "≈500 tokens" and "10–20 %" overlap. We compare each with every alternative on the same questions.
# `diff` above zero favours the advice. `p` is the probability that chance alone makes a difference at least this
# large. `holm` corrects it for the number of comparisons, and `verdict` rests on `holm`.

# %%
from labkit.stats import holm, paired_bootstrap


def against(advice, metric, column, ours, others):
    """Compare the advised value of a column with each of the others, on the same questions."""
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
# `found` depends on the embedder and the search. `read` and `correct` also depend on the size of the prompt and on the
# reader. A model with a long context that was trained on long passages may lose less on large chunks. So a verdict
# holds only for the profile above.
#
# ## 10. Do headings help?
#
# In a book, "Warranty: two years" no longer says whose warranty it is. A chunk cut by heading carries the names of its
# chapter and section. Here are all four ways at the profile's chunk size:

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
# ## 11. Titles and parents, on ordinary prose
#
# The company's documents name a product again in almost every sentence. Ordinary prose says "he" and "there".
# `data/prose` holds articles on the real world, with questions. We try two ideas on them, with the development
# questions only: the test questions are for the comparison of lesson 12.

# %%
from labkit.data import data_folder
from labkit.practice.questions import check, read_rows
from labkit.rag.ingest import ingest

prose = data_folder() / "prose"
articles = ingest(prose / "documents", progress=False).documents
rows = [row for row in read_rows(prose / "questions.csv") if row["split"] == "dev" and row["answer"]]
dev, _ = check(rows[:: 1 if SIZE == "full" else 12], articles)
asked_of = {fact.document for item in dev for fact in item.evidence}
articles = [article for article in articles if SIZE == "full" or article.id in asked_of]
print(f"{len(articles)} articles, {len(dev)} questions, for example: {dev[0].question} → {dev[0].gold}")

# %% [markdown]
# `holds` says whether a passage proves a fact: it contains the value, or, for a question that needs two articles, most
# of the sentence that each must give.

# %%
from labkit.compare.training import holds
from labkit.rag.retrieve import Hit


def ranked(chunks, k=5):
    finder = retriever("fusion", FaissStore.from_chunks(chunks, lab.embedder))
    return [[hit.chunk for hit in hits] for hits in finder.search_batch([item.question for item in dev], k)]


def recall(tops):
    pairs = zip(dev, tops, strict=True)
    return [np.mean([any(holds(Hit(chunk, 0, 1), fact) for chunk in top) for fact in i.evidence]) for i, top in pairs]


# %% [markdown]
# **A chunk with its context.** labkit embeds the title and the headings before the text. Anthropic's *contextual
# retrieval* (2024) has a model write such a line for each chunk. What does it bring? We cut once and embed the same
# spans three times.

# %%
small = chunk_documents(articles, lab.embedder.tokenizer, size=64, overlap=0, by="heading")
titles = {article.id: article.title for article in articles}
bare = [replace(chunk, title="") for chunk in small]
titled = [replace(chunk, title=titles[chunk.document_id]) for chunk in small]
given = {"text": bare, "title + text": titled, "title + headings + text": small}
told = {name: recall(ranked(chunks)) for name, chunks in given.items()}
pd.DataFrame({"recall@5": pd.DataFrame(told).mean()}).round(2)

# %% [markdown]
# **Search small, hand over large.** A small chunk says one thing, so its vector is easy to find. A large one is better
# to read. So we search the small chunks and hand over their *parents*, the large chunks that they are part of
# (LangChain's `ParentDocumentRetriever`). That is more text. To be fair, we also give small and large chunks, in the
# order in which a search finds them, as many tokens as the parents have.

# %%
large = chunk_documents(articles, lab.embedder.tokenizer, size=256, overlap=0, by="heading")
tokens = {c: len(lab.embedder.tokenizer.tokenize(c.embedding_text, verbose=False)) for c in [*small, *large]}


def parent(chunk):
    return next(c for c in large if c.document_id == chunk.document_id and c.start <= chunk.start < c.end)


def as_long(chunks, others):
    sums = np.cumsum([tokens[chunk] for chunk in chunks])
    return chunks[: np.searchsorted(sums, sum(tokens[chunk] for chunk in others), side="right")]


# %%
deep = ranked(small, 40)
parents = [list(dict.fromkeys(map(parent, chunks[:5]))) for chunks in deep]
ways = {
    "five small": [chunks[:5] for chunks in deep],
    "their parents": parents,
    "small, as long": list(map(as_long, deep, parents)),
    "large, as long": list(map(as_long, ranked(large, 10), parents)),
}
told |= {name: recall(tops) for name, tops in ways.items()}
length = {name: np.mean([sum(tokens[chunk] for chunk in top) for top in tops]) for name, tops in ways.items()}
pd.DataFrame({"recall": {name: np.mean(told[name]) for name in ways}, "tokens": length}).round(2)

# %%
versus = [("title + text", "text"), ("title + headings + text", "title + text")]
versus += [("their parents", other) for other in ways if other != "their parents"]
for a, b in versus:
    gap = paired_bootstrap(told[a], told[b])
    said = "not told apart" if gap.low <= 0 <= gap.high else "shown"
    print(f"recall of {a} minus {b}: {gap.diff:+.2f} ({gap.low:+.2f} to {gap.high:+.2f}), {said} on these questions")

# %% [markdown]
# ## 12. The claim of the article
#
# The claim is "10–20 % overlap". We compare 15 % overlap with none, and average each question over all sizes. Lesson
# 19 collects both figures in its ledger, the list of the article's claims and our verdicts.

# %%
from labkit.compare import claims

figures = {}
for name, metric in {"accuracy": "correct", "recall": "found"}.items():
    wide = swept.dropna(subset=[metric]).pivot_table(metric, "id", "overlap")
    figures[f"{name} with 15 % overlap minus with none"] = paired_bootstrap(wide[0.15], wide[0.0]).interval
print(claims.record(lab, "02_chunk", figures))

# %% [markdown]
# ## Takeaways
#
# - A chunk is a span of its document. Because it keeps document, page and characters, you can always show where a
#   statement stands.
# - A dense search cannot see what exceeds the embedder's limit. Only counting tokens reveals it.
# - Larger chunks mean fewer vectors and longer prompts, up to the prompt's limit. Compare sizes also by `read` and
#   `correct`: the same number of larger chunks is more text.
# - More text holds at least as many facts. So compare parents with other chunks of the same number of tokens.
# - The right size depends on your documents, your embedder and your reader. On these questions:

# %%
for row in tested.itertuples():
    line = f"{row.verdict} ({row.diff:+.2f} [{row.low:+.2f}, {row.high:+.2f}])"
    print(f"• {row.advice} against {row.against}, {row.metric}: {line}")

# %% [markdown]
# ## Exercises
#
# 1. Measure every size with `by="heading"`. What happens to the number of chunks as the size grows, and why?
# 2. `found` counts chunks, not tokens. Take the smallest size, but with as many chunks as fit into the prompt of the
#    largest (`top_k`). Which size finds more now?
# 3. Read one book as `bind` made it. Choose a passage at a seam, at 64 tokens without overlap. What does overlap
#    change?
# 4. Bind the articles in `data/prose` into a book and cut it. Which of the four ways would you choose for real prose?
