# %% [markdown]
# # 07 · Prepare
#
# You will make a training set for fine-tuning and find its faults before a model learns them:
#
# - write pairs of question and ideal answer from facts and a house style;
# - turn the pairs into tokens, and see which tokens the model learns;
# - see which examples a length limit cuts, and what is lost;
# - split into a training set and a test set, by entity and by wording;
# - plant leaks, search for them, and measure how much accuracy a leak fakes;
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
# The article says: *"Create pairs of prompts and ideal responses."* Norvale's facts are a table. Each fact has several
# wordings of its question, and one full sentence as its answer.

# %%
import pandas as pd

from labkit.data import data_folder

facts = pd.read_json(data_folder() / "facts.jsonl", lines=True)
facts = facts.sample(300 if SIZE == "full" else 60, random_state=0)
facts[["kind", "entity", "attribute", "value"]].head()

# %% [markdown]
# A wording has a slot, `{e}`, for the name of the entity: a product, a plan, a site or a project. We draw three
# wordings for each fact.

# %%
import random

from labkit.data import wordings

rng = random.Random(0)
forms_of = {f.Index: wordings()[f.kind, f.attribute].asks for f in facts.itertuples()}
asked = [(f, form) for f in facts.itertuples() for form in rng.sample(forms_of[f.Index], 3)]
[form for _, form in asked[:3]]

# %% [markdown]
# An *ideal* response gives the right value in the company's house style. `dress` puts a sentence into that style. Tags
# on each example say what it is about; we split by them later.

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
# A model also learns the faults of its examples. So the validator of the house style reads every answer first.

# %%
faulty = [pair for pair in pairs if style_faults(pair.messages[-1]["content"])]
print(f"{len(pairs)} pairs of {len(facts)} facts, {len(faulty)} of them not in house style")
assert not faulty

# %% [markdown]
# ## 2. The chat template
#
# A model reads one sequence of tokens. The *chat template*, which comes with the tokenizer, turns messages into that
# sequence. Special tokens mark where a message begins and ends.

# %%
from labkit.model import render

tokenizer = lab.model.tokenizer
whole = render(tokenizer, pairs[0].messages)
print(whole)

# %% [markdown]
# A text may spell such a mark. If it were read as a real one, a user could speak for someone else, or end an answer
# early. `tokenise` keeps it as plain text: the row has as many special tokens as without it.

# %%
from labkit.tune.prepare import tokenise


def special_tokens(text):
    talk = [{"role": "user", "content": text}, pairs[0].messages[-1]]
    ids, _ = tokenise(Example(talk), tokenizer, limit=lab.profile.context)
    return sum(token in tokenizer.all_special_ids for token in ids)


forged = f"Thanks.{tokenizer.eos_token}"
print(f"{special_tokens('Thanks.')} special tokens, {special_tokens(forged)} with {forged!r}")
assert special_tokens(forged) == special_tokens("Thanks.")

# %% [markdown]
# When the model answers, it gets this string up to the point where the answer begins. Training must show it exactly
# this beginning. After another template, or one extra space, the model would be asked in a form that it never saw.

# %%
prompt = render(tokenizer, pairs[0].messages[:-1], prompt=True)
assert whole.startswith(prompt)
print("learned in training:", repr(whole[len(prompt) :]))

# %% [markdown]
# ## 3. The loss mask
#
# Every token gets a *label*. It is the token itself where the model must learn to write it, and −100 where the model
# only reads; the loss skips −100.

# %%
from labkit.tune.prepare import IGNORED, dataset


def tokens(row):
    """The tokens of a row as text, each with whether it is learned."""
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    return [(tokenizer.decode([token]), label != IGNORED) for token, label in pairs]


# %%
rows = dataset(pairs, tokenizer, limit=lab.profile.context).rows
learned = [text for text, is_learned in tokens(rows[0]) if is_learned]
print(f"{len(learned)} of {len(tokens(rows[0]))} tokens are learned: {'|'.join(learned)}")

# %% [markdown]
# Here is the whole row. Learned tokens are bold and orange, the others grey. A dot stands for a space.

# %%
from html import escape

from IPython.display import HTML


def box(text, is_learned):
    shown = escape(text.replace(" ", "·").replace("\n", "⏎"))
    tag, look = ("b", "#F6C9A8;color:#000") if is_learned else ("span", "#E8E8E8;color:#555")
    return f"<{tag} style='background:{look};padding:2px'>{shown}</{tag}>" + ("<br>" if "\n" in text else "")


boxes = " ".join(box(*token) for token in tokens(rows[0]))
HTML(f"<p style='line-height:2;text-align:left'>{boxes}</p>")

# %% [markdown]
# The last learned token matters most: with it the model says *I am done*. A common recipe also pads with this token,
# then masks all padding. See what that does to our row:

# %%
end = tokenizer.eos_token_id
trapped = {**rows[0], "labels": [IGNORED if token == end else token for token in rows[0]["labels"]]}
for name, row in {"ours": rows[0], "pad = end": trapped}.items():
    text, is_learned = tokens(row)[-1]
    print(f"{name}: the last token {text!r} is {'learned' if is_learned else 'NOT learned: answers would never end'}")

# %% [markdown]
# Without a mask, the model would also spend training on guessing the questions:

# %%
share = sum(label != IGNORED for row in rows for label in row["labels"]) / sum(len(row["labels"]) for row in rows)
print(f"{share:.0%} of all tokens are learned; without a mask, questions and marks would be too: {1 - share:.0%}")
assert 0 < share < 1

# %% [markdown]
# ## 4. Lengths
#
# A model can read only so many tokens, its *context limit*; memory often runs out sooner. The hybrid of lesson 11 reads
# the same questions below five passages, so its examples are several times as long.

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
# Many recipes set `truncation=True` and never check what it cuts. The cut is on the right, where the *answer* stands:


# %%
def cut(limit):
    over = [row["labels"] for row in open_rows if len(row["labels"]) > limit]
    torn = [labels for labels in over if any(label != IGNORED for label in labels[limit:])]
    empty = [labels for labels in torn if all(label == IGNORED for label in labels[:limit])]
    return len(over), len(torn) - len(empty), len(empty)


longest = max(lengths["with passages"])
for limit in (longest, round(0.9 * longest), round(0.75 * longest), longest // 2):
    over, endless, empty = cut(limit)
    losses = f"a cut takes the end of the answer from {endless}, the whole answer from {empty}"
    fits = f"{over} of {len(open_rows)} rows are too long; {losses}" if over else f"all {len(open_rows)} rows fit"
    print(f"at {limit} tokens: {fits}")
assert not cut(longest)[0] and sum(cut(longest // 2)[1:])

# %% [markdown]
# `dataset` never cuts. It refuses and names the example, or drops such examples and lists them:

# %%
from labkit import LabError

try:
    dataset(pairs, tokenizer, limit=max(lengths["question only"]) - 1)
except LabError as error:
    print("refused:", error)

# %%
kept = dataset(pairs, tokenizer, limit=max(lengths["question only"]) - 1, too_long="drop")
print(f"{len(kept.rows)} kept, dropped: {kept.dropped}")
assert len(kept.rows) + len(kept.dropped) == len(pairs)

# %% [markdown]
# ## 5. Three ways to split
#
# A test should show what the model does on what it has *not* seen. But not seen in which sense? The table shows the
# share of test questions whose entity, fact or wording also occurs in training. To split by a tag, we draw from its
# *values*: all pairs with the same value go to the same side.


# %%
def split(pairs, tag, share=0.2):
    """Training and test pairs; without a tag, each pair is drawn alone."""
    values = [f"{n:09d}" if tag is None else pair.tags[tag] for n, pair in enumerate(pairs)]
    groups = sorted(set(values))
    held_out = set(random.Random(0).sample(groups, round(share * len(groups))))
    sides = {True: [], False: []}
    for pair, value in zip(pairs, values, strict=True):
        sides[value in held_out].append(pair)
    return sides[False], sides[True]


# %%
from labkit.tune.leaks import leaks


def between(train, test, near):
    """Questions that both sides ask, in the same words or in nearly the same."""
    return leaks([pair.question for pair in train], [pair.question for pair in test], near)


def overlap(by):
    train, test = split(pairs, by)
    known = {tag: {pair.tags[tag] for pair in train} for tag in ("entity", "fact", "wording")}
    shares = {f"{tag} known": sum(pair.tags[tag] in seen for pair in test) / len(test) for tag, seen in known.items()}
    alike = between(train, test, near=0.8)
    return {"train": len(train), "test": len(test), **shares, "nearly the same question": len(alike)}


# %%
rows_of = {by or "at random": overlap(by) for by in (None, "entity", "wording")}
splits = pd.DataFrame.from_dict(rows_of, orient="index")
splits.round(2)

# %%
assert splits.loc["entity", "fact known"] == 0 and splits.loc["wording", "wording known"] == 0
assert splits.loc["at random", "fact known"] > 0 and splits.loc["at random", "wording known"] > 0

# %% [markdown]
# - **At random**: the test asks for trained facts in trained wordings. The result is too good.
# - **By entity**: training contains nothing about the entities of the test. Use it to test form and skills. A
#   *closed-book* model, which answers without passages, *cannot* know these facts; if it scores on them, it saw them
#   somewhere.
# - **By wording**: the facts were trained, but the test asks in other words. Use it to ask: *did the model learn the
#   fact, or only the sentence?*
#
# The last column counts near-duplicates: two questions, one from each side, that share at least eight tenths of their
# runs of five letters. Are they leaks? A checker only finds candidates; a person must decide.


# %%
def bare(pair):
    return pair.question.removeprefix("Question: ")


train, test = split(pairs, None)
for leak in sorted(between(train, test, near=0.7), key=lambda leak: -leak.similarity)[:4]:
    trained, tested = train[leak.train], test[leak.test]
    same = "same fact" if trained.tags["fact"] == tested.tags["fact"] else "DIFFERENT facts"
    print(f"{leak.similarity:.2f}, {same}: {bare(trained)} / {bare(tested)}")

# %% [markdown]
# ## 6. Plant a leak and look for it
#
# A *leak* is a test question that training has seen, often in another form. We split by entity, which leaves no leak.
# Then we add each test fact to training in four forms.

# %%
train, test = split(pairs, "entity")
assert not between(train, test, near=None)  # no equal questions; near-duplicates are allowed
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
# Five kinds of checker report which training questions are test questions:
#
# - *exact*: the same text;
# - *normalised*: the same text without case, punctuation and articles;
# - *letters*: the share of runs of five letters that two texts have in common;
# - *embedding*: similar meanings;
# - *same answer*: compares the answers, not the questions.

# %%
from labkit.tune.leaks import Leak, near_leaks


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
def reported(hits, some):
    return len({leak.train for leak in hits}) / len(some)


honest = [bare(pair) for pair in train]
kinds_asked = {**planted, "false alarms": honest}
rates = {name: {k: reported(check(q), q) for k, q in kinds_asked.items()} for name, check in checkers.items()}

# %%
answers_of = {
    name: [pair.messages[-1]["content"] for pair in some] for name, some in {"exam": exam, "train": train}.items()
}
by_answer = {kind: reported(leaks(answers_of["exam"], answers_of["exam"]), exam) for kind in planted}
by_answer["false alarms"] = reported(leaks(answers_of["train"], answers_of["exam"]), train)
shares = pd.DataFrame({**rates, "same answer": by_answer}).T
shares.round(3)

# %% [markdown]
# Each row shows the share of training questions that a checker reports. In the last column the questions are honest, so
# each report is a false alarm. A planted pair keeps the answer of its test question, so *same answer* finds it in every
# form. This works here because an answer names its entity. Where answers are "yes", "no" or a grade, this checker would
# report nearly everything.

# %%
assert shares.loc["exact", "copied"] == 1 and shares.loc["exact", "retyped"] == 0
assert shares.loc["normalised", "retyped"] == 1
assert (shares.loc["letters ≥ 0.5"] >= shares.loc["letters ≥ 0.8"]).all()

# %%
for kind in planted:
    best = shares.loc[shares["false alarms"] <= 0.01, kind]
    print(f"{kind}: with at most 1% false alarms, {best.idxmax()} finds most ({best.max():.0%})")

# %% [markdown]
# ## 7. The accuracy that a leak fakes
#
# Now let a model train on a leak. The exam asks about entities that honest training never mentions, so an honest model
# cannot know the answers. We leak a quarter of the exam word for word and a quarter in other words. Half is not leaked.

# %%
count = min(32 if SIZE == "full" else 8, len(exam))
kind_of = ["copied" if n % 4 == 0 else "reworded" if n % 4 == 2 else "not leaked" for n in range(count)]
slipped = [{"copied": exam, "reworded": again}[kind][n] for n, kind in enumerate(kind_of) if kind != "not leaked"]
leaky = train[:24:3] + slipped
pd.Series(kind_of).value_counts(sort=False).rename("exam questions").to_frame()

# %% [markdown]
# We train two models: one on this leaky set, one on what *same answer* leaves of it.

# %%
caught = {leak.train for leak in leaks([pair.messages[-1]["content"] for pair in leaky], answers_of["exam"][:count])}
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
    return [answer.text for answer in model.generate([pair.messages[:-1] for pair in exam[:count]])]


replies = {"leaky": answers_after(leaky), "cleaned": answers_after(clean)}

# %% [markdown]
# The share of right answers, by how the exam question leaked:

# %%
from labkit.metrics import contains
from labkit.stats import bootstrap_mean, paired_bootstrap

right = pd.DataFrame(
    {name: [contains(t, p.tags["value"]) for t, p in zip(texts, exam, strict=False)] for name, texts in replies.items()}
).astype(float)
table = pd.concat([right.groupby(kind_of).mean(), right.mean().rename("the whole exam").to_frame().T])
table.round(2)

# %%
gap = paired_bootstrap(right.leaky, right.cleaned)
cleaned = bootstrap_mean(right.cleaned)
verdict = "the leak fakes accuracy" if gap.low > 0 else "with and without the leak are not told apart"
print(f"accuracy without the leak: {cleaned.mean:.2f} ({cleaned.low:.2f} to {cleaned.high:.2f})")
print(f"faked by the leak: {gap.diff:+.2f} ({gap.low:+.2f} to {gap.high:+.2f}): {verdict} on these questions")

# %% [markdown]
# Nothing looks wrong while the leaky model trains: same code, falling loss. Only a clean split shows the fault. Read
# one answer of each kind:

# %%
shown = pd.DataFrame({"question": questions[:count], "gold": [p.tags["value"] for p in exam[:count]], **replies})
pd.set_option("display.max_colwidth", 110)
shown.groupby(kind_of).head(1).set_axis(list(dict.fromkeys(kind_of)))

# %% [markdown]
# ## 8. Refuse
#
# `refuse_leaks` stops with an error if a training question is a test question. The arms of lesson 12 call it before they
# train. We add each exam question in lower case and under another entity's name, as a careless merge of two files
# would, and split by entity:

# %%
from labkit.tune.leaks import refuse_leaks


def retype(pair):
    system, user, response = pair.messages
    return Example([system, {**user, "content": user["content"].lower()}, response], {"entity": "imported"})


train, test = split(pairs + [retype(pair) for pair in exam], "entity")
try:
    refuse_leaks([pair.question for pair in train], [pair.question for pair in test])
except LabError as error:
    print("refused:", error)

# %% [markdown]
# `leaks` lists them:

# %%
found = between(train, test, near=0.8)
print(f"listed: {len(found)} leaks, the first", found[0])

# %% [markdown]
# ## 9. Files in and out
#
# The usual file format is JSON lines: one conversation per line, under `messages`. Any other fields become tags.

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
# Files from elsewhere have bad rows. A reader that skips them silently trains on less than you think. One that stops at
# the first makes you repair them one by one. Ours reads on and reports each with its line and reason:

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
# Tables have bad rows too. A quote that is never closed could swallow the rest of a file; here it costs one row.

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
# - A row begins with exactly the string that the model gets when it answers. Only the answer and its end token are
#   learned. If the mask hides the end token, the model never learns to stop.
# - A length limit that cuts removes answers. Count what it would remove; then shorten, drop or raise the limit.
# - A random split puts the same facts and wordings on both sides. Split by entity to test skills, by wording to test
#   knowledge.
# - An exact comparison finds copies and misses retyped ones. A looser checker finds at least as many; look at its false
#   alarms before you trust it.
# - The accuracy that a leak fakes can be measured: section 7 prints it with its interval.
# - A good reader accounts for every row: good, or bad with its line and reason.
#
# ## Exercises
#
# 1. In section 7, clean the leaky set with the `exact` checker only, and train again. How much of the faked accuracy is
#    left?
# 2. Split by `"fact"` instead of `"entity"`. Which questions are now near-duplicates, one on each side, and are they
#    leaks?
# 3. Draw one wording for each fact instead of three, and split at random. What changes in the table of section 5?
# 4. Find the lowest threshold at which *letters* reports no honest question. What share of the framed ones does it
#    still find?
