# %% [markdown]
# # 11 · Hybrid
#
# You will measure retrieval and fine-tuning separately, and then together:
#
# - set up a two-by-two table: weights tuned or not, passages given or not;
# - measure whether the two effects add up, help each other or spoil each other: the *interaction*;
# - compare a naive hybrid with hybrids that were tuned to read, with no or four distractors in training;
# - teach a hybrid to decline, and see what that costs;
# - compare tuning for style with two cheap rivals: ask for the style in the prompt, or show it there.
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
# Every arm is a model with two switches. The first is *context*: the prompt holds retrieved passages, or none. The
# second is *tuned weights*: the model has practised on question and answer pairs in house style, or not.
#
# | | no passages | passages |
# |---|---|---|
# | weights as they came | base | rag |
# | weights tuned without passages | tuned | **naive** |
#
# The naive hybrid costs nothing extra once you have the other three: it is the tuned model with passages, which its
# training never showed it. *Accuracy* is the share of answers that hold the gold value. *Style* is the share of answers
# in house style, and *joint* the share with both. *Abstention* measures, as F1, whether an arm declines exactly where
# the documents do not say (lesson 12 explains it).
#
# An experiment should change one thing at a time. So all four cells use the system prompt that the tuned weights were
# trained with:

# %%
from dataclasses import replace

from labkit.rag.augment import CLOSED_BOOK


def cell(name, seed=0):
    return replace(lab.arm(name, seed), system=CLOSED_BOOK)


question, hits = lab.questions[0].question, lab.retriever().search(lab.questions[0].question)
prompts = {
    name: cell(name).messages(question, hits if cell(name).reads else []) for name in ("base", "rag", "tuned", "naive")
}
assert prompts["base"] == prompts["tuned"] and prompts["rag"] == prompts["naive"]
print({name: prompt[0]["content"] for name, prompt in prompts.items()})

# %% [markdown]
# Now every cell answers every question. Cells with tuned weights do so once per training seed.

# %%
import pandas as pd

from labkit.compare import experiment, score, tables

rows = []
for name in ("base", "rag", "tuned", "naive"):
    for seed in lab.profile.seeds if name in ("tuned", "naive") else [0]:
        replies = cell(name, seed).answer([item.question for item in lab.questions])
        rows += [{"arm": name, "seed": seed, **score.score(i, a)} for i, a in zip(lab.questions, replies, strict=True)]

answers = pd.DataFrame(rows)
square = {"arms": score.summarise(answers)}
tables.frame(square).loc[["accuracy", "style", "joint", "abstention (F1)"]]

# %% [markdown]
# Compare neighbouring cells. From base to rag, only passages are added. From base to tuned, only the weights change.
# From rag to naive, the weights change too, but now with passages in the prompt.
#
# ## 2. Do the two effects add up?
#
# If tuning had the same effect with passages as without, then naive - tuned would equal rag - base. The *interaction*
# is the difference between these two differences. Below zero, the two spoil each other; above zero, they help each
# other. The interval resamples questions: each draw computes the means of all four cells from the same questions.

# %%
from labkit.stats import bootstrap_difference


def interact(metric, both="naive"):
    """(both - tuned) - (rag - base), with its interval."""
    means = {arm: score.Table(answers[answers.arm == arm]).metric(metric) for arm in (both, "tuned", "rag", "base")}
    signs = {both: 1, "tuned": -1, "rag": -1, "base": 1}
    return bootstrap_difference(lambda drawn: sum(signs[a] * means[a](drawn) for a in means), answers.id.nunique())


# %%
interaction = interact("accuracy")
effect = (
    "spoil each other"
    if interaction.high < 0
    else "help each other"
    if interaction.low > 0
    else "cannot be told apart from adding up"
)
print(
    f"interaction in accuracy: {interaction.diff:+.2f} [{interaction.low:+.2f}, {interaction.high:+.2f}]: they {effect}"
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
# What does the naive hybrid do with its passages? Look at a question that rag gets right.

# %%
wide = answers.query("seed == 0 and answerable").pivot(index="id", columns="arm", values="correct")
lost = wide[(wide.rag == 1) & (wide.naive == 0)].index
print(f"{len(lost)} questions that rag gets right and naive gets wrong")
answers[answers.id.isin(lost[:1]) & (answers.seed == 0)][["arm", "question", "gold", "text"]].T

# %% [markdown]
# ## 3. Practise on what you will be asked
#
# Training without passages may spoil reading. The remedy is to train with passages: the model then practises
# *reading in house style* instead of reciting. Each training row holds the passages that prove the answer and some
# *distractors*, which look relevant but prove nothing. If no passage proves an answer, the right reply is to decline.
# This is called retrieval-augmented fine-tuning (RAFT, Zhang et al. 2024). One row:

# %%
from labkit.compare.training import with_context

row = with_context(lab.hybrid_pairs[:1], lab.old_retriever(), lab.profile.top_k, distractors=1)[0]
for message in row:
    print(f"{message['role']}: {message['content']}\n")

# %% [markdown]
# How many distractors should training show? `hybrid-0` sees only the proof, `hybrid-4` sees it among four distractors.
# `hybrid` trains on what the search really returns, so it also meets questions whose proof was *not* found. We train
# the two variants once each, and `hybrid` with every seed of the profile.

# %%
VARIANTS = ["hybrid-0", "hybrid-4"]
hybrids = pd.concat([experiment.ask_arms(lab, VARIANTS, seeds=[0]), experiment.ask_arms(lab, ["hybrid"])])
practised = {"arms": score.summarise(hybrids)}
tables.frame(practised).loc[["accuracy", "style", "joint", "abstention (F1)", "citation"]]

# %% [markdown]
# The figure shows all hybrids and the four cells. Then we print the differences from rag and naive, question by
# question. Also look at *abstention*: some training rows decline. Is that enough to keep rag's ability to decline?

# %%
from labkit import plot

figure, text = plot.dots({"arms": square["arms"] | practised["arms"]}, ["accuracy", "abstention"])
print(text)
figure

# %%
readers = pd.concat([experiment.ask_arms(lab, ["rag", "naive"]), hybrids])
gaps = tables.paired({"paired": score.pair_up(readers)})
gaps[(gaps.metric == "accuracy") & gaps.b.isin(["rag", "naive"])]

# %% [markdown]
# In this table, `rag` and `naive` use the system prompt of the other lessons again. It asks for a citation, and the
# hybrids train with it.
#
# ## 4. Teach it to decline
#
# A hybrid that always finds its proof in training has no reason to decline. So a share of its training questions loses
# the proof, and their reply becomes *The documents do not say.* The profile sets this share. We compare this training
# with one where no proof is lost.

# %%
from labkit.compare.training import conversations

print(f"share of training questions that lose their proof: {lab.profile.hybrid_missing}")
bold = labkit.open(PROFILE, size=SIZE)
bold.profile = replace(lab.profile, hybrid_missing=0.0)
for name, one in {"always found": bold, "some lost": lab}.items():
    replies = [talk[-1]["content"] for talk in conversations(one, "hybrid")]
    print(f"{name}: {sum('do not say' in reply for reply in replies)} of {len(replies)} rows decline")

# %%
arms = {name: score.summarise(experiment.ask_arms(one, ["hybrid"], seeds=[0]))["hybrid"]
        for name, one in {"always found": bold, "some lost": lab}.items()}  # fmt: skip
arms["rag"] = score.summarise(readers[readers.arm == "rag"])["rag"]
tables.frame({"arms": arms}).loc[["accuracy", "abstention (F1)"]]

# %% [markdown]
# Declining can cost answers: an arm that declines more often may also decline where the documents do answer. Look at
# both rows before you choose the share.
#
# ## 5. Or just ask
#
# Before you train anything, try the prompt. `prompted` is plain RAG, but its system prompt names the opening and the
# closing of the house style. `few-shot` also shows example questions over passages with their replies, three at
# most, in a third of the prompt.

# %%
print(lab.instruction, *(turn["content"] for turn in lab.examples if turn["role"] == "assistant"), sep="\n")

# %%
asked = experiment.ask_arms(lab, ["prompted", "few-shot"])
final = pd.concat([readers[readers.arm.isin(["rag", "naive", "hybrid"])], asked])
tables.frame({"arms": score.summarise(final)}).loc[["accuracy", "style", "joint", "prompt tokens"]]

# %%
figure, text = plot.dots({"arms": score.summarise(final)}, ["style", "joint"])
print(text)
figure

# %% [markdown]
# A prompt costs tokens at every question, and it works only as well as the model follows instructions. Tuning costs
# once. How well a model follows instructions depends on the model. The pocket model was pretrained on this very
# instruction, with other openings and closings. A model that never saw the instruction may behave differently. Lesson
# 12 has the same arms with such a model.
#
# ## Takeaways
#
# The cells below check each takeaway against the numbers above, and mark those that they do not show.

# %%
paired = {(r["a"], r["b"], r["metric"]): r for r in score.pair_up(pd.concat([final, hybrids[hybrids.arm != "hybrid"]]))}
paired |= {(b, a, m): {"diff": -r["diff"], "low": -r["high"], "high": -r["low"]} for (a, b, m), r in paired.items()}


def say(claim, a, b, metric):
    gap = paired[a, b, metric]
    measured = f"{a} - {b} {gap['diff']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f}) in {metric}"
    print(f"• {claim}: {'shown' if gap['low'] > 0 else 'not shown here'}; {measured}")


# %%
say("Tuning without passages hurts reading: rag is right more often than naive", "rag", "naive", "accuracy")
say("Practice with passages repairs it: hybrid is right more often than naive", "hybrid", "naive", "accuracy")
say("Practising with four distractors beats practising with none", "hybrid-4", "hybrid-0", "accuracy")
say("Where the documents do not say, rag declines better than the hybrid", "rag", "hybrid", "abstention")
say("Tuning keeps the style better than asking for it", "hybrid", "prompted", "style")
say("Examples keep the style better than asking alone", "few-shot", "prompted", "style")
say("The hybrid is right and in style more often than prompted", "hybrid", "prompted", "joint")

# %% [markdown]
# ## The claims of the article
#
# The rules for these verdicts were fixed before the measurement (`labkit/compare/claims.yaml`). Lesson 19 collects the
# verdicts.

# %%
from labkit.compare import claims

print(claims.record(lab, "11_hybrid", claims.figures(lab, "11_hybrid")))

# %% [markdown]
# ## Exercises
#
# 1. The interaction above is in accuracy. Compute it for `joint`. Does its sign change, and why?
# 2. Add `hybrids` to `answers` and call `interact` with `both="hybrid"`. Which two-by-two table is that?
# 3. Set `top_k` to 1 for the arm `hybrid-0` (`dataclasses.replace(lab.arm("hybrid-0"), top_k=1)`). Does it read better
#    when it sees as few passages as in training?
# 4. Which questions does `prompted` answer in style, and which not? Look at the kinds.
# 5. Train the hybrid with half of its proofs lost (`replace(lab.profile, hybrid_missing=0.5)`). What does abstention
#    gain, and what does accuracy lose?
