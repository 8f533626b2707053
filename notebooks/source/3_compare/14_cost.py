# %% [markdown]
# # 14 · Cost
#
# You will find out what each arm costs, where the cost arises, and after how many questions training pays:
#
# - split the time of an answer into embedding, searching, reading and writing;
# - set up every arm from nothing, and count seconds and memory;
# - put prices on these counts, and find the break-even;
# - increase the number of vectors, the number of shards and the width of the model.
#
# *Before this: 12 Compare and 13 Update. About 20 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. Where an answer's time goes
#
# We ask one question at a time, as a user does. *Prefill* reads the prompt, all of its tokens at once. *Decode* writes
# the answer, one token after another.

# %%
import time

from labkit.compare.arms import passages
from labkit.decode import greedy
from labkit.rag.augment import build_messages


def stages(lab, arm, question):
    began, processor = time.perf_counter(), time.process_time()
    answer = arm.answer([question])[0]
    row = {"total": time.perf_counter() - began, "processor": time.process_time() - processor}
    began = time.perf_counter()  # the first stages once more, alone, so that each has its share
    if arm.retriever:
        lab.embedder.encode([question], query=True)
    row["embed"] = time.perf_counter() - began
    prompt = arm.model.encode(build_messages(question, passages(answer.hits), system=arm.system))
    began = time.perf_counter()
    greedy(arm.model.network, [prompt], {-1}, 1)
    row["prefill"] = time.perf_counter() - began
    row["search"] = max(0.0, answer.retrieval_seconds - row["embed"])
    row["decode"] = max(0.0, answer.generation_seconds - row["prefill"])
    return row | {"read": answer.prompt_tokens, "written": answer.output_tokens}


# %% [markdown]
# Every arm answers the same questions. The arms take turns, so that a slow moment of the machine affects all of them.
# No answer comes from the cache.

# %%
from labkit.compare import small
from labkit.compare.arms import ARMS
from labkit.compare.experiment import in_turn


@small.study("cost split", stages, arms=["tuned", "hybrid"])
def split(lab):
    arms = in_turn(lab, {name: lab.arm(name) for name in ARMS})
    return [{"arm": name, "id": item.id, **stages(lab, arm, item.question)} for name, arm, item in arms]


# %%
spent = split(lab)
parts = ["embed", "search", "prefill", "decode"]
spent[[*parts, "total"]] *= 1000  # milliseconds
middle = spent.groupby("arm")[[*parts, "total"]].median().loc[list(ARMS)]
middle.round(1)

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(5.5, 2.6))
left = 0 * middle.total
for stage, colour in zip(parts, ("#CC79A7", "#F0E442", "#56B4E9", "#009E73"), strict=True):
    axes.barh(middle.index, middle[stage], left=left, color=colour, label=stage)
    left = left + middle[stage]
axes.invert_yaxis()
axes.set_xlabel("milliseconds, median")
axes.legend(frameon=False, fontsize=8, ncol=4, loc="lower left", bbox_to_anchor=(0, 1))
print("longest stage:", {arm: row[parts].idxmax() for arm, row in middle.iterrows()})
plt.close()
figure

# %% [markdown]
# The median is what most users experience; the 95th percentile is what they remember.

# %%
spent.groupby("arm").total.quantile([0.5, 0.95]).unstack().round(0).rename(columns={0.5: "p50, ms", 0.95: "p95, ms"})

# %%
spent.groupby("arm")[["read", "written", "processor"]].mean().round(3).rename(
    columns={"read": "tokens read", "written": "tokens written", "processor": "processor, s"}
)

# %% [markdown]
# The model reads a prompt at once, but it writes an answer token by token, with one pass through the whole model for
# each. So an arm that reads nothing is fast only if its answers are short. The house style is wordy, and the tuned arms
# write it. Times per *answer* therefore compare answers of different lengths, so we also show times per
# *written token*.

# %%
answers = spent.groupby("arm")[["total", "written"]].mean().loc[list(ARMS)]
answers["total / written"] = answers.total / answers.written
answers["decode / written"] = (spent.decode / spent.written).groupby(spent.arm).median()
names = {"total": "ms per answer", "written": "tokens written"}
names |= {"total / written": "ms per token, all stages", "decode / written": "ms per token, decode only"}
answers.rename(columns=names).round(1)

# %% [markdown]
# More passages (`k`) mean longer prompts. What do they gain?

# %%
from dataclasses import replace

import pandas as pd

from labkit.compare.lab import spread
from labkit.compare.score import is_right

some = spread([item for item in lab.questions if item.gold], 40 if SIZE == "full" else 6)

# %%
by_k = {}
for k in (1, 3, 5):
    answers = replace(lab.arm("rag"), top_k=k, cache=None).answer([item.question for item in some])
    rows = [(is_right(i, a.text), a.prompt_tokens, 1000 * a.generation_seconds) for i, a in zip(some, answers, strict=True)]  # fmt: skip
    by_k[k] = pd.DataFrame(rows, columns=["right", "tokens read", "generation, ms"]).mean()
pd.DataFrame(by_k).T.rename_axis("k").round(2)

# %% [markdown]
# ## 2. What setting up takes
#
# We set up each arm for the small company of lesson 13, in a process of its own. The program below goes from documents
# to an index, and from pairs to tuned weights. Seconds exclude the loading of models. Processor seconds include loading
# the embedder. Memory is the most that the process ever held.

# %%
PROGRAM = """
import json, sys, time
import labkit
from labkit.compare import small
from labkit.rag.retrieve import retriever
from labkit.store import peak_rss_mb

arm, seed, profile, size = sys.argv[1:]
lab = labkit.open(profile, size=size, progress=False)
p, company, model = lab.profile, small.company(), lab.model
read, seconds, processor = None, 0.0, time.process_time()
if arm != "tuned":
    store, seconds = small.reindex(lab, [], company.documents)
if arm == "hybrid":
    read = retriever(p.method, store, p.reranker)
if arm != "rag":
    epochs = p.hybrid_epochs if read else small.EPOCHS
    seconds += small.learn(lab, model, company.questions, int(seed), epochs, read)[1]
used = time.process_time() - processor
print(json.dumps({"seconds": seconds, "processor": used, "peak_mb": peak_rss_mb()}))
"""

# %% [markdown]
# RAG and tuning are set up with two seeds. RAG has no seed, so it is simply set up twice. The hybrid takes longest and
# is set up with one seed.

# %%
import json


# %%
@small.study("cost of setting up", PROGRAM)
def setting_up(lab):
    seeds, rows = lab.profile.seeds[: small.SEEDS], []
    for arm, seed in [*((arm, seed) for seed in seeds for arm in ("rag", "tuned")), ("hybrid", seeds[0])]:
        last = small.alone(["-c", PROGRAM, arm, str(seed), PROFILE, SIZE], f"setting {arm} up failed")
        rows.append({"arm": arm, "seed": seed, **json.loads(last)})
    return rows


# %%
setups = setting_up(lab)
setups.groupby("arm")[["seconds", "processor", "peak_mb"]].mean().round(1)

# %% [markdown]
# How good is each arm after a short setup? RAG is one point in the figure; tuning continues as long as you let it. Both
# are asked in held-out wordings, which no training uses (lesson 13). One training seed.

# %%
BUDGETS = (5, small.EPOCHS)  # epochs of the tuned arm


@small.study("cost by budget", BUDGETS)
def by_budget(lab):
    company, seed = small.company(), lab.profile.seeds[0]
    store, seconds = small.reindex(lab, [], company.documents)
    rows = small.ask(lab, small.rag(lab, store), company.reworded, seconds=seconds, epochs=0)
    for epochs in BUDGETS:
        model, seconds = small.learn(lab, lab.model, company.questions, seed, epochs)
        arm = small.reciter(lab, "tuned", model)
        rows += small.ask(lab, arm, company.reworded, seconds=seconds, epochs=epochs)
    return rows


# %%
budget = by_budget(lab)
points = budget.groupby(["arm", "epochs"])[["seconds", "correct", "style"]].mean()
points.round(2)

# %%
figure, axes = plt.subplots(figsize=(5.5, 3))
for arm, marker, colour in (("rag", "s", "#0072B2"), ("tuned", "^", "#D55E00")):
    at = points.loc[arm]
    axes.plot(at.seconds, at.correct, f"{marker}-", color=colour, label=f"{arm}, right")
    axes.plot(at.seconds, at["style"], f"{marker}:", color=colour, fillstyle="none", label=f"{arm}, in style")
axes.set(xlabel="seconds of setting up", ylabel="share of the questions", ylim=(-0.03, 1.03), xscale="log")
axes.legend(frameon=False, fontsize=8, ncol=2, loc="lower left", bbox_to_anchor=(0, 1))
for (arm, epochs), at in points.round(2).iterrows():
    print(f"{arm} after {at.seconds} s ({epochs} epochs): {at.correct} right, {at['style']} in style")
plt.close()
figure

# %% [markdown]
# ## 3. Prices
#
# Prices are parameters. You can pay by the hour for your own processor, or by the token for someone else's. Our prices
# are round examples: replace them with your own.

# %%
processor_hour, read, written, trained = 0.05, 0.10, 0.40, 0.50  # per hour; per million tokens of each kind


def own(setup, seconds, questions):
    """On your own machine: processor seconds of the setup and of each question."""
    return processor_hour * (setup + seconds * questions) / 3600


def rented(training, reads, writes, questions):
    """By the token: tokens of the training, and tokens read and written per question."""
    return (trained * training + questions * (read * reads + written * writes)) / 1e6


# %%
setup, each = setups.groupby("arm").processor.mean(), spent.groupby("arm").processor.mean()
arms = ["rag", "tuned", "hybrid"]
counts = [100, 1_000, 10_000, 100_000]
pd.DataFrame({n: [own(setup[arm], each[arm], n) for arm in arms] for n in counts}, index=arms).round(4)

# %%
saving = each["rag"] - each["tuned"]
even = max(0.0, (setup["tuned"] - setup["rag"]) / saving) if saving > 0 else float("inf")
print(f"tuning pays after {even:,.0f} questions, if it answers as well" if even < float("inf") else "tuning never pays")

# %%
import numpy as np

many = np.logspace(1, 5, 60)
figure, axes = plt.subplots(figsize=(5.5, 3))
for arm, colour, line in zip(arms, ("#0072B2", "#D55E00", "#009E73"), ("-", "--", "-."), strict=True):
    axes.plot(many, [own(setup[arm], each[arm], n) for n in many], line, color=colour, label=arm)
axes.set(xscale="log", yscale="log", xlabel="questions", ylabel="cost, in the currency of the price")
axes.legend(frameon=False, ncol=3, loc="lower left", bbox_to_anchor=(0, 1))
print("at 100,000 questions the most expensive is", max(arms, key=lambda arm: own(setup[arm], each[arm], 1e5)))
plt.close()
figure

# %% [markdown]
# Facts change. Every update of lesson 13 adds another setup, and moves the break-even, if there is one, to the right.
#
# ## 4. Growth
#
# Costs of a small company are useful only if we know how they grow. *Vectors*: every search compares the question with
# all of them, unless the index is approximate (lesson 04).

# %%
from labkit.rag.index import VectorIndex, more_vectors

BATCH = 50_000
real = lab.vectors.index.vectors_at(np.arange(len(lab.vectors)))
queries = lab.embedder.encode([item.question for item in lab.questions[:40]], query=True)


# %%
def flat(count):
    """An index in half precision over `count` vectors like the real ones."""
    index = VectorIndex("SQfp16")
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        index.add(more_vectors(real, len(real) + size, seed=start)[len(real) :])
    return index


# %%
import faiss


def search_each(index):
    """Milliseconds of each search for the ten nearest, on one thread, after one to warm up."""
    threads, spent = faiss.omp_get_max_threads(), []
    faiss.omp_set_num_threads(1)
    index.search(queries[:1], 10)
    for query in queries:
        began = time.perf_counter()
        index.search(query[None], 10)
        spent.append(1000 * (time.perf_counter() - began))
    faiss.omp_set_num_threads(threads)
    return spent


# %%
SIZES = (1_000, 10_000, 100_000, 1_000_000) if SIZE == "full" else (1_000, 10_000)


@small.study("growth of vectors", SIZES, flat, search_each)
def vectors(lab):
    searches = {size: search_each(flat(size)) for size in SIZES}
    return [{"vectors": s, "question": n, "ms": ms} for s, spent in searches.items() for n, ms in enumerate(spent)]


# %%
searched = vectors(lab)
searched.groupby("vectors").ms.median().round(2).to_frame("milliseconds a search")

# %% [markdown]
# By which factor does a cost grow when its cause doubles? We fit a line through the logarithms of both. Its slope is
# the power of growth.

# %%
from labkit.stats import bootstrap


def per_doubling(wide):
    """The factor of growth. Columns are causes; rows are repeated measurements, which are resampled."""
    causes, costs = np.log2(wide.columns.to_numpy(float)), wide.to_numpy(float)
    centred = causes - causes.mean()

    def growth(i):
        return 2 ** ((np.log2(np.median(costs[i], axis=1)) * centred).sum(-1) / (centred**2).sum())

    return bootstrap(growth, len(costs))


# %%
known = pd.DataFrame([[1.0, 4.0, 16.0]] * 3, columns=[1, 2, 4])
assert round(per_doubling(known).mean, 6) == 4, "what grows with the square quadruples"
by_vectors = per_doubling(searched.pivot(index="question", columns="vectors", values="ms"))
print(f"twice the vectors, {by_vectors.mean:.2f} times the milliseconds [{by_vectors.low:.2f}, {by_vectors.high:.2f}]")

# %% [markdown]
# *Shards*: the vectors are split into parts, which as many machines could search at once. The ten best of all parts are
# kept. An exact search must lose nothing; the recall below checks that.

# %%
SHARDS = (1, 2, 4, 8)


@small.study("growth of shards", SHARDS, flat, search_each)
def shards(lab):
    whole, rows = flat(100_000 if SIZE == "full" else 4_000), []
    stored, nearest = whole.vectors_at(np.arange(len(whole))), whole.search(queries, 10)[1]
    for count in SHARDS:
        scores, numbers, spent = [], [], []
        for part in np.array_split(np.arange(len(whole)), count):
            shard = VectorIndex("SQfp16")
            shard.add(stored[part])
            near = shard.search(queries, 10)
            scores, numbers = [*scores, near[0]], [*numbers, part[near[1]]]
            spent.append(search_each(shard))
        best = np.argsort(-np.hstack(scores), axis=1)[:, :10]
        merged = np.take_along_axis(np.hstack(numbers), best, axis=1)
        for n, (row, right) in enumerate(zip(merged, nearest, strict=True)):
            recall, slowest = float(np.isin(right, row).mean()), max(each[n] for each in spent)
            rows.append({"shards": count, "question": n, "recall": recall, "ms": slowest})
    return rows


# %%
split_up = shards(lab)
split_up.groupby("shards")[["recall", "ms"]].mean().round(3).rename(columns={"ms": "slowest shard, ms"})

# %% [markdown]
# *Width*: the same training step for untrained models of the pocket model's shape, narrower and wider.

# %%
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM


def like_pocket(width):
    torch.manual_seed(0)
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 6, "head_dim": 64}
    heads = {"num_attention_heads": width // 64, "num_key_value_heads": width // 64}
    vocabulary = {"vocab_size": len(lab.model.tokenizer), "tie_word_embeddings": True}
    return Qwen3ForCausalLM(Qwen3Config(**shape, **heads, **vocabulary)).train()


# %%
WIDTHS = (128, 256, 512) if SIZE == "full" else (128, 256)


@small.study("growth of width", WIDTHS, like_pocket)
def widths(lab):
    rows, ids = [], torch.randint(3, 1000, (8, 128), generator=torch.Generator().manual_seed(0))
    for width in WIDTHS:
        network = like_pocket(width)
        optimizer = torch.optim.AdamW(network.parameters(), fused=True)
        for step in range(-1, 5 if SIZE == "full" else 2):
            began = time.perf_counter()
            network(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            rows.append({"width": width, "step": step, "seconds": time.perf_counter() - began})
    return [row for row in rows if row["step"] >= 0]  # the first step warms up


# %%
stepped = widths(lab)
print(stepped.groupby("width").seconds.median().round(3).to_string())
by_width = per_doubling(stepped.pivot(index="step", columns="width", values="seconds"))
print(f"twice the width, {by_width.mean:.2f} times the seconds [{by_width.low:.2f}, {by_width.high:.2f}]")

# %% [markdown]
# ## 5. The claims of the article
#
# The rules were fixed before the measurement, as in lesson 13. First, the cost of a question, resampled over questions:

# %%
from labkit.stats import bootstrap_mean, paired_bootstrap, paired_ratio

total, processor, prompt = (spent.pivot(index="id", columns="arm", values=c) for c in ("total", "processor", "read"))
figures = {
    "milliseconds an answer: rag - tuned": paired_bootstrap(total.rag, total.tuned).interval,
    "milliseconds an answer: rag / tuned": paired_ratio(total.rag, total.tuned),
    "prompt tokens: rag / tuned": paired_ratio(prompt.rag, prompt.tuned),
    "processor seconds a question: rag / tuned": paired_ratio(processor.rag, processor.tuned),
    "processor seconds a question: rag - tuned": paired_bootstrap(processor.rag, processor.tuned).interval,
}
for arm in ("tuned", "hybrid"):
    costs = (setup[name] + 1000 * processor[name] for name in (arm, "rag"))
    figures[f"cost of 1,000 questions: {arm} / rag"] = paired_ratio(*costs)

# %% [markdown]
# Next, setup, resampled over the two runs, and growth:

# %%
wide = setups[setups.arm != "hybrid"].pivot(index="seed", columns="arm", values=["seconds", "peak_mb"])
recall = split_up.pivot(index="question", columns="shards", values="recall")
figures |= {
    "seconds of setting up: tuned / rag": paired_ratio(wide.seconds.tuned, wide.seconds.rag),
    "seconds of setting up: tuned - rag": paired_bootstrap(wide.seconds.tuned, wide.seconds.rag).interval,
    "peak memory of setting up: tuned / rag": paired_ratio(wide.peak_mb.tuned, wide.peak_mb.rag),
    "recall with 8 shards minus with one": bootstrap_mean(recall[8] - recall[1]),
    "search time per doubling of the vectors": by_vectors,
    "training time per doubling of the width": by_width,
}

# %% [markdown]
# Last, quality for a given setup time. The small company is a tenth of the course's, so RAG also has a tenth to read.
# For each time limit, we take the longest tuning that fits into it.

# %%
from labkit.compare.experiment import ask_arms
from labkit.stats import unpaired_bootstrap

tuned = budget[budget.arm == "tuned"]
took = tuned.groupby("epochs").seconds.mean()


def within(seconds, column="correct"):
    longest = max([epochs for epochs, s in took.items() if s <= seconds], default=took.idxmin())
    return small.by_question(tuned[tuned.epochs == longest], "tuned", column)


# %%
right, style = (small.by_question(budget, "rag", column) for column in ("correct", "style"))
most, everything = within(np.inf), ask_arms(lab, ["rag"]).query("kind == 'new wording'").correct
figures |= {
    "accuracy with a tenth of the data: rag - tuned": paired_bootstrap(right, most).interval,
    "accuracy with a tenth of the data minus with all: rag": unpaired_bootstrap(right, everything),
    "accuracy within a minute of setting up: rag - tuned": paired_bootstrap(right, within(60)).interval,
    "style within five minutes of setting up: tuned - rag": paired_bootstrap(within(300, "style"), style).interval,
}

# %%
from labkit.compare import claims

seconds = points.seconds["rag", 0], points.seconds["tuned", max(BUDGETS)]


def for_a_second(i):
    return (right[i].mean(-1) / seconds[0]) / np.maximum(most[i].mean(-1) / seconds[1], 1e-9)


figures["accuracy for a second of setting up: rag / tuned"] = bootstrap(for_a_second, len(right))
print(claims.record(lab, "14_cost", figures))

# %% [markdown]
# ## Takeaways
#
# - RAG pays for a longer prompt at every question. Tuning pays for training, and again at every change.
# - Written tokens cost time as well as read ones: compare arms on the answers that they really give.
# - Which arm is more expensive depends on counts: of questions, of updates, of tokens. The break-even is a division.
# - Latency has parts, and each part has its own remedy: a smaller embedder, a better index, fewer passages, shorter
#   answers.
# - Every figure depends on the machine: run this lesson where you will serve.
#
# ## Exercises
#
# 1. Put your provider's prices into section 3 and use `rented` with the tokens of section 1. Which arm is cheapest now?
# 2. Add one update a week (seconds from lesson 13) to the cost curve over a year. Where is the break-even?
# 3. Halve `max_new_tokens` of an arm. Which stage of section 1 shrinks, and by how much?
# 4. Make the table of section 4 for an `IVF` index (lesson 04 builds one). What does a doubling cost there?
