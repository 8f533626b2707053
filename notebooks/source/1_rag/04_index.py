# %% [markdown]
# # 04 · Index
#
# You will store vectors so that a search finds them, and measure what each way costs:
#
# - search exactly, by hand and with FAISS;
# - give up a little recall to save time or memory;
# - change, delete and filter documents;
# - see a damaged store refused, and what a pickle can do.
#
# *Before this: 03 Embed. About 25 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. The exact way
#
# All vectors have length 1, so the inner product of two is their cosine. To find the nearest chunks, compare the
# question with *every* chunk and sort.

# %%
import numpy as np

store = lab.vectors
real = store.index.vectors_at(np.arange(len(store)))
asked = lab.embedder.encode([item.question for item in lab.questions], query=True)
by_hand = np.argsort(-(asked @ real.T), axis=1, kind="stable")[:, :10]
print(f"{len(real)} chunks and {len(asked)} questions, {real.shape[1]} numbers each")

# %% [markdown]
# FAISS calls this a *flat* index. `FaissStore` keeps one with its chunks.


# %%
def recall(found, wanted):
    """Mean over questions of the share of wanted numbers that were found."""
    return float(np.mean([np.isin(right, row).mean() for row, right in zip(found, wanted, strict=True)]))


_, found = store.search_vectors(asked, 10)
print(f"of the ten nearest by hand, FAISS found {recall(found, by_hand):.1%}")
assert recall(found, by_hand) > 0.999  # ties may swap

# %%
print(lab.questions[0].question)
for document, cosine in store.similarity_search_with_score(lab.questions[0].question, k=3):
    print(f"  {cosine:.3f}  {document.id}")

# %% [markdown]
# ## 2. Enough vectors to make a difference
#
# A few hundred chunks suit any index. To see a difference we need many more vectors, and *realistic* ones: random
# directions are all equally far apart. So we add to real vectors a part of the difference between two others.

# %%
from labkit.rag.index import more_vectors

SIZES = (1_000, 10_000, 100_000) if SIZE == "full" else (500, 2_000)
vectors = more_vectors(real, SIZES[-1])
print(f"{len(vectors):,} vectors, {vectors.nbytes / 1e6:.0f} MB")

# %% [markdown]
# ## 3. Four ideas to avoid comparing everything
#
# | FAISS name | idea | dial |
# |---|---|---|
# | `Flat` | compare everything, exactly | – |
# | `SQ8` | one byte a number instead of four (scalar quantization) | – |
# | `PQ48` | cut the vector into 48 pieces; keep the nearest of 256 samples for each (product quantization) | – |
# | `IVF316,Flat` | sort the vectors into 316 cells; search only the nearest cells | `nprobe`: cells |
# | `HNSW32` | link each vector to 32 neighbours; walk along the links | `efSearch`: candidates kept |
#
# They combine: `IVF316,PQ48` searches a few cells *and* keeps 48 bytes a vector. The dial buys recall with time.
# **Recall@10** here is the share of the exact ten nearest that come back.


# %%
def kinds(count):
    cells, pieces = round(count**0.5), real.shape[1] // 8
    return {
        "Flat": [""], "SQ8": [""], f"PQ{pieces}": [""],
        f"IVF{cells},Flat": ["nprobe=1", "nprobe=4", "nprobe=16"],
        f"IVF{cells},PQ{pieces}": ["nprobe=4", "nprobe=16"],
        "HNSW32": ["efSearch=16", "efSearch=64", "efSearch=256"],
    }  # fmt: skip


# %% [markdown]
# Each trial builds one index, varies the dial, and measures recall and the median time of a question. One thread
# searches, so that times are comparable.

# %%
import time

from labkit.rag.index import VectorIndex


def milliseconds(search, queries):
    """Median time of one query, each passed as a slice; a first call warms up and does not count."""
    spent = []
    for place in [0, *range(len(queries))]:
        began = time.perf_counter()
        search(queries[place : place + 1])
        spent.append(1000 * (time.perf_counter() - began))
    return np.median(spent[1:])


# %%
def trial(count, factory, efforts, exact):
    began = time.perf_counter()
    index = VectorIndex(factory)
    index.add(vectors[:count])
    row = {"vectors": count, "factory": factory, "seconds": time.perf_counter() - began}
    row["bytes"] = index.to_bytes().nbytes / count
    for effort in efforts:
        index.tune(effort)
        found = recall(index.search(asked, 10)[1], exact)
        yield {**row, "effort": effort, "recall": found, "ms": milliseconds(lambda q: index.search(q, 10), asked)}


# %%
import faiss
from tqdm.auto import tqdm

rows, threads = [], faiss.omp_get_max_threads()
for count in tqdm(SIZES):
    exact = np.argsort(-(asked @ vectors[:count].T), axis=1, kind="stable")[:, :10]
    faiss.omp_set_num_threads(1)
    rows += [row for kind in kinds(count).items() for row in trial(count, *kind, exact)]
faiss.omp_set_num_threads(threads)

# %%
import pandas as pd

trials = pd.DataFrame(rows)
trials["kind"] = trials.factory.str.replace(r"\d+", "", regex=True)
trials[trials.vectors == SIZES[-1]].set_index(["factory", "effort"])[["recall", "ms", "bytes", "seconds"]].round(3)

# %% [markdown]
# `bytes` is the memory for each vector, `seconds` the time to build the index. Now for all sizes:


# %%
def draw(axes, count, group):
    for mark, (kind, points) in zip("PXDos^", group.groupby("kind"), strict=True):
        (line,) = axes.plot(points.ms, points.recall)
        axes.scatter(points.ms, points.recall, 10 + points.bytes / 15, line.get_color(), mark, label=kind)
    axes.set(title=f"{count:,} vectors", xscale="log", xlabel="ms for one question (log scale)")


# %% [markdown]
# Up and to the left is better. A small mark is a small index. The lines below give the best recall of each kind.

# %%
import matplotlib.pyplot as plt

shape = {"sharex": True, "sharey": True, "figsize": (3 * len(SIZES), 3.2), "layout": "constrained"}
figure, panels = plt.subplots(1, len(SIZES), **shape)
for axes, (count, group) in zip(panels, trials.groupby("vectors"), strict=True):
    draw(axes, count, group)
    best = group.sort_values("recall", ascending=False).drop_duplicates("kind")
    said = [f"{row.kind} {row.recall:.2f} in {row.ms:.2f} ms" for row in best.itertuples()]
    print(f"{count:,} vectors: {', '.join(said)}")
panels[0].set(ylabel="recall@10", ylim=(0, 1.08))
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
plt.close()
figure

# %% [markdown]
# All vectors of a `PQ` index share one table of samples, the codebook. In a small index it takes most of the space.
# And a dial that is right for a thousand vectors may be wrong for more:

# %%
same = trials[trials.effort.isin(["", "efSearch=64", "nprobe=4"])]
same.pivot_table("recall", ["kind", "effort"], "vectors").round(3)

# %% [markdown]
# Is the search the slow part? The question must be embedded first.

# %%
from labkit.rag.embed import load_embedder

fresh = load_embedder(lab.profile.embedder)  # without a cache
texts = [item.question for item in lab.questions[:40]]
embedding = milliseconds(lambda q: fresh.encode(q, query=True), texts)
print(f"embedding one question: {embedding:.1f} ms")

# %%
exact = trials[trials.factory == "Flat"].set_index("vectors").ms
print("; ".join(f"exact search of {count:,}: {ms:.2f} ms ({ms / embedding:.2%} of it)" for count, ms in exact.items()))

# %% [markdown]
# ## 4. Documents change
#
# "Re-embed and re-index after significant data changes", says the article. For one document this means: replace its
# chunks and leave the rest. We take the documents *as first written* and a fact that has changed since.

# %%
current = lab.index(lab.original.documents)


def holds(store, fact):
    chunks = (chunk for chunk in store.chunks if chunk.document_id == fact.document)
    return any(fact.value in chunk.text for chunk in chunks)


# %%
changed = [item for item in lab.questions if item.kind == "changed fact"]
item = next(item for item in changed if not holds(current, item.evidence[0]))
fact = item.evidence[0]
print(f"{item.question} → {item.gold}; in the store: {holds(current, fact)}")

# %%
from labkit.rag.chunk import chunk_documents

p, today = lab.profile, [document for document in lab.documents if document.id == fact.document]
new = chunk_documents(today, lab.embedder.tokenizer, size=p.chunk_size, overlap=p.chunk_overlap)
print(f"{fact.document} as it is today: {len(new)} chunks")

# %%
start = time.perf_counter()
current.update_chunks(new)
seconds = time.perf_counter() - start
print(f"replaced in {seconds:.3f} s; the new value is in the store: {holds(current, fact)}")
assert holds(current, fact)

# %% [markdown]
# FAISS can delete from a flat list but not from a graph, so our store refills the index with the remaining vectors.
# For a graph this is slow. The result is the same:

# %%
for factory in ("Flat", "HNSW32", "IVF8,Flat"):
    current.rebuild(factory)
    current.update_chunks(new)
    current.delete_document(fact.document)
    left = [hit.metadata["document_id"] for hit in current.similarity_search(item.question, k=20)]
    print(f"{factory}: of the {len(left)} nearest, {left.count(fact.document)} are of the deleted document")
    assert fact.document not in left

# %% [markdown]
# ## 5. A filter on metadata
#
# Our store filters *first*, then compares everything that passes. Others search first and filter the hits. They find
# nothing if no permitted chunk is among the nearest.

# %%
for wanted in ({"document_id": fact.document}, lambda document: document.metadata["document_id"].endswith(".pdf")):
    hits = store.similarity_search(lab.questions[0].question, k=3, filter=wanted)
    print([hit.id for hit in hits])

# %% [markdown]
# ## 6. Save, load, distrust
#
# Our store is saved as vectors, chunks, and a manifest with their SHA-256 hashes.

# %%
import tempfile
from pathlib import Path

place = tempfile.TemporaryDirectory()
folder = Path(place.name) / "store"
store.save(folder)
print(sorted(path.name.partition("-")[2] or path.name for path in folder.iterdir()))

# %% [markdown]
# A manipulated file could crash FAISS or worse, so labkit checks the hash first. We change one bit:

# %%
(path,) = folder.glob("*index.faiss")
data = bytearray(path.read_bytes())
data[len(data) // 2] ^= 1
path.write_bytes(data)
print(f"one bit of {len(data):,} bytes changed")

# %%
from labkit.errors import LabError
from labkit.rag.index import FaissStore

try:
    FaissStore.load(folder, lab.embedder)
except LabError as error:
    print(str(error).replace(place.name, "…"))

# %% [markdown]
# ## 7. The same through LangChain's FAISS and Chroma
#
# Many tutorials use the FAISS store of `langchain-community`, a package that is no longer maintained. labkit does not
# use it; this lesson does.

# %%
import warnings

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    from langchain_community.vectorstores import FAISS
print(next(str(warning.message) for warning in said if "langchain-community" in str(warning.message)))

# %% [markdown]
# All three stores get the same texts and the same embedder.

# %%
chunks = store.chunks
ids, texts = [chunk.id for chunk in chunks], [chunk.embedding_text for chunk in chunks]
about = [{"document_id": chunk.document_id} for chunk in chunks]

# %%
from chromadb.config import Settings
from langchain_chroma import Chroma

way = {
    "collection_configuration": {"hnsw": {"space": "cosine"}},
    "client_settings": Settings(anonymized_telemetry=False),
}
chroma = Chroma("chunks", lab.embedder, persist_directory=str(Path(place.name) / "chroma"), **way)
makers = {
    "labkit": lambda: FaissStore.from_texts(texts, lab.embedder, about, ids=ids),
    "langchain-community": lambda: FAISS.from_texts(texts, lab.embedder, about, ids=ids),
    "chroma": lambda: chroma.add_texts(texts, about, ids=ids) and chroma,
}

# %%
stores, building = {}, {}
for name, make in makers.items():
    start = time.perf_counter()
    stores[name] = make()
    building[name] = time.perf_counter() - start
print("seconds to build:", {name: round(seconds, 3) for name, seconds in building.items()})


# %%
def five(kept, vector):
    return kept.similarity_search_by_vector(vector.tolist(), k=5)


hits = {name: [{hit.id for hit in five(kept, vector)} for vector in asked] for name, kept in stores.items()}
alike = {name: np.mean([a == b for a, b in zip(hits[name], hits["labkit"], strict=True)]) for name in stores}
print("the same five hits as ours:", ", ".join(f"{name} {share:.1%}" for name, share in alike.items()))

# %%
pace = {name: milliseconds(lambda q, kept=kept: five(kept, q[0]), asked) for name, kept in stores.items()}
compared = pd.DataFrame({"top 5 as ours": alike, "seconds to build": building, "ms a question": pace})
compared.round(3)

# %% [markdown]
# Now a filter: each question may search only one document.

# %%
only = {"document_id": chunks[-1].document_id}
there = sum(chunk.document_id == chunks[-1].document_id for chunk in chunks)


def found_of(kept, vector):
    return len(kept.similarity_search_by_vector(vector.tolist(), k=there, filter=only)) / there


# %%
compared["found with a filter"] = {
    name: np.mean([found_of(kept, vector) for vector in asked]) for name, kept in stores.items()
}
print(f"{chunks[-1].document_id} has {there} chunks; share of them that came back, over all questions:")
compared[["found with a filter"]].round(3)

# %% [markdown]
# The community store takes the 20 nearest (`fetch_k`) and then drops what fails the filter. So an empty answer need
# not mean that nothing fits.
#
# It also saves a *pickle*: a program that Python runs to build objects, and that can do whatever you can. LangChain
# warns of this, but many examples switch the warning off.

# %%
import pickle


class Planted:
    def __reduce__(self):
        return print, ("   ← this line was printed by a data file while it was loaded",)


# %%
poisoned = Path(place.name) / "langchain-community"
stores["langchain-community"].save_local(str(poisoned))
(poisoned / "index.pkl").write_bytes(pickle.dumps(Planted()))
try:
    FAISS.load_local(str(poisoned), lab.embedder, allow_dangerous_deserialization=True)
except TypeError:
    print("   ← LangChain noticed too late that there were no documents in it")

# %% [markdown]
# ## 8. Stores on servers
#
# The article names FAISS, a library in your process; Chroma, a database in your process or on a server; and Pinecone,
# a service on the internet. LangChain gives them one interface. Qdrant, another server, also runs in memory:

# %%
from langchain_qdrant import QdrantVectorStore

named = [{**row, "chunk": name} for row, name in zip(about, ids, strict=True)]  # Qdrant accepts only UUIDs as ids
qdrant = QdrantVectorStore.from_texts(texts, lab.embedder, named, location=":memory:")
theirs = [{hit.metadata["chunk"] for hit in five(qdrant, vector)} for vector in asked]
same = np.mean([a == b for a, b in zip(theirs, hits["labkit"], strict=True)])
print(f"qdrant: the same five hits as ours for {same:.1%} of the questions")

# %% [markdown]
# **We did not test Pinecone**: it needs a network and a key. Without the extra `pinecone`:

# %%
try:
    from langchain_pinecone import PineconeVectorStore  # noqa: F401
except ImportError as error:
    print("error:", error)

# %% [markdown]
# ## Takeaways

# %%
shares = " and ".join(f"{exact[count] / embedding:.2%} for {count:,} vectors" for count in (SIZES[0], SIZES[-1]))
print(f"• Time of exact search as a share of embedding the question: {shares}. This course has {len(real)} chunks.")

# %%
most = trials[trials.vectors == SIZES[-1]]
flat, good = most[most.kind == "Flat"].iloc[0], most[most.recall >= 0.95].sort_values("ms").iloc[0]
print(f"• At {SIZES[-1]:,} vectors, {good.factory} {good.effort} found {good.recall:.1%} of the nearest in",
      f"1/{flat.ms / good.ms:.0f} of the time of exact search.")  # fmt: skip
tight = most.sort_values("bytes").iloc[0]
print(f"• The smallest, {tight.factory}, took 1/{flat.bytes / tight.bytes:.0f} of the bytes and found",
      f"{tight.recall:.1%} of the nearest.")  # fmt: skip

# %%
for kind, effort in (("HNSW", "efSearch=64"), ("IVF,Flat", "nprobe=4"), ("PQ", "")):
    first, *_, last = trials[(trials.kind == kind) & (trials.effort == effort)].recall
    print(f"• {f'{kind} {effort}'.strip()}: recall {first:.2f} at {SIZES[0]:,} vectors, {last:.2f} at {SIZES[-1]:,}.")

# %%
for name in ("langchain-community", "chroma"):
    row = compared.loc[name]
    print(f"• {name}: the same five hits for {row['top 5 as ours']:.1%} of the questions;",
          f"with a filter it returned {row['found with a filter']:.0%} of what it should.")  # fmt: skip
place.cleanup()

# %% [markdown]
# - The store replaces one document without touching the others. It never finds a deleted document again.
# - The store refuses a changed file before reading it. A pickle runs before anyone can refuse it.
#
# ## Exercises
#
# 1. Add `"HNSW32,SQ8"` to `kinds`. Where do you expect it in the figure? Were you right?
# 2. Fetch 100 with `PQ48`, and compare these exactly with `VectorIndex.search(..., among=...)` of a flat index. What
#    is the recall?
# 3. Replace `more_vectors` by random directions and run section 3 again. Which kinds suffer, and why does such a
#    benchmark mislead?
# 4. Pass `fetch_k=len(texts)` to the filtered search of the community store. What does it find now, and what does it
#    cost?
#
# ## Appendix
#
# - The hash reveals damage, not intent: whoever can change a file can change the manifest too.
# - Chroma comes with the extra `stores`. We set it to keep its data in a folder, to compare by cosine and to send no
#   telemetry.
