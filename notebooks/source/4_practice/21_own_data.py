# %% [markdown]
# # 21 · Your own data
#
# You will run the comparison of lesson 12 on documents and questions of your own:
#
# - write questions into a table, and have each checked against your documents before anything is measured;
# - train and ask the four arms, on the same code as ever, and write the same report;
# - read a recommendation together with what it rests on, and with what would change it.
#
# The example is real prose: 46 articles on public things, in four file formats, and questions about them. The model is
# SmolLM2-135M-Instruct, a real language model, small enough for two processor cores. Put your folder and your file in their
# place, here or on the command line: `labkit compare --docs FOLDER --questions FILE`.
#
# *Before this: 12 Compare and 17 Decide. About 15 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE, FRESH, OUT = "smol", "full", False, "runs/own_data/lab"
DOCUMENTS, QUESTIONS, WITHIN = "data/prose/documents", "data/prose/questions.csv", 0.0
GENERATOR = ""

# %%
from labkit.practice import own_data

lab = own_data.open_own(PROFILE, DOCUMENTS, QUESTIONS, SIZE, WITHIN, FRESH, GENERATOR)
lab

# %% [markdown]
# ## 1. What a table of questions looks like
#
# Two columns are needed: **question**, and **answer**, the words that a right answer must contain, as the document has
# them; several accepted forms are divided by `|`. An empty answer says that no document answers, and that declining is
# right: have some of these.
#
# More columns help if you have them: *document* (where the answer stands), *quote* (the sentence that proves it), *kind*
# (to see groups apart), *rivals* (for "which of the two": the other one), *reply* (how your house would say it), *split*
# (train or test). `row` below is the line in the file.

# %%
import pandas as pd

from labkit.practice.questions import read_rows
from labkit.store import ROOT

rows = read_rows(ROOT / QUESTIONS)
pd.set_option("display.max_colwidth", 70)
pd.DataFrame(rows).head(4)

# %% [markdown]
# ## 2. Checked before anything is measured
#
# An answer that stands in no document word for word is kept: what is said to it is judged by its words and its meaning, as
# [docs/method.md](../../docs/method.md) says. A question that was asked before in nearly the same words is left out, with its
# number and the reason: one of the two might train what the other tests. So is one that is too long for the model.

# %%
print(len(lab.documents), "documents read,", len(lab.ingested.rejected), "refused;", len(rows), "rows of questions")
for note in lab.asked.notes:
    print("•", note)

# %% [markdown]
# A mistake costs you a line to read, not an evening. Here a file without the column *answer*, and one that names a
# document which is not there:

# %%
import tempfile
from pathlib import Path

from labkit import LabError
from labkit.practice.questions import load

wrong = Path(tempfile.mkdtemp()) / "wrong.csv"
for text in ("question,gold\nWhen?,1869", "question,answer,document\nHow long?,a mile,bridge.txt"):
    wrong.write_text(text)
    try:
        load(wrong, lab.documents)
    except LabError as error:
        print("error:", error)

# %% [markdown]
# ## 3. How many questions are enough?
#
# The more questions, the narrower the interval on a share, but only with the square root: half the width takes four times
# as many. *± at worst* is half the width of the 95 % interval where it is widest, at a share of one half.

# %%
from labkit.practice.questions import half_width, needed

counts = [10, 20, 50, 100, 200, 400]
pd.DataFrame({"± at worst": [round(half_width(n), 2) for n in counts]}, index=pd.Index(counts, name="test questions")).T

# %%
test = len(lab.asked.test)
print(f"You have {test} for the test: ±{half_width(test):.2f}. For ±0.10, {needed(0.10)}; for ±0.05, {needed(0.05)}.")

# %% [markdown]
# ## 4. No questions yet?
#
# Then have some proposed. The profile's model is shown a passage and asked for a question and an answer; a reply counts
# only where the answer stands in the passage and not in the question. Small models fail at this often. Where they do, you get a sentence of the passage with a gap, with the answer and its proof beside it,
# and you write the question. A file of proposals is a draft: edit it. `labkit compare --docs FOLDER`, without questions,
# writes it.

# %%
from labkit.practice.questions import propose

draft, failed = propose(lab, 6)
print("replies that failed:", failed or "none")
pd.DataFrame(draft, columns=["question", "answer", "kind"])

# %% [markdown]
# ## 5. What the tuned arms learn
#
# The training half becomes conversations, as in lessons 07 and 11. This table gives no examples of a style, so the replies
# have none. With a column *reply* they would sound like yours, and style would be measured too.

# %%
from labkit.compare.training import conversations

for name in ("tuned", "hybrid"):
    *_, asked, reply = conversations(lab, name)[0]
    print(f"{name}, asked: {asked['content'][-90:]!r}\n{' ' * len(name)}  learns: {reply['content']!r}\n")

# %% [markdown]
# ## 6. The comparison
#
# `compare_own` is lesson 12's `run_compare` on this lab: the same arms, scores and intervals. Metrics that your questions
# cannot feed are left out.

# %%
from labkit.compare import tables

comparison = own_data.compare_own(lab)
tables.frame(comparison.result)

# %%
from labkit import plot

held = [m for m in ("accuracy", "joint", "abstention", "recall_at_k") if m in comparison.result["arms"]["rag"]]
figure, text = plot.dots(comparison.result, held)
print(text)
figure

# %% [markdown]
# Look at *recall@k* first: where the passage was found and the answer is still wrong, the model misread it, and a larger
# model is what to try. The causes, as lesson 06 sorts them, and then two questions answered by every arm:

# %%
from labkit.rag.augment import causes

causes(comparison.answers.query("arm in ['rag', 'hybrid']")).round(2)

# %%
sample = comparison.answers.query("seed == 0 and answerable").groupby("arm", sort=False).head(2)
sample.set_index(["question", "arm"])[["text", "gold"]].sort_index(level="question", sort_remaining=False)

# %% [markdown]
# ## 7. Is it the data, or the model?
#
# Ask the same questions of another model. The pocket model was pretrained by this project to read the documents of one
# invented company; other prose is foreign to it. Two arms suffice, and they need no training. The report of a comparison
# begins with such a diagnosis: is it the search, or the model?

# %%
from labkit.compare import decide, experiment

pocket = own_data.open_own("pocket", DOCUMENTS, QUESTIONS, SIZE)
foreign = experiment.ask_arms(pocket, ["base", "rag"])
for name, some in {lab.profile.name: comparison.answers, "pocket": foreign}.items():
    print(f"{name}: {decide.diagnose(some)[0]}")

# %%
reads = {lab.profile.name: comparison.answers, "pocket": foreign}
shares = {name: a.query("arm == 'rag' and answerable")[["retrieved", "correct"]].mean() for name, a in reads.items()}
pd.DataFrame(shares).T.round(2)

# %% [markdown]
# ## 8. The recommendation, and what it rests on
#
# Some arms may be in front and not told apart. Of these the simplest to keep up is recommended: the model alone, then an
# index, then a training, then both. Beside it stands what each arm is worth, and how many questions it would take to tell
# apart those in front.

# %%
for line in comparison.result["recommendation"]:
    print("•", line)

# %%
from labkit.compare.report import write_report

write_report(comparison, OUT)
print("report, result and answers written")

# %% [markdown]
# ## 9. Another model
#
# Nothing above depends on this model. `PROFILE` takes the folder of any causal model in safetensors, or a hub id;
# a prompt shrinks to what its context holds, and a hub model stays at the revision of its first use (`runs/models.lock.json`).
# On the command line: `labkit compare --model PATH_OR_ID`; `labkit doctor` says what this machine can run.
#
# `GENERATOR` takes the address of any server that speaks the OpenAI API, for the arms that are not tuned. Your passages then
# go to that server, and two models are compared as well as two methods: the recommendation says so.

# %%
room = lab.profile.max_new_tokens
read = comparison.answers.query("arm == 'rag'").prompt_tokens
print(f"context {lab.model.context} tokens, {room} of them kept for the answer; the longest prompt had {read.max()}")

# %% [markdown]
# What the project itself measured, with both models and over both sets of documents:

# %%
tables.beside(tables.published())

# %% [markdown]
# ## Takeaways
#
# - A table of questions with answers is all that a comparison needs; check it against the documents before you believe it.
# - How sure you can be is decided when you write the questions: count them first.
# - A recommendation without its evidence is an opinion. "None" is a recommendation too: it says what is missing.
#
# ## Exercises
#
# 1. Take the answers away from five questions that do have one. Which metric shows the damage, and in which arm?
# 2. Add a column *reply* with an opening of yours to the training rows. Which arms keep it on the test questions?
# 3. Write questions on three documents of your work, and set `WITHIN = 0.2`. How many does it ask for?
# 4. Split by document with the column *split*. What can the tuned arm still know?
