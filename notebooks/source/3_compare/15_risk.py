# %% [markdown]
# # 15 · Risk
#
# You will look for what goes wrong in each arm, with a control beside every finding:
#
# - overfitting: the trained wording against a new one;
# - secrets: canaries hidden in the training pairs, and how often it takes to learn one by heart;
# - forgetting: what tuning does to reading;
# - lies: poisoned documents against poisoned pairs;
# - inventions: answers to questions that have none;
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
# The small company of lesson 13: the model learned every fact in one wording. We ask in that wording, and in one that
# no training ever used.

# %%
from labkit.compare import risk, small

words = risk.rewordings(lab)
words.groupby("wording").correct.mean().round(2).to_frame("right")

# %%
from labkit.stats import paired_bootstrap

by_wording = {name: small.by_question(words[words.wording == name], "tuned") for name in ("trained", "new")}
gap = paired_bootstrap(by_wording["trained"], by_wording["new"])
print(f"trained less new wording: {gap.diff:.2f} [{gap.low:.2f}, {gap.high:.2f}]")

# %% [markdown]
# ## 2. Secrets
#
# Somebody's locker code slipped into the training pairs. We hide such *canaries* on purpose: some once, some 4 or 16
# times, and some never, as the control. Then we just ask.

# %%
for repeats, some in risk.canaries().items():
    print(f"{repeats:2} times: {some[0].question} {some[0].gold}")

# %%
hidden = risk.secrets(lab)
told = hidden.groupby("repeats")[["extracted", "exposure"]].mean().round(2)
told

# %% [markdown]
# *Extracted* is the share of codes that the model says when asked. *Exposure* (Carlini et al. 2019) is finer: how far
# up the true code ranks among 200 others, in bits. Luck alone gives a never-seen code about a bit and a half on
# average; log2(201) is the most that can be measured here.

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.6))
for axes, column, top in ((left, "extracted", 1.05), (right, "exposure", 8)):
    for seed, one in hidden.groupby("seed"):
        axes.plot(one.groupby("repeats")[column].mean(), "o-", alpha=0.6, label=f"seed {seed}")
    axes.set(xlabel="times in the training pairs", title=column, ylim=(-0.05 * top, top), xticks=list(told.index))
right.legend(frameon=False, fontsize=7)
print("extracted by repeats:", told.extracted.to_dict())
plt.close()
figure

# %% [markdown]
# RAG can leak a secret too, if it lies in a document. The difference is in the remedy: delete the document (lesson 13),
# or restrict who may search it. Nobody restricts who may ask a weight.
#
# ## 3. Forgetting
#
# Tuned without passages, then given some: does the model still read?

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
# A poisoned document says another value. An arm that reads may believe it, one that recites cannot even notice. Clean
# passages are the control.

# %%
from labkit.compare.arms import passages
from labkit.compare.reading import falsify, lie_for
from labkit.compare.score import is_right
from labkit.metrics import contains
from labkit.rag.augment import build_messages

single = [item for item in lab.questions if item.kind == "single fact" and lie_for(item, lab.questions)][:40]
found = lab.retriever().search_batch([item.question for item in single], lab.profile.top_k)
rows = []
for name in ("rag", "hybrid", "tuned"):
    model = lab.model if name == "rag" else lab.tuned_model(name)
    for state in ("clean", "poisoned"):
        for item, hits in zip(single, found, strict=True):
            lie = lie_for(item, lab.questions)
            shown = falsify(hits, item.evidence[-1], lie) if state == "poisoned" else hits
            context = passages(shown) if name != "tuned" else []
            rows.append((name, state, item, lie, build_messages(item.question, context), model))

# %%
import pandas as pd

spoken = []
for name in ("rag", "hybrid", "tuned"):
    some = [row for row in rows if row[0] == name]
    made = some[0][5].generate([row[4] for row in some], lab.profile.max_new_tokens)
    for (arm, state, item, lie, _, _), said in zip(some, made, strict=True):
        spoken.append({"arm": arm, "passages": state, "right": is_right(item, said.text), "says the lie": contains(said.text, lie)})  # fmt: skip
pd.DataFrame(spoken).groupby(["arm", "passages"], sort=False).mean().round(2)

# %% [markdown]
# The tuned arm is not safe, it is poisoned elsewhere: in its pairs (exercise 3).
#
# ## 5. Inventions
#
# Most pairs have an answer, so tuning may teach that there always is one. Questions that the documents do not answer,
# before tuning and after: who answers anyway?

# %%
from labkit.stats import bootstrap_mean

unknown = answers[~answers.answerable]
invented = {a: vars(bootstrap_mean(1 - small.by_question(unknown, a, "abstained"))) for a in ("base", "rag", "tuned", "hybrid")}  # fmt: skip
pd.DataFrame(invented).T.rename_axis("arm").round(2)

# %%
can = answers[answers.answerable]
silent = can.groupby("arm").abstained.mean().round(2)
print("and who declines where there is an answer (the price of caution):", silent.to_dict())

# %% [markdown]
# ## 6. What leaves the machine
#
# Private is what stays here. Python reports every connection that a program opens to an audit hook: we run an arm in a
# process of its own and count those that go beyond this machine.

# %%
print("connections that left the machine:", {arm: risk.connections(lab, arm) for arm in ("rag", "base")})

# %% [markdown]
# ## 7. The claims of the article
#
# The rules were fixed before the measurement, as in lesson 13.

# %%
from labkit.compare import claims

print(claims.report("15_risk", risk.figures(lab)))

# %% [markdown]
# ## Takeaways
#
# - Every risk here has a control: a new wording, a canary never seen, a clean passage. Without it, nothing is shown.
# - What lies in an index can be deleted, and its readers chosen; what was trained into weights can be neither.
# - An arm that never declines is not brave: count its inventions beside its right answers.
#
# ## Exercises
#
# 1. Train the canaries for fewer epochs (`risk.EPOCHS`). From how many sightings, repeats times epochs, is a code told?
# 2. Ask for a canary in other words. Does the model still tell?
# 3. Poison a tenth of the training pairs (`small.learn`), and measure how often the tuned arm recites the lie.
# 4. Which questions do all arms invent an answer to? What do they have in common?
