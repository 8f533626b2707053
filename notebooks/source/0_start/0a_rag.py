# %% [markdown]
# # 0a · RAG in 40 lines
#
# You will build retrieval-augmented generation (RAG) with nothing but numpy and PyTorch, and see every step of it:
#
# - cut documents into chunks, and turn each chunk into a vector;
# - search by meaning, search by words, and merge the two results;
# - write a prompt with numbered passages, and generate an answer token by token;
# - see the two ways in which an answer goes wrong: the search misses, or the model misreads.
#
# The model is a real one, SmolLM2-135M-Instruct. The documents are articles about the real world. We compare each
# result with what labkit, the library of this course, gives. From lesson 01 on, labkit does this work.
#
# *Before this: 00 Start. About 25 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "smol", "full"

# %% [markdown]
# `ingest` reads files of several formats as text. Lesson 01 shows how.

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
# A whole document is too long for a prompt, and most of it has nothing to do with the question. So we cut it into
# *chunks* of eighty words. Each chunk keeps the title of its document, because few sentences say by themselves what
# they are about.

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
# The *embedder* is a small network. It was trained to give texts of similar meaning vectors of similar direction. It
# first cuts a text into *tokens*: frequent words, or pieces of rare ones. It then computes a vector for each token. We
# take the mean of these vectors and divide it by its length. The result stands for the whole text.

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
# The question gets a vector in the same way. For vectors of length one, the dot product is the cosine of the angle
# between them. It is 1 if they point the same way, and about 0 if they have nothing in common.

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
# BM25 is a formula that scores a chunk by the words it shares with the question. Three things decide what a shared
# word adds to the score: how *rare* the word is among all chunks (`idf`), how *often* it occurs in this chunk, and how
# *long* the chunk is. Length lowers the score, because a long chunk contains many words by chance.

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
# labkit uses the library bm25s. Given the same words, it must give the same scores, and so the same order:

# %%
index = bm25s.BM25()
index.index(split, show_progress=False)
theirs = index.get_scores(re.findall(r"\w+", QUESTION.lower()))
assert np.allclose(bm25(QUESTION), theirs, atol=1e-4)
best = np.argsort(-bm25(QUESTION), kind="stable")[:3]
assert best.tolist() == np.argsort(-theirs, kind="stable")[:3].tolist()
pd.DataFrame({"by hand": bm25(QUESTION)[best], "bm25s": theirs[best]}, index=best)

# %% [markdown]
# ## 5. Merge the two lists
#
# You cannot add a cosine and a BM25 score, because they are on different scales. Reciprocal-rank fusion uses only the
# *ranks*: it gives each chunk 1 / (60 + rank) from each list (Cormack et al., 2009). A chunk near the top of both
# lists comes first.


# %%
def search(question, size=3):
    sums = Counter()
    for scores in (cosines(question), bm25(question)):
        ranking = [i for i in np.argsort(-scores, kind="stable")[:50].tolist() if scores[i] > 0]
        for rank, i in enumerate(ranking, start=1):
            sums[i] += 1 / (60 + rank)
    return sorted(sums, key=lambda i: -sums[i])[:size]


found = search(QUESTION)
print(f"by meaning {nearest.tolist()}, by words {best.tolist()}, fused {found}")

# %% [markdown]
# ## 6. The prompt
#
# A language model continues a text. So we write a text for it to continue: an instruction, the passages with a number
# each, the question, and a marker after which the answer begins. Markers such as `<|im_start|>` are part of the model:
# it was trained with them.


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
# For the tokens so far, the model computes a score for each token that may come next. These scores are the *logits*.
# We take the token with the highest score, append it, and repeat. This is *greedy decoding*. The cache keeps what was
# computed for earlier tokens, so that each step processes one new token only.

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
# Look also at where the passages in the prompt end: a cut after every eighty words splits sentences. Lesson 02 cuts
# better.
#
# Which passage does the answer rest on? The prompt asked for a citation. A model may forget it, or give a wrong
# number. So we also check which passages contain the right value.

# %%
cited = [int(number) for number in re.findall(r"\[(\d+)\]", text)]
holding = [n for n, i in enumerate(found, start=1) if contains(passages[i][1], "Diplodocus")]
print(f"cites passages {cited or 'none'}; the value asked for stands in passages {holding}")

# %% [markdown]
# ## 8. The same with labkit
#
# Now labkit does the same over the same chunks: search, fusion, prompt and generation. One thing differs: its search
# by words leaves out words such as *the* and removes word endings (lesson 05). For this question that changes no
# passage.

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
# Either the search does not find the passage, or the search finds it and the model does not take the answer from it.
# It matters which: a better search fixes the first, a better or retrained model fixes the second. The first question
# below asks for the noisy wave in the mouth of the Amazon, in words that the article does not use.


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
# The second question uses the words of its article:

# %%
check("Out of which city did Karl von Drais ride his wooden running machine on 12 June 1817?", "Mannheim")

# %% [markdown]
# ## Takeaways
#
# - RAG is a search and a prompt. It changes no weight of the model.
# - A search by meaning compares vectors. A search by words looks for rare words that both texts share. Fusion prefers
#   what ranks high in both.
# - Of the documents, the model sees only the passages. It cannot read what the search misses.
# - A wrong answer has one of two causes. Find out which before you fix anything. Lessons 01 to 06 go into each step.
#
# ## Exercises
#
# 1. Ask a question of your own about one of the documents. Is its passage found by meaning, by words, or by both?
# 2. Give the model one passage instead of three, then five. Does the last answer of section 9 change?
# 3. Put the passages in reverse order. Does the answer stay the same?
