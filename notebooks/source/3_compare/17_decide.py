# %% [markdown]
# # 17 · Decide
#
# You will turn measurements into a decision:
#
# - write the article's flowchart as a function, and compare its advice with the measured winner;
# - describe what your users ask and what their answers must be, and find the arm that is worth most for *these
#   needs*;
# - see where the advice changes, and where there are too few questions to tell.
#
# *Before this: 12 Compare. About 10 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. The flowchart, as a function
#
# Does your knowledge change? Then use RAG. If it does not, do you need a tone or a format? Then use fine-tuning.
# Otherwise use RAG, because it is "simpler". The flowchart has two questions and two arms. It does not mention the
# hybrid.


# %%
def flowchart(changes, form):
    """The article's advice, where knowledge `changes` or not, and a tone or `form` is needed or not."""
    return "tuned" if form and not changes else "rag"


# %%
situations = {
    "changing facts, any form": (True, False),
    "changing facts, house style": (True, True),
    "stable facts, any form": (False, False),
    "stable facts, house style": (False, True),
}
for name, (changes, form) in situations.items():
    print(f"{name:30} {flowchart(changes, form)}")

# %% [markdown]
# ## 2. Was its advice the winner?
#
# Each situation is measured on its own questions, on changed facts or on stable ones, and by its own score: *right*,
# or *right and in style at once*. The answers are those of lesson 12. For each arm we take the mean score of every
# question over the training seeds.

# %%
from labkit.compare import decide, experiment

answers = experiment.ask_arms(lab, lab.profile.arms)


def by_question(changes, form):
    """The scores that count in a situation: a row for each question, a column for each arm."""
    asked = answers[answers.kind.isin(["changed fact"] if changes else ["single fact", "new wording"])]
    return asked.groupby(["arm", "id"])["joint" if form else "correct"].mean().unstack("arm")


# %% [markdown]
# The advice *won* if the advised arm has the highest mean. It *lost* if another arm is ahead with its whole interval.
# It is *not told apart* if another arm is ahead but the interval holds zero.

# %%
from labkit.stats import paired_bootstrap


def judge(changes, form):
    """The advice for a situation beside what was measured."""
    advised, scores = flowchart(changes, form), by_question(changes, form)
    best = scores.mean().idxmax()
    gap = paired_bootstrap(scores[best], scores[advised])
    verdict = "won" if best == advised else "lost" if gap.low > 0 else "not told apart"
    ahead = f"{gap.diff:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
    return {"advice": advised, "best": best, "best minus advised": ahead, "verdict": verdict}


# %%
import pandas as pd

judged = pd.DataFrame({name: judge(*asks) for name, asks in situations.items()}).T.rename_axis("situation")
print(f"advised the winner in {(judged.verdict == 'won').sum()} of {len(judged)} situations")
judged

# %% [markdown]
# ## 3. Your needs
#
# A flowchart only knows yes and no. Your users ask a *mix* of questions, and you have *weights*: how much it is worth
# that an answer is right, is in style, or cites its source. State both, and each arm gets a worth from 0 to 1.

# %%
needs = decide.Needs(changed=0.2, unknown=0.1, right=1.0, style=0.5, cited=0.25)
best, gaps = decide.advise(answers, needs)
print(decide.sentence(best, gaps))

# %%
import matplotlib.pyplot as plt

from labkit.plot import LOOK

worth = decide.utilities(answers, needs)
figure, axes = plt.subplots(figsize=(5, 3.2))
for row, (arm, value) in enumerate(worth.items()):
    colour, marker = LOOK[arm]
    around = [[value.mean - value.low], [value.high - value.mean]]
    axes.errorbar(value.mean, row, xerr=around, color=colour, marker=marker, linestyle="none")
axes.set(yticks=range(len(worth)), yticklabels=list(worth), xlabel="worth for these needs", xlim=(-0.02, 1.02))
axes.invert_yaxis()
print(", ".join(f"{arm} {value.mean:.2f} ({value.low:.2f} to {value.high:.2f})" for arm, value in worth.items()))
plt.close()
figure

# %% [markdown]
# ## 4. Move the sliders
#
# In a running notebook, every move of a slider calls `advise` again. On a web page the sliders do nothing: call the
# function instead.

# %%
import ipywidgets as widgets

sliders = {
    name: widgets.FloatSlider(value=value, min=0, max=1, step=0.05, description=name, continuous_update=False)
    for name, value in {"changed": 0.2, "unknown": 0.1, "right": 1.0, "style": 0.5, "cited": 0.25}.items()
}


# %%
def show(**wanted):
    try:
        print(decide.sentence(*decide.advise(answers, decide.Needs(**wanted))))
    except labkit.LabError as error:
        print(error)


widgets.interactive(show, **sliders)

# %% [markdown]
# ## 5. Where the advice changes
#
# Vary two needs and keep the others: the share of questions on changed facts, and the weight of style. Which arm is
# best at each point?

# %%
from itertools import product

import numpy as np

points = pd.DataFrame(product(np.linspace(0, 0.9, 7), np.linspace(0, 2, 6)), columns=["changed", "weight"])
some = [decide.Needs(changed=point.changed, unknown=0.1, style=point.weight) for point in points.itertuples()]
points["best"] = [decide.advise(answers, one)[0] for one in some]
points.pivot(index="weight", columns="changed", values="best").sort_index(ascending=False)

# %% [markdown]
# Here is the same as a map. Each arm has the colour and the marker that it has in every figure of the course:

# %%
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for arm, rows in points.groupby("best"):
    colour, marker = LOOK[arm]
    axes.scatter(rows.changed, rows.weight, 60, colour, marker, label=arm)
axes.set(xlabel="share of questions on changed facts", ylabel="weight of style (right: 1)")
figure.legend(loc="outside upper right", ncols=len(LOOK), frameon=False)
print("points at which it is best:", points.best.value_counts().to_dict())
plt.close()
figure

# %% [markdown]
# ## 6. Are there enough questions?
#
# The sentence in section 3 says which arms, if any, the questions do not tell apart. To halve the width of an
# interval you need about four times as many questions. Here is the advice from fewer:

# %%
for few in (40, 80, 160, len(lab.questions)):
    some = answers[answers.id.isin([q.id for q in labkit.compare.lab.spread(lab.questions, few)])]
    best, gaps = decide.advise(some, needs)
    print(f"{some.id.nunique():3} questions: {decide.sentence(best, gaps)}")

# %% [markdown]
# ## Takeaways
#
# - A flowchart is a claim, and you can test a claim: section 2 counts how often its advice won.
# - What is best depends on the mix of questions and on what an answer is worth to you. State both before you look.
# - "Not told apart" is also an answer: take the simpler arm, or ask more questions.
#
# ## Exercises
#
# 1. Find needs for which `base` is the best arm. What would such users want?
# 2. At which weight of style does the hybrid overtake RAG for `changed=0.5`? Find it by bisection.
# 3. Add what an answer costs (lesson 14) to `Needs` as a fourth weight. Does the map of section 5 change?
