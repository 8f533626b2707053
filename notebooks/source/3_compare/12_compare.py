# %% [markdown]
# # 12 · Compare
#
# You will measure base, RAG, fine-tuned, hybrid and their rivals against each other on every test question:
#
# - ask every arm the same questions, the tuned ones with several training seeds;
# - put a 95 % interval on every number, and on every *difference* between two arms;
# - see where each arm wins, by kind of question, and what it costs in time and tokens.
#
# *Before this: 00 Start. About 15 minutes, a few of them computing.*

# %% tags=["parameters"]
PROFILE, SIZE, FRESH, OUT = "pocket", "full", False, "runs/compare/lab"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE, fresh=FRESH)
lab

# %% [markdown]
# ## 1. What is asked of whom
#
# The documents are those of *today*: some facts changed after the training pairs were written. RAG and hybrid search
# today's documents; the fine-tuned arm knows what its pairs said. No test question is among the pairs, in any wording
# that the test uses.

# %%
import pandas as pd

print(len(lab.documents), "documents read,", len(lab.ingested.rejected), "refused")
for refused in lab.ingested.rejected:
    print(f"{refused.id}: {refused.reason} ({refused.detail})")
pd.Series([q.kind for q in lab.questions]).value_counts(sort=False).rename("questions").to_frame()

# %% [markdown]
# ## 2. First look: the arms that need no training

# %%
from labkit.compare import experiment, score, tables

untuned = experiment.ask_arms(lab, ["base", "rag"])
columns = ["correct", "style", "retrieved", "prompt_tokens"]
answerable = untuned[untuned.answerable]
print(answerable.groupby("arm", sort=False)[columns].mean().round(2).to_string())

# %% [markdown]
# These are the questions that the documents answer. Base answers from nothing and RAG reads: the gap in `correct` is
# what retrieval is worth here. `style` is the share in house style, which nobody has shown to either of them.
#
# ## 3. All arms
#
# The four arms of the course have rivals that ask less, and a comparison that leaves out the strongest rival proves little:
#
# | arm | weights | what stands in the prompt |
# |---|---|---|
# | prompted | as they came | passages, and the house style asked for |
# | few-shot | as they came | the same, and two training questions with their replies |
# | long-context | as they came | whole documents, the nearest first, as many as the context holds |
# | naive | of tuned | passages, which its training never showed |
#
# The tuned arms' *adapters*, small sets of trained weights (lesson 09), are trained here unless the project ships them for
# exactly this model, data and settings.

# %%
comparison = experiment.run_compare(lab)
tables.frame(comparison.result)

# %% [markdown]
# Every cell is a mean with its 95 % bootstrap interval over questions; seeds are averaged per question first.
#
# - **accuracy**: the exact gold value is in the answer, over questions that the documents answer;
# - **style**: the house-style validator finds no fault; **joint**: right *and* in style;
# - **abstention**: declining exactly where the documents do not say, as F1, which section 7 takes apart;
# - **recall@k**: share of the needed facts in the retrieved passages;
# - **citation**: share of right answers that cite a passage which proves them.

# %%
from labkit import plot

figure, text = plot.dots(comparison.result, ["accuracy", "style", "joint", "abstention"])
print(text)
figure

# %% [markdown]
# ## 4. Which differences are real?
#
# Two intervals that overlap may still hide a real difference, because both arms answered the *same* questions.
# So the difference itself is resampled, question by question. `wins` and `losses` count the questions on which the first arm
# is better and worse. `p` says how easily luck alone would make such a difference: were the two arms alike, each of those
# questions could as well have gone the other way. `holm` is the same after Holm's correction, because of many tests some
# succeed by luck; below one in twenty, the two arms are told apart. `detectable` is the least difference that such questions would
# show four times in five.

# %%
paired = tables.paired(comparison.result)
paired[paired.metric == "joint"]

# %%
paired[paired.metric == "accuracy"]

# %% [markdown]
# ## 5. Where each arm wins
#
# An average hides who is good at what. Look at *changed fact*, where what was learned is out of date, and at *not in
# the documents*, where to decline is right.

# %%
kinds = score.by_kind(comparison.answers)
figure, text = plot.kinds(kinds)
print(text)
figure

# %% [markdown]
# ## 6. Who is to blame: the search or the reader?
#
# An answer over passages can go wrong in two places, and be right in two ways. The ladder, from best to worst:
# retrieved and right; missed but right (a guess, or knowledge in the weights); retrieved but wrong (misread); missed
# and wrong.

# %%
readers = ["rag", "prompted", "few-shot", "long-context", "naive", "hybrid"]
ladder = comparison.answers[comparison.answers.answerable & comparison.answers.arm.isin(readers)].copy()
ladder["found"] = ladder.retrieved.eq(1).map({True: "retrieved", False: "missed"})
ladder["told"] = ladder.correct.map({0: "wrong", 1: "right"})
rungs = [("retrieved", "right"), ("missed", "right"), ("retrieved", "wrong"), ("missed", "wrong")]
pd.crosstab(ladder.arm, [ladder.found, ladder.told], normalize="index").reindex(columns=rungs, fill_value=0).round(2)

# %% [markdown]
# ## 7. Who makes things up?
#
# Some questions have no answer in the documents. An arm that answers one anyway fabricates. Declining everything would
# never fabricate, and be useless: so recall (declined, of those to decline) stands beside precision (rightly declined,
# of those declined). F1, their harmonic mean, is high only where both are. Declining is a skill that tuning may lose:
# compare rag with naive, and with the hybrid, some of whose training questions had no answer (lesson 11).

# %%
said = comparison.answers.assign(should=~comparison.answers.answerable)
by_arm = said.groupby("arm", sort=False)
declined = by_arm[["abstained", "should"]].apply(lambda g: (g.abstained * g.should).sum())
pd.DataFrame(
    {
        "fabricates": 1 - declined / by_arm.should.sum(),
        "recall": declined / by_arm.should.sum(),
        "precision": declined / by_arm.abstained.sum(),
    }
).round(2)

# %% [markdown]
# ## 8. Question by question
#
# Wins, ties and losses of the hybrid against each other arm, on right and in style at once. Then the questions
# themselves, here some that RAG gets right and the fine-tuned arm gets wrong: filter the table as you like.

# %%
joint = comparison.answers.groupby(["id", "arm"]).joint.mean().unstack()
against = {arm: (joint.hybrid - joint[arm]).pipe(lambda gap: [(gap > 0).sum(), (gap == 0).sum(), (gap < 0).sum()])
           for arm in joint.columns.drop("hybrid")}  # fmt: skip
pd.DataFrame(against, index=["wins", "ties", "losses"]).T

# %%
first = comparison.answers.query("seed == 0")
browser = first.pivot(index=["kind", "question"], columns="arm", values="correct")[["base", "rag", "tuned", "hybrid"]]
browser[(browser.rag == 1) & (browser.tuned == 0)].groupby("kind").head(1)

# %% [markdown]
# ## 9. Two controls
#
# What does reading bring because of *what* is read? Two controls say:
#
# - **foreign**: rag over documents about something else, articles about the real world. The prompt is as long, and nothing in it
#   helps;
# - **parity**: rag over exactly what the tuned arm learned from, each training pair as a document. Both know the same; one
#   reads it, the other recites it.

# %%
from dataclasses import replace

from labkit.data import data_folder
from labkit.rag.ingest import Document, ingest

foreign = ingest(data_folder() / "prose" / "documents", progress=False).documents
pairs = [Document(p.id, p.question, p.answer, "text", "") for p in lab.tuned_pairs]
print(f"{len(foreign)} articles; {len(pairs)} pairs, the first: {pairs[0].title} {pairs[0].text}")

# %%
rag, rows = lab.arm("rag"), []
for name, documents in {"foreign": foreign, "parity": pairs}.items():
    arm = replace(rag, retriever=lab.searching(lab.index(documents)))
    said = arm.answer([item.question for item in lab.questions])
    rows += [{"control": name, **score.score(i, a)} for i, a in zip(lab.questions, said, strict=True)]

controls = pd.DataFrame(rows)
both = comparison.answers[comparison.answers.arm.isin(["base", "rag", "tuned"])].rename(columns={"arm": "control"})
shown = pd.concat([both, controls]).query("answerable").groupby(["control", "kind"]).correct.mean().unstack().round(2)
shown.loc[["base", "foreign", "rag", "tuned", "parity"]]

# %% [markdown]
# If foreign passages are worth as little as none, what rag gains it gains from the documents. If parity is above tuned, reading
# beats reciting of the very same text; where the pairs are out of date, parity is wrong with them.
#
# ## 10. What it costs
#
# Latency is measured one question at a time, from question to answer, search included.

# %%
figure, text = plot.dots(comparison.result, ["latency_ms_p50", "prompt_tokens", "output_tokens"])
print(text)
figure

# %% [markdown]
# Every arm computes in the same number format, and adapters are merged into the weights before they answer, so that no
# arm is slowed by how it is served. Left beside the weights, an adapter adds two small products to every layer:

# %%
from labkit.model import load_model
from labkit.stats import paired_ratio

p, tuned = lab.profile, lab.arm("tuned")
beside = load_model(p.model_path, dtype=p.dtype, adapter=lab.adapter("tuned"), merge=False)
merging = []
for way, arm, item in experiment.in_turn(lab, {"merged": tuned, "beside": replace(tuned, model=beside)}):
    answer = arm.answer([item.question])[0]
    merging.append({"way": way, "id": item.id, "ms": 1000 * answer.generation_seconds, "text": answer.text})

print({name: str(lab.arm(name).model.network.dtype) for name in ("base", "rag", "tuned", "hybrid")})
ways = pd.DataFrame(merging).pivot(index="id", columns="way", values=["ms", "text"])
slower = paired_ratio(ways.ms.beside, ways.ms.merged)
same = (ways.text.beside == ways.text.merged).mean()
print(f"beside the weights: {slower.mean:.2f} times the milliseconds [{slower.low:.2f}, {slower.high:.2f}],", end=" ")
print(f"and the same answer, word for word, to {same:.0%} of the questions")

# %% [markdown]
# ## 11. Read some answers
#
# Numbers persuade, answers explain. One question of each kind, first seed:

# %%
pd.set_option("display.max_colwidth", 120)
sample = comparison.answers.query("seed == 0").groupby(["kind", "arm"], sort=False).head(1)
shown = sample.fillna({"gold": "(declines)"}).set_index(["kind", "question", "arm"])[["text", "gold"]]
shown.sort_index(level="kind", sort_remaining=False)

# %%
from labkit.compare.report import write_report

write_report(comparison, OUT)
print("report, result and answers written")

# %% [markdown]
# ## 12. Does another model agree?
#
# All of this was measured with one model, which this project pretrained on its own prompts: a wind tunnel, in which many
# trainings fit into minutes. What it shows about *models* is only what a real one repeats. `make compare` runs
# SmolLM2-135M-Instruct over the same company and over articles about the real world; these are the published results.

# %%
results = tables.published()
tables.beside(results)

# %%
apart = tables.disagreements({name: result for name, result in results.items() if name.endswith("company")})
print(
    "Over the same documents the two models tell the same arms apart in opposite directions:"
    if apart
    else "Over the same documents the two models tell no two arms apart in opposite directions."
)
print(*(f"• {line}" for line in apart), sep="\n")

# %% [markdown]
# ## 13. The claims of the article
#
# Verdicts by rules that were fixed before the measurement (`labkit/compare/claims.yaml`); lesson 19 collects them.

# %%
from labkit.compare import claims

print(claims.record(lab, "12_compare", claims.figures(lab, "12_compare")))

# %% [markdown]
# ## Takeaways
#
# The cell below checks each against the numbers above: a takeaway that these results do not show says so.

# %%
shown = {
    "Reading beats not reading: RAG is right more often than base": ("accuracy", "rag", "base"),
    "Tuning teaches form: the fine-tuned arm keeps the house style more often than RAG": ("style", "tuned", "rag"),
    "Tuning does not replace reading: RAG is right more often than the tuned arm": ("accuracy", "rag", "tuned"),
    "Both together: the hybrid is right and in style most often": ("joint", "hybrid", "base", "rag", "tuned"),
    "Asking is not enough: the hybrid is right and in style more often than prompted": ("joint", "hybrid", "prompted"),
    "Passages beat whole documents: rag is right more often than long-context": ("accuracy", "rag", "long-context"),
}
for line, (metric, arm, *others) in shown.items():
    gaps, apart = tables.gaps(comparison.result, metric, arm), tables.told_apart(comparison.result)
    asked = all(other in comparison.result["arms"] for other in others)
    clear = asked and all(gaps[other][0] > 0 and (metric, arm, other) in apart for other in others)
    print(f"• {line}: {'shown' if clear else 'not shown here'}.")

# %% [markdown]
# ## The claims of the article
#
# What these answers say of the article's claims, kept for the ledger of lesson 19:

# %%
from labkit.compare import claims

print(claims.record(lab, "12_compare", claims.figures(lab, "12_compare")))

# %% [markdown]
# ## Exercises
#
# 1. Set `SIZE = "smoke"` and run again. Which conclusions survive, and which intervals become useless?
# 2. Filter `comparison.answers` for questions that only the hybrid gets right. What do they have in common?
# 3. The fine-tuned arm never sees passages. On which kind would you expect it to beat RAG? Check.
