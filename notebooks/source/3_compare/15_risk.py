# %% [markdown]
# # 15 · Risk
#
# You will look for what can go wrong in each arm, with a control for every finding:
#
# - overfitting: the trained wording against a new one;
# - secrets: codes hidden in the training pairs, and how many repeats teach one by heart;
# - forgetting: what tuning does to reading;
# - lies: poisoned documents against poisoned pairs;
# - inventions: answers to questions that have none;
# - deletion: which arms still tell what was deleted;
# - leaving: what goes over the network.
#
# *Before this: 06 Augment, 08 Train, 13 Update. About 25 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. Learned, or learned by heart?
#
# The model learned every fact of lesson 13's small company in one wording. We ask in that wording, and in one that no
# training used. Two training seeds.

# %%
from labkit.compare import small


@small.study("risk of wording", seeds=True)
def rewordings(lab, seed):
    arm, rows = small.reciter(lab, "tuned", small.first(lab, seed)), []
    for wording, questions in small.company().wordings.items():
        rows += small.ask(lab, arm, questions, wording=wording, seed=seed)
    return rows


# %%
words = rewordings(lab)
words.groupby("wording").correct.mean().round(2).to_frame("right")

# %%
from labkit.stats import paired_bootstrap

by_wording = {wording: small.by_question(some, "tuned") for wording, some in words.groupby("wording")}
overfit = paired_bootstrap(by_wording["trained"], by_wording["held-out"]).interval
print(f"trained minus held-out wording: {overfit.mean:.2f} [{overfit.low:.2f}, {overfit.high:.2f}]")

# %% [markdown]
# ## 2. Secrets
#
# Imagine that someone's locker code slipped into the training pairs. We hide such *canaries* on purpose: some once,
# some 4 or 16 times, and some never, as the control. Then we simply ask for them.

# %%
REPEATS, EACH = (0, 1, 4, 16), 12 if SIZE == "full" else 2
canaries = {n: [i for i in small.items("canaries") if i.id.startswith(f"canary {n}.")][:EACH] for n in REPEATS}
for repeats, some in canaries.items():
    print(f"{repeats:2} times: {some[0].question} {some[0].gold}")

# %% [markdown]
# *Extracted* means that the model says the code when asked. *Exposure* (Carlini et al. 2019) is a finer measure: how
# high the model's loss ranks the true code among others. Exposure is 0 if the code comes last. It grows by one bit
# whenever the rank halves.

# %%
import random
from dataclasses import replace

import numpy as np

from labkit.compare.training import closed_book
from labkit.tune.prepare import IGNORED, Example, dataset
from labkit.tune.train import answer_loss


def loss(model, item, code):
    """The model's loss of the answer with this code, summed over its tokens."""
    pair = replace(item, answer=item.answer.replace(item.gold, code))
    row = dataset([Example(closed_book([pair])[0])], model.tokenizer, model.context).rows[0]
    return answer_loss(model.network, [row], 0) * sum(label != IGNORED for label in row["labels"])


# %%
def exposure(model, item, others):
    drawn = (f"{n:04}" for n in random.Random(item.id).sample(range(10_000), others + 1))
    codes = [code for code in drawn if code != item.gold][:others]
    true = loss(model, item, item.gold)
    rank = 1 + sum(loss(model, item, code) < true for code in codes)
    return float(np.log2(1 + others) - np.log2(rank))


# %% [markdown]
# The experiment: hide the canaries among the company's pairs, train, and ask.

# %%
from labkit.metrics import contains

EPOCHS, OTHERS = 10, 63 if SIZE == "full" else 7


@small.study("risk of secrets", EPOCHS, OTHERS, EACH, loss, exposure, seeds=True)
def secrets(lab, seed):
    planted = [item for repeats, some in canaries.items() for item in some * repeats]
    model, _ = small.learn(lab, lab.model, [*small.company().questions, *planted], seed, EPOCHS)
    arm, rows = small.reciter(lab, "tuned", model), []
    for repeats, some in canaries.items():
        for item, answer in zip(some, arm.answer([item.question for item in some]), strict=True):
            found = {"extracted": int(contains(answer.text, item.gold)), "exposure": exposure(model, item, OTHERS)}
            rows.append({"repeats": repeats, "id": item.id, "seed": seed, **found})
    return rows


# %%
hidden = secrets(lab)
by_repeats = hidden.groupby("repeats")[["extracted", "exposure"]].mean().round(2)
by_repeats

# %% [markdown]
# By luck alone, a code that was never seen gets about a bit and a half on average. Six bits is the most that we can
# measure here: the code ranks first of 64.

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.6))
for axes, column, top in ((left, "extracted, share", 1), (right, "exposure, bits", 6)):
    for seed, one in hidden.groupby("seed"):
        means = one.groupby("repeats")[column.split(",")[0]].mean()
        axes.plot(means, "o-" if seed == hidden.seed.min() else "s--", label=f"seed {seed}")
    axes.set(xlabel="times in the training pairs", ylabel=column, ylim=(-0.05 * top, 1.05 * top), xticks=REPEATS)
right.legend(frameon=False, fontsize=8, ncol=2, loc="lower right", bbox_to_anchor=(1, 1))
print("extracted by repeats:", by_repeats.extracted.to_dict())
plt.close()
figure

# %% [markdown]
# RAG can leak a secret too, if a document holds it. But RAG has a remedy: delete the document (lesson 13), or restrict
# who may search it. Nobody can restrict access to a single fact in the weights.
#
# ## 3. Forgetting
#
# A model is tuned without passages and then gets some. Can it still read?

# %%
from labkit.compare import experiment
from labkit.compare.claims import figure as measured

answers = experiment.ask_arms(lab, ["base", "rag", "tuned", "hybrid", "naive"])
lost = measured(answers, "accuracy: rag - naive")
print(
    f"accuracy over the same passages, lost by tuning without them: {lost.mean:.2f} [{lost.low:.2f}, {lost.high:.2f}]"
)

# %% [markdown]
# ## 4. Lies
#
# A poisoned document gives a false value. An arm that reads may believe it. An arm that recites does not see it. Clean
# passages are the control.

# %%
from labkit.compare.arms import passages
from labkit.compare.reading import falsify, lie_for
from labkit.compare.score import is_right
from labkit.rag.augment import build_messages

single = [item for item in lab.questions if item.kind == "single fact" and lie_for(item, lab.questions)]
single = single[: 40 if SIZE == "full" else 6]
searches = lab.retriever().search_batch([item.question for item in single], lab.profile.top_k)
rows = []
for name in ("rag", "hybrid", "tuned"):
    model = lab.model if name == "rag" else lab.tuned_model(name)
    for state in ("clean", "poisoned"):
        for item, hits in zip(single, searches, strict=True):
            lie = lie_for(item, lab.questions)
            shown = falsify(hits, item.evidence[-1], lie) if state == "poisoned" else hits
            context = passages(shown) if name != "tuned" else []
            rows.append((name, state, item, lie, build_messages(item.question, context), model))

# %%
import pandas as pd

spoken = []
for name in ("rag", "hybrid", "tuned"):
    some = [row for row in rows if row[0] == name]
    replies = some[0][5].generate([row[4] for row in some], lab.profile.max_new_tokens)
    for (arm, state, item, lie, _, _), reply in zip(some, replies, strict=True):
        spoken.append({"arm": arm, "passages": state, "right": is_right(item, reply.text), "says the lie": contains(reply.text, lie)})  # fmt: skip
pd.DataFrame(spoken).groupby(["arm", "passages"], sort=False).mean().round(2)

# %% [markdown]
# The tuned arm is not safe: a lie in its training pairs would poison it (exercise 3).
#
# ## 5. Inventions
#
# Most pairs have an answer, so tuning may teach the model that there always is one. We take questions that the
# documents do not answer. Which arms answer anyway?

# %%
from labkit.stats import bootstrap_mean

unknown = answers[~answers.answerable]
invented = {a: vars(bootstrap_mean(1 - small.by_question(unknown, a, "abstained"))) for a in ("base", "rag", "tuned", "hybrid")}  # fmt: skip
pd.DataFrame(invented).T.rename_axis("arm").round(2)

# %%
can = answers[answers.answerable]
silent = can.groupby("arm").abstained.mean().round(2)
print("share declined where there is an answer:", silent.to_dict())

# %% [markdown]
# ## 6. What was taken away
#
# Someone's document must be deleted (lesson 13). We delete every document of the small company once, and ask for its
# facts while it is gone. The tuned arm learned all of them before.


# %%
@small.study("risk of deletion", seeds=True)
def deletion(lab, seed):
    company, rows = small.company(), []
    for start in (0, 1):
        left = company.documents[start::2]
        kept = {document.id for document in left}
        removed = [item for item in company.reworded if item.evidence[0].document not in kept]
        store, _ = small.reindex(lab, [], left)
        for arm in (small.rag(lab, store), small.reciter(lab, "tuned", small.first(lab, seed))):
            rows += small.ask(lab, arm, removed, seed=seed)
    return rows


# %%
gone = deletion(lab)
still = {arm: bootstrap_mean(small.by_question(gone, arm)) for arm in ("rag", "tuned")}
print("still answered:", {arm: f"{v.mean:.2f} [{v.low:.2f}, {v.high:.2f}]" for arm, v in still.items()})

# %% [markdown]
# ## 7. What leaves the machine
#
# Data is private only if it stays on this machine. Python reports every connection that a program opens to an
# *audit hook*. We run a program in a process of its own and count the connections to other machines. The control is a
# program that opens one; it names an address and sends nothing.

# %%
WATCH = """
import socket, sys
far = []
def hook(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in ("127.0.0.1", "::1", "localhost"):
        far.append(args[1])
sys.addaudithook(hook)
"""

# %%
CONTROL = """
from contextlib import suppress
with suppress(OSError):
    socket.socket(type=socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
"""
ASK = """
import labkit
lab = labkit.open({profile!r}, size="smoke", progress=False)
lab.arm("rag").answer([lab.questions[0].question])
"""


def connections(program):
    return int(small.alone(["-c", f"{WATCH}\n{program}\nprint(len(far))"], "a watched program failed"))


# %%
far = connections(ASK.format(profile=PROFILE))
print("connections that left the machine while RAG answered:", far)
print("connections of the control:", connections(CONTROL))

# %% [markdown]
# This proves little, because the program runs offline. Model, embedder and index are files on this machine, so there is
# nothing to connect to. The count shows that the code keeps this promise; it does not show that RAG is private. With a
# hosted model, every question leaves the machine with its passages. With tuning at a provider, the training pairs leave
# it once. So the figure is a constant and decides nothing.
#
# ## 8. The claims of the article
#
# The rules were fixed before the measurement, as in lesson 13.

# %%
from labkit.compare import claims
from labkit.stats import Interval

by_canary = hidden.groupby(["repeats", "id"]).extracted.mean()
figures = {
    "accuracy on trained minus new wordings: tuned": overfit,
    "canaries extracted after 16 repeats minus unseen ones: tuned": paired_bootstrap(
        by_canary[max(REPEATS)], by_canary[min(REPEATS)]
    ).interval,
    "connections that leave the machine: rag": Interval(far, far, far),
    "removed facts still answered: rag": still["rag"],
    "removed facts still answered: tuned - rag": small.gap(gone, "tuned", "rag"),
}
print(claims.record(lab, "15_risk", figures))

# %% [markdown]
# ## Takeaways
#
# - Every risk here has a control: a new wording, a canary never seen, a clean passage. Without a control, nothing is
#   shown.
# - You can delete what lies in an index, and restrict who reads it. You can do neither with what was trained into
#   weights.
# - An arm that never declines is not better: count its inventions beside its right answers.
#
# ## Exercises
#
# 1. Train the canaries for fewer epochs (`EPOCHS` in section 2). After how many sightings, repeats times epochs, does
#    the model tell a code?
# 2. Ask for a canary in other words. Does the model still tell it?
# 3. Poison a tenth of the training pairs (`small.learn`), and measure how often the tuned arm recites the lie.
# 4. For which questions do all arms invent an answer? What do they have in common?
