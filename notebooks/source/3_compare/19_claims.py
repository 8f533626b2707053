# %% [markdown]
# # 19 · Claims
#
# You will read the ledger: every claim of the article, its experiment, its figures, and a verdict that nobody typed.
#
# - see how a rule turns an interval into a verdict;
# - read all verdicts, and the evidence behind any of them;
# - turn the data of a claim around, and watch its verdict turn.
#
# *Before this: 12 Compare, and of 02 to 16 and 20 what you want to dispute. About 10 minutes, once their results are
# there.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. A claim and its rule
#
# The rules were written before the measurement, in one file that people can read, dispute and change. A *need* names a
# figure and a bound, and on which side of it the whole 95 % interval must lie.

# %%
from labkit.compare import claims

known = {claim.id: claim for claim in claims.load_claims()}
print(len(known), "claims; rules", claims.rules_hash()[:12])
claim = known["ideal-use"]
print(claim.claim)
for need in claim.needs:
    print("  ", need.figure, "above" if need.above else "below", need.bound)

# %% [markdown]
# What an interval does to a need, and needs to a claim:

# %%
from labkit.stats import Interval

for told in (Interval(0.3, 0.2, 0.4), Interval(0.1, -0.1, 0.3), Interval(-0.3, -0.4, -0.2)):
    held = {True: "holds", False: "fails", None: "is open"}[claim.needs[0].holds(told)]
    print(f"[{told.low:+.1f}, {told.high:+.1f}]: the need {held}")

# %% [markdown]
# - **supported**: every need holds;
# - **refuted**: one fails, and none holds;
# - **mixed**: anything else: the evidence points both ways, or the questions are too few to tell;
# - **not measurable here**: a figure is missing. At smoke size that is every one of them, since nothing is measured.
#
# ## 2. The ledger
#
# It takes every figure from a result on disk, and makes what is missing. `make claims` does the same.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", 110, "display.max_rows", 60)
found = claims.ledger(lab)
rows = pd.DataFrame(found["claims"]).set_index("id")
rows.verdict.value_counts().reindex(claims.VERDICTS, fill_value=0).to_frame("claims")

# %%
rows[["verdict", "claim", "lesson"]]

# %% [markdown]
# ## 3. The evidence behind a verdict
#
# A verdict that cannot be traced is an opinion. Every figure, with its interval, its bound and the run that made it:

# %%
for row in found["claims"]:
    if row["value"] is not None:
        print(f"{claims.evidence(row)}\n    measured in {row['lesson']}, run {row['run'][:12]}")

# %% [markdown]
# ## 4. Turn it around
#
# A rule that no data could turn would judge nothing. We hand each claim made-up figures, first on the claimed side of
# every bound, which should support it, and then on the other, which should refute it.


# %%
def made_up(claim, claimed):
    found = {}
    for need in claim.needs:
        middle = need.bound + (1 if need.above == claimed else -1)
        found[need.figure] = Interval(middle, middle - 0.5, middle + 0.5)
    return found


turned = {side: {claims.verdict(c, made_up(c, side)) for c in known.values()} for side in (True, False)}
print("all on the claimed side:", turned[True], "- all on the other side:", turned[False])

# %% [markdown]
# ## 5. Where published measurements differ
#
# A verdict here is one more measurement, and not the best one. Of *hybrid-future* ("The best systems combine both") and
# *hybrid-both*, others published differences with larger models:

# %%
pd.DataFrame(claims.published_gaps()).set_index("what").fillna("")

# %%
for name in ("hybrid-future", "hybrid-both", "hybrid-naive"):
    print(f"here, {found['claims'][list(known).index(name)]['verdict']}: {known[name].claim}")

# %% [markdown]
# Most of them find a hybrid, trained with context, a few points above RAG. Where the ledger does not, believe them for
# models like theirs: the pocket model reads so well as it comes that a hybrid has little to gain, its hybrid saw few
# pairs, and its intervals are wider than the gains that they report. Where the ledger says that training without context
# hurts, it agrees with what is published. Lesson 18 has the figures.
#
# ## Takeaways
#
# - A verdict is a rule applied to an interval. Dispute the rule in `claims.yaml`, or the measurement in its lesson.
# - "Mixed" is an answer too: parts of the claim differ, or the questions do not suffice.
# - A verdict holds for this model, these documents and these questions. The same ledger runs on yours.
#
# ## Exercises
#
# 1. Choose a bound that you would have set otherwise. Does the verdict change?
# 2. Which claims rest on an interval that nearly touches its bound? How many questions would settle them?
# 3. Add a claim of your own to `claims.yaml`, with a figure such as "citation: hybrid - rag".
