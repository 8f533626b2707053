# %% [markdown]
# # 03 · Embed
#
# You will turn texts into vectors, so that "similar in meaning" becomes "close in space":
#
# - compute a similarity by hand, then with a library, and get the same number;
# - look at all chunks of the company in one picture;
# - embed faster than the default call without changing what a search finds, and never embed an unchanged text twice;
# - search an index with the wrong embedder, and see why labkit refuses that.
#
# *Before this: 02 Chunk. About 20 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. A text becomes a vector
#
# An embedding model turns every text into the same number of coordinates. No single coordinate has a meaning that we
# could name. But texts of similar meaning get vectors that lie close together.

# %%
embedder = lab.embedder
vector = embedder.encode(["How heavy is the pump?"])[0]
print(vector.shape, vector.dtype, vector[:6].round(3), "…")

# %% [markdown]
# ## 2. Similarity by hand
#
# *Cosine similarity* is the cosine of the angle between two vectors. Multiply them coordinate by coordinate, add up,
# and divide by both lengths. The result is 1 for the same direction and 0 if they have nothing in common.

# %%
import numpy as np

texts = ["How heavy is the pump?", "The pump weighs twelve kilograms.", "Soup is served on Tuesdays."]
a, b, c = embedder.encode(texts)


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Cosine of the angle between two vectors."""
    return float(sum(x * y) / (sum(x**2) ** 0.5 * sum(y**2) ** 0.5))


print(f"question and its answer: {cosine(a, b):.4f}   question and soup: {cosine(a, c):.4f}")

# %% [markdown]
# The library of the model gives the same result. Our vectors already have length 1, so the plain inner product is
# enough. An index computes it millions of times.

# %%
from sentence_transformers import util

table = util.cos_sim(embedder.encode(texts), embedder.encode(texts)).numpy()
assert np.allclose(table[0, 1], cosine(a, b), atol=1e-5) and np.allclose(a @ b, cosine(a, b), atol=1e-5)
table.round(4)

# %% [markdown]
# ## 3. All chunks in one picture
#
# We embed the company's chunks, each with its title in front. We cannot draw that many coordinates, but we can draw
# two: the first *principal components*, the two directions in which the vectors differ most.

# %%
chunks = lab.vectors.chunks
vectors = embedder.encode([chunk.embedding_text for chunk in chunks])
print(len(chunks), "chunks of", vectors.shape[1], "coordinates")

# %%
centred = vectors - vectors.mean(0)
_, strengths, directions = np.linalg.svd(centred, full_matrices=False)
flat = centred @ directions[:2].T
kept = (strengths[:2] ** 2).sum() / (strengths**2).sum()
print(f"the picture keeps {kept:.0%} of the differences between them")

# %%
item = next(item for item in lab.questions if item.kind == "single fact")
asked = embedder.encode([item.question], query=True)
print("question:", item.question)

# %%
import matplotlib.pyplot as plt

place, nearest = ((asked - vectors.mean(0)) @ directions[:2].T)[0], flat[(vectors @ asked[0]).argmax()]
folders = [chunk.document_id.partition("/")[0] for chunk in chunks]
for folder, marker in zip(dict.fromkeys(folders), "os^Dv", strict=False):
    points = flat[[name == folder for name in folders]]
    plt.scatter(*points.T, s=14, marker=marker, alpha=0.7, label=f"{folder} ({len(points)})")
plt.scatter(*place, marker="*", s=180, color="black", label="a question")
plt.plot(*zip(place, nearest, strict=True), color="black", linewidth=0.8)
plt.gca().set(xlabel="first component", ylabel="second component")
plt.legend(frameon=False, fontsize=8)
print("the line leads to the nearest chunk by cosine, measured in all dimensions")

# %% [markdown]
# Do documents of one folder form clouds? For each chunk we look up its nearest neighbour *in another document*, and
# check whether it comes from the same folder.

# %%
owners = np.array([chunk.document_id for chunk in chunks])
cosines = np.where(owners[:, None] == owners, -1, vectors @ vectors.T)
same = np.mean([folders[i] == folders[j] for i, j in enumerate(cosines.argmax(1))])
chance = sum(np.square([folders.count(f) / len(folders) for f in set(folders)]))
print(f"nearest neighbour in the same folder: {same:.0%}; by chance it would be {chance:.0%}")

# %% [markdown]
# ## 4. Search is one multiplication
#
# One matrix product compares the question with every chunk. Then we sort. This is retrieval; everything else makes it
# faster.

# %%
best = np.argsort(-(vectors @ asked[0]))[:3]
print(item.question, "→ gold:", item.gold)
for i in best:
    print(f"{vectors[i] @ asked[0]:.3f}  {' '.join(chunks[i].embedding_text.split())[:110]}…")

# %% [markdown]
# A warning: closeness measures topic and wording, not truth. Two statements that contradict each other can be closer
# than two that say the same.

# %%
x, y, z = embedder.encode(["The warranty is 7 months.", "The warranty is 79 months.", "Guarantee: seven months"])
print(f"7 and 79 months: {x @ y:.3f}   the same in other words: {x @ z:.3f}")
print("closer is the", "contradiction" if x @ y > x @ z else "paraphrase")

# %% [markdown]
# ## 5. Faster, with the same result
#
# Where does the time go? The model computes texts in batches. A batch is as wide as its longest text, and shorter
# texts are filled up with padding. The padding is computed and thrown away. How much work is wasted if batches follow
# the order of the documents, and how much if we sort the texts by length?


# %%
def padding(lengths: list[int], batch: int = 32) -> float:
    """Share of the model's work that is spent on padding."""
    batches = [lengths[i : i + batch] for i in range(0, len(lengths), batch)]
    return 1 - sum(lengths) / sum(max(group) * len(group) for group in batches)


texts = [chunk.embedding_text for chunk in chunks]
lengths = [len(embedder.tokenizer.tokenize(text)) for text in texts]
print(f"padding: as they come {padding(lengths):.0%}, sorted by length {padding(sorted(lengths)):.0%}")
assert padding(sorted(lengths)) <= padding(lengths)

# %% [markdown]
# sentence-transformers already sorts, and so do we. A further gain comes from *bfloat16*, which uses half the bits for
# each number, on processors that support it. We time both calls in turn, on the same texts and without a cache. The
# best round counts.

# %%
import time

from labkit.rag.embed import load_embedder

fast = load_embedder(lab.profile.embedder)
plain = load_embedder(lab.profile.embedder, dtype="float32").model
rounds, count = (3, 96) if SIZE == "full" else (1, 24)
sample, seconds, made = texts[:: max(1, len(texts) // count)], {}, {}
for _ in range(rounds):
    for name, encode in (("default call", plain.encode), ("ours", fast.encode)):
        began = time.perf_counter()
        made[name] = encode(sample)
        seconds[name] = min(seconds.get(name, 1e9), time.perf_counter() - began)

# %%
rates = {name: len(sample) / taken for name, taken in seconds.items()}
print(f"precision: {fast.dtype};", ", ".join(f"{name} {rate:.0f} chunks/s" for name, rate in rates.items()))
print(f"ours is {rates['ours'] / rates['default call']:.2f} times as fast on this machine, now")

# %% [markdown]
# Is it still the same embedding? The last digits differ. What matters is whether a search finds the same chunks.

# %%
questions = [item.question for item in lab.questions if item.evidence][:60]
orders = [np.argsort(-(e(questions) @ made[n].T)) for n, e in (("default call", plain.encode), ("ours", fast.encode))]
shared = np.mean([len({*one[:10]} & {*two[:10]}) / 10 for one, two in zip(*orders, strict=True)])
moved = abs(made["default call"] - made["ours"]).max()
print(f"largest difference of a coordinate: {moved:.4f}; top ten shared: {shared:.1%}")
assert moved < 0.01 and shared > 0.95

# %% [markdown]
# ## 6. Never twice
#
# The fastest embedding is one that you already have. labkit stores each vector under a hash of the model and the text.
# So you never have to say what changed. We change one document and embed everything again:

# %%
import tempfile
from dataclasses import replace

from labkit.rag.chunk import chunk_documents

cached = load_embedder(lab.profile.embedder, cache_dir=tempfile.mkdtemp())
few = lab.documents[:12]
edited = [replace(few[0], text=few[0].text + "\n\nAsk the front desk."), *few[1:]]
counts = {}
for state, documents in (("first time", few), ("unchanged", few), ("one document edited", edited)):
    passages, before = [c.embedding_text for c in chunk_documents(documents, cached.tokenizer)], cached.computed
    cached.encode(passages)
    counts[state] = cached.computed - before
    print(f"{state}: {len(passages)} chunks, {counts[state]} computed")
assert counts["unchanged"] == 0 < counts["one document edited"] < counts["first time"]

# %% [markdown]
# ## 7. Two embedders
#
# The profile chooses the embedder. What happens if you change it? We need a second one, and can write it ourselves: an
# embedder is anything that turns texts into vectors. This one hashes each word into one of a fixed number of boxes and
# gives rare words more weight. It has learned no language. It gets as many dimensions as the other.

# %%
from langchain_core.embeddings import Embeddings
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import make_pipeline


class WordBoxes(Embeddings):
    """Words hashed into `dimensions` boxes, weighted by their rarity in `texts`."""

    def __init__(self, texts: list[str], dimensions: int) -> None:
        self.weigh = make_pipeline(HashingVectorizer(n_features=dimensions), TfidfTransformer()).fit(texts)
        self.fingerprint = f"word boxes, {dimensions}"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.weigh.transform(texts).toarray().tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


# %%
from labkit.rag.embed import encode_with

passages = [chunk.embedding_text for chunk in chunks]
models = {"language model": embedder, "word boxes": WordBoxes(passages, embedder.dimensions)}
for name, model in models.items():
    one, two = encode_with(model, ["The dog bites the man.", "The man bites the dog."])
    print(f"{name}: {len(one)} dimensions, cosine with dog and man swapped {one @ two:.4f}")

# %% [markdown]
# The boxes ignore word order and synonyms. How well do they search? *Recall@5* is the share of the needed facts in the
# best five chunks. Each embedder can build the index, and each can embed the question. That makes four combinations.
# For comparison we also draw chunks at random.

# %%
from labkit.compare.training import holds
from labkit.rag.retrieve import Hit

items = [item for item in lab.questions if item.evidence]
asked = {name: encode_with(model, [q.question for q in items], query=True) for name, model in models.items()}
indexed = {name: encode_with(model, passages) for name, model in models.items()}


# %%
def recall(rankings: np.ndarray) -> list[float]:
    """Recall@5 of each question; a row of chunk numbers for each, best first."""
    hits = [[Hit(chunks[i], 0.0, 1) for i in row[:5]] for row in rankings]
    return [np.mean([any(holds(h, e) for h in row) for e in q.evidence]) for q, row in zip(items, hits, strict=True)]


# %%
import pandas as pd

from labkit.stats import bootstrap_mean, paired_bootstrap

pairs = [(index, asking) for index in models for asking in models]
scores = {pair: recall(np.argsort(-(asked[pair[1]] @ indexed[pair[0]].T))) for pair in pairs}
rng = np.random.default_rng(0)
scores["chance", "at random"] = recall(np.array([rng.permutation(len(chunks)) for _ in items]))
named = pd.MultiIndex.from_tuples(scores, names=["index made by", "question embedded by"])
pd.DataFrame([bootstrap_mean(score) for score in scores.values()], index=named).round(2)

# %% [markdown]
# If index and question come from different embedders, the search still runs, and five chunks come back with scores.
# There is no error, but the chunks are worth little:

# %%
for index, asking in [models, reversed(models)]:
    gap = paired_bootstrap(scores[index, index], scores[index, asking])
    assert gap.low > 0
    print(f"index by {index}, asked with {asking}: recall lower by {gap.diff:.2f} ({gap.low:.2f} to {gap.high:.2f})")

# %% [markdown]
# So a saved index must record which embedder made it. Ours stores a fingerprint, a hash of the embedder's weights, and
# refuses any other embedder:

# %%
from labkit.rag.index import FaissStore

folder = lab.runs / "lesson_03"
lab.vectors.save(folder)
try:
    FaissStore.load(folder, models["word boxes"])
except labkit.LabError as error:
    print("refused:", error)
print("accepted:", len(FaissStore.load(folder, embedder)), "chunks")

# %% [markdown]
# ## 8. Re-embed
#
# The article says: "Re-embed and re-index after significant data changes." If the *data* change, the cache embeds only
# what changed. If the *embedder* changes, all vectors must be computed again, because the two embedders' vectors are
# not comparable. Is a better embedder worth that? Measure it on your questions, as we do here for the language model
# and the boxes. Expect little where questions use the words of the documents. Lesson 05 asks in other words.

# %%
gap = paired_bootstrap(scores["language model", "language model"], scores["word boxes", "word boxes"])
for name in models:
    print(f"index and question by {name}: recall@5 {np.mean(scores[name, name]):.2f}")
print(f"language model minus word boxes on these questions: {gap.diff:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})")

# %% [markdown]
# What do you lose if you do *not* embed again? Some facts have changed since the documents were first written. We ask
# for them with today's index and with the old one.

# %%
from labkit.compare import score

changed = [item for item in items if item.kind == "changed fact"]
questions, k = [item.question for item in changed], lab.profile.top_k
finders = {"fresh": lab.retriever(), "stale": lab.old_retriever()}
hits = {name: finder.search_batch(questions, k) for name, finder in finders.items()}
found = {name: [score.recall(item, row) for item, row in zip(changed, hits[name], strict=True)] for name in hits}
print(", ".join(f"{name} index: recall {np.mean(some):.2f}" for name, some in found.items()))

# %% [markdown]
# ## 9. The claim of the article
#
# "Re-embed and re-index" holds if a stale index finds less, and if an index does not serve the questions of another
# embedder (section 7). Lesson 19 collects both figures in its ledger.

# %%
from labkit.compare import claims

same, other = (scores["language model", asking] for asking in models)
figures = {
    "recall on changed facts: fresh index - stale index": paired_bootstrap(found["fresh"], found["stale"]).interval,
    "recall: queries from the same embedder - from another": paired_bootstrap(same, other).interval,
}
print(claims.record(lab, "03_embed", figures))

# %% [markdown]
# ## Takeaways
#
# - The similarity of two texts is an inner product of their vectors. A dense search is one matrix product and a sort.
# - Closeness measures topic and wording. A sentence with a different figure in it is still close.
# - Sorting texts by length reduces padding. Half precision changes the vectors a little and the results hardly at all.
# - Vectors are stored under a hash of model and text. Only a changed text is embedded again.
# - Vectors of two embedders do not mix, and nothing warns you if they do. Bind an index to its embedder by a
#   fingerprint.
#
# ## Exercises
#
# 1. Draw the picture with the third and fourth component. Which kinds of documents do they separate?
# 2. Split the recall of both embedders by `item.kind`. Where do word boxes do well, and what do those questions share
#    with the passages that answer them?
# 3. Find the two chunks of *different* documents with the highest cosine. Would you want both among five hits?
# 4. Make a third embedder: the vectors of the language model, but only the first 64 coordinates, divided by their
#    length. How much recall does it keep, and how much smaller is the index?
# 5. Embed "not available" and "available". What does their cosine tell you about negation?
