# %% [markdown]
# # 08 · Train
#
# You will fine-tune all the weights of a model, and see what it learns and when to stop:
#
# - run the article's listing, see it fail, and repair it;
# - follow loss, accuracy and style over the epochs;
# - stop early, and see that *what* you hold out decides the result;
# - measure how many wordings and repetitions a fact needs.
#
# *Before this: 07 Prepare. About 30 minutes.*

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
# ## 3. Epoch by epoch
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

EPOCHS = 10 if SIZE == "full" else 2
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
# ## 4. Stop early
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
# ## 5. How many wordings?
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
# ## 6. How many repetitions?
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
# ## 7. On your own pairs
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
from labkit.tune.prepare import IGNORED

blank = [{**rows[0], "labels": [IGNORED] * len(rows[0]["labels"])}]
try:
    train(model.network, tokenizer, blank, settings, work, progress=False)
except LabError as error:
    print(error)

# %% [markdown]
# ## Takeaways
#
# - The article's listing does not run: the model's name and `epochs` are wrong, dataset and collator are missing.
#   Repaired, it runs; precision and rate decide whether it learns.
# - The training loss says how well examples are known by heart. Held-out examples say what the model can do.
# - What you hold out decides when early stopping stops. Sections 5 and 6 print how many wordings and repetitions a fact
#   needs.
#
# ## Exercises
#
# 1. Train section 3 with `schedule="constant"`, then with twice the rate. What happens to the loss on strangers?
# 2. In section 4, set the patience to 1. Which stop changes more, and why?
# 3. Add answers that decline ("The documents do not say.") for strangers to the rows. Does section 3 still overfit?
# 4. Draw other facts in section 5 (`seed=3`). Does the verdict change? What would make you surer of it?
