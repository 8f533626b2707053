# %% [markdown]
# # 21 · Your own data
#
# You will run the comparison of lesson 12 on your own documents and questions:
#
# - write questions into a table, and check each against your documents before anything is measured;
# - train and ask the four arms with the code of lesson 12, and write the same report;
# - read a recommendation together with its evidence, and with what would change it.
#
# The example is real prose: 46 articles on well-known subjects, in four file formats, and questions about them. The
# model is SmolLM2-135M-Instruct, a real language model that runs on two processor cores. Replace the example with
# your folder and your file, here or on the command line: `labkit compare --docs FOLDER --questions FILE`.
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
# You need two columns, **question** and **answer**. The answer holds the words that a right answer must contain, as
# the document writes them. Divide several accepted forms by `|`. An empty answer means that no document answers the
# question, so declining is right. Include some of these.
#
# More columns help if you have them: *document* (where the answer is), *quote* (the sentence that proves it), *kind*
# (a name for groups of questions, which are then reported apart), *rivals* (for "which of the two": the other one),
# *reply* (how your company would phrase the answer), *split* (train or test). `row` below is the line in the file.

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
# An answer that is in no document word for word is kept. Replies to it are judged by their words and their meaning;
# [docs/method.md](../../docs/method.md) says how. A question is left out if another row asks nearly the same, because
# one of the two might train what the other tests. A question that is too long for the model is left out too. You see
# the number of the row and the reason.

# %%
print(len(lab.documents), "documents read,", len(lab.ingested.rejected), "refused;", len(rows), "rows of questions")
for note in lab.asked.notes:
    print("•", note)

# %% [markdown]
# A mistake in the file costs you one line to read, not a whole run. Here is a file without the column *answer*, and
# one that names a document that does not exist:

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
# The more questions, the narrower the interval of a share. But the width only shrinks with the square root of their
# number: half the width takes four times as many questions. *± at worst* is half the width of the 95 % interval for a
# share of one half, where it is widest.

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
# Then let labkit propose some. It shows the profile's model a passage and asks for a question and an answer. A reply
# counts only if the answer is in the passage and not in the question. Small models often fail at this. Then you get a
# sentence of the passage with a gap, the answer and its proof, and you write the question yourself. Treat a file of
# proposals as a draft, and edit it. `labkit compare --docs FOLDER`, without questions, writes such a file.

# %%
from labkit.practice.questions import propose

draft, failed = propose(lab, 6)
print("replies that failed:", failed or "none")
pd.DataFrame(draft, columns=["question", "answer", "kind"])

# %% [markdown]
# ## 5. What the tuned arms learn
#
# The training half becomes conversations, as in lessons 07 and 11. This table has no examples of a style, so the
# replies are bare answers. With a column *reply* they would sound like yours, and style would be measured too.

# %%
from labkit.compare.training import conversations

for name in ("tuned", "hybrid"):
    *_, asked, reply = conversations(lab, name)[0]
    print(f"{name}, asked: {asked['content'][-90:]!r}\n{' ' * len(name)}  learns: {reply['content']!r}\n")

# %% [markdown]
# ## 6. The comparison
#
# `compare_own` is lesson 12's `run_compare` on this lab, with the same arms, scores and intervals. It leaves out
# metrics that your questions cannot measure.

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
# Look at *recall@k* first. Where the search found the passage and the answer is still wrong, the model misread it.
# Then try a larger model. Below are the causes, sorted as in lesson 06, and then two questions with the answer of
# every arm:

# %%
from labkit.rag.augment import causes

causes(comparison.answers.query("arm in ['rag', 'hybrid']")).round(2)

# %%
sample = comparison.answers.query("seed == 0 and answerable").groupby("arm", sort=False).head(2)
sample.set_index(["question", "arm"])[["text", "gold"]].sort_index(level="question", sort_remaining=False)

# %% [markdown]
# ## 7. Is it the data, or the model?
#
# Ask another model the same questions. This project pretrained the pocket model to read the documents of one invented
# company, so other prose is foreign to it. Two arms are enough, and they need no training. The report of a comparison
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
# ## 8. The recommendation and its evidence
#
# Several arms may be in front and not told apart. Of these, the report recommends the one that is simplest to
# maintain: the model alone, then an index, then a training, then both. It also prints what each arm is worth, and how
# many questions you would need to tell apart the arms in front.

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
# Nothing above depends on this model. `PROFILE` takes the folder of any causal model in safetensors, or a hub id.
# labkit shortens a prompt to the model's context, and keeps a hub model at the revision of its first use
# (`runs/models.lock.json`). On the command line, use `labkit compare --model PATH_OR_ID`. `labkit doctor` says which
# models this machine can run.
#
# `GENERATOR` takes the address of any server that speaks the OpenAI API, for the arms that are not tuned. labkit then
# sends your passages to that server. It also compares two models as well as two methods, and the recommendation says
# so.

# %%
room = lab.profile.max_new_tokens
read = comparison.answers.query("arm == 'rag'").prompt_tokens
print(f"context {lab.model.context} tokens, {room} of them kept for the answer; the longest prompt had {read.max()}")

# %% [markdown]
# Here is what the project itself measured, with both models and both sets of documents:

# %%
tables.beside(tables.published())

# %% [markdown]
# ## Takeaways
#
# - A comparison only needs a table of questions with answers. Check it against the documents before you trust it.
# - The number of questions decides how sure you can be. So count them before you measure.
# - A recommendation without evidence is an opinion. "None" is also a recommendation: it says what is missing.
#
# ## Exercises
#
# 1. Remove the answers of five questions that have one. Which metric shows the damage, and in which arm?
# 2. Add a column *reply* with your own opening to the training rows. Which arms use it on the test questions?
# 3. Write questions on three documents from your work, and set `WITHIN = 0.2`. How many questions does it ask for?
# 4. Split by document with the column *split*. What can the tuned arm still know?
