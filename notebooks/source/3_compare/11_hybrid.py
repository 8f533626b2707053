# %% [markdown]
# # 11 · Hybrid
#
# You will take retrieval and fine-tuning apart and put them together again:
#
# - lay out the two-by-two: weights tuned or not, passages given or not;
# - measure whether the two effects add up, help or spoil each other: the *interaction*;
# - compare a naive hybrid with one that was tuned to read, with no or four distractors in its training;
# - teach a hybrid to decline, and see what that costs;
# - give tuning for style two cheap rivals: asking for the style in the prompt, and showing it.
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
#
# In an experiment one thing changes at a time. So all four cells have the same system prompt, the one that the tuned
# weights were trained under:

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
# Now the loop: every cell answers every question; tuned weights do so once for each training seed.

# %%
import pandas as pd

from labkit.compare import experiment, score, tables

rows = []
for name in ("base", "rag", "tuned", "naive"):
    for seed in lab.profile.seeds if name in ("tuned", "naive") else [0]:
        said = cell(name, seed).answer([item.question for item in lab.questions])
        rows += [{"arm": name, "seed": seed, **score.score(i, a)} for i, a in zip(lab.questions, said, strict=True)]

answers = pd.DataFrame(rows)
square = {"arms": score.summarise(answers)}
tables.frame(square).loc[["accuracy", "style", "joint", "abstention (F1)"]]

# %% [markdown]
# Compare neighbours in the square: from base to rag only the passages are added, from base to tuned only the weights
# change, and from rag to naive the weights again, this time with passages in the prompt.
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
# `hybrid` practises on whatever the search really returns, so it also meets questions whose proof was *not* found. The two
# variants are trained once each, `hybrid` with every seed of the profile.

# %%
VARIANTS = ["hybrid-0", "hybrid-4"]
hybrids = pd.concat([experiment.ask_arms(lab, VARIANTS, seeds=[0]), experiment.ask_arms(lab, ["hybrid"])])
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
readers = pd.concat([experiment.ask_arms(lab, ["rag", "naive"]), hybrids])
gaps = tables.paired({"paired": score.pair_up(readers)})
gaps[(gaps.metric == "accuracy") & gaps.b.isin(["rag", "naive"])]

# %% [markdown]
# Here `rag` and `naive` have the system prompt of every other lesson again, which asks for a citation: it is the one that
# the hybrids train under.
#
# ## 4. Teach it to decline
#
# A hybrid that always found its proof in training has never had a reason to decline. So a share of its training questions
# loses the passages that prove the answer, and their reply becomes *The documents do not say.* The profile takes that share;
# here is the same training without it.

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
# Declining is bought with answers: who declines more often is also wrong more often where the documents do say. Look at
# both rows before you choose the share.
#
# ## 5. Or just ask
#
# Before anything is trained, try the prompt: `prompted` is plain RAG whose system prompt names the opening and the
# closing of the house style; `few-shot` also shows two questions over passages with their replies, one of which declines.

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
# A prompt costs tokens at every question and holds as well as the model follows instructions; tuning costs once. How
# well a model follows is a property of the model. The pocket model was pretrained on this very instruction, with other
# openings and closings: what it shows here, a model that never saw the instruction need not show. Lesson 12 has the same
# arms with such a model.
#
# ## Takeaways
#
# Each is checked against the numbers above; one that they do not show says so.

# %%
paired = {(r["a"], r["b"], r["metric"]): r for r in score.pair_up(pd.concat([final, hybrids[hybrids.arm != "hybrid"]]))}
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
say("Examples keep the style better than asking alone", "few-shot", "prompted", "style")
say("Right and in style at once, the hybrid beats asking", "hybrid", "prompted", "joint")

# %% [markdown]
# ## The claims of the article
#
# Verdicts by rules that were fixed before the measurement (`labkit/compare/claims.yaml`); lesson 19 collects them.

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
# 5. Train the hybrid with half of its proofs lost (`replace(lab.profile, hybrid_missing=0.5)`). What does declining gain,
#    and what does accuracy lose?
