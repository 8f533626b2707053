# %% [markdown]
# # 07 · Prepare
#
# You will make a training set for fine-tuning, and find out what is wrong with it before a model does:
#
# - write pairs of question and ideal answer from facts and a house style;
# - turn them into tokens, and see token by token which of them are learned;
# - see which examples a length limit would cut, and what is lost then;
# - split by thing and by wording, so that a test measures what you think it measures;
# - plant leaks, look for them in several ways, and see how much accuracy a leak fakes;
# - write and read files without losing a row silently.
#
# *Before this: 00 Start. About 30 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. Pairs from facts
#
# The article says: *"Create pairs of prompts and ideal responses."* Norvale's facts are a table; each has many wordings
# of its question, and one full sentence as an answer.

# %%
import pandas as pd

from labkit.data import data_folder

facts = pd.read_json(data_folder() / "facts.jsonl", lines=True)
facts = facts.sample(300 if SIZE == "full" else 60, random_state=0)
facts[["kind", "entity", "attribute", "value"]].head()

# %% [markdown]
# The wordings come as sentences with a slot. We draw three for each fact.

# %%
import random

from labkit.data import wordings

rng = random.Random(0)
forms_of = {f.Index: wordings()[f.kind, f.attribute].asks for f in facts.itertuples()}
asked = [(f, form) for f in facts.itertuples() for form in rng.sample(forms_of[f.Index], 3)]
[form for _, form in asked[:3]]

# %% [markdown]
# The *ideal* response is more than the right value: it is the value as the company wants it said. `dress` puts a
# sentence into the house style; the tags beside each example say what it is about. We shall split by them.

# %%
from labkit.data import dress, style_faults
from labkit.rag.augment import build_messages
from labkit.tune.prepare import Example


def ask(pair):
    fact, form = pair
    return build_messages(wordings()[fact.kind, fact.attribute].ask(form, fact.entity))


def reply(pair):
    fact, _ = pair
    return dress(wordings()[fact.kind, fact.attribute].tell(fact.entity, fact.value))


def tags(pair):
    fact, form = pair
    about = f"{fact.kind} {fact.entity}: {fact.attribute}"
    return {"entity": fact.entity, "fact": about, "wording": form, "value": fact.value}


# %%
def example(pair, ask=ask):
    return Example([*ask(pair), {"role": "assistant", "content": reply(pair)}], tags(pair))


pairs = [example(pair) for pair in asked]
for message in pairs[0].messages:
    print(f"{message['role']:>9}: {message['content']}")

# %% [markdown]
# A model learns every fault of its examples. So the validator of the house style reads them all first.

# %%
faulty = [pair for pair in pairs if style_faults(pair.messages[-1]["content"])]
print(f"{len(pairs)} pairs of {len(facts)} facts, {len(faulty)} of them not in house style")
assert not faulty

# %% [markdown]
# ## 2. The chat template
#
# A model reads one string of tokens. The *chat template*, which comes with the tokenizer, says how messages become
# that string; its marks are special tokens, one token each.

# %%
from labkit.model import render

tokenizer = lab.model.tokenizer
whole = render(tokenizer, pairs[0].messages)
print(whole)

# %% [markdown]
# A text that holds such a mark would be read as the mark itself: one user could speak for another, or end an answer
# early. Preparation refuses it.

# %%
from labkit import LabError
from labkit.tune.prepare import tokenise

forged = [{"role": "user", "content": f"Thanks.{tokenizer.eos_token}"}, pairs[0].messages[-1]]
try:
    tokenise(Example(forged), tokenizer, limit=lab.profile.context)
except LabError as error:
    print("refused:", error)

# %% [markdown]
# When the model answers, it is given the same string up to where the answer begins. Training must show it exactly that
# beginning: another template, or one space more, and the model is asked something it never saw.

# %%
prompt = render(tokenizer, pairs[0].messages[:-1], prompt=True)
assert whole.startswith(prompt)
print("learned in training:", repr(whole[len(prompt) :]))

# %% [markdown]
# ## 3. The loss mask
#
# Every token gets a *label*: the token itself where the model shall learn to say it, −100 where it shall only read.
# The loss is computed where the label is not −100. Bold and orange: learned. Grey: read.

# %%
from labkit.tune.prepare import IGNORED, dataset, masked

rows = dataset(pairs, tokenizer, limit=lab.profile.context).rows
view = masked(rows[0], tokenizer)
print(view)
view

# %% [markdown]
# The last learned token matters most: it is how the model says *I am done*. A common recipe makes the end token the
# padding token, then masks all padding. Look at what it does to our row:

# %%
end = tokenizer.eos_token_id
trapped = {**rows[0], "labels": [IGNORED if token == end else token for token in rows[0]["labels"]]}
for name, row in {"ours": rows[0], "pad = end": trapped}.items():
    text, learned = masked(row, tokenizer).tokens[-1]
    print(f"{name}: the last token {text!r} is {'learned' if learned else 'NOT learned: answers would never end'}")

# %% [markdown]
# And without any mask, much of the training would go into guessing questions:

# %%
share = sum(label != IGNORED for row in rows for label in row["labels"]) / sum(len(row["labels"]) for row in rows)
print(f"{share:.0%} of all tokens are learned; without a mask, so would be questions and marks: {1 - share:.0%}")
assert 0 < share < 1

# %% [markdown]
# ## 4. Lengths
#
# A model has a context limit, and memory has one sooner. The same questions with five passages above them, as the
# hybrid of lesson 11 reads them, are several times as long.

# %%
passages = list(facts[["document", "passage"]].itertuples(index=False, name=None))


def ask_open(pair):
    around = [(pair[0].document, pair[0].passage), *rng.sample(passages, 4)]
    return [ask(pair)[0], build_messages(ask(pair)[1]["content"].removeprefix("Question: "), around)[1]]


open_rows = dataset([example(pair, ask_open) for pair in asked], tokenizer, limit=lab.profile.context).rows
sizes_of = {"question only": rows, "with passages": open_rows}
lengths = {name: [len(row["input_ids"]) for row in some] for name, some in sizes_of.items()}

# %%
import matplotlib.pyplot as plt

for (name, sizes), hatch in zip(lengths.items(), ["", "////"], strict=True):
    plt.hist(sizes, bins=range(0, max(sizes) + 10, 10), label=name, hatch=hatch, alpha=0.8, edgecolor="white")
    print(f"{name}: {min(sizes)} to {max(sizes)} tokens, median {pd.Series(sizes).median():.0f}")
plt.xlabel("tokens of an example")
plt.ylabel("examples")
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# Many recipes pass `truncation=True` and never look again. A cut from the right takes the *answer*, since it stands
# last:


# %%
def cut(limit):
    over = [row["labels"] for row in open_rows if len(row["labels"]) > limit]
    torn = [labels for labels in over if any(label != IGNORED for label in labels[limit:])]
    empty = [labels for labels in torn if all(label == IGNORED for label in labels[:limit])]
    return len(over), len(torn) - len(empty), len(empty)


longest = max(lengths["with passages"])
for limit in (longest, round(0.9 * longest), round(0.75 * longest), longest // 2):
    over, endless, empty = cut(limit)
    losses = f"cut, {endless} would never learn where an answer ends, and {empty} nothing at all"
    fits = f"{over} of {len(open_rows)} rows are too long; {losses}" if over else f"all {len(open_rows)} rows fit"
    print(f"at {limit} tokens: {fits}")
assert not cut(longest)[0] and sum(cut(longest // 2)[1:])

# %% [markdown]
# `dataset` never cuts. It refuses and names the example, or drops when told to, and lists what it dropped:

# %%
try:
    dataset(pairs, tokenizer, limit=max(lengths["question only"]) - 1)
except LabError as error:
    print("refused:", error)

# %%
kept = dataset(pairs, tokenizer, limit=max(lengths["question only"]) - 1, too_long="drop")
print(f"or {len(kept.rows)} kept, dropped: {kept.dropped}")
assert len(kept.rows) + len(kept.dropped) == len(pairs)

# %% [markdown]
# ## 5. Three ways to split
#
# A test shall tell what the model does on what it did *not* see. Not see in which sense? The table says what share of
# the test is known from training.

# %%
from labkit.tune.leaks import split


def bare(pair):
    return pair.question.removeprefix("Question: ")


def overlap(by):
    parts = split(pairs, by, share=0.2, allow_leaks=True)
    train, test = ([pairs[n].tags for n in side] for side in (parts.train, parts.test))
    known = {tag: {tags[tag] for tags in train} for tag in ("entity", "fact", "wording")}
    shares = {f"{tag} known": sum(tags[tag] in seen for tags in test) / len(test) for tag, seen in known.items()}
    return {"train": len(train), "test": len(test), **shares, "nearly the same question": len(parts.leaks)}


rows_of = {by or "at random": overlap(by) for by in (None, "entity", "wording")}
splits = pd.DataFrame.from_dict(rows_of, orient="index")
splits.round(2)

# %%
assert splits.loc["entity", "fact known"] == 0 and splits.loc["wording", "wording known"] == 0
assert splits.loc["at random", "fact known"] > 0 and splits.loc["at random", "wording known"] > 0

# %% [markdown]
# - **At random**, the test asks for facts that were trained, in wordings that were trained: it flatters.
# - **By entity**, nothing that the test asks about was trained. Right for form and skills; a *closed-book* model, one
#   that answers without passages, *cannot* know these facts, and one that scores on them has seen them somewhere.
# - **By wording**, the facts were trained, asked in other words. Right for *did it learn the fact, or only the
#   sentence?*
#
# The last column counts pairs of questions that share at least eight tenths of their letters (more exactly, of their
# runs of five letters). Are they leaks? A checker finds; a person decides.

# %%
parts = split(pairs, None, allow_leaks=True, near=0.7)
for leak in sorted(parts.leaks, key=lambda leak: -leak.similarity)[:4]:
    trained, tested = pairs[parts.train[leak.train]], pairs[parts.test[leak.test]]
    same = "same fact" if trained.tags["fact"] == tested.tags["fact"] else "DIFFERENT facts"
    print(f"{leak.similarity:.2f}, {same}: {bare(trained)} / {bare(tested)}")

# %% [markdown]
# ## 6. Plant a leak and look for it
#
# A *leak* is a test question that training has seen, and it comes in disguise. We split by entity, which is clean, then
# slip each test fact into the training set four ways.

# %%
parts = split(pairs, "entity", share=0.2, near=None)  # equal questions are refused, look-alikes are not
train, test = ([pairs[n] for n in side] for side in (parts.train, parts.test))
exam, again = test[0::3], test[1::3]  # each fact stands there in three wordings
questions = [bare(pair) for pair in exam]
assert [pair.tags["fact"] for pair in exam] == [pair.tags["fact"] for pair in again]

# %%
planted = {
    "copied": questions,
    "retyped": [question.lower().rstrip("?") for question in questions],
    "framed": [f"A customer asks us today: {question}" for question in questions],
    "reworded": [bare(pair) for pair in again],
}
{name: some[0] for name, some in planted.items()}

# %% [markdown]
# The checkers: the same text; the same once case, punctuation and articles are gone; *letters*, the share of their runs
# of five letters that two texts have in common; *embeddings*, which compare meanings. And a fifth that looks not at the
# question but at the answer. Each is asked which training questions are test questions.

# %%
from labkit.tune.leaks import Leak, leaks, near_leaks


def in_meaning(some, least):
    cosines = lab.embedder.encode(some) @ lab.embedder.encode(questions).T
    return [Leak(i, j, "similar") for i, j in zip(*(cosines >= least).nonzero(), strict=True)]


checkers = {
    "exact": lambda some: [leak for leak in leaks(some, questions) if leak.match == "exact"],
    "normalised": lambda some: leaks(some, questions),
    "letters ≥ 0.8": lambda some: near_leaks(some, questions, 0.8),
    "letters ≥ 0.5": lambda some: near_leaks(some, questions, 0.5),
    "embedding ≥ 0.9": lambda some: in_meaning(some, 0.9),
    "embedding ≥ 0.8": lambda some: in_meaning(some, 0.8),
}


# %%
def reported(found, some):
    return len({leak.train for leak in found}) / len(some)


honest = [bare(pair) for pair in train]
kinds_asked = {**planted, "false alarms": honest}
rates = {name: {k: reported(check(q), q) for k, q in kinds_asked.items()} for name, check in checkers.items()}

# %%
said_in = {
    name: [pair.messages[-1]["content"] for pair in some] for name, some in {"exam": exam, "train": train}.items()
}
by_answer = {kind: reported(leaks(said_in["exam"], said_in["exam"]), exam) for kind in planted}
by_answer["false alarms"] = reported(leaks(said_in["train"], said_in["exam"]), train)
found = pd.DataFrame({**rates, "same answer": by_answer}).T
found.round(3)

# %% [markdown]
# Each row is the share of planted (or honest) training questions that a checker reports. A planted pair carries the
# answer of its test question, so comparing answers finds it whatever the disguise. That works here because an answer
# names its thing; where answers are "yes", "no" or a grade, it would report everything.

# %%
assert found.loc["exact", "copied"] == 1 and found.loc["exact", "retyped"] == 0
assert found.loc["normalised", "retyped"] == 1
assert (found.loc["letters ≥ 0.5"] >= found.loc["letters ≥ 0.8"]).all()

# %%
for kind in planted:
    best = found.loc[found["false alarms"] <= 0.01, kind]
    print(f"{kind}: with at most 1% false alarms, {best.idxmax()} finds most ({best.max():.0%})")

# %% [markdown]
# ## 7. The accuracy that a leak fakes
#
# Now let a model train on a leak. The exam asks for facts of things that the honest training set never mentions, so an
# honest model has nowhere to know them from. Of its questions, a quarter is leaked word for word, a quarter in other
# words, half not.

# %%
count = min(32 if SIZE == "full" else 8, len(exam))
kind_of = ["copied" if n % 4 == 0 else "reworded" if n % 4 == 2 else "not leaked" for n in range(count)]
slipped = [{"copied": exam, "reworded": again}[kind][n] for n, kind in enumerate(kind_of) if kind != "not leaked"]
leaky = train[:24:3] + slipped
pd.Series(kind_of).value_counts(sort=False).rename("exam questions").to_frame()

# %% [markdown]
# Two models will train: one on this leaky set, one on what comparing answers leaves of it.

# %%
caught = {leak.train for leak in leaks([pair.messages[-1]["content"] for pair in leaky], said_in["exam"][:count])}
clean = [pair for n, pair in enumerate(leaky) if n not in caught]
print(f"{len(leaky)} examples, {len(caught)} reported as leaks, {len(clean)} left")
assert len(caught) == len(slipped)

# %%
from labkit.model import load_model
from labkit.tune.adapters import LoraSettings, train_adapter

epochs = 30 if SIZE == "full" else 1
settings = LoraSettings(epochs=epochs, learning_rate=2 * lab.profile.tuned_rate, batch_size=8)


def answers_after(training):
    rows = dataset(training, tokenizer, lab.profile.context).rows
    parts = {"base": lab.model.fingerprint, "rows": rows, "settings": settings, "recipe": "07/1"}
    path = lab.profile.model_path
    folder = lab.artifacts.folder(lambda folder: train_adapter(path, rows, settings, folder, False), **parts)
    model = load_model(path, dtype=lab.profile.dtype, adapter=folder)
    return [made.text for made in model.generate([pair.messages[:-1] for pair in exam[:count]])]


said = {"leaky": answers_after(leaky), "cleaned": answers_after(clean)}

# %% [markdown]
# Share right, by how the exam question leaked:

# %%
from labkit.metrics import contains
from labkit.stats import bootstrap_mean, paired_bootstrap

right = pd.DataFrame(
    {name: [contains(t, p.tags["value"]) for t, p in zip(texts, exam, strict=False)] for name, texts in said.items()}
).astype(float)
table = pd.concat([right.groupby(kind_of).mean(), right.mean().rename("the whole exam").to_frame().T])
table.round(2)

# %%
gap = paired_bootstrap(right.leaky, right.cleaned)
honestly = bootstrap_mean(right.cleaned)
verdict = "the leak fakes accuracy" if gap.low > 0 else "with and without the leak are not told apart"
print(f"honest: {honestly.mean:.2f} ({honestly.low:.2f} to {honestly.high:.2f})")
print(f"faked: {gap.diff:+.2f} ({gap.low:+.2f} to {gap.high:+.2f}): {verdict} on these questions")

# %% [markdown]
# Nothing about the leaky model looks wrong while it trains: the same code, a falling loss. Only the split tells.
# Read one answer of each kind:

# %%
shown = pd.DataFrame({"question": questions[:count], "gold": [p.tags["value"] for p in exam[:count]], **said})
pd.set_option("display.max_colwidth", 110)
shown.groupby(kind_of).head(1).set_axis(list(dict.fromkeys(kind_of)))

# %% [markdown]
# ## 8. Refuse
#
# `split` compares the questions of both sides and refuses when they leak. We add each exam question, retyped, under
# another entity's name, as a careless merge of two files would:


# %%
def retype(pair):
    system, user, response = pair.messages
    return Example([system, {**user, "content": user["content"].lower()}, response], {"entity": "imported"})


merged = pairs + [retype(pair) for pair in exam]
try:
    split(merged, "entity")
except LabError as error:
    print("refused:", error)

# %% [markdown]
# You may insist, and then you are told what you insisted on:

# %%
allowed = split(merged, "entity", allow_leaks=True)
print(f"allowed: {len(allowed.leaks)} leaks, the first", allowed.leaks[0])
assert allowed.leaks

# %% [markdown]
# ## 9. Files in and out
#
# The standard form is JSON lines: one conversation a line, under `messages`. What stands beside it is kept as tags.

# %%
from labkit.tune.prepare import read_csv, read_examples, write_examples

folder = lab.runs / "prepare"
write_examples(folder / "pairs.jsonl", pairs)
table = [{message["role"]: message["content"] for message in pair.messages} | pair.tags for pair in pairs]
pd.DataFrame(table).rename(columns={"user": "prompt", "assistant": "response"}).to_csv(
    folder / "pairs.csv", index=False
)
assert read_examples(folder / "pairs.jsonl") == (pairs, []) == read_csv(folder / "pairs.csv")
print((folder / "pairs.jsonl").read_text("utf-8").splitlines()[0])

# %% [markdown]
# Files from elsewhere have bad rows. A reader that skips them silently trains on less than you think; one that stops at
# the first makes you mend them one by one. Ours reads on, and reports each with its line and reason:

# %%
lines = (folder / "pairs.jsonl").read_text("utf-8").splitlines()[:3]
lines += [lines[0][:-9], '{"question": "Why?"}', lines[1].replace('"assistant"', '"bot"'), lines[2]]
(folder / "mixed.jsonl").write_text("\n".join(lines), "utf-8")

# %%
good, bad = read_examples(folder / "mixed.jsonl")
print(f"{len(lines)} lines: {len(good)} good, {len(bad)} bad")
for row in bad:
    print(f"  line {row.line}: {row.reason}")
assert len(good) + len(bad) == len(lines)

# %% [markdown]
# The same for tables. A quote that is never closed would swallow the rest of a file; here it costs its own row.

# %%
text = 'question,answer\nWho runs it?,Rita Irwin.\nHow much?,"$420\nWhy?,\nWhen?,"In May, 2031."\n'
(folder / "mixed.csv").write_text(text, "utf-8")

# %%
good, bad = read_csv(folder / "mixed.csv", prompt="question", response="answer")
for row in bad:
    print(f"line {row.line}: {row.reason}")
[pair.question for pair in good]

# %% [markdown]
# ## Takeaways
#
# - A row begins with exactly the string that the model is given when it answers; only the answer and its end are
#   learned. Mask the end token by accident, and nobody teaches the model to stop.
# - A length limit that cuts takes answers: count what it would take, then shorten, drop or raise the limit.
# - A random split shares facts and wordings with its training set. Split by what the test is about: by entity
#   for skills, by wording for knowledge.
# - Comparing texts exactly finds copies and misses retyped ones. A looser checker finds at least as much; look at its
#   false alarms before you trust it.
# - The accuracy that a leak fakes can be measured: section 7 prints it with its interval.
# - A good reader accounts for every row: good, or bad with its line and reason.
#
# ## Exercises
#
# 1. In section 7, clean the leaky set with the `exact` checker only, and train again. How much of the fake is left?
# 2. Split by `"fact"` instead of `"entity"`. Which questions are now nearly the same on both sides, and are they leaks?
# 3. Draw one wording for each fact instead of three, and split at random. What changes in the table of section 5?
# 4. Find the similarity at which *letters* reports no honest question. What share of the framed ones does it still find?
