# %% [markdown]
# # 00 · Start
#
# You will ask one question of four systems and see what each of them knows:
#
# - **base**: a language model, unchanged;
# - **RAG** (retrieval-augmented generation): the same model, which reads passages that a search found for the
#   question;
# - **fine-tuned**: the model after training on questions and answers;
# - **hybrid**: a model that was trained to answer *from passages*, and is given passages.
#
# A widely read article says when to use which. This course takes no side: it measures. Each technical term is
# explained where it first appears, and again in the [glossary](../../docs/glossary.md).
#
# *Before this: nothing. No keys, no downloads, no GPU. About 10 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %% [markdown]
# The *profile* names the models. The *size* says how much is computed. Everything below runs on this machine.

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. A company that does not exist
#
# Norvale was invented for this course by a program with a fixed random seed. So no model has read about it, we know
# every fact in its documents, and we can change facts at will. One of its documents begins like this.

# %%
document = next(d for d in lab.documents if d.format == "markdown" and d.id.startswith("projects/"))
print(document.id, "·", document.title)
print(document.text[:600])

# %% [markdown]
# The test questions come in several kinds, because no system is good at all of them. `gold` is the right answer. Some
# questions have no answer in the documents. The right response to these is to decline: to say that the documents do
# not answer.

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
# We call the four systems the *arms* of an experiment. They get the same questions and the same scoring. Only two
# things differ: the weights (what a model learned) and the passages. We ask about a single fact. The cells below show
# each arm's answer, word for word.

# %%
question = next(q for q in lab.questions if q.kind == "single fact")
print(question.question, "→ gold:", question.gold)

# %% [markdown]
# **Base** sees only the question. It was never trained on Norvale, so it cannot know the answer. A good model says so.

# %%
lab.arm("base").answer([question.question])[0].text

# %% [markdown]
# **RAG** first searches the documents, then answers from the passages that it found. The number in brackets cites one
# of them.

# %%
rag = lab.arm("rag").answer([question.question])[0]
print(rag.text)
for hit in rag.hits[:2]:
    print(f"[{hit.rank}] {hit.chunk.document_id}: {' '.join(hit.chunk.text.split())[:100]}…")

# %% [markdown]
# **Fine-tuned** saw this fact in training, but in another wording of the question. All its training answers were in
# Norvale's *house style*: a fixed opening, a fixed closing, and "we" instead of "I". It gets no passages. Its answer,
# right or wrong, comes from its weights.

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
# Most of this course rests on two measures. *Right* means that the answer contains the exact gold value. *In style*
# means that a validator finds no fault with the form. Its rules are in `data/style.md`.

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
# One question proves nothing. Lesson **12 Compare** asks all questions, repeats the training several times, and says
# how certain each number is.
#
# ## 4. Two models, two sets of documents
#
# The lessons run on the **pocket** model. This project pretrained it on its own prompts. It is so small that many
# trainings fit into minutes. Trust what it shows about models only where a larger model shows it too. The larger model
# here is **smol**, SmolLM2-135M-Instruct. It is thirty times as large, and others trained it on ordinary text.
#
# `make compare` asks smol about the company and about articles on the real world. The published results follow. Each
# is a mean with its interval, a range that plausibly holds the true mean.

# %%
from labkit.compare import tables

tables.beside(tables.published())

# %% [markdown]
# ## Where to go from here
#
# Next, 0a and 0b build RAG and LoRA (a cheap way of fine-tuning) in plain numpy and PyTorch, one step at a time, on
# smol. Lessons 01 to 19 then build on each other. If you are short of time, take 05, 06, 08 and 11, then 12.
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
# - The base model has never seen Norvale. What another arm gets right, it read in a passage or learned in training.
# - An arm that reads passages can name the one that it answers from. An arm that answers from its weights cannot.
# - Right and in style are two different measures. The table in section 3 shows both, and so does every later
#   comparison.
#
# ## Exercises
#
# 1. Ask all four arms the first question of the kind `"not in the documents"`. Which of them decline?
# 2. Ask the first question of the kind `"changed fact"`. Its document was updated after the training. Which arms give
#    the new value?
# 3. Change one word of the question in section 2. Does the fine-tuned arm still know the answer?
