# %% [markdown]
# # 18 · Papers
#
# You will set five published findings beside your own measurements, and see which of their directions show here:
#
# - retrieval against tuning, for knowledge that is new (Ovadia et al. 2023);
# - one wording against many (Allen-Zhu & Li 2023);
# - tuning that forgets how to read, and its remedy (Zhang et al. 2024);
# - new facts that push out old ones (Gekhman et al. 2024);
# - facts that training hardly ever showed (Soudani et al. 2024).
#
# *Before this: 08 Train, 11 Hybrid, 15 Risk. About 25 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. What can be compared
#
# Each paper used far larger models, other data and other measures. Its numbers cannot be reproduced here, and none of
# ours should be read as if it were one of theirs. What can be compared is the *direction*: which of two things is
# larger. So every rule below asks only whether a difference lies above zero, with its whole 95 % interval.

# %%
import pandas as pd

from labkit.compare import papers

pd.set_option("display.max_colwidth", 110)
about = pd.DataFrame(papers.published().values())
about["paper"] = about.authors.str.partition(",")[0].str.partition(" &")[0] + " " + about.year.astype(str)
about[["paper", "arxiv", "claim", "place"]].set_index("paper")

# %% [markdown]
# The claims are the papers' in our words; `place` is where the paper shows them. The rules stand in
# `labkit/compare/papers.yaml`, and are judged like those of lesson 19: *supported* where all parts hold, *refuted*
# where one fails and none holds, *mixed* otherwise.
#
# ## 2. Retrieval or tuning?
#
# First what the paper reports. A number that we have not read in the paper itself is not here.

# %%
from textwrap import fill


def reported(paper):
    row = papers.published()[paper]
    print(f"{row['title']}\n{row['authors']} {row['year']}, arXiv {row['arxiv']}, {row['place']}")
    print(fill(f"Here: {row['here']}", 95))
    print("Reported:", row["unit"] or "in a figure, no number is quoted")
    return pd.DataFrame.from_dict(row["published"], orient="index") if row["published"] else None


reported("retrieval-over-tuning")

# %% [markdown]
# Now ours. One arm knows the company only through its documents, the other only through pairs. Do the pairs tell all
# that will be asked? If they did not, the race would be unfair.

# %%
told = {(e.entity, e.attribute) for pair in lab.pairs for e in pair.evidence}
asked = [e for item in lab.questions for e in item.evidence]
print(len(lab.documents), "documents,", len(lab.pairs), "pairs,", len(lab.questions), "questions")
share = sum((e.entity, e.attribute) in told for e in asked) / len(asked)
print(f"of the facts asked for, the pairs tell {share:.0%}")

# %% [markdown]
# *New wording* are questions on facts that have not changed, in words that no training used.

# %%
from labkit import plot
from labkit.compare import experiment, score

answers = experiment.ask_arms(lab, papers.ARMS)
arms = score.summarise(answers)
kinds = score.by_kind(answers[answers.arm.isin(["rag", "tuned"])])
figure, text = plot.kinds(kinds)
print(text)
figure

# %% [markdown]
# The second half of the claim is about *how* to tune. Each fact is seen equally often, in one wording or in several,
# and asked in wordings that no training used (lesson 08, here with more seeds).

# %%
from labkit.tune import curves

scores = curves.intervals(papers.wordings(lab))
figure, text = plot.curve(scores, "wordings of each fact in training", "share right", log=2)
print(text)
figure

# %%
print(papers.verdict(lab, "retrieval-over-tuning"))

# %% [markdown]
# ## 3. One wording or many?
#
# The same curve answers a sharper question. Was a fact that is *not* answered in new words never learned, or learned
# and out of reach? The line of the trained wording tells them apart.

# %%
reported("no-extraction-without-augmentation")

# %%
one = min(scores[curves.UNSEEN])
stored, drawn = (scores[kind][one].mean for kind in (curves.TRAINED, curves.UNSEEN))
print(f"trained in {one} wording: {stored:.2f} stored, {drawn:.2f} drawn out in other words")
print(papers.verdict(lab, "no-extraction-without-augmentation"))

# %% [markdown]
# Mind the size: in the paper next to nothing is drawn out without augmentation, and nearly all with it. How near to
# that we come depends on what the model knew beforehand: one that has met two questions as one needs to be told once.
#
# ## 4. Practise reading
#
# `naive` is the paper's *DSF + RAG*: tuned without passages, then given some. `hybrid-4` is its RAFT: tuned on the
# proof among four distractors.

# %%
reported("practise-reading")

# %%
figure, text = plot.dots({"arms": arms}, ["accuracy", "abstention"])
print(text)
figure

# %%
print(papers.verdict(lab, "practise-reading"))
gap = arms["naive"]["accuracy"]["mean"] - arms["tuned"]["accuracy"]["mean"]
print(f"passages given to the model tuned without them (the paper's DSF + RAG less DSF): {gap:+.2f}")

# %% [markdown]
# The last line is no part of the rule. On four of its five sets the paper saw passages *harm* a model tuned without
# them. Where the weights know little, even clumsy reading may gain.
#
# ## 5. New facts, old facts
#
# A model is taught the facts of a small company. Then it is trained once more, always on the same number of facts, of
# which none, half or all are new to it. What becomes of the facts that this second training does not show?

# %%
reported("new-facts-hallucinations")

# %%
from labkit.stats import bootstrap_mean

rows = papers.new_facts(lab)
wrong = papers.wrong(rows)
lines = {
    f"{epochs} epochs": {share: bootstrap_mean(wrong[share, epochs]) for share in papers.SHARES}
    for epochs in (papers.BRIEF, papers.LONG)
}
figure, text = plot.curve(lines, "share of new facts in the second training", "known facts answered wrong")
print(text)
figure

# %% [markdown]
# The paper's explanation is that harm comes with learning: stopped early, the new facts are hardly learned, and do
# little. Were they learned here?

# %%
new = rows[rows.part == "new"]
print("new facts answered right after the second training")
new.groupby(["share", "epochs"]).correct.mean().unstack().round(2)

# %%
late = rows[(rows.part == "known") & (rows.epochs == papers.LONG)]
spoken = late[late.correct == 0].groupby("share").declined.agg(["size", "sum"]).reindex(papers.SHARES, fill_value=0)
for share, told in spoken.iterrows():
    print(f"{share:.0%} new: {told['size']} wrong answers, of them {told['sum']} decline; the others make something up")

# %%
print(papers.verdict(lab, "new-facts-hallucinations"))

# %% [markdown]
# ## 6. Rare facts
#
# One training, in which some facts stand once and others more often; then the same questions to RAG, for which a fact
# is in the documents or not, however rare.

# %%
reported("rare-facts")

# %%
rare = papers.rarity(lab).groupby("seen")
lines = {arm: {seen: bootstrap_mean(some[arm]) for seen, some in rare} for arm in ("rag", "tuned")}
lines["lead of rag"] = {seen: bootstrap_mean(some.rag - some.tuned) for seen, some in rare}
figure, text = plot.curve(lines, "times that training shows a fact", "share right", log=2)
print(text)
figure

# %%
print(papers.verdict(lab, "rare-facts"))

# %% [markdown]
# ## 7. All five
#
# What is not supported is as much a result as what is: it may be the model's size, the way we tune, or too few
# questions, and the figures under each verdict say which part it was.

# %%
verdicts = {paper: papers.verdict(lab, paper).partition(":")[0].lower() for paper in papers.published()}
for paper, said in verdicts.items():
    print(f"{said}: {papers.published()[paper]['claim']}")
shown = sum(said == "supported" for said in verdicts.values())
print(f"size {SIZE}, on these questions: {shown} of {len(verdicts)} directions show in every part")

# %% [markdown]
# ## Takeaways
#
# - A published number belongs to its model, data and measure. Carry over the direction, and test even that.
# - Say what a rule is before you measure, and print the verdict from the figures, also when it is the wrong one.
# - Read the paper, not what is said of it: where it says so, and in which table.
#
# ## Exercises
#
# 1. Which of the five rules would change its verdict if its bound were 0.1 instead of zero?
# 2. In section 5, mix facts that the first training taught into the all-new training, as *replay*. How few are enough?
# 3. In section 6, RAG's line need not be flat. Which facts does it miss, and are they rare in the documents?
# 4. Find a sixth paper on tuning or retrieval. Which of its tables could be tested in direction with the arms of
#    lesson 12?
