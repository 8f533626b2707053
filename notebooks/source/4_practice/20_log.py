# %% [markdown]
# # 20 · Log
#
# You will keep every answer of an arm in a log, and use the log to improve the next answers:
#
# - keep one row for each answer, under names that other tools know;
# - keep personal data out of the log, and lose nothing when a process is killed;
# - sort last month's complaints by cause;
# - learn three remedies from them: synonyms, missing documents, and passages that the search confuses. Measure what
#   each one gains on questions that were not in the log.
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
# The log is one SQLite file. Its columns have the names of OpenTelemetry's conventions for generative AI, so that
# other tools and people know them. Columns for which the conventions have no name begin with `labkit.`.

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
# A rating comes later, from a person who read the answer. On the command line, `labkit ask --log` keeps an answer,
# `labkit log` lists the log, and `labkit log --rate 1 down` rates answer 1.

# %%
log.rate(1, up=False)
log.answers()[["arm", "question", "answer", "score", "seconds", "rating"]]

# %% [markdown]
# ## 2. What must not be in the log
#
# People write anything into a question. The log removes, or *redacts*, e-mail addresses, keys and long numbers
# *before* it writes a row. What was never on the disk need not be deleted from it.

# %%
secret = "Write to ann@example.org or call +49 30 1234567, the key is sk-live-4f9a8b7c6d5e4f3a. Where is it built?"
arm.answer([secret])
print(log.answers().question.iloc[-1])
held = b"".join(path.read_bytes() for path in file.parent.iterdir())
print("in the bytes of the log:", {part: part.encode() in held for part in ("ann@example.org", "1234567", "sk-live")})

# %% [markdown]
# The rule only sees the form of a text, not its meaning:

# %%
from labkit.practice.log import redact

stays = ["I am Ann Smith, born on 4 May 1981.", "ann at example dot org", "My PIN was 4711.", "It cost $12,500,000."]
for text in stays:
    print(f"{text}  ->  {redact(text)}")

# %% [markdown]
# Names, birthdays and addresses that are spelt out stay. So a log is personal data: decide who may read it, and when
# you delete it.
#
# ## 3. Killed while it writes
#
# Two processes write at once. We kill both without warning. How many answers are lost that they had reported as kept?
# Each process runs this code until it is killed, after at least a hundred answers:

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
reported = [[process.stdout.readline() for _ in range(100)] for process in running]
for process in running:
    process.kill()
reported = [lines + process.communicate()[0].splitlines() for lines, process in zip(reported, running, strict=True)]

# %%
with Log(trial) as kept:
    logged = kept.answers().question.str[0].value_counts()
    count = sum(line.strip().isdigit() for lines in reported for line in lines)
    print(f"{count} answers reported as kept, {logged.sum()} in the log ({logged.to_dict()})")
assert logged.sum() >= count

# %% [markdown]
# None is lost. The log may even hold one more answer of a process than it reported: the process wrote the answer, and
# was killed before it could report it.
#
# ## 4. Last month
#
# People do not use the words of the documents when they ask. So for everything that can be asked (a price, a lead, a
# date) we wrote three wordings as a person might say them, before we measured anything. We simulate the month with
# these wordings, and measure what the log teaches.
#
# - We split our questions by document. One half was asked *last month*, in its three wordings, and is in the log. The
#   other half is held out until section 6.
# - People also asked about things that nobody had written down: some documents were not in last month's index.
# - Every answer has a rating: up if it is right, otherwise down.
#
# We split by a checksum of the document's name. So all questions that one document answers are in the same half, and
# what the log teaches about a document cannot help with a held-out question about it.

# %%
from zlib import crc32

single = [item for item in lab.questions if len(item.evidence) == 1]
half = {item.id: crc32(item.evidence[0].document.encode()) % 2 for item in single}
past, held_out = ([item for item in single if half[item.id] == number] for number in (0, 1))
print(f"{len(past)} questions for one fact were asked last month, {len(held_out)} are held out")
assert not {i.evidence[0].document for i in past} & {i.evidence[0].document for i in held_out}

# %% [markdown]
# The three wordings of everything that can be asked are in `data/own_words.yaml`. The name of a thing goes in, its
# value does not: no question may hold its answer.

# %%
import yaml

from labkit.data import data_folder, load_pairs, wordings

forms = yaml.safe_load((data_folder() / "own_words.yaml").read_text("utf-8"))


def own_words(items):
    """Each item with each of the three ways in which people ask for its fact."""
    for item in items:
        fact = item.evidence[0]
        name = wordings()[fact.kind, fact.attribute].refer(fact.entity)
        for form in forms[f"{fact.kind}.{fact.attribute}"].split(" | "):
            yield item, form.format(e=name, n=fact.entity)


assert not any(item.gold in question for item, question in own_words(single))
[question for _, question in own_words(past[:1])]

# %% [markdown]
# Which documents did last month's index lack? We take every fourth document of the held-out half that states a fact
# which no other document states (`also` would name the others). People asked about these documents too, but never
# for a fact that is held out.

# %%
later = [item.evidence[0] for item in held_out]
lacking = set(sorted({fact.document for fact in later if not fact.also})[::4])
kept_back = {(fact.entity, fact.attribute) for fact in later}
complaints = {}
for item in load_pairs():
    fact = item.evidence[0] if len(item.evidence) == 1 else None
    if fact and fact.document in lacking and not fact.also and (fact.entity, fact.attribute) not in kept_back:
        complaints[fact.document] = item
print(f"{len(lacking)} documents are missing, {len(complaints)} questions ask about them")

# %% [markdown]
# A variant of our lab has other documents or other settings, and the same model. We use it for last month, and again
# in sections 7 and 8.

# %%
from dataclasses import replace

from labkit.compare.lab import Lab
from labkit.rag.ingest import Ingested


def variant(without=(), **settings):
    """The lab without some documents, or with other settings of its profile."""
    other = Lab(replace(lab.profile, **settings), lab.size, progress=lab.progress)
    other.artifacts, other.model = lab.artifacts, lab.model
    other.ingested = Ingested([document for document in lab.documents if document.id not in without], [])
    if "embedder" not in settings:
        other.embedder = lab.embedder
    return other


# %% [markdown]
# Now RAG answers the questions of the month, and a log keeps each answer with its rating.

# %%
from labkit.compare.score import is_right

month = variant(lacking)
pairs = list(own_words([*past, *(complaints[name] for name in sorted(complaints))]))
with Log(file.with_name("last_month.sqlite")) as last_month:
    answers = LoggedArm(month, "rag", last_month).answer([question for _, question in pairs])
    for number, ((item, _), answer) in enumerate(zip(pairs, answers, strict=True), start=1):
        last_month.rate(number, is_right(item, answer.text))
    rows = last_month.answers()
print(len(rows), "answers logged, rated:", rows.rating.value_counts().to_dict())
rows[["question", "answer", "rating"]].sample(5, random_state=1)

# %% [markdown]
# Why did the answers rated down fail? A person checks each of them. First, which passages state the fact? And which
# sentence states it? We take the value out of that sentence: the log should teach words, not answers. Both are empty
# where no document states the fact.

# %%
from labkit.compare.training import holds
from labkit.rag.retrieve import Hit

facts = [item.evidence[0] for item, _ in pairs]
rows["stated"] = [[c.id for c in month.vectors.chunks if holds(Hit(c, 0.0, 1), fact)] for fact in facts]
sentences = [fact.passage.replace(fact.value, "") for fact in facts]
rows["right"] = [text if some else "" for text, some in zip(sentences, rows.stated, strict=True)]

# %% [markdown]
# Then: did the search find one of these passages? And if it was in the prompt, did the model decline or misread it?

# %%
from labkit.metrics import abstained


def cause(row):
    """Why an answer was rated down."""
    if not row.stated:
        return "no document says it"
    if not set(row.stated) & set(row.sources):
        return "search missed it"
    return "declined" if abstained(row.answer) else "misread"


rows["cause"] = ["" if row.rating == "up" else cause(row) for row in rows.itertuples()]
print("causes:", rows.cause[rows.rating == "down"].value_counts().to_dict())
cheap = rows.groupby("rating").score.mean().round(4)
print("score of the best source, by rating:", cheap.to_dict())

# %% [markdown]
# If no document states the fact, no search can find it. If the search missed the passage, no model can read it. If
# the passage was in the prompt, look at the prompt. The score of the best source could be a cheap alarm, but only if
# it is clearly lower for answers rated down: check this before you rely on it. `log.failures()` lists answers rated
# down first, then those that declined, then those with the lowest scores.
#
# ## 5. Words that no document holds
#
# Which words of the failed questions are in no document at all? *Stop words* (the, of, is) and single letters do not
# count.

# %%
from collections import Counter

from labkit.rag.retrieve import STOP_WORDS
from labkit.text import words


def unknown(question, known):
    """The words of a question that are not among those known."""
    return [word for word in dict.fromkeys(words(question)) if word not in STOP_WORDS | set(known) and len(word) > 1]


standing = {word for chunk in lab.vectors.chunks for word in words(chunk.embedding_text)}
failed = rows.question[rows.rating == "down"]
counts = Counter(word for question in failed for word in unknown(question, standing))
terms = [word for word, _ in counts.most_common()]
print(len(terms), "such words:", ", ".join(terms[:25]))

# %% [markdown]
# A person who handles a complaint finds the sentence that answers it. For right answers the source is known. So every
# logged question that a document answers has a sentence with its answer. Take one of the words above. Its *synonyms*
# are the document words that occur more often in the answer sentences of its questions than in those of all questions.
# We keep the two with the largest difference, and count no digits and no word that occurs only once.

# %%
from itertools import chain

known = rows[rows.right != ""]
asked_with = [set(words(question)) for question in known.question]
answered_with = [set(unknown(right, own)) for right, own in zip(known.right, asked_with, strict=True)]
usual = Counter(chain(*answered_with))


def mine(term):
    """The document words that stand for a term of the questions, at most two."""
    beside = [right for own, right in zip(asked_with, answered_with, strict=True) if term in own]
    counts = Counter(chain(*beside))
    lift = {w: n / len(beside) - usual[w] / len(known) for w, n in counts.items() if n > 1 and not w.isdigit()}
    return sorted((w for w in lift if lift[w] > 0), key=lambda w: (-lift[w], w))[:2]


# %%
synonyms = {term: found for term in terms if (found := mine(term))}
for term in list(synonyms)[:12]:
    print(f"{term:12} {', '.join(synonyms[term])}")
print(f"{len(synonyms)} of {len(terms)} words have synonyms")

# %% [markdown]
# Some synonyms are wrong, because each rests on a few questions. What matters is whether they help overall.
#
# ## 6. Does it help?
#
# We add the synonyms to a question before the search *and* before the answer. We ask the held-out questions in their
# three wordings. They are about documents from which the log learned nothing. As a control, every word gets the
# synonyms of another word: perhaps any added words would help.
#
# A question may hold several such words. It grows by the two synonyms that most of its own words share.


# %%
def expand(question, synonyms):
    own = words(question)
    added = Counter(word for term in own for word in synonyms.get(term, ()) if word not in own)
    return " ".join([question, *(word for word, _ in added.most_common(2))])


expand(rows.question.iloc[0], synonyms)

# %% [markdown]
# Then RAG answers, and each answer is scored as in lesson 12. We also note whether the first passage states the fact.

# %%
from labkit.compare.score import score


def reread(lab, items, synonyms):
    """RAG's scored answers to items in people's own words: what was sent, and was the right passage first?"""
    questions = list(own_words(items))
    sent = [expand(question, synonyms) for _, question in questions]
    answers = lab.arm("rag").answer(sent)
    scores = [score(item, answer) for (item, _), answer in zip(questions, answers, strict=True)]
    first = [holds(answer.hits[0], item.evidence[0]) for (item, _), answer in zip(questions, answers, strict=True)]
    return pd.DataFrame(scores).assign(first=first, sent=sent)


# %%
names, half = list(synonyms), len(synonyms) // 2
shuffled = {name: synonyms[other] for name, other in zip(names, names[half:] + names[:half], strict=True)}
tried = {"before": {}, "shuffled": shuffled, "after": synonyms}
asked = {name: reread(lab, held_out, added) for name, added in tried.items()}

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
    """The difference of a column, after minus before, averaged first over the wordings of each question."""
    return paired_bootstrap(*(some.groupby("id", sort=False)[column].mean() for some in (after, before))).interval


def tell(name, before, after, measures):
    for what in measures:
        change, level = gain(before, after, MEASURES[what]), before[MEASURES[what]].mean()
        print(f"{name}: {what} {level:.2f} before, {change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]")


for name in ("shuffled", "after"):
    tell(name, asked["before"], asked[name], MEASURES)

# %% [markdown]
# Recall shows what the words did for the search. Accuracy shows what they did for search and prompt together. Where
# recall@5 was 1 before, the search could not improve, so the whole gain in accuracy came through the prompt. The
# brackets hold 95 % intervals over questions.
#
# Questions in the documents' own words should stay unchanged:

# %%
same = [expand(item.question, synonyms) == item.question for item in lab.questions]
print(f"{sum(same)} of {len(same)} of the course's own questions stay as they are")

# %% [markdown]
# ## 7. What no document says
#
# What were the questions about that no document answers?

# %%
gaps = rows[rows.cause == "no document says it"]
gaps.question.str.extract(r"((?:[A-Z]\w+ )+[A-Z]\w+)")[0].value_counts().rename_axis("about").to_frame("complaints")

# %% [markdown]
# The remedy is to write the document. We add the missing documents to the index, and ask what the log did *not* ask
# about them: questions of the held-out half. Does a document help with more than the complaint that led to it?

# %%
about = [item for item in held_out if item.evidence[0].document in lacking]
without = reread(month, about, {})
written = asked["before"][asked["before"].id.isin(without.id)]
print(f"{len(lacking)} documents added, {len(about)} held-out questions on them in three wordings each")
tell("documents", without, written, ["accuracy", "recall@5"])

# %%
wrong = without[without.correct == 0]
print(f"of the answers that were wrong without the documents, {wrong.abstained.mean():.0%} said that they did not know")
wrong[["sent", "text"]].head(3)

# %% [markdown]
# If an arm declines, such gaps are easy to find in a log. If it answers from another document instead, the gap stays
# hidden until somebody rates the answer.
#
# ## 8. What search confuses
#
# For each logged question the log holds the passages that the search found. The best of them that does *not* state
# the fact is a *hard negative*: a passage so similar that the search takes it for the right one. A *triplet* is a
# question (the anchor), a passage that states the fact (the positive) and its hard negative.

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
print(f"{len(triplets)} triplets; a wrong passage is first for {1 - first.mean():.0%} of the logged questions")
triplets.map(lambda text: " ".join(text.split())).iloc[0].to_frame("the first triplet")

# %% [markdown]
# We train the embedder on the triplets for one pass. The question should move closer to the passage that answers it
# than to the hard negative, and closer than to the right passages of the other questions in its batch (*multiple
# negatives ranking loss*, Henderson et al. 2017, arXiv 1705.00652). Three wordings share a passage, so we let no
# batch hold a passage twice.

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
    model.model_card_data.widget = [{}]  # otherwise it computes examples for a card
    with quiet():
        rows, loss = Dataset.from_pandas(triplets, preserve_index=False), MultipleNegativesRankingLoss(model)
        trainer = SentenceTransformerTrainer(model, arguments, rows, loss=loss)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        model.save(folder, create_model_card=False)
    return folder


# %% [markdown]
# As a control, we also train on the same negatives, but assigned to other questions. Then we embed all documents
# again.

# %%
mixed = triplets.assign(negative=triplets.negative.sample(frac=1, random_state=0).to_numpy())
embedders = {"shuffled": train_embedder(mixed), "hard negatives": train_embedder(triplets)}

# %% [markdown]
# With five passages in the prompt, it hardly matters which comes first. So now the model reads only one. The prompt
# is shorter, and everything depends on the search.

# %%
short = reread(variant(top_k=1), held_out, {})
many, one = asked["before"].prompt_tokens.mean(), short.prompt_tokens.mean()
print(f"tokens read: {many:.0f} with five passages, {one:.0f} with one")
trained = {n: reread(variant(top_k=1, embedder=str(f)), held_out, {}) for n, f in embedders.items()}
for name, after in trained.items():
    tell(name, short, after, ["accuracy", "recall@1"])
tell("hard negatives minus shuffled", *trained.values(), ["accuracy", "recall@1"])

# %% [markdown]
# Only an interval above zero in the last two lines shows that the *hard* negatives helped, rather than training in
# general. This remedy needs a training, and every vector must be computed again; synonyms and documents need neither.
# An embedder trained on one log may also be worse on other questions. Measure it there before you keep it.
#
# ## 9. Which remedy for which cause?
#
# | the log shows | remedy | measured in section |
# |---|---|---|
# | words that no document holds | add synonyms to the question before search and prompt | 6 |
# | no document says it | write the document | 7 |
# | search found another passage first, or missed it | train the embedder or reranker on *hard negatives* | 8 |
# | the passage was in the prompt and the model misread it | another prompt, or training with passages | lesson 11 |
#
# ## 10. Export to other tools
#
# We export the small log of sections 1 and 2 as Parquet, with its types and names. Any data frame or dashboard can
# read it.

# %%
print(log.export(file.with_name("log.parquet")), "answers exported")
pd.read_parquet(file.with_name("log.parquet")).dtypes.to_frame("type")

# %% [markdown]
# ## 11. The claim of the article
#
# The article says that logged interactions improve retrieval and prompts. Section 6 measured both. We keep its figure
# for the ledger of lesson 19.

# %%
from labkit.compare import claims

gained = gain(asked["before"], asked["after"])
figures = {"accuracy on held-out questions, after minus before mining the log: rag": gained}
print(claims.record(lab, "20_log", figures))

# %% [markdown]
# ## Takeaways
#
# - Redact before you write. A redaction rule only sees form: it cannot recognise a name or a birthday.
# - Sort complaints by cause first. The cause says what to change: the search, the prompt or the documents.
# - Measure what the log teaches on questions that the log never saw, and compare it with a control of the same form.
#
# ## Exercises
#
# 1. Which synonyms are wrong? Remove them by hand. Does the gain grow?
# 2. Mine only the answers rated down. How many words are left, and what is the gain?
# 3. Send the expanded question to the search alone, and the original to the model. Where does the gain come from?
# 4. Add a rule that redacts dates of birth. What else does it remove?
# 5. Split by question and not by document. What happens to the gain, and why does it mean less?
# 6. Train the embedder only on the answers rated down. Does the search improve, or do the same errors appear
#    elsewhere?
