# %% [markdown]
# # 00 · Start
#
# You will ask one question four ways and see what each way knows:
#
# - **base**: a language model as it came;
# - **RAG**: the same model, reading passages that a search found for it;
# - **fine-tuned**: the model after training on questions and answers;
# - **hybrid**: a model trained to answer *from passages*, given passages.
#
# An article that circulates widely says when to use which. This course neither believes nor disbelieves it: it
# measures. Words of the trade are explained where they first stand, and kept in the [glossary](../../docs/glossary.md).
#
# *Before this: nothing. No keys, no downloads, no GPU. About 10 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %% [markdown]
# The *profile* names the models, the *size* how much is done. Everything below runs on this machine.

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. A company that does not exist
#
# Norvale was invented for this course, from a random seed. No model has read about it, every fact is known,
# and facts can be changed at will. Here is how one of its documents begins.

# %%
document = next(d for d in lab.documents if d.format == "markdown" and d.id.startswith("projects/"))
print(document.id, "·", document.title)
print(document.text[:600])

# %% [markdown]
# The test questions come in several kinds, because no arm is good at all of them. `gold` is the right answer; where no
# document answers, to decline is right.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", 90)
questions = pd.DataFrame(
    [{"kind": q.kind, "question": q.question, "gold": q.gold or "(declines)"} for q in lab.questions]
)
questions.groupby("kind", sort=False).head(1).set_index("kind")

# %% [markdown]
# ## 2. One question, four arms
#
# The four ways are the *arms* of an experiment: same question, same scoring; only weights and passages differ. Here is
# a question about a plain fact, and what comes back, word for word.

# %%
question = next(q for q in lab.questions if q.kind == "single fact")
print(question.question, "→ gold:", question.gold)

# %% [markdown]
# **Base** sees the question and nothing else. A model that was never told cannot know; a good one says so.

# %%
lab.arm("base").answer([question.question])[0].text

# %% [markdown]
# **RAG** first searches the documents, then answers from what it found. The number in brackets cites a passage.

# %%
rag = lab.arm("rag").answer([question.question])[0]
print(rag.text)
for hit in rag.hits[:2]:
    print(f"[{hit.rank}] {hit.chunk.document_id}: {' '.join(hit.chunk.text.split())[:100]}…")

# %% [markdown]
# **Fine-tuned** has seen this fact in training, asked in other words, always answered in Norvale's *house style*: a
# fixed opening, a fixed closing, and "we" instead of "I". It has no passages: whatever it says, right or
# wrong, comes from its weights.

# %%
lab.arm("tuned").answer([question.question])[0].text

# %% [markdown]
# **Hybrid** was trained to read passages and to answer in house style. It gets the same passages as RAG.

# %%
hybrid = lab.arm("hybrid").answer([question.question])[0]
hybrid.text

# %% [markdown]
# ## 3. Is it right, and is it in style?
#
# Two questions decide most of this course. *Right* means that the exact gold value is in the answer.
# *In style* means that a validator finds no fault with the form (the rules are in `data/style.md`).

# %%
from labkit.data import style_faults
from labkit.metrics import contains

rows = {}
for name in ("base", "rag", "tuned", "hybrid"):
    text = lab.arm(name).answer([question.question])[0].text
    faults = ", ".join(style_faults(text)) or "none"
    rows[name] = {"right": contains(text, question.gold), "style faults": faults}
pd.DataFrame(rows).T

# %% [markdown]
# One question proves nothing. Lesson **12 Compare** asks them all, trains several times, and says how sure each number
# is.
#
# ## 4. Two models, two sets of documents
#
# The lessons run on the **pocket** model, which this project pretrained on its own prompts. It is a wind tunnel: many
# trainings fit into minutes, and what it shows about models is only what a real one repeats. The real one is **smol**,
# SmolLM2-135M-Instruct, thirty times as large, which others trained on ordinary text. `make compare` asks it about the
# company, and about articles on the real world. The published results, each a mean with its interval:

# %%
from labkit.compare import tables

tables.beside(tables.published())

# %% [markdown]
# ## Where to go from here
#
# Next, 0a and 0b build RAG and LoRA in plain numpy and PyTorch: every step once, on the real model. The lessons after them
# build on each other from 01 to 19. In a hurry? Take 05, 06, 08 and 11, then 12.
#
# | Part | Lessons |
# |---|---|
# | Start | RAG in 40 lines, LoRA in 40 lines |
# | 1 · RAG | ingest, chunk, embed, index, retrieve, augment |
# | 2 · Fine-tuning | prepare, train, adapters, deploy |
# | 3 · Compare | hybrid, **compare**, update, cost, risk, use cases, decide, papers, claims |
# | 4 · Practice | log, your own data |
#
# ## Takeaways
#
# - Nobody told the base model about Norvale: whatever another arm gets right, it read or was taught.
# - An arm that reads can name the passage that it answers from; an arm that recites has none to name.
# - Right and in style are two things. The table above marks both, and so does every comparison from here on.
#
# ## Exercises
#
# 1. Ask all four arms the first question of the kind `"not in the documents"`. Which of them admit it?
# 2. Ask the first `"changed fact"`. Its document was updated after the training: which arms know the new value?
# 3. Change one word of the question above. Does the fine-tuned arm still know?
