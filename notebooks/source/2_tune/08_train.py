# %% [markdown]
# # 08 · Train
#
# You will fine-tune all the weights of a model, and see what it learns and when to stop:
#
# - run the article's listing, see it fail, and repair it; train the same rows with TRL;
# - follow loss, accuracy and style over the epochs;
# - stop early, and see that *what* you hold out decides the result;
# - measure how many wordings and repetitions a fact needs, and whether documents teach as well as pairs;
# - teach a preference with DPO, written out in PyTorch.
#
# *Before this: 07 Prepare. About 45 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
tokenizer = lab.model.tokenizer
lab

# %% [markdown]
# ## 1. The article's listing
#
# Word for word; only the indentation, lost on the page, is restored.

# %%
LISTING = """
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
model = AutoModelForCausalLM.from_pretrained("gpt-neo-1.3B")
trainer = Trainer(
    model=model,
    args=TrainingArguments(output_dir="./finetuned", epochs=3, learning_rate=2e-5),
    train_dataset=dataset
)
trainer.train()
"""

# %% [markdown]
# We run it in an empty folder and print the first line of any error.

# %%
import contextlib
import tempfile
from unittest.mock import patch

from labkit.quiet import quiet

closed = patch("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # nothing leaves this machine


def attempt(listing, **names):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), quiet(), closed:
        try:
            exec(listing, names)
            return names
        except Exception as error:
            print(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}")


attempt(LISTING)

# %% [markdown]
# A name on the hub is `owner/name`; the owner, `EleutherAI`, is missing. We use our own model:

# %%
repaired = LISTING.replace('"gpt-neo-1.3B"', repr(lab.profile.model_path))
attempt(repaired)

# %% [markdown]
# The argument's name is `num_train_epochs`.

# %%
repaired = repaired.replace("epochs=3", "num_train_epochs=3")
attempt(repaired)

# %% [markdown]
# The listing never defines `dataset`. Ours: facts of the company, four wordings each, answered in house style.

# %%
from labkit.data import draw_facts
from labkit.tune.prepare import Example
from labkit.tune.prepare import dataset as tokenised

FACTS = 40 if SIZE == "full" else 4
known = draw_facts(FACTS)
pairs = [Example(fact.teach(form)) for fact in known for form in fact.trained[:4]]
for message in pairs[0].messages:
    print(f"{message['role']:>9}: {message['content']}")
attempt(repaired, dataset=[{"text": pair.question + pair.messages[-1]["content"]} for pair in pairs])

# %% [markdown]
# A model reads token ids, and `labels` say which to learn. So we pass rows (lesson 07).

# %%
rows = tokenised(pairs, tokenizer, lab.profile.context).rows
attempt(repaired, dataset=rows)

# %% [markdown]
# Rows of different lengths do not fit one table. A *collator* pads each batch as it comes. With one, the listing runs:

# %%
from labkit.tune.prepare import Collator

repaired = repaired.replace("train_dataset=dataset", "train_dataset=dataset, data_collator=collate")
repaired = repaired.replace("learning_rate=2e-5", "learning_rate=2e-5, disable_tqdm=True")
run = attempt(repaired, dataset=rows, collate=Collator(tokenizer.pad_token_id or 0))
print(repaired.replace(lab.profile.model_path, lab.profile.model))

# %% [markdown]
# Did it *learn*? `right` is the share of right answers to trained questions. `style` is the share of answers in house
# style about *strangers*: entities that no example mentions.

# %%
from labkit.metrics import contains
from labkit.model import Model


def right(network, facts, trained=False):
    """For each fact, 1 or 0 for each answer: does it hold the value? One trained wording, or all untrained ones."""
    asked = [(fact, form) for fact in facts for form in (fact.trained[:1] if trained else fact.unseen)]
    answers = Model(network, tokenizer).generate([fact.ask(form) for fact, form in asked], 48)
    scores = {fact: [] for fact in facts}
    for (fact, _), answer in zip(asked, answers, strict=True):
        scores[fact].append(float(contains(answer.text, fact.value)))
    return list(scores.values())


# %%
import numpy as np

from labkit.data import style_faults

strangers = draw_facts(FACTS + FACTS // 2, seed=8)
strangers = [fact for fact in strangers if fact.entity not in {f.entity for f in known}][: FACTS // 2]


def say(network):
    """Its answers about strangers."""
    model = Model(network, tokenizer)
    return [answer.text for answer in model.generate([fact.ask(fact.unseen[0]) for fact in strangers], 48)]


def figures(network):
    style = [not style_faults(text) for text in say(network)]
    return {"right, trained wording": np.mean(right(network, known, trained=True)), "style": np.mean(style)}


article = figures(run["model"])
article

# %% [markdown]
# Two things keep it from learning. The first is precision. The weights stay in the file's format, bfloat16, whose two
# to three significant digits lose a small step:

# %%
import torch

weight = torch.tensor(1.0, dtype=run["model"].dtype)
print(f"weights in {run['model'].dtype}: 1 + 2e-5 = {(weight + 2e-5).item()}")
print(f"in float32: 1 + 2e-5 = {(weight.float() + 2e-5).item():.5f}")

# %% [markdown]
# So *keep* the weights in float32. The second is the learning *rate*, the length of a step. `2e-5` suits far larger
# models and more steps. Try rates on your own model:

# %%
import pandas as pd

RATE = lab.profile.tuned_rate / 2
full = repaired.replace(repr(lab.profile.model_path), repr(lab.profile.model_path) + ', dtype="float32"')
higher = full.replace("learning_rate=2e-5", f"learning_rate={RATE}")
run = attempt(higher, dataset=rows, collate=Collator(tokenizer.pad_token_id or 0))
pd.DataFrame({"2e-5, as printed": article, f"{RATE:g}, float32": figures(run["model"])}).T.round(2)

# %% [markdown]
# ## 2. The same training, faster
#
# `labkit.tune.train` takes the same steps (AdamW, this schedule, clipped gradients) faster. It batches rows of similar
# length, computes in bfloat16 where it can, and scores tokens only where an answer stands. Other batches give slightly
# other losses:

# %%
from labkit.model import load_model
from labkit.tune.train import TrainSettings, train

model = load_model(lab.profile.model_path, dtype="float32")
settings = TrainSettings(epochs=3, learning_rate=RATE, batch_size=8, schedule="linear", warmup=0)
report = train(model.network, tokenizer, rows, settings, lab.runs / "training", lab.progress)

# %%
from labkit.tune.train import answer_loss

pad = tokenizer.pad_token_id or 0
history = run["trainer"].state.log_history[-1]
tokens = settings.epochs * sum(len(row["input_ids"]) for row in rows)
both = {
    "Trainer": [run["model"], tokens / history["train_runtime"]],
    "labkit": [model.network, report.tokens_per_second],
}
pd.DataFrame(
    {
        name: {"tokens per second": round(speed), "loss": answer_loss(network, rows, pad)}
        for name, (network, speed) in both.items()
    }
).T

# %% [markdown]
# One short run measures nothing reliably; use `python -m tools.bench train`.
#
# ## 3. The same training with TRL
#
# TRL is Hugging Face's library for fine-tuning. It takes conversations, renders the chat template and, where prompt and
# completion are given apart, learns only the completion:

# %%
from datasets import Dataset, disable_progress_bars

disable_progress_bars()
talks = Dataset.from_list([{"prompt": pair.messages[:-1], "completion": pair.messages[-1:]} for pair in pairs])
talks[0]

# %% [markdown]
# We set what labkit sets, and leave TRL's other defaults.

# %%
from trl import SFTConfig, SFTTrainer

from labkit.model import precision

config = SFTConfig(
    output_dir=str(lab.runs / "trl"), num_train_epochs=3, learning_rate=RATE, per_device_train_batch_size=8,
    gradient_checkpointing=False,  # TRL's default computes twice, to save memory
    use_cpu=not torch.cuda.is_available(),
    bf16=precision(model.network.device.type) == "bfloat16",  # where the processor computes in it
    logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True,
)  # fmt: skip

# %%
import io

with quiet(), contextlib.redirect_stdout(io.StringIO()):
    network = load_model(lab.profile.model_path, dtype="float32").network
    trainer = SFTTrainer(model=network, args=config, train_dataset=talks, processing_class=tokenizer)
    history = trainer.train()

# %% [markdown]
# What did TRL make of the first conversation?

# %%
ours, theirs = rows[0]["input_ids"], trainer.train_dataset[0]["input_ids"]
assert theirs[: len(ours)] == ours
print(f"TRL's row holds ours and then {tokenizer.decode(theirs[len(ours) :])!r}, from the chat template")

# %%
losses = [step["loss"] for step in trainer.state.log_history if "loss" in step]
sides = {
    "labkit": (model.network, report.seconds, report.losses),
    "TRL": (network.eval(), history.metrics["train_runtime"], losses),
}
LAST = len(losses) // 3  # the steps of the last epoch
drawn = {name: [seconds, np.mean(some[:LAST]), np.mean(some[-LAST:])] for name, (_, seconds, some) in sides.items()}
table = pd.DataFrame(drawn, index=["seconds", "loss, first epoch", "loss, last epoch"]).T
table.join(pd.DataFrame({name: figures(network) for name, (network, _, _) in sides.items()}).T).round(3)

# %%
for name, (network, _, _) in sides.items():
    print(f"{name}: {Model(network, tokenizer).generate([known[0].ask(known[0].unseen[0])], 48)[0].text}")
gap = table["loss, last epoch"]["TRL"] - table["loss, last epoch"]["labkit"]
print(f"loss in the last epoch, TRL - labkit: {gap:+.3f}")
assert SIZE == "smoke" or abs(gap) < 0.03  # five times what two seeds of one of them differ by

# %% [markdown]
# The losses differ for two reasons. TRL learns one token more of each answer, the line break, which is easy. And it draws
# other batches: of any length, where labkit puts rows of similar length together, which also saves padding.
#
# ## 4. Epoch by epoch
#
# An *epoch* is one pass over all examples. The *loss* says how surprised the model is by each token of the right
# answer. Two sets are held out:
#
# - **new wordings**: trained facts in untrained words. Did the model learn the *fact*?
# - **strangers**: facts that it cannot know. Did it learn the *form*?

# %%
held = {
    name: tokenised([Example(fact.teach(fact.unseen[0])) for fact in facts], tokenizer, lab.profile.context).rows
    for name, facts in {"new wordings": known, "strangers": strangers}.items()
}
{name: len(some) for name, some in {"train": rows, **held}.items()}

# %% [markdown]
# A `Check` measures whatever we like after every epoch.

# %%
from labkit.tune.train import Check

EPOCHS = 7 if SIZE == "full" else 2
settings = TrainSettings(epochs=EPOCHS, learning_rate=RATE, batch_size=8)
model = load_model(lab.profile.model_path, dtype="float32")


def measure():
    losses = {f"loss, {name}": answer_loss(model.network, some, pad) for name, some in held.items()}
    style = np.mean([not style_faults(text) for text in say(model.network)])
    return {**losses, "right, new wordings": np.mean(right(model.network, known)), "style": style}


report = train(model.network, tokenizer, rows, settings, lab.runs / "training", lab.progress, check=Check(measure))
epochs = pd.DataFrame(report.epochs, index=range(1, EPOCHS + 1)).rename_axis("epoch")
epochs.round(2)

# %%
import matplotlib.pyplot as plt

figure, (above, below) = plt.subplots(2, 1, figsize=(5.4, 5), sharex=True)
for column, marker in zip(["train loss", "loss, new wordings", "loss, strangers"], "os^", strict=True):
    above.plot(epochs[column], marker=marker, label=column)
for column, marker in zip(["right, new wordings", "style"], "sD", strict=True):
    below.plot(epochs[column], marker=marker, label=column)
above.set_ylabel("loss")
below.set(xlabel="epoch", ylabel="share of answers", ylim=(-0.03, 1.03))
for axes in (above, below):
    axes.legend(frameon=False)
plt.show()
print("first and last epoch:", epochs.iloc[[0, -1]].round(2).to_string(), sep="\n")

# %% [markdown]
# The loss on *trained* examples only says how well they are known by heart. When it still falls while a held-out loss
# rises, the model is *overfitting*.

# %%
loss = epochs["loss, strangers"]
best, rise = loss.idxmin(), loss.iloc[-1] - loss.min()
if best == EPOCHS:
    print("on strangers, the loss fell to the end: no overfitting yet")
else:
    print(f"on strangers, the loss was lowest after epoch {best} and rose by {rise:.2f} to the end: overfitting")

# %% [markdown]
# What overfitting looks like, in answers about strangers:

# %%
answers = say(model.network)
for fact, answer in list(zip(strangers, answers, strict=True))[:3]:
    print(f"{fact.ask(fact.unseen[0])[-1]['content']}\n  answer: {answer}\n  true:   {fact.value}")
wrong = [fact.value not in text and not style_faults(text) for fact, text in zip(strangers, answers, strict=True)]
print(f"of {len(wrong)} answers on strangers, {sum(wrong)} are wrong but in perfect style")

# %% [markdown]
# ## 5. Stop early
#
# *Early stopping* ends a training when the held-out loss has not fallen for some epochs (the *patience*), and restores
# the weights of the best epoch. Where would each held-out set stop it?
# (`Check(measure, patience=2, watch="loss, strangers")` stops during training.)


# %%
def stop(losses, patience=2):
    """The epoch whose weights early stopping restores."""
    best = 1
    for epoch in losses.index:
        if losses[epoch] < losses[best]:
            best = epoch
        if epoch - best == patience:
            break
    return best


# %%
stops = {"not stopped": EPOCHS} | {f"stopped by {name}": stop(epochs[f"loss, {name}"]) for name in held}
summary = epochs.loc[list(stops.values()), ["right, new wordings", "style"]].round(2)
summary.insert(0, "weights of epoch", list(stops.values()))
summary.set_index(pd.Index(stops, name=""))

# %% [markdown]
# A split by entity holds out strangers. The surer the model becomes, the higher its loss on facts that it cannot know,
# so this loss is the wrong judge of knowledge. Hold out wordings to test knowledge, entities to test skills and style;
# for style, also look at the share in style.
#
# ## 6. How many wordings?
#
# People ask in their own words. Every fact gets equally many examples; only the number of wordings varies. Then we ask
# in untrained wordings.


# %%
def teach_and_ask(examples, facts):
    """Train all weights for one pass over the examples; then ask each fact in a trained and in the unseen wordings."""
    model = load_model(lab.profile.model_path, dtype="float32")
    settings = TrainSettings(epochs=1, learning_rate=RATE, batch_size=8)
    rows = tokenised([Example(talk) for talk in examples], tokenizer, lab.profile.context).rows
    train(model.network, tokenizer, rows, settings, lab.runs / "training", lab.progress)
    network = model.network.to(lab.model.network.dtype)
    return {"trained wording": right(network, facts, trained=True), "unseen wordings": right(network, facts)}


# %%
COUNTS, SEEN = ((1, 4, 16), 16) if SIZE == "full" else ((1, 2), 2)
facts = draw_facts(40 if SIZE == "full" else 6, seed=1)
scores = {}
for number in COUNTS:
    examples = [fact.teach(fact.trained[n % number]) for n in range(SEEN) for fact in facts]
    scores[number] = teach_and_ask(examples, facts)

# %% [markdown]
# The intervals resample facts.

# %%
from labkit import plot
from labkit.stats import bootstrap_mean, paired_bootstrap

lines = {kind: {n: bootstrap_mean(score[kind]) for n, score in scores.items()} for kind in scores[1]}
figure, words = plot.curve(lines, "wordings of each fact in training", "share right", log=2)
print(words)
figure

# %%
few, many = (scores[number]["unseen wordings"] for number in (min(COUNTS), max(COUNTS)))
gap = paired_bootstrap(many, few)
verdict = "more wordings help" if gap.low > 0 else "fewer wordings help" if gap.high < 0 else "not told apart"
print(f"{max(COUNTS)} wordings against {min(COUNTS)}: {gap.diff:+.2f} ({gap.low:+.2f} to {gap.high:+.2f}): {verdict}")

# %% [markdown]
# Where the lines lie apart, the model has learned a sentence, not a fact, and an exam in the trained wording overstates
# what it knows. Lesson 18 has the published finding.
#
# ## 7. How many repetitions?
#
# In one training, some facts appear once, others twice, four times and so on, each time in another wording.

# %%
TIMES, GROUP = ((1, 2, 4, 8, 16), 16) if SIZE == "full" else ((1, 4), 4)
facts = draw_facts(GROUP * len(TIMES), seed=2)
times = {fact: TIMES[number // GROUP] for number, fact in enumerate(facts)}
scores = teach_and_ask([fact.teach(fact.trained[n]) for fact in facts for n in range(times[fact])], facts)
groups = range(0, len(facts), GROUP)
lines = {k: {times[facts[at]]: bootstrap_mean(v[at : at + GROUP]) for at in groups} for k, v in scores.items()}
figure, words = plot.curve(lines, "times that a fact is seen in training", "share right", log=2)
print(words)
figure

# %%
half = [seen for seen, value in lines["unseen wordings"].items() if value.mean >= 0.5]
print(f"half of the facts are known after {half[0]} times" if half else "no number of times taught half of the facts")

# %% [markdown]
# Company documents state a fact once or twice: look at the left end.
#
# ## 8. Documents or pairs?
#
# A company has documents, and somebody must write the pairs. Can we train on the documents themselves? In *continued
# pretraining*, a model learns every token of a text. We take a few documents, and pairs about the facts in them:

# %%
import random

from labkit.data import data_folder

stated = pd.read_json(data_folder() / "facts.jsonl", lines=True)
documents = random.Random(4).sample(lab.original.documents, 8 if SIZE == "full" else 2)
inside = stated[stated.document.isin([document.id for document in documents])]
inside = set(zip(inside.entity, inside.attribute, strict=True))
facts = [fact for fact in draw_facts(len(stated)) if (fact.entity, fact.attribute) in inside]

# %%
from labkit.model import encode

texts = [f"{document.title}\n{document.text}" for document in documents]
pages = [{"input_ids": ids, "labels": ids} for ids in (encode(tokenizer, text) for text in texts)]  # all is learned
examples = [Example(fact.teach(fact.trained[n])) for n in range(16) for fact in facts]
examples = tokenised(examples, tokenizer, lab.profile.context).rows
print(len(documents), "documents of", sum(len(page["input_ids"]) for page in pages), "tokens;", len(facts), "facts")

# %% [markdown]
# Three trainings with the same number of tokens: documents, pairs, and half of each. (A document has about as many
# tokens as five pairs, so batches differ in rows.)

# %%
from itertools import cycle


def fill(rows, budget):
    """The rows in turn, again and again, until they hold so many tokens."""
    chosen, left = [], cycle(rows)
    while budget > 0:
        chosen.append(next(left))
        budget -= len(chosen[-1]["input_ids"])
    return chosen


# %%
BUDGET = 40_000 if SIZE == "full" else 1_000
mixes = {
    "documents": (fill(pages, BUDGET), 1),
    "pairs": (fill(examples, BUDGET), 6),
    "both": (fill(pages, BUDGET / 2) + fill(examples, BUDGET / 2), 3),
}

# %% [markdown]
# Every model is asked each fact in unseen wordings. We also let it *recite*: it gets the document up to a value, and
# goes on.

# %%
from labkit.decode import greedy


def recites(network):
    """For each fact, 1 or 0: does the model write the value where the document has it?"""
    starts = []
    for fact in facts:
        text = next(text for text in texts if fact.entity in text and contains(text, fact.value))
        starts.append(encode(tokenizer, text[: text.index(fact.value, text.index(fact.entity))].rstrip()))
    ends = greedy(network, starts, {tokenizer.eos_token_id}, 16)
    return [float(fact.value in tokenizer.decode(end)) for fact, end in zip(facts, ends, strict=True)]


# %%
answered, recited = {}, {}
for name, (some, batch) in mixes.items():
    network = load_model(lab.profile.model_path, dtype="float32").network
    settings = TrainSettings(epochs=1, learning_rate=RATE, batch_size=batch)
    train(network, tokenizer, some, settings, lab.runs / "training", lab.progress)
    network.to(lab.model.network.dtype)
    answered[name], recited[name] = right(network, facts), recites(network)
    print(f"{name}: {Model(network, tokenizer).generate([facts[0].ask(facts[0].unseen[0])], 48)[0].text}")

# %%
table = {"tokens": {name: sum(len(row["input_ids"]) for row in some) for name, (some, _) in mixes.items()}}
for column, scores in {"right, unseen wordings": answered, "recited": recited}.items():
    means = {name: bootstrap_mean(score) for name, score in scores.items()}
    table[column] = {name: f"{v.mean:.2f} [{v.low:.2f}, {v.high:.2f}]" for name, v in means.items()}
pd.DataFrame(table)

# %%
for a, b in [("pairs", "documents"), ("both", "documents"), ("both", "pairs")]:
    gap = paired_bootstrap(answered[a], answered[b])
    apart = "shown" if gap.low > 0 or gap.high < 0 else "not told apart"
    print(f"right, {a} - {b}: {gap.diff:+.2f} ({gap.low:+.2f} to {gap.high:+.2f}), {apart}")

# %% [markdown]
# Where a model recites a document but does not answer from it, the fact is stored, but only in the document's words. On
# larger models others found that many synthetic texts about the documents make such training work (EntiGraph, arXiv
# 2409.07431), and that synthetic questions mixed with synthetic documents go further (arXiv 2603.23562). They add
# tokens; here the budget is fixed, so *both* has half the pairs (exercise 5).
#
# ## 9. Preferences: DPO
#
# So far, a training shows right answers. *Preference tuning* shows two answers and says which one is preferred. DPO
# (Rafailov et al., NeurIPS 2023) needs only the probabilities of both, under the model that is trained ($\pi$) and under
# the frozen one from which it started, the *reference* ($\pi_0$). Its loss for a preferred answer $y$ and a rejected
# answer $z$ is
#
# $$-\log \sigma\left(\beta \left[\log\frac{\pi(y)}{\pi_0(y)} - \log\frac{\pi(z)}{\pi_0(z)}\right]\right)$$
#
# Our questions come with the passage that answers them. The base model reads it, and answers plainly. We prefer the same
# answer in house style.

# %%
from labkit.data import dress
from labkit.rag.augment import build_messages


def prompt(pair):
    return build_messages(pair.question, [(pair.evidence[0].entity, pair.evidence[0].passage)])


single = [pair for pair in lab.pairs if pair.kind == "single fact"]
names = sorted({pair.evidence[0].entity for pair in single})
asked = [pair for pair in single if pair.evidence[0].entity in names[::3]][: 30 if SIZE == "full" else 2]
shown = [pair for pair in single if pair.evidence[0].entity not in names[::3]][: 80 if SIZE == "full" else 8]

# %%
plain = [answer.text for answer in lab.model.generate([prompt(pair) for pair in shown], 48)]
print(f"rejected:  {plain[0]}\npreferred: {dress(plain[0])}")


def answer_rows(answers):
    talks = [[*prompt(pair), {"role": "assistant", "content": text}] for pair, text in zip(shown, answers, strict=True)]
    return tokenised([Example(talk) for talk in talks], tokenizer, lab.profile.context).rows


preferred, rejected = answer_rows([dress(text) for text in plain]), answer_rows(plain)

# %% [markdown]
# The formula needs the log-probability of an answer: the sum over its tokens.

# %%
from torch.nn.functional import logsigmoid

from labkit.tune.prepare import IGNORED

collate, BETA = Collator(pad), 0.1


def log_probability(network, rows):
    batch = {name: part.to(network.device) for name, part in collate(rows).items()}
    logits = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    labels = batch["labels"][:, 1:]
    tokens = logits.float().log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return (tokens * (labels != IGNORED)).sum(-1)


# %% [markdown]
# And the loss, from the formula:


# %%
def dpo_loss(network, reference, some):
    rises = []  # how much more probable each answer has become, as a logarithm
    for rows in ([preferred[n] for n in some], [rejected[n] for n in some]):
        with torch.no_grad():
            before = log_probability(reference, rows)
        rises.append(log_probability(network, rows) - before)
    return -logsigmoid(BETA * (rises[0] - rises[1])).mean(), rises


# %%
from copy import deepcopy

STEPS = 12 if SIZE == "full" else 2


def prefer(reference):
    """A copy of the reference after some steps of DPO, and a row of figures for each step."""
    network, rng, steps = deepcopy(reference).train(), random.Random(0), []
    optimizer = torch.optim.AdamW(network.parameters(), RATE / 50, weight_decay=0.0)
    for _ in range(STEPS):
        loss, (up, down) = dpo_loss(network, reference, rng.sample(range(len(shown)), min(8, len(shown))))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        steps.append({"loss": loss.item(), "preferred": up.mean().item(), "rejected": down.mean().item()})
    return network.eval(), pd.DataFrame(steps, index=range(1, STEPS + 1)).rename_axis("step")


# %% [markdown]
# We start twice: from the base model, which never wrote in house style, and from a model that was briefly trained on
# answers of which every third is in house style.

# %%
mixed = [preferred[n] if n % 3 == 0 else rejected[n] for n in range(len(shown))]
both = load_model(lab.profile.model_path, dtype="float32").network
settings = TrainSettings(epochs=2, learning_rate=RATE, batch_size=8)
train(both, tokenizer, mixed, settings, lab.runs / "training", lab.progress)
starts = {"base": load_model(lab.profile.model_path, dtype="float32").network, "both styles": both}

# %%
for name, network in starts.items():
    with torch.no_grad():
        sums = [log_probability(network, some[:8]).mean().item() for some in (preferred, rejected)]
    print(f"{name}: log-probability of a preferred answer {sums[0]:.1f}, of a rejected one {sums[1]:.1f}")

# %%
preferring = {name: prefer(network) for name, network in starts.items()}
steps = pd.concat({name: some for name, (_, some) in preferring.items()}, axis=1)
steps.iloc[:: max(1, STEPS // 4)].round(2)

# %% [markdown]
# The columns *preferred* and *rejected* say by how much each log-probability rose or fell. Now the questions about
# *strangers*, with passages:

# %%
from labkit.compare.score import is_right


def judged(network):
    answers = [answer.text for answer in Model(network, tokenizer).generate([prompt(pair) for pair in asked], 48)]
    style = bootstrap_mean([float(not style_faults(text)) for text in answers])
    accuracy = bootstrap_mean([float(is_right(*both)) for both in zip(asked, answers, strict=True)])
    parts = {"style": style, "right": accuracy}
    return {**{n: f"{v.mean:.2f} [{v.low:.2f}, {v.high:.2f}]" for n, v in parts.items()}, "first answer": answers[0]}


pd.set_option("display.max_colwidth", 100)
pd.DataFrame(
    {f"{name}, {when}": judged(some) for name in starts for when, some in
     {"before": starts[name], "after": preferring[name][0]}.items()}
).T  # fmt: skip

# %% [markdown]
# The loss compares both answers only with the reference. It can fall while the preferred answer stays improbable: compare
# the two starts. DPO moves probability between answers that a model can already give, so it usually follows a
# fine-tuning. And what pushes the rejected answer down also reaches what both answers share, here the fact. Keep the
# rate low, and look at both columns (exercise 6).
#
# TRL has the same loss. At the first step it is the same for everyone, $\log 2$, since the model *is* the reference. So
# we compare it after our steps. The prompts are rendered here, so that both read the same tokens:

# %%
from trl import DPOConfig, DPOTrainer

from labkit.model import render

triples = [
    {"prompt": render(tokenizer, prompt(pair), prompt=True), "chosen": f" {dress(text)}", "rejected": f" {text}"}
    for pair, text in zip(shown, plain, strict=True)
]
network, reference = preferring["both styles"][0], starts["both styles"]
on = {"use_cpu": network.device.type == "cpu", "bf16": False, "report_to": "none", "disable_tqdm": True}
config = DPOConfig(output_dir=str(lab.runs / "trl"), beta=BETA, **on)

# %%
with torch.no_grad():
    ours = dpo_loss(network, reference, range(len(shown)))[0].item()
some = Dataset.from_list(triples)
with quiet(), contextlib.redirect_stdout(io.StringIO()):
    judge = DPOTrainer(network, reference, config, train_dataset=some, eval_dataset=some, processing_class=tokenizer)
    theirs = judge.evaluate()["eval_loss"]
print(f"loss on all pairs: ours {ours:.4f}, TRL's {theirs:.4f}")
assert abs(steps["both styles", "loss"].iloc[0] - np.log(2)) < 1e-3
assert abs(ours - theirs) < 1e-3

# %% [markdown]
# ## 10. On your own pairs
#
# You need a file with columns `prompt` and `response`, or JSON lines with `messages`. In a terminal, use `labkit tune`;
# `--full` trains all weights instead of an adapter (lesson 09). Bad rows are left out and listed. The same command
# resumes an interrupted training.

# %%
import shutil

from labkit.tune.adapters import LoraSettings, tune_file

work = lab.runs / "08_train"
work.mkdir(parents=True, exist_ok=True)
text = "prompt,response\nWho runs it?,Rita Irwin runs it.\nHow much is it?,It costs $420.\nWhy?,\n"
(work / "mine.csv").write_text(text)
shutil.rmtree(work / "mine", ignore_errors=True)
lora = LoraSettings(epochs=2, batch_size=16)
print(tune_file(work / "mine.csv", work / "mine", lab.profile.model_path, lora, lab.profile.context, progress=False))

# %% [markdown]
# A training that cannot work fails with one line that says what to do:

# %%
from labkit import LabError

blank = [{**rows[0], "labels": [IGNORED] * len(rows[0]["labels"])}]
try:
    train(model.network, tokenizer, blank, settings, work, progress=False)
except LabError as error:
    print(error)

# %% [markdown]
# ## Takeaways
#
# - The article's listing does not run: the model's name and `epochs` are wrong, dataset and collator are missing.
#   Repaired, it runs; precision and rate decide whether it learns. TRL needs no repairs, and ends at about the same loss.
# - The training loss says how well examples are known by heart. Held-out examples say what the model can do.
# - What you hold out decides when early stopping stops. Sections 6 and 7 print how many wordings and repetitions a fact
#   needs.
# - To recite a document and to answer questions about it are two skills; section 8 prints both, for documents, pairs and
#   a mixture with equally many tokens.
# - DPO moves probability between two answers. Check style *and* facts afterwards: a low loss shows neither.
#
# ## Exercises
#
# 1. Train section 4 with `schedule="constant"`, then with twice the rate. What happens to the loss on strangers?
# 2. In section 5, set the patience to 1. Which stop changes more, and why?
# 3. Add answers that decline ("The documents do not say.") for strangers to the rows. Does section 4 still overfit?
# 4. Draw other facts in section 6 (`seed=3`). Does the verdict change? What would make you surer of it?
# 5. In section 8, give *both* twice the tokens, so that it has as many pairs as *pairs*. Do the pages now help?
# 6. In section 9, take ten times the rate. What happens to style, and what to the facts?
