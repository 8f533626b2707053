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

from labkit.compare import claims

papers = claims.load_papers()
pd.set_option("display.max_colwidth", 110)
about = pd.DataFrame(papers.values())
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
    row = papers[paper]
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

answers = experiment.ask_arms(lab, ["rag", "tuned", "naive", "hybrid-4"])
arms = score.summarise(answers)
kinds = score.by_kind(answers[answers.arm.isin(["rag", "tuned"])])
figure, text = plot.kinds(kinds)
print(text)
figure

# %% [markdown]
# The second half of the claim is about *how* to tune. Each fact is seen equally often, in one wording or in several,
# and asked in wordings that no training used (lesson 08, here with more seeds).

# %%
from labkit.compare import curves
from labkit.stats import bootstrap_mean, paired_bootstrap, unpaired_bootstrap

sizes = {"counts": (1, 4, 16), "count": 60, "seen": 16} if SIZE == "full" else {"counts": (1, 2), "count": 6, "seen": 2}
runs = [curves.paraphrase_curve(lab, **sizes, seed=seed) for seed in lab.profile.seeds]  # each with facts of its own
seen, unseen = (
    {n: [row for run in runs for row in run[kind][n]] for n in sizes["counts"]}
    for kind in (curves.TRAINED, curves.UNSEEN)
)
scores = curves.intervals({curves.TRAINED: seen, curves.UNSEEN: unseen})
figure, text = plot.curve(scores, "wordings of each fact in training", "share right", log=2)
print(text)
figure

# %%
rules = {claim.id: claim for claim in claims.load_claims(claims.PAPERS)}
needs = [need.figure for rule in rules.values() for need in rule.needs]
measured = {name: claims.figure(answers, name) for name in needs if name.startswith("accuracy")}
one, many = min(unseen), max(unseen)
gaps = {
    "wordings: right in unseen ones, many trained - one trained": (unseen[many], unseen[one]),
    "wordings: one trained, right in it - in unseen ones": (seen[one], unseen[one]),
}
measured |= {name: paired_bootstrap(*pair).interval for name, pair in gaps.items()}


def verdict(paper):
    return "\n".join(claims.evidence(row) for row in claims.judge([rules[paper]], measured, {}))


print(verdict("retrieval-over-tuning"))

# %% [markdown]
# ## 3. One wording or many?
#
# The same curve answers a sharper question. Was a fact that is *not* answered in new words never learned, or learned
# and out of reach? The line of the trained wording tells them apart.

# %%
reported("no-extraction-without-augmentation")

# %%
stored, drawn = (scores[kind][one].mean for kind in (curves.TRAINED, curves.UNSEEN))
print(f"trained in {one} wording: {stored:.2f} stored, {drawn:.2f} drawn out in other words")
print(verdict("no-extraction-without-augmentation"))

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
print(verdict("practise-reading"))
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
import random

from labkit.compare import small
from labkit.metrics import abstained

SHARES, BRIEF, LONG = (0.0, 0.5, 1.0), 5, 40  # of new facts in the second training; its epochs


@small.study("papers: new facts", seeds=True)
def new_facts(lab, seed):
    taught, other = small.company().questions, small.items("other")
    stride = 2 if lab.size == "full" else 8
    known, practised = taught[::stride], taught[1::stride]
    model, rows = small.first(lab, seed), []

    def ask(model, items, **about):
        answers = small.reciter(lab, "tuned", model).answer([item.question for item in items])
        for item, a in zip(items, answers, strict=True):
            scores = {"correct": int(score.is_right(item, a.text)), "declined": int(abstained(a.text))}
            rows.append({**about, "seed": seed, "id": item.id, **scores})

    ask(model, known, part="known", share=0.0, epochs=0)
    for share in SHARES:
        rng = random.Random(seed)
        new = rng.sample(other, round(share * len(practised)))
        pairs = [*new, *rng.sample(practised, len(practised) - len(new))]
        for epochs in (BRIEF, LONG):
            more, _ = small.learn(lab, model, pairs, seed, epochs)
            ask(more, known, part="known", share=share, epochs=epochs)
            ask(more, new, part="new", share=share, epochs=epochs)
    return rows


rows = new_facts(lab)
held = rows[rows.part == "known"].set_index(["id", "seed"])
before = held[held.epochs == 0].correct.astype(bool)
could = before[before].index if before.any() else before.index  # only what the first training taught can be lost
after = held[held.epochs > 0].loc[could].reset_index()
wrong = 1 - after.pivot_table(index="id", columns=["share", "epochs"], values="correct")
lines = {
    f"{epochs} epochs": {share: bootstrap_mean(wrong[share, epochs]) for share in SHARES} for epochs in (BRIEF, LONG)
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
late = rows[(rows.part == "known") & (rows.epochs == LONG)]
spoken = late[late.correct == 0].groupby("share").declined.agg(["size", "sum"]).reindex(SHARES, fill_value=0)
for share, told in spoken.iterrows():
    print(f"{share:.0%} new: {told['size']} wrong answers, of them {told['sum']} decline; the others make something up")

# %%
stem, all_new = "new facts: known ones answered wrong, all new", wrong[1.0, LONG]
measured[f"{stem} - none new"] = paired_bootstrap(all_new, wrong[0.0, LONG]).interval
measured[f"{stem}, trained long - briefly"] = paired_bootstrap(all_new, wrong[1.0, BRIEF]).interval
print(verdict("new-facts-hallucinations"))

# %% [markdown]
# ## 6. Rare facts
#
# One training, in which some facts stand once and others more often; then the same questions to RAG, for which a fact
# is in the documents or not, however rare.

# %%
reported("rare-facts")

# %%
from labkit.compare.arms import Rag
from labkit.metrics import contains

counts = {"counts": (1, 2, 4, 8, 16, 32), "group": 16} if SIZE == "full" else {"counts": (1, 4), "group": 4}


@small.study("papers: rarity", seeds=True)
def rarity(lab, seed):
    curve = curves.repetition_curve(lab, **counts, seed=seed)[curves.UNSEEN]
    tuned = [(times, right) for times, group in curve.items() for right in group]
    facts = curves.facts(len(tuned), seed + 1)  # in the order of the curve, which draws them so
    rag = Rag(lab.model, lab.old_retriever(), lab.profile.top_k, lab.profile.max_new_tokens)
    answers = iter(rag.answer([fact.example(form).question for fact in facts for form in fact.unseen]))
    read = [[contains(next(answers).text, fact.value) for _ in fact.unseen] for fact in facts]
    return [
        {"seen": times, "seed": seed, "rag": sum(reading) / len(reading), "tuned": sum(right) / len(right)}
        for (times, right), reading in zip(tuned, read, strict=True)
    ]


rare = rarity(lab).groupby("seen")
lines = {arm: {seen: bootstrap_mean(some[arm]) for seen, some in rare} for arm in ("rag", "tuned")}
lines["lead of rag"] = {seen: bootstrap_mean(some.rag - some.tuned) for seen, some in rare}
figure, text = plot.curve(lines, "times that training shows a fact", "share right", log=2)
print(text)
figure

# %%
leads = {times: (some.rag - some.tuned).to_numpy() for times, some in rare}
once, often = leads[min(leads)], leads[max(leads)]
measured["rarity: lead of rag, seen once"] = bootstrap_mean(once)
measured["rarity: lead of rag, seen once - seen most often"] = unpaired_bootstrap(once, often)
print(verdict("rare-facts"))

# %% [markdown]
# ## 7. All five
#
# What is not supported is as much a result as what is: it may be the model's size, the way we tune, or too few
# questions, and the figures under each verdict say which part it was.

# %%
verdicts = {paper: verdict(paper).partition(":")[0].lower() for paper in papers}
for paper, said in verdicts.items():
    print(f"{said}: {papers[paper]['claim']}")
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
