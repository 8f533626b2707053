# %% [markdown]
# # 09 · Adapters
#
# You will teach a model without changing its weights, and measure the costs and the benefits:
#
# - write LoRA as a product of two thin matrices, look at it, and count its parameters with a formula;
# - compress weights to four bits by hand (NF4), and get the same numbers as bitsandbytes;
# - compare full training, LoRA and QLoRA in one table: bytes, seconds, facts, style and reading;
# - vary the rank, each with the better of two rates, and the layers that get an adapter;
# - measure what the model *forgets* while it learns, and counter it by replaying examples of an old skill.
#
# *Before this: 08 Train. About 35 minutes, some of them computing.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE, progress=False)
lab

# %% [markdown]
# ## 1. What is taught, and what is asked
#
# The exam has two kinds of questions. *Facts*: facts of a second, small company, taught without passages, in house
# style. We ask for them in the trained wording, which a model may know by heart, and in a *new wording* that no
# training used. *Reading*: the model sees the passage that holds the answer. The base model can already read, and
# nothing below trains it, so reading shows what training does to other skills. Training mentions no entity of the
# reading questions.

# %%
from labkit.compare import small
from labkit.compare.reading import gold_hits
from labkit.data import SINGLE

count, epochs, asked = (32, 16, 30) if SIZE == "full" else (4, 1, 4)
facts, reworded = small.company().questions[::2][:count], small.items("reworded")[::2][:count]
assert [item.id for item in facts] == [item.id for item in reworded]
gold = {item.id: gold_hits(lab, item) for item in lab.questions if item.kind in SINGLE}
readable = [item for item in lab.questions if gold.get(item.id)]
reading, to_develop = readable[::2][:asked], readable[1::2][: asked // 2]  # for the exam, and for choosing rates
read_about = {e.entity for item in (*reading, *to_develop) for e in item.evidence}
replayable = [p for p in lab.pairs if p.kind == "single fact" and p.evidence[0].entity not in read_about]
print(len(facts), "facts,", len(reading), "questions to read for,", len(replayable), "pairs kept for section 10")

# %%
from labkit.compare.arms import passages
from labkit.rag.augment import build_messages

prompts = {
    "facts": [build_messages(item.question) for item in facts],
    "new wording": [build_messages(item.question) for item in reworded],
    "gold": [build_messages(item.question, passages(gold[item.id])) for item in reading],
}
for kind, examples in prompts.items():
    print(f"--- {kind}\n{examples[0][1]['content']}")

# %% [markdown]
# The exam asks all of them and records whether each answer is right. Style is judged on the answers in the new wording.

# %%
from labkit.compare.score import is_right
from labkit.data import style_faults


def replies(model, kind):
    return [answer.text for answer in model.generate(prompts[kind], lab.profile.max_new_tokens)]


def marks(model, kind, items):
    return [float(is_right(item, text)) for item, text in zip(items, replies(model, kind), strict=True)]


def exam(model):
    return {
        "facts": marks(model, "facts", facts),
        "new wording": marks(model, "new wording", reworded),
        "style": [float(not style_faults(text)) for text in replies(model, "new wording")],
        "reading": marks(model, "gold", reading),
    }


# %%
import pandas as pd

from labkit.stats import bootstrap_mean

before = exam(lab.model)
pd.DataFrame({part: vars(bootstrap_mean(right)) for part, right in before.items()}).T.round(2)

# %% [markdown]
# That is the base model, with 95 % intervals over questions. The training rows are the facts, with answers in house
# style:

# %%
from labkit.compare.training import closed_book
from labkit.tune.prepare import Example, dataset


def to_rows(conversations):
    return dataset([Example(messages) for messages in conversations], lab.model.tokenizer, lab.profile.context).rows


# %%
rows = to_rows(closed_book(facts))
print(len(rows), "rows,", sum(len(row["input_ids"]) for row in rows), "tokens;", closed_book(facts)[0][-1]["content"])

# %% [markdown]
# ## 2. LoRA: a thin product beside the weights
#
# Full fine-tuning changes a weight matrix $W$ by a matrix $\Delta W$ of the same size. LoRA (Hu et al., ICLR 2022)
# freezes $W$ and writes the change as a product of two thin matrices: $\Delta W = \frac{\alpha}{r} B A$. If $W$ is
# *out × in*, then $B$ is *out × r* and $A$ is *r × in*. You choose the *rank* $r$. The library peft puts such a pair
# beside every linear layer:

# %%
from labkit.model import load_model
from labkit.tune.adapters import LoraSettings, add_lora, parameters, train_adapter

path = lab.profile.model_path
rate, rank = lab.profile.tuned_rate, lab.profile.lora_rank
settings = LoraSettings(epochs=epochs, learning_rate=2.5 * rate, batch_size=8, rank=rank, alpha=2 * rank)
adapted = add_lora(load_model(path, dtype="float32").network, settings)
first = next(module for name, module in adapted.named_modules() if name.endswith("q_proj"))
first

# %% [markdown]
# $A$ starts random and $B$ starts at zero. So their product is zero, and an untrained adapter changes nothing.

# %%
A, B = first.lora_A["default"].weight, first.lora_B["default"].weight
print(f"A {tuple(A.shape)}: {A.abs().mean():.4f} on average; B {tuple(B.shape)}: {B.abs().max():.1f} everywhere")
assert A.abs().max() > 0 and (B @ A).abs().max() == 0

# %% [markdown]
# How many parameters is that? Each adapted layer has $r \cdot (in + out)$ instead of $in \cdot out$:

# %%
import torch


def lora_count(network, rank):
    layers = [m for name, m in network.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in name]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


# %%
trained, total = parameters(adapted)
assert trained == lora_count(load_model(path).network, settings.rank)
print(f"formula and model agree: {trained:,} of {total:,} parameters are trained, {trained / total:.1%}")

# %% [markdown]
# Now train. `train_adapter` saves only the adapter. Every training below is one call of `trials`: it trains one model
# per seed on the same rows, and each model takes the exam.

# %%
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from labkit.tune.train import TrainSettings, train

clock = time.perf_counter if torch.cuda.is_available() else time.process_time


def tuned(settings, rows):
    """The trained model in 16 bit, with an adapter merged in; and the adapter's folder."""
    folder = Path(tempfile.mkdtemp()) / "adapter"
    if isinstance(settings, LoraSettings):
        train_adapter(path, rows, settings, folder, progress=False)
        return load_model(path, dtype=lab.profile.dtype, adapter=folder), folder
    model = load_model(path, dtype="float32")
    train(model.network, model.tokenizer, rows, settings, folder, progress=False)
    model.network.to(lab.model.network.dtype)
    return model, folder


# %%
SEEDS, FEW = lab.profile.seeds, lab.profile.seeds[:1]


def trials(settings, rows, seeds=FEW):
    runs = []
    for seed in seeds:
        began = clock()
        model, folder = tuned(replace(settings, seed=seed), rows)
        runs.append({"model": model, "folder": folder, "seconds": clock() - began, **exam(model)})
    return runs


# %%
lora = trials(settings, rows, SEEDS)
print("first fact, base: ", replies(lab.model, "facts")[0])
after = load_model(path, dtype="float32", adapter=lora[0]["folder"], merge=False)
print("first fact, tuned:", replies(after, "facts")[0])

# %% [markdown]
# A picture of what the first layer learned: the first 64 rows and columns of $B$, $A$ and their product. The product is
# as large as $W$, but each of its rows is a mixture of the few rows of $A$: look for stripes.

# %%
import matplotlib.pyplot as plt

first = next(module for name, module in after.network.named_modules() if name.endswith("q_proj"))
B, A = first.lora_B["default"].weight.detach(), first.lora_A["default"].weight.detach()
pictures = {f"B: {B.shape[0]} × {B.shape[1]}": B, f"A: {A.shape[0]} × {A.shape[1]}": A, "B · A": B @ A}
pictures = {name: matrix[:64, :64].float().cpu() for name, matrix in pictures.items()}
figure, panels = plt.subplots(1, 3, figsize=(5.4, 2.4))
for axes, (name, matrix) in zip(panels, pictures.items(), strict=True):
    top = matrix.abs().quantile(0.99)
    axes.imshow(matrix, cmap="PuOr", vmin=-top, vmax=top, interpolation="nearest")
    axes.set(title=name, xticks=[], yticks=[])
    axes.grid(False)
stored, size = A.numel() + B.numel(), B.shape[0] * A.shape[1]
of_rank = torch.linalg.matrix_rank((B @ A).double().cpu(), rtol=1e-5)
print(f"{stored:,} stored numbers make a change of {size:,} numbers, of rank {of_rank}")
assert of_rank <= settings.rank and B.abs().max() > 0
plt.show()

# %% [markdown]
# ## 3. Where the memory goes
#
# Training stores more than weights. Each *trained* weight has a gradient, and AdamW keeps two running means for it. In
# 32 bit these take twelve bytes on top of the weight itself. Frozen weights need none of this. We train two real steps
# and count every tensor. First the weights as they are in memory: a layer in four bits also keeps the scales of its
# blocks.


# %%
def weight_bytes(network):
    states = [getattr(weight, "quant_state", None) for weight in network.parameters()]
    tables = [table for state in states if state for table in state.as_dict(packed=False).values()]
    return sum(tensor.nbytes for tensor in [*network.parameters(), *tables] if hasattr(tensor, "nbytes"))


# %% [markdown]
# PyTorch calls a *hook* after each step of an optimiser. There we count the gradients, which `train` drops before the
# next step, and what the optimiser keeps.


# %%
def step_bytes(optimizer):
    """Bytes of gradients and of optimiser state, right after a step."""
    trained = [weight for group in optimizer.param_groups for weight in group["params"]]
    kept = [value for values in optimizer.state.values() for value in values.values() if torch.is_tensor(value)]
    gradients = sum(weight.grad.nbytes for weight in trained if weight.grad is not None)
    return {"gradients": gradients, "optimiser": sum(tensor.nbytes for tensor in kept)}


# %% [markdown]
# The most that lay in memory at once is the *peak*. A GPU counts it. On a processor, PyTorch's profiler lists every
# allocation, and every release as a negative number; the peak is the largest running sum.

# %%
import gc
import os

import numpy as np


def peak_bytes(work):
    """Most bytes that PyTorch allocates at once while it works, beyond what was there before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()  # otherwise what an earlier training left would count as released here
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise the profiler writes remarks
    with torch.profiler.profile(profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]))


# %% [markdown]
# Now train with each method. *Activations* are the rest of the peak: what the forward pass stores for the backward
# pass, and room for computing.

# %%
from torch.optim.optimizer import register_optimizer_step_post_hook

from labkit.tune.adapters import load_quantised

methods = {
    "full": TrainSettings(epochs=epochs, learning_rate=rate / 2, batch_size=8),
    "LoRA": settings,
    "QLoRA": replace(settings, quantised=True),
}


def measured(name):
    model = load_quantised(path) if name == "QLoRA" else load_model(path, dtype="float32")
    network = model.network if name == "full" else add_lora(model.network, settings)
    counts = dict(zip(["trained", "all"], parameters(network), strict=True)) | {"weights": weight_bytes(network)}
    two = replace(methods[name], epochs=2)
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: counts.update(step_bytes(optimizer)))
    with tempfile.TemporaryDirectory() as folder:
        above = peak_bytes(lambda: train(network, model.tokenizer, rows[:8], two, folder, progress=False))
    hook.remove()
    return counts | {"peak": counts["weights"] + above}


# %%
held = pd.DataFrame({name: measured(name) for name in methods}).T
held["activations"] = held.peak - held.weights - held.gradients - held.optimiser
assert (held.gradients == 4 * held.trained).all() and (held.activations > 0).all()
megabytes = held[["weights", "gradients", "optimiser", "activations"]] / 1e6
megabytes.round(1)

# %%
from labkit import plot

figure, text = plot.shares(megabytes)
figure.axes[0].set_xlabel("MB at the peak of two training steps")
print(text)
figure

# %% [markdown]
# Adapters save *gradients and optimiser*:

# %%
state = held.gradients + held.optimiser
share = state["LoRA"] / state["full"]
print(f"gradients and optimiser: LoRA holds {share:.3f} of what full fine-tuning holds")
assert state["full"] >= 12 * held.trained["full"] and share <= 0.15

# %% [markdown]
# Four bits save *weights*:

# %%
saved = held.weights["LoRA"] - held.weights["QLoRA"]
print(f"QLoRA saves {saved / 1e6:.1f} MB of weights, {saved / held.peak['LoRA']:.0%} of LoRA's peak")
print(f"activations, QLoRA - LoRA: {(held.activations['QLoRA'] - held.activations['LoRA']) / 1e6:+.1f} MB")

# %% [markdown]
# A model this small fits anywhere, so it cannot show what four bits are *for*. But the same arithmetic holds for large
# models. PyTorch can build a model on the device "meta", with shapes but no memory, so we can count models that we
# could not load:

# %%
from transformers import Qwen3Config, Qwen3ForCausalLM

shapes = {"0.6B": (1024, 3072, 28, 16), "4B": (2560, 9728, 36, 32), "8B": (4096, 12288, 36, 32)}


def large(hidden, wide, layers, heads):
    config = Qwen3Config(
        hidden_size=hidden, intermediate_size=wide, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=8, head_dim=128, vocab_size=151_936, tie_word_embeddings=hidden < 4096,
    )  # fmt: skip
    with torch.device("meta"):
        return Qwen3ForCausalLM(config)


# %%
def budget(network):
    every, extra = parameters(network)[1], lora_count(network, settings.rank)
    inner = [m for n, m in network.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    linear = sum(layer.weight.numel() for layer in inner)
    held = {"full, 32 bit": 16 * every, "LoRA on 16 bit": 2 * every, "QLoRA": 2 * (every - linear) + 4.5 / 8 * linear}
    return {name: (size + (name != "full, 32 bit") * 16 * extra) / 1e9 for name, size in held.items()}


# %%
pd.DataFrame({f"Qwen3 {name}": budget(large(*shape)) for name, shape in shapes.items()}).round(1)

# %% [markdown]
# The table shows gigabytes without activations. Each trained weight takes sixteen bytes, a frozen one two bytes, and a
# frozen one in NF4 only 4.5 *bits*. Does this arithmetic match what we counted above? Check it on our own model:

# %%
small, ours = budget(load_model(path).network), (held.weights + state) / 1e9
print(f"full: {small['full, 32 bit']:.5f} GB expected, {ours['full']:.5f} GB counted")
print(f"QLoRA: {small['QLoRA']:.5f} GB expected, {ours['QLoRA']:.5f} GB counted")
assert abs(small["full, 32 bit"] / ours["full"] - 1) < 0.01

# %% [markdown]
# ## 4. Four bits, by hand
#
# Four bits name sixteen levels. Which values should they stand for? Trained weights look like draws from a normal
# distribution. *NormalFloat* (Dettmers et al., NeurIPS 2023) therefore uses quantiles of that distribution, so that
# each level stands for about equally many weights. Eight levels are positive, seven are negative, and zero is exact:

# %%
from scipy.stats import norm

edge = 1 - (1 / 32 + 1 / 30) / 2  # the outermost quantile must be finite
above, below = norm.ppf(np.linspace(edge, 0.5, 9)[:-1]), -norm.ppf(np.linspace(edge, 0.5, 8)[:-1])
levels = torch.tensor(np.sort([*below, 0, *above]) / above.max(), dtype=torch.float32)
print(" ".join(f"{level:.3f}" for level in levels))

# %% [markdown]
# The weights are cut into blocks of 64. We divide each block by its largest absolute value, its *scale*, and round
# every weight to the nearest level. We store the number of the level, four bits per weight, and one scale per block.

# %%
weight = next(m for n, m in load_model(path, dtype="float32").network.named_modules() if n.endswith("up_proj")).weight
weight = weight.detach()[:512].cpu()


def quantise(weight, levels, block=64):
    blocks = weight.reshape(-1, block)
    scales = blocks.abs().amax(1, keepdim=True)
    numbers = ((blocks / scales)[..., None] - levels).abs().argmin(-1)
    return numbers, (levels[numbers] * scales).reshape(weight.shape)


numbers, restored = quantise(weight, levels)
pd.DataFrame({"weight": weight[0, :6], "level": numbers[0, :6], "restored": restored[0, :6]}).round(4)

# %% [markdown]
# bitsandbytes does the same in compiled code. Does it get the same result?

# %%
import bitsandbytes.functional as bnb

packed, state_of = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4")
theirs = bnb.dequantize_4bit(packed, state_of)
same = (theirs - restored).abs() < 1e-6
print(f"{same.float().mean():.2%} of {same.numel():,} weights are restored to the same number")
print(f"in {packed.nbytes + state_of.absmax.nbytes:,} bytes instead of {weight.nbytes:,}")
assert (state_of.code.cpu() - levels).abs().max() < 1e-6 and same.float().mean() > 0.999

# %% [markdown]
# How large is the error of the restored weights? For each block, we divide the size of the error by the size of the
# weights. One outlier sets the scale of its whole block. Does that harm the other weights?

# %%
blocks, errors = weight.reshape(-1, 64), (weight - restored).reshape(-1, 64)
relative = (errors.square().mean(1) / blocks.square().mean(1)).sqrt()
outlier = blocks.abs().amax(1) / blocks.square().mean(1).sqrt()

# %%
plt.scatter(outlier[:500], relative[:500], s=4)
plt.xlabel("largest weight of the block / its typical weight")
plt.ylabel("error / weight")
link = np.corrcoef(outlier, relative)[0, 1]
print(f"error of a block: {relative.min():.3f} to {relative.max():.3f}, median {relative.median():.3f}")
trend = "larger" if link > 0.1 else "smaller" if link < -0.1 else "about the same"
print(f"correlation with the block's outlier: {link:.2f}; with a larger outlier, the error is {trend}")
plt.show()

# %% [markdown]
# Do the levels matter, or the blocks? We also try sixteen *even* levels and other block sizes. Each block stores a
# scale of 32 bits, so small blocks are more exact and take more memory.


# %%
def error(levels, block):
    _, restored = quantise(weight, levels, block)
    return float((weight - restored).norm() / weight.norm())


# %%
tried = {}
for block in (16, 64, 256, weight.numel()):
    kinds = {"NF4": levels, "even levels": torch.linspace(-1, 1, 16)}
    tried[block] = {"bits per weight": 4 + 32 / block, **{name: error(some, block) for name, some in kinds.items()}}
tried = pd.DataFrame(tried).T.rename_axis("block")
tried.round(3)

# %%
better = tried.loc[64, "NF4"] < tried.loc[64, "even levels"]
print(f"in blocks of 64, NF4 is {'more' if better else 'NOT more'} exact than even levels on this matrix")
assert tried.NF4.iloc[0] < tried.NF4.iloc[-1]

# %% [markdown]
# And the model? Quantise every linear layer, train nothing, and ask the reading questions:

# %%
from labkit.stats import paired_bootstrap


def difference(a, b):
    gap = paired_bootstrap(a, b)
    verdict = "not told apart" if gap.low <= 0 <= gap.high else ("higher" if gap.diff > 0 else "lower")
    return f"{gap.diff:+.2f} ({gap.low:+.2f} to {gap.high:+.2f}), {verdict} on these questions"


# %%
squeezed = exam(load_quantised(path))
print("reading, NF4 minus 16 bit:", difference(squeezed["reading"], before["reading"]))

# %% [markdown]
# ## 5. Three ways to train, one table
#
# All methods get the same rows, steps and seeds. Each has its own learning rate: adapters need a larger one, because
# the product of two small factors moves slowly at first. Every model is tested in the same form: in 16 bit, with
# adapters merged in. Seconds are *processor* seconds for loading, training and merging (on a GPU: seconds by the
# clock).

# %%
runs = {"full": trials(methods["full"], rows, SEEDS), "LoRA": lora, "QLoRA": trials(methods["QLoRA"], rows)}


# %%
def right(runs, part):
    return np.array([run[part] for run in runs]).T


def summary(runs):
    means = {part: bootstrap_mean(right(runs, part)) for part in before}
    shown = {part: f"{v.mean:.2f} ({v.low:.2f} to {v.high:.2f})" for part, v in means.items()}
    return {"seconds": f"{np.mean([run['seconds'] for run in runs]):.0f}", **shown}


# %%
costs = pd.DataFrame(
    {
        "trained": held.trained.map("{:,.0f}".format),
        "weights MB": (held.weights / 1e6).round(1),
        "gradients + optimiser MB": (state / 1e6).round(1),
        "peak MB": (held.peak / 1e6).round(1),
    }
)

# %%
pd.concat([costs, pd.DataFrame({name: summary(some) for name, some in runs.items()}).T], axis=1).T

# %%
for part in before:
    for name in ("LoRA", "QLoRA"):
        print(f"{part}, {name} minus full:", difference(right(runs[name], part), right(runs["full"], part)))

# %%
times = {name: np.mean([run["seconds"] for run in some]) for name, some in runs.items()}
print(", ".join(f"{name}: {times[name] / times['full']:.2f} times the seconds of full" for name in ("LoRA", "QLoRA")))

# %% [markdown]
# Fewer trained weights save memory rather than time. The forward and backward passes still go through every frozen
# layer, and the adapters add products of their own.
#
# Can LoRA learn house style in one minute on one processor core?

# %%
styled, seconds = right(lora, "style").mean(), max(run["seconds"] for run in lora)
print(f"LoRA: style {styled:.2f} after at most {seconds:.0f} s of processor time")
print("style of 0.95 within 60 s:", "reached" if styled >= 0.95 and seconds <= 60 else "NOT reached in this run")

# %% [markdown]
# ## 6. Trained on four bits, served on what?
#
# QLoRA trains its adapter beside weights that are slightly wrong. You can serve it there, or merge it into the exact
# weights, which it never saw. (If you merge it *into* four bits, rounding removes much of it.) We test both:

# %%
served = [exam(load_quantised(path, adapter=run["folder"])) for run in runs["QLoRA"]]
for part in before:
    print(f"{part}, beside 4 bit minus merged in 16 bit:", difference(right(served, part), right(runs["QLoRA"], part)))

# %%
speeds = {}
for name, model in {"16 bit": lab.model, "4 bit": load_quantised(path)}.items():
    model.generate(prompts["facts"][:4], 8)
    answers = model.generate(prompts["facts"] * 4, 16)
    speeds[name] = sum(one.output_tokens for one in answers) / sum(one.seconds for one in answers)
print(", ".join(f"{name}: {speed:.0f} tokens/s" for name, speed in speeds.items()), "(short prompts, in batches)")

# %% [markdown]
# ## 7. What rank buys
#
# The rank is the number of directions in which each layer can change. A higher rank takes more parameters, and so more
# bytes. It also lets the model move further from what it was, so watch *reading*. ($\alpha$ grows with the rank here,
# so $\alpha / r$ stays the same.)
#
# With one rate for all ranks, we would judge the rate and not the rank. So we train each rank with two rates. We keep
# the rate that does better on *development questions*: the taught facts in a third wording, and other passages to read.

# %%
from labkit.data import wordings


def third(item, other):
    """The question in a wording that neither training nor exam uses."""
    fact = item.evidence[0]
    wording = wordings()[fact.kind, fact.attribute]
    asks = [wording.ask(form, fact.entity) for form in wording.asks]
    return next(ask for ask in asks if ask.casefold() not in (item.question + other.question).casefold())


prompts["third wording"] = [build_messages(third(*both)) for both in zip(facts, reworded, strict=True)]
prompts["development"] = [build_messages(item.question, passages(gold[item.id])) for item in to_develop]


def develop(run):
    """The mean of facts and reading, on the development questions."""
    parts = marks(run["model"], "third wording", facts), marks(run["model"], "development", to_develop)
    return np.mean([np.mean(part) for part in parts])


# %%
ranks = sorted({1, rank, 64} if SIZE == "full" else {1, rank})
tries = {r: {} for r in ranks}
for r in ranks:
    for some_rate in (settings.learning_rate, settings.learning_rate / 4):
        known = (r, some_rate) == (rank, settings.learning_rate)
        like = replace(settings, rank=r, alpha=2 * r, learning_rate=some_rate)
        tries[r][some_rate] = lora[:1] if known else trials(like, rows)
scores = {r: {some_rate: develop(run) for some_rate, (run,) in some.items()} for r, some in tries.items()}
pd.DataFrame(scores).T.rename_axis(index="rank", columns="learning rate").round(2)

# %%
chosen = {r: max(some, key=some.get) for r, some in scores.items()}
by_rank = {r: tries[r][chosen[r]] for r in ranks}
sizes = {r: lora_count(load_model(path).network, r) for r in ranks}
about = {r: {"trained": f"{sizes[r]:,}", "rate": chosen[r]} for r in ranks}
pd.DataFrame({r: {**about[r], **summary(some)} for r, some in by_rank.items()}).T.rename_axis("rank")

# %%
lines = {part: {r: bootstrap_mean(right(some, part)) for r, some in by_rank.items()} for part in before}
figure, text = plot.curve(lines, "rank", "share")
figure.axes[0].set_xscale("log", base=2)
figure.axes[0].set_xticks(ranks, ranks)
print(text)
figure

# %%
least, most = min(ranks), max(ranks)
for part in before:
    gap = difference(right(by_rank[most], part), right(by_rank[least], part))
    print(f"{part}, rank {most} minus {least}: {gap}")

# %% [markdown]
# ## 8. Where to put them
#
# The LoRA paper adapted only the queries and values of attention. Later work adapts every linear layer. Embeddings and
# output head stay out: servers refuse adapters there.

# %%
places = {
    "queries, values": ("q_proj", "v_proj"),
    "MLP": ("gate_proj", "up_proj", "down_proj"),
}
by_place = {name: trials(replace(settings, target_modules=modules), rows) for name, modules in places.items()}
by_place["all linear"] = lora[:1]

# %%
counts = {}
for name, modules in {**places, "all linear": "all-linear"}.items():
    network = add_lora(load_model(path, dtype="float32").network, replace(settings, target_modules=modules))
    counts[name] = {"trained": f"{parameters(network)[0]:,}", **summary(by_place[name])}
pd.DataFrame(counts).T

# %%
for name in places:
    gap = difference(right(by_place[name], "facts"), right(lora[:1], "facts"))
    print(f"facts, {name} minus all linear:", gap)

# %% [markdown]
# ## 9. What was forgotten
#
# The base model could read, and training did nothing to keep that skill. Can the tuned model still read? We test it
# with the gold passage alone, and with three passages from a real search.

# %%
searches = lab.retriever().search_batch([item.question for item in reading], top_k=3)
prompts["retrieved"] = [
    build_messages(item.question, passages(hits)) for item, hits in zip(reading, searches, strict=True)
]

# %%
forgot = {
    "gold": (before["reading"], right(lora, "reading")),
    "retrieved": (
        marks(lab.model, "retrieved", reading),
        np.array([marks(run["model"], "retrieved", reading) for run in lora]).T,
    ),
}
for name, (base, after_lora) in forgot.items():
    print(f"{name}: base {np.mean(base):.2f}, LoRA minus base:", difference(after_lora, base))

# %% [markdown]
# How does a forgetful model fail? Read one answer that was right before training:

# %%
texts = replies(lab.model, "gold"), replies(after, "gold")
lost = [n for n, item in enumerate(reading) if is_right(item, texts[0][n]) and not is_right(item, texts[1][n])]
print(f"{len(lost)} of {len(reading)} were right and no longer are (first seed)")

# %%
shown = (lost or [0])[0]
print(prompts["gold"][shown][1]["content"])
print(f"gold:  {reading[shown].gold}\nbase:  {texts[0][shown]}\ntuned: {texts[1][shown]}")

# %% [markdown]
# ## 10. Replay
#
# The remedy: practise the old skill while you teach new things. We mix a few *reading* examples into the rows. Each
# shows the passage that proves the answer beside another one that the search found; its answer is in house style and
# cites the passage. None is about an entity of the exam.

# %%
from labkit.compare.training import with_context
from labkit.tune.leaks import refuse_leaks

best = 8 if SIZE == "full" else 2
practice = replayable[:best]
refuse_leaks([item.question for item in practice], [item.question for item in reading])
practice_rows = to_rows(with_context(practice, lab.old_retriever(), lab.profile.top_k, distractors=1))
print(len(practice_rows), "examples of", round(np.mean([len(row["input_ids"]) for row in practice_rows])), "tokens")

# %%
replay = {0: lora[:2], best: trials(settings, rows + practice_rows, SEEDS[:2])}
for run in (*replay[0], *replay[best]):
    run["retrieved"] = marks(run["model"], "retrieved", reading)
before["retrieved"] = forgot["retrieved"][0]
table = {f"{n} replayed": summary(some) for n, some in replay.items()}
pd.DataFrame({"base": summary([{"seconds": 0, **before}]), **table}).T

# %%
for part in ("reading", "retrieved"):
    print(f"{part}, {best} replayed minus none:", difference(right(replay[best], part), right(replay[0], part)))
    print(f"{part}, {best} replayed minus base:", difference(right(replay[best], part), before[part]))

# %% [markdown]
# Replay costs processor time, because passages are long. In the hybrid of lesson 11, reading is the *whole* training.
#
# ## 11. The claim of the article
#
# The article claims that "LoRA and QLoRA adapt efficiently". For that, LoRA must learn about as much as full training,
# in the new wordings, which no training used. The two ratios of bytes are counts, the same for any questions and seeds.
# They stand beside the verdict but decide nothing.

# %%
from labkit.compare import claims
from labkit.stats import Interval

whole = right(runs["full"], "new wording")
print("in trained wordings, LoRA minus full:", difference(right(lora, "facts"), right(runs["full"], "facts")))
bits = held.weights["QLoRA"] / held.weights["full"]
figures = {
    "accuracy: lora - full tuning": paired_bootstrap(right(lora, "new wording"), whole).interval,
    "trained bytes: lora / full": Interval(share, share, share),
    "bytes of the weights: qlora / full": Interval(bits, bits, bits),
}
print(claims.record(lab, "09_adapters", figures))

# %% [markdown]
# ## Takeaways
#
# The cell below checks each takeaway against the numbers above, and marks those that they do not show.


# %%
def conclude(shown, claim):
    print("•", f"{claim}: {'shown' if shown else 'not shown here'}.")


def gap_of(a, b, part):
    return paired_bootstrap(right(a, part), right(b, part))


# %%

conclude(share <= 0.15, "LoRA's gradients and optimiser take at most 0.15 of full fine-tuning's bytes")
conclude(held.weights["QLoRA"] < held.weights["LoRA"], "NF4 makes the frozen weights smaller")
conclude(held.peak.is_monotonic_decreasing, "At its peak, LoRA needs less than full fine-tuning, and QLoRA even less")
conclude(styled >= 0.95, "LoRA learns the house style")
conclude(gap_of(by_rank[most], by_rank[least], "facts").low > 0, "A higher rank learns more facts, at its better rate")
fast = [tries[r][settings.learning_rate] for r in (most, least)]
conclude(gap_of(*fast, "reading").high < 0, "A higher rank also forgets more at the same, high rate")
conclude(paired_bootstrap(right(lora, "reading"), before["reading"]).high < 0, "Tuning damages the skill of reading")
conclude(gap_of(replay[best], replay[0], "reading").low > 0, "Replaying reading examples brings back some of it")

# %% [markdown]
# ## Exercises
#
# 1. Double LoRA's learning rate. What happens to facts, and what to reading?
# 2. Store the frozen weights of plain LoRA in bfloat16 instead of 32 bit: call `load_model(path, dtype="bfloat16")`
#    before `add_lora`. Which column of section 3 changes, and by how much?
# 3. Train rank 1 four times as long. Does it reach what the largest rank reaches?
# 4. Section 4 stores one 32-bit scale per block. Quantise the *scales* in eight bits, in blocks of 256 (the paper's
#    double quantisation). How many bits per weight is that, and how much does the error grow?
# 5. Replay the examples *without* house style (their plain `answer`). Does the model then read in one style and tell
#    facts in the other?
