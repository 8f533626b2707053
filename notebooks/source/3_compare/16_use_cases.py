# %% [markdown]
# # 16 · Use cases
#
# You will test five pieces of advice, one for each job that the article names:
#
# - see what each job gives you, what it asks for, and what it rewards;
# - let the four arms do all five jobs, and combine their scores into one number, the *utility*;
# - compare the winner that you measured with the one that the article advises;
# - change the weights, and see which advice depends on them.
#
# *Before this: 12 Compare. About 25 minutes, some of them training.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE, progress=False)
lab

# %% [markdown]
# ## 1. Five jobs
#
# The article names one best choice for each job. Every job here has its own documents, questions and training pairs.
# They are about things that exist nowhere else. Everything that is a choice is written in
# `data/use_cases/studies.yaml`: the weights, the style, how many passages an arm may read.

# %%
from types import SimpleNamespace

from labkit.compare.lab import spread
from labkit.data import data_folder, load_documents, load_questions

folder, p = data_folder() / "use_cases", lab.profile
few = {"questions": p.questions and p.questions // 5, "pairs": p.pairs and p.pairs // 5}  # at smoke size


def load_study(name, about):
    """A job with its questions, its pairs, and its documents as first written and as they are today."""
    items = {part: spread(load_questions(folder / name / f"{part}.jsonl"), count) for part, count in few.items()}
    documents = load_documents(folder / name / "documents.jsonl")
    updates = [] if about["given"] else load_documents(folder / name / "updates.jsonl")
    today = {document.id: document for document in [*documents, *updates]}  # a second version replaces the first
    return SimpleNamespace(name=name, **about, **items, documents=documents, today=list(today.values()))


# %%
import pandas as pd
import yaml

pd.set_option("display.max_colwidth", 100)
choices = yaml.safe_load((folder / "studies.yaml").read_text("utf-8"))
studies = {name: load_study(name, about) for name, about in choices.items()}
rows = {s.title: [s.advised, s.why, len(s.documents), len(s.pairs), len(s.questions)] for s in studies.values()}
pd.DataFrame(rows, index=["the article says", "because", "documents", "pairs", "questions"]).T

# %% [markdown]
# There are two families of jobs. In three of them the arm **looks things up**: the answer is on some page, and the
# arm must find it. Some pages changed *after* the training pairs were written. Here is one such page, and a question
# about the change:

# %%
bot = studies["support_bot"]
item = next(i for i in bot.questions if i.kind == "changed fact")
for when, documents in (("then", bot.documents), ("today", bot.today)):
    print(f"{when}:", next(d.text for d in documents if d.id == item.evidence[0].document), "\n")
print(item.question, "→", item.gold)

# %% [markdown]
# To answer, these arms search the pages of *today*. But the hybrid trains on passages as they were when its pairs were
# written: with newer pages, its training would know the changes before the test asks about them.

# %%
from labkit.compare.arms import ARMS, arm_class


def pages(study, training=False):
    """A search over the pages of today, or in training over those as first written."""
    return lab.searching(lab.index(study.documents if training else study.today))


# %%
from labkit.metrics import contains

proof = item.evidence[0]
now, then = (pages(bot, training).search(item.question, bot.passages) for training in (False, True))
print("today's value is found today:", any(contains(hit.chunk.text, item.gold) for hit in now))
assert not any(proof.passage in hit.chunk.text for hit in then)

# %% [markdown]
# In the other two the arm **transforms** what it is given: reviews become a summary, a sheet of figures becomes a
# report. The request contains the material, so *every* arm gets it, base and tuned too. No product of the test occurs
# in the pairs. So there is no fact to recite, only a task to learn.
#
# Documents named `ID/1`, `ID/2` are the material of the request with that id. Each becomes a chunk:

# %%
from labkit.rag.chunk import Chunk


def material(study):
    """The chunks that are handed over, by question."""
    chunks = {}
    for d in study.documents:
        chunk = Chunk(f"{d.id}#0", d.id, d.title, d.text, 0, len(d.text))
        chunks.setdefault(d.id.partition("/")[0], []).append(chunk)
    return {item.question: chunks[item.id] for item in [*study.questions, *study.pairs]}


# %% [markdown]
# What is left to retrieve? Earlier replies. RAG and hybrid find the most similar past requests, together with the
# replies to them. These serve as examples in the prompt. They come from the same pairs that fine-tuning learns from.
# In training, a pair must not find its own reply: that would give the answer away.

# %%
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Retriever


class Handover(Retriever):
    """Hands over a question's own material, then what an archive of earlier replies finds of other requests."""

    material: dict
    archive: Retriever | None = None

    def _find(self, queries, top_k):
        found = self.archive.search_batch(queries, top_k + 1) if self.archive else [[] for _ in queries]
        for query, hits in zip(queries, found, strict=True):
            own = self.material[query]
            request = own[0].document_id.partition("/")[0]
            others = [hit.chunk for hit in hits if hit.chunk.document_id != request]
            yield [(chunk, 1.0) for chunk in [*own, *others]]


# %% [markdown]
# This decides what each arm reads in each job. Base and tuned read nothing where something must be looked up.


# %%
def reader_of(study, arm, training=False):
    """What an arm reads from; None where it reads nothing."""
    reads = arm_class(arm).reads
    if not study.given:
        return pages(study, training) if reads else None
    replies = [Document(i.id, "Earlier reply", f"{i.question} {i.answer}", "text", i.id) for i in study.pairs]
    return Handover(material(study), lab.searching(lab.index(replies)) if reads else None)


# %%
summariser = studies["review_summariser"]
request, pair = summariser.questions[0], summariser.pairs[0]
reader, count = reader_of(summariser, "rag"), summariser.passages
hits = reader.search(request.question, count)
assert all(hit.chunk.document_id.startswith(f"{request.id}/") for hit in hits[:3])
assert pair.id not in {hit.chunk.document_id for hit in reader.search(pair.question, count)}
print(request.question, "→", request.answer)
pd.DataFrame([{"title": h.chunk.title, "text": h.chunk.text} for h in hits])

# %% [markdown]
# ## 2. What each job rewards
#
# One number, the utility, decides who wins. How to compute it is a choice: each job gives its metrics different
# weights. A support bot must be up to date, a legal assistant must cite, a summary must have the right form. We wrote
# the weights down before we measured anything. Sections 5 and 6 show what happens to the winner if you choose other
# weights.

# %%
METRICS = {
    "content": "right, of the questions whose answer never changed",
    "fresh": "right, of the questions whose answer changed after the training pairs were written",
    "complete": "share of the needed values that the answer quotes",
    "declines": "declines, of the questions that no document answers",
    "cites": "right, and cites a passage that proves it",
    "style": "has the form that the job asks for",
    "frugal": "1 minus the tokens read and written, as a share of the budget",
}

# %%
assert all(study.weights.keys() <= METRICS.keys() for study in studies.values())
weights = pd.DataFrame({s.title: s.weights for s in studies.values()}).reindex(list(METRICS))
weights.insert(0, "what it counts", pd.Series(METRICS))
weights.fillna("")

# %% [markdown]
# Every metric runs from 0 to 1. It counts only the questions that it applies to: *fresh* counts those about a changed
# fact, *declines* those that no document answers. Where a metric does not apply, its value is None.

# %%
import re


def measures(study, item, row):
    """Every metric of one scored answer."""
    answerable, changed = item.gold is not None, item.kind == "changed fact"
    quoted = [contains(row["text"], fact.value) for fact in item.evidence]
    return {
        "content": row["correct"] if answerable and not changed else None,
        "fresh": row["correct"] if changed else None,
        "complete": sum(quoted) / len(quoted) if quoted else None,
        "declines": None if answerable else row["correct"],
        "cites": row["cited"] if answerable else None,
        "style": float(re.fullmatch(study.shape, row["text"].strip()) is not None),
        "frugal": max(0.0, 1 - (row["prompt_tokens"] + row["output_tokens"]) / study.budget),
    }


# %% [markdown]
# ## 3. Train, and ask
#
# Each job has a style of its own: the frame that goes around an answer. Where the material was handed over, a citation
# would say nothing, so it is left out.

# %%
from labkit.data import CLOSING, OPENING


def dress(study, reply):
    """A reply, in the company's house style or in none, in the style of a job."""
    text = reply.removeprefix(OPENING).removesuffix(CLOSING).strip()
    return study.frame.format(text=re.sub(r" ?\[\d+\]", "", text) if study.given else text)


assert all(re.fullmatch(s.shape, dress(s, pair.answer)) for s in studies.values() for pair in s.pairs)
pd.Series({s.title: dress(s, s.pairs[0].answer) for s in studies.values()}).to_frame("an answer in its style")

# %% [markdown]
# In the jobs that look things up, the tuned arm learns the job's pairs in the job's own style. The hybrid learns them
# together with the passages that it would read. In the two jobs that transform, both arms learn with the material
# that they are given.
#
# How long do they train? Until they stop improving. Every sixth pair is kept as a development row, and training stops
# once the loss on these rows has not fallen for two epochs. Facts to recite are the exception: the model cannot know
# a fact that it was not trained on. There the development rows are the training rows themselves.

# %%
from functools import partial

from labkit.compare.training import closed_book, tokenised, with_context
from labkit.tune.leaks import refuse_leaks


def prepare(study, name, seed):
    """Training and development rows of one arm in one job. LabError if a pair asks what the test asks."""
    refuse_leaks([item.question for item in study.pairs], [item.question for item in study.questions])
    reader, style = reader_of(study, name, training=True), partial(dress, study)
    if reader is None:
        rows = tokenised(lab, closed_book(study.pairs, style))
        return rows, rows
    rows = tokenised(lab, with_context(study.pairs, reader, study.passages, seed, style=style))
    return [row for n, row in enumerate(rows) if n % 6], rows[::6]


# %%
from labkit.model import Model, load_model
from labkit.tune.adapters import LoraSettings, add_lora
from labkit.tune.train import Check, answer_loss, train

RECITE, READ = (30, 20) if SIZE == "full" else (1, 1)  # epochs at most


def learn(study, name, seed):
    """The model after training, and how long it was trained."""
    rows, held = prepare(study, name, seed)
    most = RECITE if rows is held else READ
    settings = LoraSettings(epochs=most, learning_rate=p.tuned_rate, batch_size=8, seed=seed, rank=p.lora_rank)
    model = load_model(p.model_path, dtype="float32")
    network, pad = add_lora(model.network, settings), model.tokenizer.pad_token_id or 0
    check = Check(lambda: {"loss": answer_loss(network, held, pad)}, patience=2)
    report = train(network, model.tokenizer, rows, settings, lab.runs / "training", progress=False, check=check)
    merged = network.merge_and_unload().to(lab.model.network.dtype)
    epochs = len(report.epochs)
    far = {"epochs trained": epochs, "epoch kept": 1 + check.best(report.epochs), "stopped by itself": epochs < most}
    return Model(merged, model.tokenizer), far


# %% [markdown]
# Then each arm answers all questions of the job, one row for each answer. Each arm is trained once, with one seed. So
# the intervals below show how much questions vary, but not how much trainings vary. (With more `SEEDS`, the training
# time grows in proportion.)

# %%
from labkit.compare.score import score

TUNED, SEEDS = ("tuned", "hybrid"), lab.profile.seeds[:1]


def do(study, name, seed):
    model, far = learn(study, name, seed) if name in TUNED else (lab.model, {})
    arm = arm_class(name)(model, reader_of(study, name), study.passages, p.max_new_tokens)
    answers = arm.answer([item.question for item in study.questions])
    for item, answer in zip(study.questions, answers, strict=True):
        row = {"job": study.name, "arm": name, "seed": seed, **far, **score(item, answer)}
        yield row | measures(study, item, row)


# %%
from tqdm.auto import tqdm

tasks = [(study, arm, seed) for study in studies.values() for arm in ARMS for seed in (SEEDS if arm in TUNED else [0])]
rows = pd.DataFrame([row for task in tqdm(tasks) for row in do(*task)])
shown = rows[(rows.job == "support_bot") & (rows.id == item.id) & (rows.seed == 0)]
shown.set_index("arm")[["text", "correct", "style", "prompt_tokens"]]

# %% [markdown]
# How long was each arm trained, and does it keep the style that it was trained on? Check this before you read any
# utility: if a tuned arm breaks the style, its utility tells you about the training, not about the method.

# %%
columns = ["epochs trained", "epoch kept", "stopped by itself", "style"]
trained = rows[rows.arm.isin(TUNED)].astype(dict.fromkeys(columns, float))
trained.groupby(["job", "arm"], sort=False)[columns].mean().round(2)

# %% [markdown]
# The utility of an arm is the weighted mean of its metrics, so it also runs from 0 to 1. For each question we first
# average over the seeds. The interval resamples questions: each draw takes the mean of every metric over the drawn
# questions that it applies to, and then the weighted mean of these.

# %%
import numpy as np

from labkit.stats import GAP, SHARE, Interval, bootstrap, widen


def weigh(table, weights):
    """The weighted mean of a table's metrics (rows) for drawn questions (columns), in the form that `bootstrap` needs."""
    known, filled, shares = ~np.isnan(table), np.nan_to_num(table), np.array(weights) / sum(weights)

    def statistic(items):
        drawn = np.stack([np.bincount(row, minlength=table.shape[1]) for row in items])
        return (drawn @ filled.T / np.maximum(drawn @ known.T, 1e-9)) @ shares

    return statistic


# %%
def job(study):
    """The tables of all arms, metrics by questions, and the weights."""
    metrics, some = list(study.weights), rows[rows.job == study.name]
    means = some.astype(dict.fromkeys(metrics, float)).groupby(["arm", "id"], sort=False)[metrics].mean()
    return {arm: means.loc[arm].to_numpy().T for arm in ARMS}, [study.weights[metric] for metric in metrics]


jobs = {name: job(study) for name, study in studies.items()}


def utility(name, arm):
    tables, weights = jobs[name]
    count = tables[arm].shape[1]
    return widen(bootstrap(weigh(tables[arm], weights), count), count, SHARE)


# %%
tables, weights = jobs["support_bot"]
scores = pd.DataFrame({arm: np.nanmean(table, axis=1) for arm, table in tables.items()}, index=list(bot.weights))
scores.insert(0, "weight", weights)
scores.loc["utility"] = [1, *(utility("support_bot", arm).mean for arm in ARMS)]
scores.round(2)

# %% [markdown]
# Read the table column by column: where does each arm gain, and where does it lose? An arm can have the highest
# utility without being best on every line.
#
# ## 4. All five, compared with the advice

# %%
import matplotlib.pyplot as plt

from labkit import plot

utilities = {name: {arm: utility(name, arm) for arm in ARMS} for name in jobs}
figure, panels = plt.subplots(len(jobs), 1, figsize=(5.4, 7), sharex=True)
for axes, (name, some) in zip(panels, utilities.items(), strict=True):
    for row, (arm, v) in enumerate(some.items()):
        colour, marker = plot.LOOK[arm]
        axes.errorbar(v.mean, row, xerr=[[v.mean - v.low], [v.high - v.mean]], color=colour, marker=marker)
    title = f"{studies[name].title} (the article: {studies[name].advised})"
    axes.set(yticks=range(len(some)), yticklabels=some, ylim=(len(some) - 0.5, -0.5), title=title)
    words = [f"{arm} {v.mean:.2f} ({v.low:.2f} to {v.high:.2f})" for arm, v in some.items()]
    print(studies[name].title, *words, sep=" · ")
axes.set(xlabel="utility", xlim=(0, 1))
plt.close()
figure

# %% [markdown]
# Did the advised arm win? Its *lead* is its utility minus that of the best other arm, on the same questions. If the
# lower end of the interval is above zero, the advised arm beats **every** other arm. If the upper end is below zero,
# at least **one** other arm beats it. That end uses a stricter level, because three arms have a chance to beat it.
# If every question gives the same difference, `widen` gives the interval that the questions not asked leave open.


# %%
def lead(tables, weights, arm):
    def gap(other, level):
        difference, count = tables[arm] - tables[other], tables[arm].shape[1]
        found = bootstrap(weigh(difference, weights), count, level=level)
        return widen(found, count, GAP, level)

    others = [other for other in tables if other != arm]
    plain = [gap(other, 0.95) for other in others]
    strict = [gap(other, 1 - 0.05 / len(others)) for other in others]
    return Interval(min(g.mean for g in plain), min(g.low for g in plain), min(g.high for g in strict))


# %%
def judge(lead):
    return "supported" if lead.low > 0 else "refuted" if lead.high < 0 else "not decided"


leads = {name: lead(*jobs[name], studies[name].advised) for name in jobs}
best = {name: max(some, key=lambda arm: some[arm].mean) for name, some in utilities.items()}
verdicts = {
    studies[name].title: {
        "the article says": studies[name].advised,
        "best here": best[name],
        "lead of the advised": f"{v.mean:+.2f} [{v.low:+.2f}, {v.high:+.2f}]",
        "the advice is": judge(v),
    }
    for name, v in leads.items()
}
pd.DataFrame(verdicts).T

# %% [markdown]
# ## 5. Other weights
#
# We chose the weights. So now draw ten thousand other sets of weights, spread evenly over all possible ones, and
# count how often each arm leads. If one arm leads under nearly all weights, you need not argue about them. If two
# arms share the lead, the weights decide.

# %%
means = {name: {arm: np.nanmean(table, axis=1) for arm, table in tables.items()} for name, (tables, _) in jobs.items()}
shares = {}
for name, some in means.items():
    drawn = np.random.default_rng(0).dirichlet(np.ones(len(studies[name].weights)), 10_000)
    scores = pd.DataFrame(drawn @ pd.DataFrame(some).to_numpy(), columns=list(some))
    leads_here = scores.gt(scores.max(axis=1) - 1e-9, axis=0)  # arms that tie share the lead
    shares[studies[name].title] = leads_here.div(leads_here.sum(axis=1), axis=0).mean()
shares = pd.DataFrame(shares).T
figure, text = plot.shares(shares)
print("Share of all weights under which each arm leads.", text, sep="\n")
figure

# %% [markdown]
# ## 6. Where the lead changes
#
# Random weights show how open the choice is. To decide, you want to know *which* weight matters. A *rank reversal* is
# a point at which another arm takes the lead. Move one weight up or down from its stated value, let the others keep
# their proportions, and note the first such point.


# %%
def reversal(name, metric):
    """The first weight of a metric, below and above the stated one, at which another arm leads; nothing if none does."""
    stated = np.array(jobs[name][1]) / sum(jobs[name][1])
    this, table = np.array(list(studies[name].weights)) == metric, np.array([means[name][arm] for arm in ARMS])
    others = np.where(this, 0, stated)
    for end in (0.0, 1.0):
        for at in np.linspace(stated @ this, end, 201):
            scores = table @ (at * this + (1 - at) * others / others.sum())
            if scores.max() > scores[ARMS.index(best[name])] + 1e-9:
                about = {"job": studies[name].title, "metric": metric, "stated": stated @ this, "at": at}
                yield {**about, "leader": best[name], "rival": ARMS[scores.argmax()]}
                break


reversals = [turn for name in jobs for metric in studies[name].weights for turn in reversal(name, metric)]
print(len(reversals), "reversals")
pd.DataFrame(reversals, columns=["job", "metric", "stated", "at", "leader", "rival"]).round(2)

# %% [markdown]
# Read a line like this: `leader` leads at the stated weights, but once `metric` has the weight `at`, `rival` leads. A
# reversal near the stated weight is a warning. The next figure gives the support bot more and more weight on style.
# Where two lines cross, their arms change places.

# %%
parts, share = pd.DataFrame(means["support_bot"], index=list(bot.weights)), np.linspace(0, 1, 21)
rest = pd.Series(dict(bot.weights)).drop("style")
without = parts.loc[rest.index].mul(rest / rest.sum(), axis=0).sum()
figure, axes = plt.subplots(figsize=(5.4, 2.8))
for arm in parts:
    colour, marker = plot.LOOK[arm]
    line = share * parts[arm]["style"] + (1 - share) * without[arm]
    axes.plot(share, line, color=colour, marker=marker, markevery=5, label=arm)
axes.axvline(bot.weights["style"], color="#999999", linestyle=":")
axes.set(xlabel="weight of style (dotted: as stated)", ylabel="utility", ylim=(0, 1))
axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
leaders = {w: (w * parts.loc["style"] + (1 - w) * without).idxmax() for w in (0, 0.5, 1)}
print("Best arm by the weight of style:", leaders)
plt.close()
figure

# %% [markdown]
# ## 7. One arm for every job?
#
# The article ends by calling the hybrid the future. Let all five jobs count the same. Put all metrics of all jobs and
# all questions into one table; the metrics of a job apply to its own questions only.

# %%
total, at = sum(len(study.questions) for study in studies.values()), 0
stacked, stacked_weights = {arm: [] for arm in ARMS}, []
for tables, weights in jobs.values():
    width = tables["rag"].shape[1]
    around = ((0, 0), (at, total - at - width))
    for arm in ARMS:
        stacked[arm].append(np.pad(tables[arm], around, constant_values=np.nan))
    stacked_weights += [weight / sum(weights) for weight in weights]
    at += width
everything = {arm: np.vstack(some) for arm, some in stacked.items()}

# %%
for arm, table in everything.items():
    v = widen(bootstrap(weigh(table, stacked_weights), total), total, SHARE)
    print(f"{arm:7} {v.mean:.2f} [{v.low:.2f}, {v.high:.2f}]")
v = lead(everything, stacked_weights, "hybrid")
print(f"lead of the hybrid: {v.mean:+.2f} [{v.low:+.2f}, {v.high:+.2f}], so the advice is {judge(v)}")

# %% [markdown]
# ## 8. The claims of the article
#
# We keep each lead for the ledger of lesson 19.

# %%
from labkit.compare import claims

figures = {f"utility of the {s.short}: {s.advised} - best other": leads[name] for name, s in studies.items()}
figures["utility over all studies: hybrid - best other"] = v
print(claims.record(lab, "16_use_cases", figures))

# %% [markdown]
# ## Takeaways
#
# Counted from the numbers above:

# %%
won = sum(best[name] == studies[name].advised for name in studies)
print(f"• The advised arm is the best measured in {won} of {len(studies)} jobs, on these questions.")
for word in ("supported", "refuted", "not decided"):
    names = [title for title, row in verdicts.items() if row["the advice is"] == word]
    print(f"• {word}: {', '.join(names) or 'none'}.")
steady = [title for title, row in shares.iterrows() if row.max() > 0.9]
print(f"• The same arm leads under at least nine of ten possible weights: {', '.join(steady) or 'in no job'}.")
print(f"• A moved weight changes the leader in {len({turn['job'] for turn in reversals})} of {len(studies)} jobs.")

# %% [markdown]
# - Advice for a *job* is advice for a dataset, a style and a set of weights. State yours before you measure, not
#   after.
# - A small model stands in for a large one here. You can reuse the way of measuring; the winners may differ
#   (`PROFILE`).
#
# ## Exercises
#
# 1. Change `jobs["legal_assistant"]` so that the weight of `style` is 0, and run sections 4 and 6 again. You need not
#    train again. Who leads now, and did section 6 predict it?
# 2. Halve the `budget` of the support bot. Which arms lose? Do they lose more than the weight of `frugal` can
#    explain?
# 3. Read the financial reports of the tuned arm in `rows`. Does it quote the figures correctly and still get the
#    change wrong? Which metric shows this?
# 4. RAG in the summariser reads earlier replies. Give it none, as base has. How much do the examples contribute?
# 5. Add a sixth job: a folder with documents, questions and pairs, and an entry in `studies.yaml`. Write the weights
#    first.
