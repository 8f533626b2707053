# %% [markdown]
# # 08 · Train
#
# You will fine-tune all the weights of a model, and see what it learns, how fast, and when to stop:
#
# - run the article's listing as printed, see what fails, and mend it;
# - watch the loss on trained and on held-out examples, the accuracy and the style, epoch by epoch;
# - stop early, and find out that *what* you hold out decides what you get;
# - kill a training for real, and let it go on;
# - measure how many wordings and how many repetitions a fact needs.
#
# *Before this: 07 Prepare. About 40 minutes.*

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
# Here it is, word for word; only the indentation, which the page had lost, is put back.

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
# We run it in a folder of its own, and print the first line of what comes back.

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
# No such model: a name on the hub is `owner/name`, and this one lacks its owner, `EleutherAI`. (Here the hub is
# closed anyway.) We put in our own model, and go on to the next line:

# %%
mended = LISTING.replace('"gpt-neo-1.3B"', repr(lab.profile.model_path))
attempt(mended)

# %% [markdown]
# `TrainingArguments` has never had an argument `epochs`. It is `num_train_epochs`.

# %%
mended = mended.replace("epochs=3", "num_train_epochs=3")
attempt(mended)

# %% [markdown]
# And nobody made a `dataset`. Ours: forty facts, each asked in four wordings and answered in house style, as in lesson
# 07.

# %%
from labkit.compare import curves
from labkit.tune.prepare import dataset as tokenised

FACTS = 40 if SIZE == "full" else 8
known = curves.facts(FACTS)
pairs = [fact.example(form) for fact in known for form in fact.trained[:4]]
for message in pairs[0].messages:
    print(f"{message['role']:>9}: {message['content']}")
attempt(mended, dataset=[{"text": pair.question + pair.messages[-1]["content"]} for pair in pairs])

# %% [markdown]
# Text is not enough: a model reads token ids, and `labels` say which of them to learn. So we give it rows.

# %%
rows = tokenised(pairs, tokenizer, lab.profile.context).rows
attempt(mended, dataset=rows)

# %% [markdown]
# Rows of different length make no table. Either all are padded beforehand, or a *collator* pads each batch as it
# comes. With one, the listing runs:

# %%
from labkit.tune.prepare import Collator

mended = mended.replace("train_dataset=dataset", "train_dataset=dataset, data_collator=collate")
mended = mended.replace("learning_rate=2e-5", "learning_rate=2e-5, disable_tqdm=True")
made = attempt(mended, dataset=rows, collate=Collator(tokenizer.pad_token_id or 0))
print(mended.replace(lab.profile.model_path, lab.profile.model))

# %% [markdown]
# It ran. Did it *learn*? `right` is the share of right answers to questions that it was trained on, `style` the share
# in house style of its answers to questions about other things, the *strangers*.

# %%
from labkit.data import style_faults
from labkit.model import Model

strangers = curves.facts(FACTS + FACTS // 2, seed=8)
strangers = [fact for fact in strangers if fact.entity not in {f.entity for f in known}][: FACTS // 2]


def said(network, some):
    model = Model(network, tokenizer)
    return [made.text for made in model.generate([fact.ask(fact.unseen[0]) for fact in some], 48)]


def share(verdicts):
    return sum(verdicts) / len(verdicts)


def figures(network):
    right = curves.right(Model(network, tokenizer), known, trained=True)
    style = [not style_faults(text) for text in said(network, strangers)]
    return {"right, trained wording": share([row[0] for row in right]), "style": share(style)}


article = figures(made["model"])
article

# %% [markdown]
# Two things stand in its way. The first is the precision of the weights, which `from_pretrained` takes from the file.
# In bfloat16 a number has two to three significant digits, and a small step from it leads nowhere:

# %%
import torch

weight = torch.tensor(1.0, dtype=made["model"].dtype)
print(f"weights in {made['model'].dtype}: 1 + 2e-5 = {(weight + 2e-5).item()}")
print(f"in float32: 1 + 2e-5 = {(weight.float() + 2e-5).item():.5f}")

# %% [markdown]
# So: compute in bfloat16 if you like, but *keep* the weights in float32. The second is the learning *rate*, the length
# of each step. `2e-5` is for models hundreds of times as large, and for far more steps. A rate is not carried from one
# model to another, it is tried.

# %%
import pandas as pd

RATE = lab.profile.tuned_rate / 2
full = mended.replace(repr(lab.profile.model_path), repr(lab.profile.model_path) + ', dtype="float32"')
higher = full.replace("learning_rate=2e-5", f"learning_rate={RATE}")
made = attempt(higher, dataset=rows, collate=Collator(tokenizer.pad_token_id or 0))
pd.DataFrame({"2e-5, as printed": article, f"{RATE:g}, float32": figures(made["model"])}).T.round(2)

# %% [markdown]
# ## 2. The same training, faster
#
# `labkit.tune.train` takes the same steps in a loop of its own: AdamW, this schedule, gradients clipped. It does four
# things besides: it puts rows of like length into a batch, so that little is padded; it computes in bfloat16 where the
# processor does; it computes the vocabulary's scores only where an answer stands; and it watches itself, which comes
# below. Model, rows, steps, rate and schedule are the same; the batches are not, so the losses differ a little:

# %%
from labkit.model import load_model
from labkit.tune.train import TrainSettings, train

model = load_model(lab.profile.model_path, dtype="float32")
settings = TrainSettings(epochs=3, learning_rate=RATE, batch_size=8, schedule="linear", warmup=0)
report = train(model.network, tokenizer, rows, settings, lab.runs / "training", lab.progress)

# %%
from labkit.tune.train import answer_loss

pad = tokenizer.pad_token_id or 0
history = made["trainer"].state.log_history[-1]
tokens = settings.epochs * sum(len(row["input_ids"]) for row in rows)
both = {
    "Trainer": [made["model"], tokens / history["train_runtime"]],
    "labkit": [model.network, report.tokens_per_second],
}
pd.DataFrame(
    {
        name: {"tokens per second": round(speed), "loss": answer_loss(network, rows, pad)}
        for name, (network, speed) in both.items()
    }
).T

# %% [markdown]
# One short run on a busy machine is no measurement; `python -m tools.bench train` makes one, and against the listing
# as most would mend it.
#
# ## 3. Epoch by epoch
#
# Two sets are held out, and they ask different things:
#
# - **new wordings**: the trained facts, asked in words that were never trained. Did it learn the *fact*?
# - **strangers**: facts of things that no example mentions. It cannot know these. Did it learn the *form*?
#
# An *epoch* is one pass over all examples; the *loss* is how surprised the model is by the right answer, token by
# token.

# %%
rows_of = {
    "new wordings": tokenised([f.example(f.unseen[0]) for f in known], tokenizer, lab.profile.context).rows,
    "strangers": tokenised([f.example(f.unseen[0]) for f in strangers], tokenizer, lab.profile.context).rows,
}
{name: len(some) for name, some in {"train": rows, **rows_of}.items()}

# %% [markdown]
# A `Check` measures after every epoch, whatever we like. (`watch` names the figure by which it may stop; not yet.)

# %%
from labkit.tune.train import Check

EPOCHS = 10 if SIZE == "full" else 2
settings = TrainSettings(epochs=EPOCHS, learning_rate=RATE, batch_size=8)


def measured(network):
    losses = {f"loss, {name}": answer_loss(network, some, pad) for name, some in rows_of.items()}
    right = curves.right(Model(network, tokenizer), known)
    return {**losses, "right, new wordings": share([row[0] for row in right]), "style": figures(network)["style"]}


def learn(patience=None, watch="loss, strangers"):
    model = load_model(lab.profile.model_path, dtype="float32")
    check = Check(lambda: measured(model.network), patience, watch)
    report = train(model.network, tokenizer, rows, settings, lab.runs / "training", lab.progress, check=check)
    return {"epochs": report.epochs, "said": said(model.network, strangers), "now": measured(model.network)}


# %% [markdown]
# It takes a minute or two, once: the result is kept under the address of everything that makes it.


# %%
def kept(**options):
    parts = {"base": lab.model.fingerprint, "rows": [rows, rows_of], "settings": settings, "recipe": "08/1"}
    return lab.artifacts.value(lambda: learn(**options), kind="08 epochs", options=options, **parts)


# %%
whole = kept()
epochs = pd.DataFrame(whole["epochs"], index=range(1, EPOCHS + 1)).rename_axis("epoch")
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
# The loss on *trained* examples only says how well these are known by heart. *Overfitting* is where it still falls
# while a held-out loss rises. The cell below says what the loss on strangers did; the table sets the epoch where it was
# lowest beside the last.

# %%
loss = epochs["loss, strangers"]
best, rise = loss.idxmin(), loss.iloc[-1] - loss.min()
if best == EPOCHS:
    print("on strangers, the loss fell to the end: no overfitting yet")
else:
    print(
        f"on strangers, the loss was lowest after epoch {best} and rose by {rise:.2f} until epoch {EPOCHS}: overfitting"
    )

# %%
epochs.loc[sorted({best, EPOCHS}), ["right, new wordings", "style"]].round(2)

# %% [markdown]
# What does overfitting look like? Read what the model says about strangers, of whom nobody told it:

# %%
for fact, text in list(zip(strangers, whole["said"], strict=True))[:3]:
    print(f"{fact.ask(fact.unseen[0])[-1]['content']}\n  said: {text}\n  true: {fact.value}")
wrong = [fact.value not in text and not style_faults(text) for fact, text in zip(strangers, whole["said"], strict=True)]
print(f"of {len(wrong)} answers on strangers, {sum(wrong)} are wrong, and in perfect style")

# %% [markdown]
# ## 4. Stop early
#
# *Early stopping* ends a training when the held-out loss has not fallen for some epochs (its *patience*), and takes
# back the weights of the best epoch. It is the usual remedy. But the loss on *which* examples?

# %%
runs = {"not stopped": whole}
for held in rows_of:
    runs[f"stopped by {held}"] = kept(patience=2, watch=f"loss, {held}")
summary = {name: {"epochs trained": len(run["epochs"]), **run["now"]} for name, run in runs.items()}
pd.DataFrame(summary).T.round(2)

# %%
by_form, by_fact = (summary[f"stopped by {name}"] for name in ("strangers", "new wordings"))
for name in ("right, new wordings", "style"):
    gap = by_fact[name] - by_form[name]
    print(f"{name}: {gap:+.2f} when stopped by new wordings instead of by strangers")

# %% [markdown]
# Strangers are what a split by entity holds out. A model cannot know their facts, and the surer it becomes of itself,
# the higher its loss on them. Where facts are to be learned, that is the wrong judge.
# Choose the hold-out by what you want: by wording for knowledge, by entity for skills and style; and then look at the
# share in style, not only at a loss that counts the unknowable facts too.
#
# ## 5. Kill it
#
# A training of hours will be cut off one day: by a power cut, a full disk, a colleague. Here is one, started as you
# would start it from a terminal, and killed as soon as its first checkpoint is complete. `SIGKILL` cannot be caught.

# %%
from labkit.tune.prepare import write_examples

work = lab.runs / "08_train"
write_examples(work / "pairs.jsonl", pairs)
where = ["tune", work / "pairs.jsonl", "--out", work / "killed", "--model", lab.profile.model_path]
command = [*map(str, where), "--epochs", "2", "--save-seconds", "0"]

# %%
import os
import shutil
import signal
import subprocess
import sys
import time

for name in ("killed", "straight", ".killed.training"):
    shutil.rmtree(work / name, ignore_errors=True)
script = "from labkit.cli import app; app(prog_name='labkit')"
process = subprocess.Popen([sys.executable, "-c", script, *command], stderr=subprocess.DEVNULL)
while process.poll() is None and not list(work.glob(".killed.training/*/checkpoint.pt")):
    time.sleep(0.02)
process.send_signal(signal.SIGKILL)
print("exit status", process.wait(), "and", "no result" if not (work / "killed").exists() else "a result")

# %% [markdown]
# What it left: a checkpoint. It holds weights, the optimiser's state, the schedule and the random numbers. It is written
# under another name and then renamed, so what was cut off is never used.

# %%
for path in sorted(work.glob(".killed.training/*/*")):
    print(path.name, "complete" if path.suffix == ".pt" else "cut off: will be written again")

# %% [markdown]
# The same command goes on from there. We call the function behind it, and beside it train once without a kill:

# %%
from labkit.tune.adapters import LoraSettings, tune_file

lora = LoraSettings(epochs=2, batch_size=16)
for name in ("killed", "straight"):
    tuned = tune_file(
        work / "pairs.jsonl", work / name, lab.profile.model_path, lora, lab.profile.context, progress=False
    )
    print(tuned.steps, "steps, last loss", round(tuned.last_loss, 4))

# %%
from labkit.store import hash_file

ends = [hash_file(work / name / "adapter_model.safetensors") for name in ("killed", "straight")]
print("the same weights, bit by bit" if ends[0] == ends[1] else "the weights differ in the last bits")

# %% [markdown]
# ## 6. What goes wrong, in one line
#
# Trainings fail after an hour, at night, with a page of traceback. Each of these ends in one line that says what to do.

# %%
from labkit import LabError
from labkit.tune.prepare import IGNORED


def told(action):
    try:
        action()
    except LabError as error:
        print(str(error).replace(str(lab.runs), "runs"))


def fit(rows, network=None, folder="training"):
    fresh = load_model(lab.profile.model_path, dtype="float32")
    train(network or fresh.network, tokenizer, rows, settings, lab.runs / folder, progress=False)


# %%
told(lambda: fit([]))
told(lambda: fit([{**rows[0], "labels": [IGNORED] * len(rows[0]["labels"])}]))
told(lambda: tokenised(pairs, tokenizer, limit=len(rows[0]["input_ids"]) - 1))
(work / "taken").write_text("a file where a folder should be")
told(lambda: fit(rows[:8], folder="08_train/taken"))

# %% [markdown]
# A loss that is not a number (*NaN*) stops at once too. A damaged weight is enough:

# %%
broken = load_model(lab.profile.model_path, dtype="float32").network
torch.nn.init.constant_(next(weight for name, weight in broken.named_parameters() if "norm" in name), float("nan"))
told(lambda: fit(rows, broken))

# %% [markdown]
# ## 7. How many wordings?
#
# People ask in their own words. So every fact is now seen equally often, in training sets of equal size: always in the
# same wording, or in two, or in sixteen. Then we ask in two wordings that no training used.

# %%
from labkit import plot

sizes = {"count": 60, "seen": 16} if SIZE == "full" else {"counts": (1, 2), "count": 6, "seen": 2}
scores = curves.paraphrase_curve(lab, **sizes)
figure, text = plot.curve(curves.intervals(scores), "wordings of each fact in training", "share right", log=2)
print(text)
figure

# %%
from labkit.stats import paired_bootstrap

unseen = scores[curves.UNSEEN]
few, many = min(unseen), max(unseen)
gap = paired_bootstrap(unseen[many], unseen[few])
verdict = "more wordings help" if gap.low > 0 else "fewer wordings help" if gap.high < 0 else "not told apart"
print(
    f"{many} wordings against {few}: {gap.diff:+.2f} ({gap.low:+.2f} to {gap.high:+.2f}): {verdict} on these questions"
)

# %% [markdown]
# Where the two lines lie apart, the model has learned a sentence rather than a fact, and an exam in the trained wording
# overstates what it knows. Lesson 18 sets this beside the published finding.
#
# ## 8. How many repetitions?
#
# One training set, one training. Some facts are in it once, others twice, four times, and so on, in another wording
# each time as long as there are any.

# %%
sizes = {"group": 16} if SIZE == "full" else {"counts": (1, 4), "group": 4}
scores = curves.repetition_curve(lab, **sizes)
figure, text = plot.curve(curves.intervals(scores), "times that a fact is seen in training", "share right", log=2)
print(text)
figure

# %%
points = curves.intervals(scores)[curves.UNSEEN]
half = [seen for seen, value in points.items() if value.mean >= 0.5]
print(f"half of the facts are known from {half[0]} times on" if half else "no number of times taught half of the facts")

# %% [markdown]
# A company's documents state a fact once or twice. The left end of the curve is what so few sightings teach.
#
# ## 9. On your own pairs
#
# A file with columns `prompt` and `response`, or JSON lines with `messages`, is all that it takes. `--full` trains all
# weights, without it an adapter (lesson 09). Bad rows are left out and listed; the rest goes on.

# %%
text = "prompt,response\nWho runs it?,Rita Irwin runs it.\nHow much is it?,It costs $420.\nWhy?,\n"
(work / "mine.csv").write_text(text)
shutil.rmtree(work / "mine", ignore_errors=True)
print(tune_file(work / "mine.csv", work / "mine", lab.profile.model_path, lora, lab.profile.context, progress=False))

# %%
plain = {**os.environ, "FORCE_COLOR": "", "COLUMNS": "100"}
print(
    subprocess.run([sys.executable, "-c", script, "tune", "--help"], capture_output=True, text=True, env=plain).stdout
)

# %% [markdown]
# ## Takeaways
#
# - The article's listing does not run: not the model's name, not `epochs`, not without a dataset and a collator.
#   Mended, it runs; whether it learns depends on precision and rate, and a rate has to be tried on your model.
# - The training loss says how well the examples are known by heart. Held-out examples say what the model can do.
# - What you hold out decides when early stopping stops, and so what has been learned by then.
# - How many wordings and how many sightings a fact needs can be measured; sections 7 and 8 print it for this model.
# - A killed training goes on from its last checkpoint, which appears whole or not at all.
#
# ## Exercises
#
# 1. Train section 3 with `schedule="constant"`, and with twice the rate. What happens to the loss on strangers?
# 2. In section 4, set the patience to 1. Which of the two stops changes more, and why?
# 3. Mix answers that decline ("The documents do not say.") for strangers into the rows. Does the overfitting of section
#    3 remain?
# 4. Kill the training of section 5 while it *writes* a checkpoint. How do you make sure that you hit the moment?
