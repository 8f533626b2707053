# %% [markdown]
# # 0a · RAG in 40 lines
#
# You will build retrieval-augmented generation from nothing but numpy and PyTorch, and see every step of it once:
#
# - documents are cut into chunks, and each chunk becomes a vector;
# - a search by meaning, a search by words, and one list made of both;
# - a prompt with numbered passages, and the loop that writes an answer token by token;
# - the two ways in which an answer goes wrong: the search misses, or the model misreads.
#
# The model is a real one, SmolLM2-135M-Instruct, and the documents are articles about the real world. Each result is
# compared with what labkit gives. From lesson 01 on, labkit does this work.
#
# *Before this: 00 Start. About 25 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "smol", "full"

# %% [markdown]
# `ingest` reads files of several formats as text; lesson 01 opens it.

# %%
import math
import re
from collections import Counter

import bm25s
import numpy as np
import pandas as pd
import torch

import labkit
from labkit.compare.arms import Rag
from labkit.data import data_folder
from labkit.metrics import contains
from labkit.model import load_model
from labkit.rag.chunk import Chunk
from labkit.rag.embed import load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.ingest import ingest
from labkit.rag.retrieve import BM25, Dense, Fusion

lab = labkit.open(PROFILE, size=SIZE)
documents = ingest(data_folder() / "prose" / "documents", progress=False).documents
documents = documents if SIZE == "full" else documents[:6]
print(len(documents), "documents:", ", ".join(document.title for document in documents[:6]), "…")

# %% [markdown]
# ## 1. Documents become chunks
#
# A whole document is too long to read for each question, and most of it is about something else. So we cut it: here
# after every eighty words. Each *chunk* keeps the title of its document, for without it few sentences say what they are
# about.

# %%
passages = []
for document in documents:
    words = document.text.split()
    passages += [(document.title, " ".join(words[start : start + 80])) for start in range(0, len(words), 80)]
texts = [f"{title}: {text}" for title, text in passages]
print(f"{len(texts)} chunks; the second:\n{texts[1]}")

# %% [markdown]
# ## 2. A chunk becomes a vector
#
# The *embedder* is a small network that was trained so that texts of like meaning get vectors of like direction. It
# cuts a text into *tokens*, frequent words or pieces of rare ones, and gives a vector for each. Their mean, divided by
# its length, stands for the whole text.

# %%
embedder = load_embedder("bundled", dtype="float32", cache_dir=lab.runs / "vectors")
tokens = embedder.tokenizer(texts[:1], return_tensors="pt")
with torch.no_grad():
    states = embedder.model[0].model(**tokens).last_hidden_state[0]
vector = states.mean(0) / states.mean(0).norm()
assert np.allclose(vector, embedder.encode(texts[:1])[0], atol=1e-5)
print(f"{len(states)} tokens, each a vector of {states.shape[1]} numbers; the chunk begins with {vector[:4].tolist()}")

# %% [markdown]
# ## 3. Search by meaning
#
# A question is embedded in the same way. Vectors of length one have a dot product that is the cosine of the angle
# between them: 1 where they point the same way, about 0 where they have nothing in common.

# %%
QUESTION = "The cast of which creature was replaced by the blue whale skeleton "
QUESTION += "in the entrance hall of the Natural History Museum in London?"
vectors = embedder.encode(texts)


def cosines(question):
    return vectors @ embedder.encode([question], query=True)[0]


nearest = np.argsort(-cosines(QUESTION), kind="stable")[:3]
pd.DataFrame({"cosine": cosines(QUESTION)[nearest], "text": [texts[i] for i in nearest]}, index=nearest)

# %% [markdown]
# ## 4. Search by words
#
# BM25 asks which words of the question a chunk has. Three things decide what a word counts: how *rare* it is among all
# chunks (`idf`), how *often* it stands in this one, and how *long* the chunk is, for a long one has many words by
# chance.

# %%
split = [re.findall(r"\w+", text.lower()) for text in texts]
counts, mean_length = [Counter(words) for words in split], np.mean([len(words) for words in split])
chunks_with = Counter(word for words in split for word in set(words))


def bm25(question, k1=1.5, b=0.75):
    scores = np.zeros(len(texts))
    for word in re.findall(r"\w+", question.lower()):
        idf = math.log(1 + (len(texts) - chunks_with[word] + 0.5) / (chunks_with[word] + 0.5))
        for i, (count, words) in enumerate(zip(counts, split, strict=True)):
            scores[i] += idf * count[word] / (count[word] + k1 * (1 - b + b * len(words) / mean_length))
    return scores


for word in ("the", "london", "skeleton"):
    print(f"'{word}' stands in {chunks_with[word]} of {len(texts)} chunks")

# %% [markdown]
# labkit uses the library bm25s. Given the same words, it gives the same scores, and so the same order:

# %%
index = bm25s.BM25()
index.index(split, show_progress=False)
theirs = index.get_scores(re.findall(r"\w+", QUESTION.lower()))
assert np.allclose(bm25(QUESTION), theirs, atol=1e-4)
best = np.argsort(-bm25(QUESTION), kind="stable")[:3]
assert best.tolist() == np.argsort(-theirs, kind="stable")[:3].tolist()
pd.DataFrame({"by hand": bm25(QUESTION)[best], "bm25s": theirs[best]}, index=best)

# %% [markdown]
# ## 5. One list of two
#
# A cosine and a BM25 score have different units and cannot be added. Their *ranks* can: reciprocal-rank fusion gives
# each chunk 1 / (60 + rank) from each list (Cormack et al., 2009). Who stands high in both comes first.


# %%
def search(question, size=3):
    sums = Counter()
    for scores in (cosines(question), bm25(question)):
        ranking = [i for i in np.argsort(-scores, kind="stable")[:50].tolist() if scores[i] > 0]
        for rank, i in enumerate(ranking, start=1):
            sums[i] += 1 / (60 + rank)
    return sorted(sums, key=lambda i: -sums[i])[:size]


found = search(QUESTION)
print(f"by meaning {nearest.tolist()}, by words {best.tolist()}, of both {found}")

# %% [markdown]
# ## 6. The prompt
#
# A language model continues a text. So we write one: an instruction, the passages found with a number each, the
# question, and the mark behind which the answer stands. The marks belong to the model, which was trained with them.


# %%
def prompt(question, found):
    numbered = "\n".join(f"[{n}] {passages[i][0]}: {passages[i][1]}" for n, i in enumerate(found, start=1))
    system = "<|im_start|>system\nAnswer from the documents and cite the source.<|im_end|>\n"
    user = f"<|im_start|>user\nDocuments:\n{numbered}\n\nQuestion: {question}<|im_end|>\n"
    return f"{system}{user}<|im_start|>assistant\n"


print(prompt(QUESTION, found))

# %% [markdown]
# ## 7. The answer, token by token
#
# Given the tokens so far, the model has a score for each token that may come next, its *logits*. We take the highest,
# put it behind the rest, and ask again: this is *greedy decoding*. The cache keeps what was computed for earlier
# tokens, so that each step reads one new token only.

# %%
model = load_model(lab.profile.model_path, dtype="float32")


@torch.no_grad()
def greedy(text, room=32):
    new, cache, written = model.tokenizer(text, return_tensors="pt").input_ids, None, []
    while len(written) < room:
        step = model.network(new, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token, cache = step.logits[0, -1].argmax().item(), step.past_key_values
        if token == model.tokenizer.eos_token_id:
            break
        written.append(token)
        new = torch.tensor([[token]])
    return model.tokenizer.decode(written).strip()


text = greedy(prompt(QUESTION, found))
print(text)

# %% [markdown]
# Look at the ends of the passages in the prompt, too: a cut after every eighty words falls into sentences. Lesson 02
# cuts better.
#
# Which passage does the answer rest on? We asked for its number in brackets. A model may give it, or forget; and a
# number is only a claim. So we also look which passages hold the value that is asked for.

# %%
cited = [int(number) for number in re.findall(r"\[(\d+)\]", text)]
holding = [n for n, i in enumerate(found, start=1) if contains(passages[i][1], "Diplodocus")]
print(f"cites passages {cited or 'none'}; the value asked for stands in passages {holding}")

# %% [markdown]
# ## 8. The same with labkit
#
# Its index and its two searches, its fusion, its prompt and its loop, over the same chunks. Its search by words also
# leaves out words such as *the* and cuts endings (lesson 05); for this question that moves no passage.

# %%
store = FaissStore(embedder)
store.add_chunks([Chunk(str(i), title, title, text, 0, len(text)) for i, (title, text) in enumerate(passages)])
rag = Rag(model, Fusion([Dense(store), BM25(store)]), top_k=3, max_new_tokens=32)
answer = rag.answer([QUESTION])[0]
assert [int(hit.chunk.id) for hit in answer.hits] == found
asked = model.encode(rag.messages(QUESTION, answer.hits))
assert asked == model.tokenizer(prompt(QUESTION, found)).input_ids and answer.text == text
print(f"the same {len(answer.hits)} passages, the same prompt of {len(asked)} tokens, the same answer:\n{answer.text}")

# %% [markdown]
# ## 9. What can go wrong
#
# Two things, and it matters which: the passage is not found, or it is found and the model does not take the answer from
# it. A better search mends the first, another model or a training the second. The first question asks for the
# noisy wave in the mouth of the Amazon, in words that its article does not use.


# %%
def check(question, gold):
    found = search(question)
    answer = greedy(prompt(question, found))
    there, right = any(contains(passages[i][1], gold) for i in found), contains(answer, gold)
    print(f"{question} → gold: {gold}\npassages of: {', '.join(passages[i][0] for i in found)}\nanswer: {answer}")
    print("right" if right else "the model misreads" if there else "the search misses")


surge = "What do people call the roaring surge that sweeps upstream at the mouth of South America's greatest waterway?"
check(surge, "pororoca")

# %% [markdown]
# The second asks in the words of its article:

# %%
check("Out of which city did Karl von Drais ride his wooden running machine on 12 June 1817?", "Mannheim")

# %% [markdown]
# ## Takeaways
#
# - RAG is a search and a prompt. No weight of the model is changed.
# - A search by meaning compares vectors, one by words counts rare words; fusion adds what ranks high in either.
# - The model sees the passages and nothing else of the documents. What the search misses, it cannot read.
# - A wrong answer has one of two causes. Whoever knows which, knows what to mend. Lessons 01 to 06 go on from here.
#
# ## Exercises
#
# 1. Ask a question of your own about one of the documents. Is its passage found by meaning, by words, or by both?
# 2. Give the model one passage instead of three, then five. Does the last answer of section 9 change?
# 3. Put the passages in the opposite order. Does the answer stay the same?
