# %% [markdown]
# # 20 · Log
#
# You will keep every answer of an arm in a log, and have the log make the next answers better:
#
# - keep one row for each answer, under names that other tools know;
# - keep out what should not be in it, and lose nothing when a process is killed;
# - sort last month's complaints by cause;
# - learn three remedies from them: synonyms, missing documents, passages that search confuses; and measure the gain of
#   each on questions that were not in the log.
#
# *Before this: 05 Retrieve, 12 Compare. About 30 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. One answer, one row
#
# The log is one SQLite file. Its columns have the names of OpenTelemetry's conventions for generative AI, so that whoever
# knows those can read it. What the conventions have no name for begins with `labkit.`.

# %%
from pathlib import Path
from tempfile import mkdtemp

import pandas as pd

from labkit.practice.log import Log, LoggedArm

pd.set_option("display.max_colwidth", 90)

file = Path(mkdtemp()) / "log.sqlite"
log = Log(file)
arm = LoggedArm(lab, "rag", log)
arm.answer([lab.questions[0].question])
log.table().T.rename(columns={0: "the first row"})

# %% [markdown]
# A rating comes later, from whoever read the answer. On the command line, `labkit ask --log` keeps an answer,
# `labkit log` lists what there is, and `labkit log --rate 1 down` rates it.

# %%
log.rate(1, up=False)
log.answers()[["arm", "question", "answer", "score", "seconds", "rating"]]

# %% [markdown]
# ## 2. What must not be in it
#
# People write anything into a question. E-mail addresses, keys and long numbers are taken out, or *redacted*, *before* a
# row is written: what was never on the disk need not be deleted from it.

# %%
secret = "Write to ann@example.org or call +49 30 1234567, the key is sk-live-4f9a8b7c6d5e4f3a. Where is it built?"
arm.answer([secret])
print(log.answers().question.iloc[-1])
held = b"".join(path.read_bytes() for path in file.parent.iterdir())
print("in the bytes of the log:", {part: part.encode() in held for part in ("ann@example.org", "1234567", "sk-live")})

# %% [markdown]
# It is a rule about form, and form is all that it sees:

# %%
from labkit.practice.log import redact

stays = ["I am Ann Smith, born on 4 May 1981.", "ann at example dot org", "My PIN was 4711.", "It cost $12,500,000."]
for said in stays:
    print(f"{said}  ->  {redact(said)}")

# %% [markdown]
# Names, birthdays and what is spelt out stay. So a log is personal data: say who may read it, and when it is deleted.
#
# ## 3. Killed in the middle
#
# Two processes write at once, and both are killed, without a chance to tidy up. How many answers that they had reported as
# kept are gone? Each of them does this until it is killed, after a hundred answers or more:

# %%
import subprocess
import sys

writer = """
import sys
from labkit.compare.arms import Answer
from labkit.practice.log import Log
with Log(sys.argv[1]) as log:
    for number in range(100_000):
        log.keep([Answer(f"{sys.argv[2]} {number}", "It is so.", (), 1, 1, 0.0, 0.0)], "trial", "none")
        print(number, flush=True)
"""
trial = file.with_name("trial.sqlite")
commands = [[sys.executable, "-c", writer, str(trial), name] for name in "ab"]
running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
said = [[process.stdout.readline() for _ in range(100)] for process in running]
for process in running:
    process.kill()
said = [lines + process.communicate()[0].splitlines() for lines, process in zip(said, running, strict=True)]

# %%
with Log(trial) as kept:
    found = kept.answers().question.str[0].value_counts()
    told = sum(line.strip().isdigit() for lines in said for line in lines)
    print(f"{told} answers reported as kept, {found.sum()} in the log ({found.to_dict()})")
assert found.sum() >= told

# %% [markdown]
# None. The log may even hold one more of a process than it reported: kept, and killed before it could say so.
#
# ## 4. Last month
#
# People do not ask as the documents speak. So for everything that can be asked (a price, a lead, a date) we wrote down
# three wordings as a person might say it, before anything was measured. The month is simulated with them; what is learned
# from it is measured.
#
# - Our questions are parted by document. One half was asked *last month*, in its three wordings, and is in the log; the
#   other half is held out until section 6.
# - As anywhere, people also asked about things that nobody had written down: some documents were not in last month's
#   index.
# - Every answer is rated: up if it is right, else down.

# %%
from labkit.practice import log as lesson
from labkit.practice.log import halves, last_month, undocumented, variant

past, held_out = halves(lab)
rows = last_month(lab)
print(f"{len(past)} questions in the log, {len(held_out)} held out; {len(rows)} answers logged")
print("rated:", rows.rating.value_counts().to_dict())
rows[["question", "answer", "rating"]].sample(5, random_state=1)

# %% [markdown]
# Why did those rated down fail? Somebody looks: does any document say it, did search find it, and if it was there, did the
# model decline or misread?

# %%
print("causes:", rows.cause[rows.rating == "down"].value_counts().to_dict())
cheap = rows.groupby("rating").score.mean().round(4)
print("score of the best source, by rating:", cheap.to_dict())

# %% [markdown]
# If no document says it, no search can find it; if search missed the passage, no model can read it; if it was there, look
# at the prompt. The score of the best source could be a cheap alarm, but only if it is clearly lower where the rating is
# down: look before you rely on it. `log.failures()` puts first what people rated down, then what declined, then the lowest
# scores.
#
# ## 5. Words that no document holds
#
# Which words of the failed questions stand in no document at all?

# %%
from collections import Counter

from labkit.practice.log import unknown
from labkit.rag.retrieve import words

standing = {word for chunk in lab.vectors.chunks for word in words(chunk.embedding_text)}
failed = rows.question[rows.rating == "down"]
counts = Counter(word for question in failed for word in unknown(question, standing))
terms = [word for word, _ in counts.most_common()]
print(len(terms), "such words:", ", ".join(terms[:25]))

# %% [markdown]
# Whoever looks into a complaint finds the sentence that would have answered; for right answers the source is known. So
# every logged question that a document answers has its right sentence. Take one of the words above: the document words
# that stand in the right sentences of its questions more often than in all others are its *synonyms*.

# %%
known = rows[rows.right != ""]
synonyms = lesson.mine(list(zip(known.question, known.right, strict=True)), terms)
for term in list(synonyms)[:12]:
    print(f"{term:12} {', '.join(synonyms[term])}")
print(f"{len(synonyms)} of {len(terms)} words have found one")

# %% [markdown]
# Some are wrong, for they rest on a few questions each. What matters is whether they help on the whole.
#
# ## 6. Does it help?
#
# The synonyms are added to a question before it is searched *and* before it is answered. We ask the held-out questions,
# about documents that taught us nothing, in their three wordings. As a control, every word gets the synonyms of another:
# perhaps any added words would help.

# %%
names, half = list(synonyms), len(synonyms) // 2
shuffled = {name: synonyms[other] for name, other in zip(names, names[half:] + names[:half], strict=True)}
tried = {"before": {}, "shuffled": shuffled, "after": synonyms}
asked = {name: lesson.reread(lab, held_out, added) for name, added in tried.items()}

# %%
changed = asked["after"].sent != asked["before"].sent
print(f"{changed.mean():.0%} of the held-out questions hold a word that the log explains, for example:")
asked["after"].sent[changed].head(3).to_list()

# %%
from dataclasses import asdict

from labkit import plot
from labkit.stats import bootstrap_mean

right = {name: bootstrap_mean(some.groupby("id").correct.mean()) for name, some in asked.items()}
figure, text = plot.dots({"arms": {name: {"accuracy": asdict(value)} for name, value in right.items()}}, ["accuracy"])
print(text)
figure

# %%
from labkit.stats import paired_bootstrap

MEASURES = {"accuracy": "correct", "recall@5": "retrieved", "recall@1": "first"}


def gain(before, after, column="correct"):
    """How much more is right, or found, after than before; the wordings of a question are averaged first."""
    return paired_bootstrap(*(some.groupby("id", sort=False)[column].mean() for some in (after, before))).interval


def tell(name, before, after, measures):
    for what in measures:
        found, was = gain(before, after, MEASURES[what]), before[MEASURES[what]].mean()
        print(f"{name}: {what} {was:.2f} before, {found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")


for name in ("shuffled", "after"):
    tell(name, asked["before"], asked[name], MEASURES)

# %% [markdown]
# Recall tells what the words did for the search, accuracy what they did for search and prompt together. Where recall@5
# was 1 before, the search had nothing to gain: all that accuracy gained came through the prompt. The brackets hold 95 %
# intervals over questions.
#
# Questions in the documents' own words should stay as they are:

# %%
same = [lesson.expand(item.question, synonyms) == item.question for item in lab.questions]
print(f"{sum(same)} of {len(same)} of the course's own questions stay as they are")

# %% [markdown]
# ## 7. What no document says
#
# What were those questions about that no document answers?

# %%
gaps = rows[rows.cause == "no document says it"]
gaps.question.str.extract(r"((?:[A-Z]\w+ )+[A-Z]\w+)")[0].value_counts().rename_axis("about").to_frame("complaints")

# %% [markdown]
# The remedy is to write the document. We put the missing ones into the index, and ask what the log did *not* ask about
# them: questions of the held-out half. Does a document help with more than the complaint that called for it?

# %%
lacking, _ = undocumented(lab)
later = [item for item in held_out if item.evidence[0].document in lacking]
without = lesson.reread(variant(lab, lacking), later, {})
written = asked["before"][asked["before"].id.isin(without.id)]
print(f"{len(lacking)} documents added, {len(later)} held-out questions on them in three wordings each")
tell("documents", without, written, ["accuracy", "recall@5"])

# %%
wrong = without[without.correct == 0]
print(f"of the answers that were wrong without the documents, {wrong.abstained.mean():.0%} said that they did not know")
wrong[["sent", "text"]].head(3)

# %% [markdown]
# An arm that declines makes such gaps easy to find in a log; one that answers from another document hides them, until
# somebody rates the answer.
#
# ## 8. What search confuses
#
# For each logged question the log holds the passages that search found. The best one that does *not* state the fact is a
# *hard negative*: near enough to be taken for the right one. A *triplet* is a question (anchor), a passage that states the
# fact (positive) and its hard negative.

# %%
texts = {chunk.id: chunk.embedding_text for chunk in lab.vectors.chunks}
wrong = [next((s for s in row.sources if s not in row.stated), None) for row in rows.itertuples()]
triplets = [
    (row.question, texts[row.stated[0]], texts[other])
    for row, other in zip(rows.itertuples(), wrong, strict=True)
    if row.stated and other
]
triplets = pd.DataFrame(triplets, columns=["anchor", "positive", "negative"])
first = rows[rows.stated.map(bool)].apply(lambda row: row.sources[0] in row.stated, axis=1)
print(f"{len(triplets)} triplets; a wrong passage stood first for {1 - first.mean():.0%} of the logged questions")
triplets.map(lambda text: " ".join(text.split())).iloc[0].to_frame("the first triplet")

# %% [markdown]
# We train the embedder on them for one pass: the question should lie nearer to the passage that answers it than to the one
# it was confused with, and to the right passages of the other questions in its batch (*multiple negatives ranking loss*,
# Henderson et al. 2017, arXiv 1705.00652). Three wordings share a passage, so a batch holds no passage twice.

# %%
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

settings = {
    "num_train_epochs": 1, "per_device_train_batch_size": 16, "learning_rate": 5e-5, "batch_sampler": "no_duplicates",
    "bf16": lab.embedder.dtype == "bfloat16", "use_cpu": lab.embedder.model.device.type == "cpu", "seed": 0,
    "save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True,
}  # fmt: skip
arguments = SentenceTransformerTrainingArguments(mkdtemp(), **settings)

# %%
from datasets import Dataset
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers.trainer_callback import PrinterCallback

from labkit.hub import pinned
from labkit.quiet import quiet
from labkit.rag.embed import load_embedder


def train_embedder(triplets):
    """The folder of the embedder after one pass over the triplets."""
    model, folder = load_embedder(pinned(lab.profile.embedder)).model, mkdtemp()
    model.model_card_data.widget = [{}]  # else examples for a card are computed
    with quiet():
        rows, loss = Dataset.from_pandas(triplets, preserve_index=False), MultipleNegativesRankingLoss(model)
        trainer = SentenceTransformerTrainer(model, arguments, rows, loss=loss)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        model.save(folder, create_model_card=False)
    return folder


# %% [markdown]
# As a control, the same negatives beside other questions. Then all documents are embedded again.

# %%
mixed = triplets.assign(negative=triplets.negative.sample(frac=1, random_state=0).to_numpy())
embedders = {"shuffled": train_embedder(mixed), "hard negatives": train_embedder(triplets)}

# %% [markdown]
# With five passages in the prompt it hardly matters which of them stands first. So let the model read one only: the prompt
# is shorter, and all depends on the search.

# %%
short = lesson.reread(variant(lab, top_k=1), held_out, {})
many, one = asked["before"].prompt_tokens.mean(), short.prompt_tokens.mean()
print(f"tokens read: {many:.0f} with five passages, {one:.0f} with one")
trained = {n: lesson.reread(variant(lab, top_k=1, embedder=str(f)), held_out, {}) for n, f in embedders.items()}
for name, after in trained.items():
    tell(name, short, after, ["accuracy", "recall@1"])
tell("hard negatives minus shuffled", *trained.values(), ["accuracy", "recall@1"])

# %% [markdown]
# Only an interval above zero in the last two lines shows that the *hard* negatives helped, and not the training as such.
# This remedy costs a training, and every vector must be made anew; synonyms and documents need neither. An embedder
# trained on one log may also be worse elsewhere: measure it there before you keep it.
#
# ## 9. Which remedy for which cause?
#
# | the log shows | remedy | measured in section |
# |---|---|---|
# | words that no document holds | synonyms in what is searched and asked | 6 |
# | no document says it | write the document | 7 |
# | search found another passage first, or missed it | train the embedder or reranker on *hard negatives* | 8 |
# | the passage was there and was misread | another prompt, or training with passages | lesson 11 |
#
# ## 10. To other tools
#
# The small log of sections 1 and 2 as Parquet, with types and names as they are: any data frame or dashboard reads it.

# %%
print(log.export(file.with_name("log.parquet")), "answers exported")
pd.read_parquet(file.with_name("log.parquet")).dtypes.to_frame("type")

# %% [markdown]
# ## 11. The claim of the article
#
# The article says that logged interactions improve retrieval and prompts. Section 6 measured the prompts and the search;
# its figure is kept for the ledger of lesson 19.

# %%
from labkit.compare import claims

gained = gain(asked["before"], asked["after"])
figures = {"accuracy on held-out questions, after mining the log less before: rag": gained}
print(claims.record(lab, "20_log", figures))

# %% [markdown]
# ## Takeaways
#
# - Redact before you write; know that form is all a rule sees.
# - Sort complaints by cause first: it says where the remedy must act, in the search, the prompt or the documents.
# - What the log teaches is measured on questions that the log never saw, beside a control that only looks like it.
#
# ## Exercises
#
# 1. Which synonyms are wrong? Take them out by hand. Does the gain grow?
# 2. Mine only the answers rated down. How many words are left, and what is the gain?
# 3. Send the expanded question to the search alone, and the original to the model. Where does the gain come from?
# 4. Add a rule that redacts dates of birth. What else does it take out?
# 5. Split by question and not by document. What happens to the gain, and why does it mean less?
# 6. Train the embedder on the answers rated down alone. Does search get better, or does it merely turn around?
