# %% [markdown]
# # 19 · Claims
#
# You will read the ledger: every claim of the article, with its experiment, its figures, and a verdict that a rule
# computes from them.
#
# - see how a rule turns an interval into a verdict;
# - read all verdicts, and the evidence for each of them;
# - reverse the data of a claim, and check that its verdict reverses too.
#
# *Before this: 12 Compare, and those of lessons 02 to 16 and 20 whose claims you want to check. About 10 minutes,
# once their results are there.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. A claim and its rule
#
# We wrote the rules before the measurement, in one file that you can read, question and change. A *need* names a
# figure and a bound. The whole 95 % interval of the figure must lie on the claimed side of the bound.

# %%
from labkit.compare import claims

known = {claim.id: claim for claim in claims.load_claims()}
print(len(known), "claims; rules", claims.rules_hash()[:12])
claim = known["ideal-use"]
print(claim.claim)
for need in claim.needs:
    print("  ", need.figure, "above" if need.above else "below", need.bound)

# %% [markdown]
# How an interval decides a need, and how the needs decide a claim:

# %%
from labkit.stats import Interval

for interval in (Interval(0.3, 0.2, 0.4), Interval(0.1, -0.1, 0.3), Interval(-0.3, -0.4, -0.2)):
    held = {True: "holds", False: "fails", None: "is open"}[claim.needs[0].holds(interval)]
    print(f"[{interval.low:+.1f}, {interval.high:+.1f}]: the need {held}")

# %% [markdown]
# - **supported**: every need holds;
# - **refuted**: at least one need fails, and none holds;
# - **mixed**: anything else. The evidence points both ways, or there are too few questions to tell;
# - **not measurable here**: a figure is missing. At smoke size this is every claim, because nothing is measured.
#
# ## 2. The ledger
#
# The next cell takes every figure from a result on disk, and computes what is missing. `make claims` does the same.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", 110, "display.max_rows", 60)
ledger = claims.ledger(lab)
rows = pd.DataFrame(ledger["claims"]).set_index("id")
rows.verdict.value_counts().reindex(claims.VERDICTS, fill_value=0).to_frame("claims")

# %%
rows[["verdict", "claim", "lesson"]]

# %% [markdown]
# ## 3. The evidence behind a verdict
#
# You should be able to trace every verdict. Here is every figure with its interval, its bound and the run that it
# comes from:

# %%
for row in ledger["claims"]:
    if row["value"] is not None:
        print(f"{claims.evidence(row)}\n    measured in {row['lesson']}, run {row['run'][:12]}")

# %% [markdown]
# ## 4. Reverse the data
#
# A rule that gives the same verdict for any data tests nothing. So we give each claim invented figures: first on the
# claimed side of every bound, which should support the claim, and then on the other side, which should refute it.


# %%
def made_up(claim, claimed):
    figures = {}
    for need in claim.needs:
        middle = need.bound + (1 if need.above == claimed else -1)
        figures[need.figure] = Interval(middle, middle - 0.5, middle + 0.5)
    return figures


turned = {side: {claims.verdict(c, made_up(c, side)) for c in known.values()} for side in (True, False)}
print("all on the claimed side:", turned[True], "- all on the other side:", turned[False])

# %% [markdown]
# ## 5. Where published measurements differ
#
# A verdict here is one more measurement, and not the best one. Others published differences for *hybrid-future* ("The
# best systems combine both") and *hybrid-both*, measured with larger models:

# %%
pd.DataFrame(claims.published_gaps()).set_index("what").fillna("")

# %%
for name in ("hybrid-future", "hybrid-both", "hybrid-naive"):
    print(f"here, {ledger['claims'][list(known).index(name)]['verdict']}: {known[name].claim}")

# %% [markdown]
# Most of them find that a hybrid trained with context is a few points above RAG. Where the ledger does not, believe
# them for models like theirs. The pocket model already reads so well that a hybrid has little to gain, its hybrid saw
# few pairs, and its intervals are wider than the gains that they report. Where the ledger says that training without
# context hurts, it agrees with what is published. Lesson 18 has the figures.
#
# ## Takeaways
#
# - A verdict is a rule applied to an interval. If you disagree, look at the rule in `claims.yaml` or at the
#   measurement in its lesson.
# - "Mixed" is also an answer: parts of the claim differ, or there are too few questions.
# - A verdict holds for this model, these documents and these questions. You can compute the same ledger for yours.
#
# ## Exercises
#
# 1. Choose a bound that you would have set differently. Does the verdict change?
# 2. Which claims depend on an interval that nearly touches its bound? How many questions would settle them?
# 3. Add a claim of your own to `claims.yaml`, with a figure such as "citation: hybrid - rag".
