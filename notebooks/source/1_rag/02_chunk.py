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
# *Before this: 01 Ingest. About 25 minutes; the sweep computes for a few minutes once, and is remembered.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
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
# nothing is said. So labkit counts, and warns. (`bind` makes long books of the short documents; section 6 says why.)

# %%
from labkit.compare.practices import bind
from labkit.rag.chunk import truncated

library = bind(lab.documents)
chunks = chunk_documents(library.books, lab.embedder.tokenizer, size=500, overlap=75)
print(len(truncated(chunks, lab.embedder.tokenizer)), "chunks are not read to their end")
assert max(gap for n, gap in gaps.items() if n > limit + 40) < 0.01

# %% [markdown]
# ## 6. A corpus worth cutting
#
# The company's documents are short: at 500 tokens most of them are one chunk, and no setting could matter. So `library`
# binds them into books, one for each folder, as a real handbook would be: each document is a chapter under its own
# heading, and the chunks' title is only that of the book.

# %%
length = {d.id: len(lab.embedder.tokenizer.tokenize(d.text, verbose=False)) for d in (*lab.documents, *library.books)}
short = pd.Series([length[document.id] for document in lab.documents])
print(f"{len(short)} documents, of which {(short <= 500).mean():.0%} fit into 500 tokens")
pd.Series({book.title: length[book.id] for book in library.books}, name="tokens").to_frame()

# %% [markdown]
# Because every fact's passage is known, and every chunk's span too, "found" needs no judge: a chunk holds a fact if
# its span covers the whole passage. The first question's fact, and the chunk that proves it:

# %%
item = next(item for item in lab.questions if item.evidence)
book, start, end = library.span(item.evidence[0])
chunks = chunk_documents(library.books, lab.embedder.tokenizer, size=64, overlap=0)
proof = next(chunk for chunk in chunks if library.proves(chunk, item.evidence[0]))

# %%
print(item.question, "→", item.gold)
print(f"passage, characters {start} to {end} of {book}:", repr(item.evidence[0].passage))
print(f"chunk {proof.id}, {proof.start} to {proof.end}:", repr(proof.text))

# %% [markdown]
# ## 7. The sweep
#
# How large should a chunk be? Every size with every overlap is cut, embedded, indexed, searched with the profile's
# retriever, and answered from. On two cores this takes some minutes the first time, and a moment after that.
#
# - `found`: share of the needed facts in the top chunks, over all questions that the documents answer;
# - `read`: what is left of it in the prompt. A sample of the questions, spread over their kinds, is answered from at
#   most 1024 tokens: large chunks do not all fit, so the best are taken first and the last one is cut;
# - `correct`: share of those answers that hold the gold value; `passages`, `prompt_tokens`: what the model was given;
# - `chunks`, `megabytes` of vectors: the index; `truncated`: chunks that the embedder does not read to the end.

# %%
from labkit.compare.practices import sweep

swept = sweep(lab)
means = swept.groupby(["size", "overlap"])[
    ["found", "read", "correct", "passages", "prompt_tokens", "chunks", "megabytes", "truncated"]
].mean()
means.round(2)

# %%
import numpy as np

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
by_size = means.groupby("size")[["chunks", "megabytes", "truncated", "prompt_tokens"]].mean()
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
figure, told = plot.curve(lines, "tokens in a chunk", "share")
print(told)
figure

# %% [markdown]
# ## 9. The advice, tested
#
# The article says "≈500 tokens" and "10–20 %" overlap. Each is set against every alternative here, on the same
# questions: `diff` above zero favours the advice. `p` says how easily luck alone would make such a difference, `holm`
# corrects it for the number of comparisons, and the `verdict` goes by that.

# %%
from labkit.stats import holm, paired_bootstrap

tested = []
for metric in ("found", "read", "correct"):
    wide = swept.dropna(subset=[metric]).pivot(index="id", columns=["size", "overlap"], values=metric)
    sizes, overlaps = (wide.columns.get_level_values(name) for name in ("size", "overlap"))
    advised = overlaps.isin([0.1, 0.15, 0.2])
    pairs = [("≈500 tokens", sizes == 500, f"{s} tokens", sizes == s) for s in sorted({*sizes} - {500})]
    pairs += [("10–20 % overlap", advised, f"{o:.0%} overlap", overlaps == o) for o in sorted({*overlaps[~advised]})]
    for advice, ours, other, theirs in pairs:
        gap = paired_bootstrap(wide.loc[:, ours].to_numpy(float), wide.loc[:, theirs].to_numpy(float))
        tested.append({"advice": advice, "against": other, "metric": metric, "questions": len(wide), **vars(gap)})
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
ways = {by: sweep(lab, [size], [overlap], by) for by in ("token", "sentence", "paragraph", "heading")}
pd.DataFrame({by: way[["found", "read", "correct", "chunks"]].mean() for by, way in ways.items()}).round(2).T

# %%
metrics = ["found", "correct"]
pairs = [[ways[by][metric].dropna() for by in ("heading", "paragraph")] for metric in metrics]
print("by heading less by paragraph, with its interval:")
pd.DataFrame([paired_bootstrap(*pair) for pair in pairs], index=metrics).round(3)

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
    told = f"{row.verdict} ({row.diff:+.2f} [{row.low:+.2f}, {row.high:+.2f}])"
    print(f"• {row.advice} against {row.against}, {row.metric}: {told}")

# %% [markdown]
# ## Exercises
#
# 1. Sweep with `by="heading"`. What happens to the number of chunks as the size grows, and why?
# 2. `found` counts chunks, not tokens. Take the smallest size, but as many chunks as fit into the prompt of the largest
#    (`top_k`). Which finds more now?
# 3. Read one book as `bind` made it. Choose a passage that sits at a seam at 64 tokens without overlap and watch
#    what overlap does to it.
# 4. Bind the articles in `data/prose` into a book and cut it: which of the four ways would you choose for real prose?
