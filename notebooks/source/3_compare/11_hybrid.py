# %% [markdown]
# # 11 · Hybrid
#
# You will take retrieval and fine-tuning apart and put them together again:
#
# - lay out the two-by-two: weights tuned or not, passages given or not;
# - measure whether the two effects add up, help or spoil each other: the *interaction*;
# - compare a naive hybrid with one that was tuned to read, with none to four distractors in its training;
# - give tuning for style a cheap rival: asking for the style in the prompt.
#
# *Before this: 06 Augment and 08 Train. About 20 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. Two switches, four cells
#
# Every arm is a model with two switches. One turns on *context*: retrieved passages stand in the prompt. The other
# turns on *tuned weights*: the model has practised on question and answer pairs in house style.
#
# | | no passages | passages |
# |---|---|---|
# | weights as they came | base | rag |
# | weights tuned without passages | tuned | **naive** |
#
# The naive hybrid is what you get for free once you have the other three: the tuned model, handed passages that its
# training never showed it. *Accuracy* is the share of answers that hold the gold value, *style* of those in house
# style, *joint* of those with both; *abstention* is declining where the documents do not say, as F1 (lesson 12 takes it
# apart).

# %%
from labkit.compare import experiment, score, tables

answers = experiment.ask_arms(lab, ["base", "rag", "tuned", "naive"])
square = {"arms": score.summarise(answers)}
tables.frame(square).loc[["accuracy", "style", "joint", "abstention (F1)"]]

# %% [markdown]
# Compare neighbours in the square: from base to rag only the context changes, from base to tuned only the weights, and
# from rag to naive the weights again, this time with passages in the prompt.
#
# ## 2. Do the two effects add up?
#
# If tuned weights brought the same with passages as without, then (naive − tuned) would equal (rag − base). The
# difference of these differences is the interaction. Below zero, one spoils the other; above zero, they help each
# other.

# %%
interaction = score.interaction(answers, "accuracy")
told = (
    "spoil each other"
    if interaction.high < 0
    else "help each other"
    if interaction.low > 0
    else "cannot be told apart from adding up"
)
print(
    f"interaction in accuracy: {interaction.diff:+.2f} [{interaction.low:+.2f}, {interaction.high:+.2f}]: they {told}"
)

# %%
import matplotlib.pyplot as plt

mean = {name: values["accuracy"]["mean"] for name, values in square["arms"].items()}
figure, axes = plt.subplots(figsize=(4.5, 2.8))
axes.plot([0, 1], [mean["base"], mean["rag"]], "o-", color="#0072B2", label="weights as they came")
axes.plot([0, 1], [mean["tuned"], mean["naive"]], "^--", color="#D55E00", label="weights tuned without passages")
axes.set(xticks=[0, 1], xticklabels=["no passages", "passages"], ylabel="accuracy", xlim=(-0.3, 1.3), ylim=(0, None))
axes.legend(frameon=False)
print("Parallel lines would mean that the effects add up. Slopes:", {
    "as they came": round(mean["rag"] - mean["base"], 2), "tuned": round(mean["naive"] - mean["tuned"], 2)})  # fmt: skip
plt.close()
figure

# %% [markdown]
# What does a naive hybrid do with the passages it was never trained to read? Look at a question that RAG gets right.

# %%
wide = answers.query("seed == 0 and answerable").pivot(index="id", columns="arm", values="correct")
lost = wide[(wide.rag == 1) & (wide.naive == 0)].index
print(f"{len(lost)} questions that rag gets right and naive gets wrong")
answers[answers.id.isin(lost[:1]) & (answers.seed == 0)][["arm", "question", "gold", "text"]].T

# %% [markdown]
# ## 3. Practise on what you will be asked
#
# If training without passages spoils reading, train with them: the model then practises *reading in house style*
# instead of reciting. Training rows hold the passages that prove the answer and a number of *distractors*, which look
# alike and prove nothing; where nothing proves the answer, the right reply is to decline. This is retrieval-augmented
# fine-tuning (RAFT, Zhang et al. 2024). One row:

# %%
from labkit.compare.training import with_context

row = with_context(lab.hybrid_pairs[:1], lab.old_retriever(), lab.profile.top_k, distractors=1)[0]
for message in row:
    print(f"{message['role']}: {message['content']}\n")

# %% [markdown]
# How many distractors should practice show? `hybrid-0` sees the proof alone, `hybrid-4` the proof among four others.
# `hybrid` practises on whatever the search really returns, so it also meets questions whose proof was *not* found.

# %%
VARIANTS = [f"hybrid-{n}" for n in (0, 1, 2, 4)]
hybrids = experiment.ask_arms(lab, [*VARIANTS, "hybrid"])
practised = {"arms": score.summarise(hybrids)}
tables.frame(practised).loc[["accuracy", "style", "joint", "abstention (F1)", "citation"]]

# %% [markdown]
# All hybrids beside the four cells of the square, and then their differences from rag and naive, question by question.
# Look at *abstention* too: some of the rows decline. Was that enough to keep what rag can do?

# %%
from labkit import plot

figure, text = plot.dots({"arms": square["arms"] | practised["arms"]}, ["accuracy", "abstention"])
print(text)
figure

# %%
import pandas as pd

everything = pd.concat([answers, hybrids])
gaps = tables.paired({"paired": score.pair_up(everything[everything.arm.isin(["rag", "naive", *VARIANTS, "hybrid"])])})
gaps[(gaps.metric == "accuracy") & gaps.b.isin(["rag", "naive"])]

# %% [markdown]
# ## 4. Or just ask
#
# Before anything is trained, try the prompt: `prompted` is plain RAG whose system prompt names the opening and the
# closing of the house style.

# %%
from labkit.data import ASKED

print(ASKED)
asked = experiment.ask_arms(lab, ["rag", "prompted"])
everything = pd.concat([everything, asked[asked.arm == "prompted"]])
final = everything[everything.arm.isin(["rag", "prompted", "naive", "hybrid"])]
tables.frame({"arms": score.summarise(final)}).loc[["accuracy", "style", "joint", "prompt tokens"]]

# %%
figure, text = plot.dots({"arms": score.summarise(final)}, ["style", "joint"])
print(text)
figure

# %% [markdown]
# A prompt costs tokens at every question and holds as well as the model follows instructions; tuning costs once. How
# well a model follows is a property of the model: this comparison is worth repeating on yours (`PROFILE`).
#
# ## Takeaways
#
# Each is checked against the numbers above; one that they do not show says so.

# %%
paired = {(r["a"], r["b"], r["metric"]): r for r in score.pair_up(everything)}
paired |= {(b, a, m): {"diff": -r["diff"], "low": -r["high"], "high": -r["low"]} for (a, b, m), r in paired.items()}


def say(claim, a, b, metric):
    gap = paired[a, b, metric]
    said = f"{a} - {b} {gap['diff']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f}) in {metric}"
    print(f"• {claim}: {'shown' if gap['low'] > 0 else 'not shown here'}; {said}")


# %%
say("Tuning without passages hurts reading them, rag is right more often than naive", "rag", "naive", "accuracy")
say("Practice with passages mends it, hybrid is right more often than naive", "hybrid", "naive", "accuracy")
say("Practising with four distractors beats practising with none", "hybrid-4", "hybrid-0", "accuracy")
say("Where the documents do not say, rag declines better than the hybrid", "rag", "hybrid", "abstention")
say("Tuning keeps the style better than asking for it", "hybrid", "prompted", "style")
say("Right and in style at once, the hybrid beats asking", "hybrid", "prompted", "joint")

# %% [markdown]
# ## The claims of the article
#
# What these answers say of the article's claims, kept for the ledger of lesson 19:

# %%
from labkit.compare import claims

print(claims.record(lab, "11_hybrid", claims.figures(lab, "11_hybrid")))

# %% [markdown]
# ## Exercises
#
# 1. The interaction above is in accuracy. Compute it for `joint`. Why has it another sign, if it has?
# 2. Put `hybrid` in the place of `naive` and of `tuned` in `score.interaction` (`both="hybrid"`). Which square is that?
# 3. Set `top_k` to 1 for the arm `hybrid-0` (`dataclasses.replace(lab.arm("hybrid-0"), top_k=1)`). Does it read better
#    when it sees as few passages as in its training?
# 4. Which questions does `prompted` get in style, and which not? Look at the kinds.
# 5. The hybrid hardly declines: few of its rows had to. Take the proof out of a third of them, by a retriever of your own
#    that drops the hits that `labkit.compare.training.holds` an item's evidence, and train again. What does declining
#    gain, and what does accuracy pay?
