# %% [markdown]
# # 17 · Decide
#
# You will turn measurements into a decision:
#
# - write the article's flowchart as a function, and check its advice against the measured winner;
# - say what your users ask and what their answers must be, and get the arm that is worth most for *that*;
# - see where the advice flips, and where the questions are too few to tell.
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
# Does your knowledge change? Then RAG. If not, do you need tone or format? Then fine-tuning, else RAG, "simpler". Two
# questions, two arms. The hybrid does not occur in it.

# %%
import inspect

from labkit.compare import decide

print(inspect.getsource(decide.flowchart))

# %%
for name, (changes, form) in decide.SITUATIONS.items():
    print(f"{name:30} {decide.flowchart(changes, form)}")

# %% [markdown]
# ## 2. Was its advice the winner?
#
# Each situation has its measurement: questions on changed facts, or on stable ones; *right*, or *right and in style at
# once*. The advice *lost* where another arm is ahead by a whole interval, and is *not told apart* where it is ahead by
# less.

# %%
from labkit.compare import experiment

answers = experiment.ask_arms(lab, lab.profile.arms)
judged = decide.verdicts(answers)
print(f"advised the winner in {(judged.verdict == 'won').sum()} of {len(judged)} situations")
judged

# %% [markdown]
# ## 3. Your needs
#
# A flowchart knows yes and no. Your users ask a *mix*, and you have *weights*: how much it is worth to be right, to be
# in style, to cite. Say both, and the arms are worth something from 0 to 1.

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
# In a running notebook these sliders ask `advise` again at every move. On a page, they stay still: call the function.

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
# ## 5. Where the advice flips
#
# Vary two needs and keep the rest: the share of questions on changed facts, and the weight of style. Which arm is best at
# each point?

# %%
from itertools import product

import numpy as np
import pandas as pd

points = pd.DataFrame(product(np.linspace(0, 0.9, 7), np.linspace(0, 2, 6)), columns=["changed", "weight"])
some = [decide.Needs(changed=point.changed, unknown=0.1, style=point.weight) for point in points.itertuples()]
points["best"] = [decide.advise(answers, one)[0] for one in some]
points.pivot(index="weight", columns="changed", values="best").sort_index(ascending=False)

# %% [markdown]
# The same as a map, with the colour and the marker that each arm has in every figure of the course:

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
# ## 6. Is it enough to decide?
#
# The sentence of section 3 says which arms, if any, the questions do not tell apart. To halve an interval you need
# about four times as many questions. Here with fewer:

# %%
for few in (40, 80, 160, len(lab.questions)):
    some = answers[answers.id.isin([q.id for q in labkit.compare.lab.spread(lab.questions, few)])]
    best, gaps = decide.advise(some, needs)
    print(f"{some.id.nunique():3} questions: {decide.sentence(best, gaps)}")

# %% [markdown]
# ## Takeaways
#
# - A flowchart is a claim, and a claim can be checked: section 2 counts how often its advice won.
# - What is best depends on the mix of questions and on what an answer is worth to you; say both before you look.
# - "Not told apart" is an answer too: take the simpler arm, or ask more questions.
#
# ## Exercises
#
# 1. Find needs for which `base` is the best arm. What would such users want?
# 2. Which weight of style makes the hybrid overtake RAG for `changed=0.5`? Find it by bisection.
# 3. Add what an answer costs (lesson 14) to `Needs` as a fourth weight. Does the map of section 5 change?
