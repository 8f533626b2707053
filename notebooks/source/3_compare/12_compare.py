# %% [markdown]
# # 12 · Compare
#
# You will measure base, RAG, fine-tuned, hybrid and their rivals against each other on every test question:
#
# - ask every arm the same questions, the tuned arms with several training seeds;
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
# The documents are *today's*: some facts changed after the training pairs were written. RAG and the hybrid search
# today's documents. The fine-tuned arm knows only what its pairs said. No pair asks a test question in a wording that
# the test uses.

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
# The table covers the questions that the documents answer. Base answers without any passage; RAG reads passages. The
# gap in `correct` is what retrieval is worth here. `style` is the share of answers in house style, which neither arm
# has seen.
#
# ## 3. All arms
#
# The four arms of the course have rivals that need less work. A comparison without the strongest rival proves little:
#
# | arm | weights | what stands in the prompt |
# |---|---|---|
# | prompted | as they came | passages, and a request for the house style |
# | few-shot | as they came | the same, and up to three training questions with their replies |
# | long-context | as they came | whole documents, the nearest first, as many as the context holds |
# | naive | of tuned | passages, which its training never showed |
#
# The tuned arms use *adapters*, small sets of trained weights (lesson 09). The project ships some, each for one model,
# data and settings; the others are trained here.

# %%
comparison = experiment.run_compare(lab)
tables.frame(comparison.result)

# %% [markdown]
# Every cell is a mean with its 95 % bootstrap interval over questions. Seeds are averaged per question first.
#
# - **accuracy**: the exact gold value is in the answer, over questions that the documents answer;
# - **style**: the house-style validator finds no fault; **joint**: right *and* in style;
# - **abstention**: declining exactly where the documents do not say, measured as F1 (section 7);
# - **recall@k**: the share of the needed facts in the retrieved passages;
# - **citation**: the share of right answers that cite a passage which proves them.

# %%
from labkit import plot

figure, text = plot.dots(comparison.result, ["accuracy", "style", "joint", "abstention"])
print(text)
figure

# %% [markdown]
# ## 4. Which differences are real?
#
# Two overlapping intervals may still hide a real difference, because both arms answered the *same* questions. So we
# resample the difference itself, question by question. The columns:
#
# - `wins`, `losses`: the questions on which the first arm is better, and worse;
# - `p`: how often luck alone would make so large a difference. If the arms were alike, each of these questions could as
#   well go the other way;
# - `holm`: `p` after Holm's correction. Among many tests, some succeed by luck. Below one in twenty, we call the two
#   arms told apart;
# - `detectable`: the smallest difference that such questions would show four times in five.

# %%
paired = tables.paired(comparison.result)
paired[paired.metric == "joint"]

# %%
paired[paired.metric == "accuracy"]

# %% [markdown]
# ## 5. Where each arm wins
#
# An average hides which arm is good at what. Look at *changed fact*, where trained knowledge is out of date, and at
# *not in the documents*, where declining is right.

# %%
kinds = score.by_kind(comparison.answers)
figure, text = plot.kinds(kinds)
print(text)
figure

# %% [markdown]
# ## 6. Who is to blame: the search or the reader?
#
# An answer over passages can fail in the search or in the reading. We sort the answers into four groups, from best to
# worst:
#
# - retrieved and right;
# - missed but right: a guess, or knowledge in the weights;
# - retrieved but wrong: the model misread;
# - missed and wrong.

# %%
readers = ["rag", "prompted", "few-shot", "long-context", "naive", "hybrid"]
ladder = comparison.answers[comparison.answers.answerable & comparison.answers.arm.isin(readers)].copy()
ladder["search"] = ladder.retrieved.eq(1).map({True: "retrieved", False: "missed"})
ladder["answer"] = ladder.correct.map({0: "wrong", 1: "right"})
rungs = [("retrieved", "right"), ("missed", "right"), ("retrieved", "wrong"), ("missed", "wrong")]
pd.crosstab(ladder.arm, [ladder.search, ladder.answer], normalize="index").reindex(columns=rungs, fill_value=0).round(2)

# %% [markdown]
# ## 7. Who makes things up?
#
# Some questions have no answer in the documents. An arm that answers one anyway fabricates. An arm that declines
# everything never fabricates, but is useless. So we need two numbers. *Recall*: of the questions to decline, the share
# declined. *Precision*: of the questions declined, the share declined rightly. F1, their harmonic mean, is high only
# where both are high. Tuning may lose the skill of declining: compare rag with naive, and with the hybrid, which had
# training questions without an answer (lesson 11).

# %%
answers = comparison.answers.assign(should=~comparison.answers.answerable)
by_arm = answers.groupby("arm", sort=False)
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
# First: wins, ties and losses of the hybrid against each other arm, counting answers that are right and in style. Then
# the questions themselves, here some that RAG gets right and the fine-tuned arm gets wrong. Filter the table as you
# like.

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
# How much of RAG's gain depends on *what* it reads? Two controls show it:
#
# - **foreign**: rag over articles about the real world. The prompt is as long, but nothing in it helps;
# - **parity**: rag over exactly what the tuned arm learned from, with each training pair as a document. Both have the
#   same knowledge: one reads it, the other recites it.

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
    replies = arm.answer([item.question for item in lab.questions])
    rows += [{"control": name, **score.score(i, a)} for i, a in zip(lab.questions, replies, strict=True)]

controls = pd.DataFrame(rows)
both = comparison.answers[comparison.answers.arm.isin(["base", "rag", "tuned"])].rename(columns={"arm": "control"})
shown = pd.concat([both, controls]).query("answerable").groupby(["control", "kind"]).correct.mean().unstack().round(2)
shown.loc[["base", "foreign", "rag", "tuned", "parity"]]

# %% [markdown]
# If foreign passages are worth as little as none, then rag gains from the content of the documents. If parity is above
# tuned, then reading beats reciting of the same text. Where the pairs are out of date, parity is wrong too.
#
# ## 10. What it costs
#
# Latency is measured one question at a time, from question to answer, including the search.

# %%
figure, text = plot.dots(comparison.result, ["latency_ms_p50", "prompt_tokens", "output_tokens"])
print(text)
figure

# %% [markdown]
# Every arm computes in the same number format, with adapters merged into the weights. So the form of serving slows no
# arm. An adapter left beside the weights adds two small products to every layer. What does that cost?

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
# Numbers persuade; answers explain. Here is one question of each kind, first seed:

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
# All of this was measured with one model, which this project pretrained on its own prompts. Like a wind tunnel, it
# allows many trainings in minutes. Its results tell you about *models in general* only where another model repeats
# them. `make compare` runs SmolLM2-135M-Instruct over the same company and over articles about the real world. These
# are the published results:

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
# The rules for these verdicts were fixed before the measurement (`labkit/compare/claims.yaml`). Lesson 19 collects the
# verdicts.

# %%
from labkit.compare import claims

print(claims.record(lab, "12_compare", claims.figures(lab, "12_compare")))

# %% [markdown]
# ## Takeaways
#
# The cell below checks each takeaway against the numbers above, and marks those that these results do not show.

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
# ## Exercises
#
# 1. Set `SIZE = "smoke"` and run again. Which conclusions remain, and which intervals become useless?
# 2. Filter `comparison.answers` for questions that only the hybrid gets right. What do they have in common?
# 3. The fine-tuned arm never sees passages. On which kind would you expect it to beat RAG? Check.
