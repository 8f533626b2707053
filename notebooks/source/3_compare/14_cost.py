# %% [markdown]
# # 14 · Cost
#
# You will find out what each arm costs, where, and from how many questions on training pays:
#
# - split the time of an answer into embedding, searching, reading and writing;
# - set every arm up from nothing, and count seconds and memory;
# - put prices on it, and find the break-even;
# - let the vectors, the shards and the width of the model grow.
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
# One question at a time, as a user asks. *Prefill* reads the prompt, all of its tokens at once; *decode* writes the
# answer, one token after another.

# %%
from labkit.compare import cost

spent = cost.split(lab)
stages = ["embed", "search", "prefill", "decode"]
middle = spent.groupby("arm")[[*stages, "total"]].median().loc[["base", "rag", "tuned", "hybrid"]]
middle.round(1)

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(5.5, 2.6))
left = 0 * middle.total
for stage, colour in zip(stages, ("#CC79A7", "#F0E442", "#56B4E9", "#009E73"), strict=True):
    axes.barh(middle.index, middle[stage], left=left, color=colour, label=stage)
    left = left + middle[stage]
axes.invert_yaxis()
axes.set_xlabel("milliseconds, median")
axes.legend(frameon=False, fontsize=8, ncol=2)
print("longest stage:", {arm: row[stages].idxmax() for arm, row in middle.iterrows()})
plt.close()
figure

# %% [markdown]
# The median is what most users meet; the 95th percentile is what they remember.

# %%
spent.groupby("arm").total.quantile([0.5, 0.95]).unstack().round(0).rename(columns={0.5: "p50, ms", 0.95: "p95, ms"})

# %%
spent.groupby("arm")[["read", "written", "processor"]].mean().round(3).rename(
    columns={"read": "tokens read", "written": "tokens written", "processor": "processor, s"}
)

# %% [markdown]
# A prompt is read at once, an answer is written token by token, each a pass through the whole model. So an arm that
# reads nothing is not quick by itself: it must also be brief. The house style is wordy, and the tuned arms write it.

# %%
a_token = (spent.decode / spent.written).groupby(spent.arm).median()
print("milliseconds a token written:", a_token.round(1).to_dict())

# %% [markdown]
# More passages (`k`) mean longer prompts. What do they buy?

# %%
from dataclasses import replace

import pandas as pd

from labkit.compare.lab import spread
from labkit.compare.score import is_right

some = spread([item for item in lab.questions if item.gold], 80)
by_k = {}
for k in (1, 3, 5, 8):
    answers = replace(lab.arm("rag"), top_k=k, cache=None).answer([item.question for item in some])
    rows = [(is_right(i, a.text), a.prompt_tokens, 1000 * a.generation_seconds) for i, a in zip(some, answers, strict=True)]  # fmt: skip
    by_k[k] = pd.DataFrame(rows, columns=["right", "tokens read", "generation, ms"]).mean()
pd.DataFrame(by_k).T.rename_axis("k").round(2)

# %% [markdown]
# ## 2. What setting up takes
#
# On the small company of lesson 13, each arm in a process of its own: from documents to an index, from pairs to tuned
# weights. Loading models is not counted, memory is the most that the process ever held.

# %%
made = cost.setting_up(lab)
made.groupby("arm")[["seconds", "peak_mb"]].mean().round(1)

# %% [markdown]
# How good is what you have after a short while? RAG is one point; tuning goes on as long as you let it.

# %%
budget = cost.by_budget(lab)
tuned = budget[budget.arm == "tuned"].groupby("epochs")[["seconds", "correct", "style"]].mean()
rag = budget[budget.arm == "rag"][["seconds", "correct", "style"]].mean()
figure, axes = plt.subplots(figsize=(5.5, 3))
axes.plot(tuned.seconds, tuned.correct, "^-", color="#D55E00", label="tuned, right")
axes.plot(tuned.seconds, tuned["style"], "^:", color="#D55E00", label="tuned, in style")
axes.plot(rag.seconds, rag.correct, "s", color="#0072B2", label="rag, right")
axes.plot(rag.seconds, rag["style"], "s", color="#0072B2", fillstyle="none", label="rag, in style")
axes.set(xlabel="seconds of setting up", ylabel="share of the questions", ylim=(-0.03, 1.03), xscale="log")
axes.legend(frameon=False, fontsize=8)
print(f"rag: {rag.correct:.2f} right after {rag.seconds:.1f} s")
print(tuned.round(2).to_string())
plt.close()
figure

# %% [markdown]
# Mind that the tuned arm is asked exactly what it was taught, word by word. Lesson 08 shows what new wordings cost it.
#
# ## 3. Prices
#
# Prices are parameters. Two ways of paying: by the hour of a processor that is yours, or by the token of one that is
# not. The figures are round ones to think with: put your own in their place.

# %%
processor_hour, read, written, trained = 0.05, 0.10, 0.40, 0.50  # an hour; a million tokens of each kind


def own(setup, seconds, questions):
    """On a machine of your own: processor seconds of setting up, and of each question."""
    return processor_hour * (setup + seconds * questions) / 3600


def rented(training, reads, writes, questions):
    """By the token: tokens trained on, and for each question those read and written."""
    return (trained * training + questions * (read * reads + written * writes)) / 1e6


setup, each = made.groupby("arm").seconds.mean(), spent.groupby("arm").processor.mean()
arms = ["rag", "tuned", "hybrid"]
counts = [100, 1_000, 10_000, 100_000]
pd.DataFrame({n: [own(setup[arm], each[arm], n) for arm in arms] for n in counts}, index=arms).round(4)

# %%
saving = each["rag"] - each["tuned"]
even = max(0.0, (setup["tuned"] - setup["rag"]) / saving) if saving > 0 else float("inf")
print(
    f"tuning pays from {even:,.0f} questions on, if it answers as well" if even < float("inf") else "tuning never pays"
)

# %%
import numpy as np

many = np.logspace(1, 5, 60)
figure, axes = plt.subplots(figsize=(5.5, 3))
for arm, colour, line in zip(arms, ("#0072B2", "#D55E00", "#009E73"), ("-", "--", "-."), strict=True):
    axes.plot(many, [own(setup[arm], each[arm], n) for n in many], line, color=colour, label=arm)
axes.set(xscale="log", yscale="log", xlabel="questions", ylabel="cost, processor hours priced")
axes.legend(frameon=False)
print("at 100,000 questions the dearest is", max(arms, key=lambda arm: own(setup[arm], each[arm], 1e5)))
plt.close()
figure

# %% [markdown]
# Facts change: every update of lesson 13 adds its own setting up, and moves the crossing, if there is one, to the right.
#
# ## 4. Growth
#
# Figures of a small company are of use only if we know how they grow. *Vectors*: every search compares the question
# with all of them, unless the index is a cleverer one (lesson 04).

# %%
searched = cost.vectors(lab)
print(searched.groupby("vectors").ms.median().round(2).to_string())
wide = searched.pivot(index="question", columns="vectors", values="ms")
twice = cost.per_doubling(wide)
print(f"twice the vectors, {twice.mean:.2f} times the milliseconds [{twice.low:.2f}, {twice.high:.2f}]")

# %% [markdown]
# *Shards*: the vectors are split, every part is searched (on as many machines, at once), and the best are merged.

# %%
cost.shards(lab).groupby("shards")[["recall", "ms"]].mean().round(3).rename(columns={"ms": "slowest shard, ms"})

# %% [markdown]
# *Width*: the same training step for models that are narrower and wider than the pocket one.

# %%
stepped = cost.widths(lab)
print(stepped.groupby("width").seconds.median().round(3).to_string())
wider = cost.per_doubling(stepped.pivot(index="step", columns="width", values="seconds"))
print(f"twice the width, {wider.mean:.2f} times the seconds [{wider.low:.2f}, {wider.high:.2f}]")

# %% [markdown]
# ## 5. The claims of the article
#
# The rules were fixed before the measurement, as in lesson 13.

# %%
from labkit.compare import claims

print(claims.report("14_cost", cost.figures(lab)))

# %% [markdown]
# ## Takeaways
#
# - RAG pays at every question, with a longer prompt; tuning pays in training, and again at every change.
# - What an arm writes costs as well as what it reads: compare arms at the answers that they really give.
# - Which is dearer is a matter of counts: of questions, of updates, of tokens. Break-even is a division.
# - Latency has parts, and each part its own remedy: a smaller embedder, a better index, fewer passages, shorter
#   answers.
# - The machine is part of every figure: run this lesson where you will serve.
#
# ## Exercises
#
# 1. Put the prices of your provider into section 3 and use `rented` with the tokens of section 1. Who wins now?
# 2. Add one update a week (seconds from lesson 13) to the cost curve over a year. Where is the crossing?
# 3. Halve `max_new_tokens` of an arm. Which stage of section 1 shrinks, and by how much?
# 4. Draw the table of section 4 for an `IVF` index (lesson 04 builds one). What does a doubling cost
#    there?
