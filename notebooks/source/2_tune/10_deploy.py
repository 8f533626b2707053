# %% [markdown]
# # 10 · Deploy
#
# You will take a tuned model from the lab to a server, and let nothing pass that you have not measured:
#
# - write down limits that a model must keep, and see two models refused;
# - merge an adapter into its base, prove that nothing changed, and measure what it saves;
# - see what happens when you merge into four bits instead;
# - write an export that is whole or not there at all, with a card that tells where it comes from;
# - serve it behind the OpenAI API, ask it with the `openai` client, and stop it without a trace.
#
# *Before this: 09 Adapters. About 25 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. What there is to deploy
#
# The article says of this step: *"Validate results and deploy the new model."* The new model is lesson 09's kind of
# thing: the base, and beside it a small adapter. We take the hybrid's, which was trained to answer from passages in
# house style.

# %%
from labkit.model import find

path, adapter = find(lab.profile.model_path, None), lab.adapter("hybrid")
for name, folder in {"base": path, "adapter": adapter}.items():
    weights = [path for path in folder.iterdir() if path.suffix == ".safetensors"]
    print(f"{name}: {', '.join(path.name for path in weights)}, {sum(p.stat().st_size for p in weights) / 1e6:.1f} MB")

# %% [markdown]
# Loaded as trained, the adapter stands *beside* the weights: each linear layer computes its own product and the
# adapter's two small ones, and adds them. Merged, the adapter's product has been added to the weights once and for all.

# %%
from labkit.model import load_model

beside = load_model(path, dtype="float32", adapter=adapter, merge=False)
merged = load_model(path, dtype="float32", adapter=adapter)
print(f"beside: {beside.size:,} parameters; merged: {merged.size:,}; base: {lab.model.size:,}")
assert merged.size == lab.model.size < beside.size

# %% [markdown]
# ## 2. The gate
#
# Decide what a model must reach *before* you see what it reaches. A limit that is written after the result is a
# description.

# %%
from dataclasses import asdict

import pandas as pd

from labkit.tune.deploy import Limits

limits = Limits() if SIZE == "full" else Limits(accuracy=0, style=0, kept=0, finished=0)  # smoke size learns nothing
pd.Series(asdict(limits)).rename("limit").to_frame()

# %% [markdown]
# - `accuracy`, `style`: shares of an exam, questions that no training pair asks, each with its retrieved passages;
# - `kept`: of what the *base* read right from the same passages, the part that is still read right. Tuning that teaches
#   one thing may spoil another, and an average hides it;
# - `finished`: answers that end by themselves, instead of running into the token limit;
# - `weight`: megabytes, as a multiple of the base's. `gap`: what merging may change in a logit.

# %%
from labkit.compare.exam import exam_checks, exam_items, sit_exam
from labkit.tune.deploy import weight_checks

room = lab.profile.max_new_tokens
base_rows = sit_exam(lab, lab.model)


def examined(model):
    rows = sit_exam(lab, model)
    return [*weight_checks(model, lab.model.size, limits), *exam_checks(rows, base_rows, room, limits)]


# %%
def report(checks):
    rows = [{"check": c.name, "measured": c.value, "limit": c.bound, "passed": c.passed} for c in checks]
    return pd.DataFrame(rows).set_index("check").round(3)


# %%
checks = examined(merged)
print(len(exam_items(lab)), "questions")
report(checks)

# %% [markdown]
# Is the gate any good? One that lets everything pass would show the same table. So show it two models that it should
# refuse. The first is the **tuned** arm's: trained for the same house style, but without passages, which this exam
# gives.

# %%
from labkit import LabError
from labkit.tune.deploy import require


def attempt(action):
    try:
        return action()
    except LabError as error:
        print("refused:", str(error).replace(f"{work.name}/", ""))


# %%
import tempfile

work = tempfile.TemporaryDirectory()
closed_book = load_model(path, dtype="float32", adapter=lab.adapter("tuned"))
attempt(lambda: require(examined(closed_book)))
report(examined(closed_book))

# %% [markdown]
# The second is broken in a way that no loss curve shows afterwards: one weight is not a number. Then no answer is worth
# asking for, so the weights are looked at first.

# %%
import copy

import torch

broken = copy.copy(merged)
broken.network = copy.deepcopy(merged.network)
with torch.no_grad():
    next(broken.network.parameters())[0, 0] = float("nan")

# %%
attempt(lambda: require(weight_checks(broken, lab.model.size, limits)))
assert not all(check.passed for check in weight_checks(broken, lab.model.size, limits))

# %% [markdown]
# ## 3. Merged = unmerged
#
# On paper, *W·x + B·(A·x) = (W + B·A)·x*. Computers round, so the two sides differ a little. How little? Both models
# read the same conversations; we compare every *logit*, the number that each next token gets at each place.

# %%
from labkit.compare.arms import passages
from labkit.rag.augment import build_messages
from labkit.tune.deploy import largest_gap, logits

asked = exam_items(lab)[:: 5 if SIZE == "full" else 8]
found = lab.retriever().search_batch([item.question for item in asked], lab.profile.top_k)
talks = [build_messages(item.question, passages(hits)) for item, hits in zip(asked, found, strict=True)]

# %%
wanted = logits(beside, talks)
gap = largest_gap(logits(merged, talks), wanted)
print(f"{sum(row.numel() for row in wanted):,} logits compared, the largest difference is {gap:.1g}")
assert gap <= limits.gap

# %% [markdown]
# A greedy answer takes the likeliest token each time, so it changes only where two tokens are that close.

# %%
unmerged_answers = [made.text for made in beside.generate(talks)]
same = [a == made.text for a, made in zip(unmerged_answers, merged.generate(talks), strict=True)]
print(f"{sum(same)} of {len(same)} answers are the same, word for word")
print(unmerged_answers[0])
assert all(same)

# %% [markdown]
# And what does merging bring? The two small products of every layer are gone. We time both by turns, so that a busy
# machine slows both, and take the medians: of one question at a time, as users ask.

# %%
import time


def seconds(model):
    began = time.perf_counter()
    model.generate(talks[:1])
    return time.perf_counter() - began


# %%
count = 9 if SIZE == "full" else 2
turns = pd.DataFrame([{"beside": seconds(beside), "merged": seconds(merged)} for _ in range(count)])

# %%
medians = turns.median()
print(medians.map("{:.3f} s".format).to_string())
ratio = medians.beside / medians.merged
print(f"merged is {ratio:.2f} times as fast" if ratio > 1 else "on this machine, now, merged is not faster")

# %% [markdown]
# ## 4. Merging into four bits
#
# QLoRA (lesson 09) trains an adapter over a base in four bits (NF4), and it is tempting to merge right there. But what
# four bits hold is one of sixteen values for each weight: the adapter's small changes are rounded to them again.

# %%
import warnings

from labkit.model import Model
from labkit.tune.adapters import load_quantised

four_beside, four = load_quantised(path, adapter), load_quantised(path, adapter)
with warnings.catch_warnings(record=True) as said:
    four_merged = Model(four.network.merge_and_unload(), four.tokenizer)
print(*sorted({f"peft says: {warning.message}" for warning in said}), sep="\n")
next(layer for layer in four_merged.network.modules() if "4bit" in type(layer).__name__)

# %% [markdown]
# Four ways to hold the same tuned model, each against the unmerged one in full precision:

# %%
ways = {
    "merged, float32": merged,
    "merged, bfloat16": load_model(path, dtype="bfloat16", adapter=adapter),
    "4-bit base, adapter beside": four_beside,
    "merged into 4 bits": four_merged,
}


def compared(model):
    answers = [made.text for made in model.generate(talks)]
    same = sum(a == b for a, b in zip(answers, unmerged_answers, strict=True)) / len(talks)
    return {"largest gap": largest_gap(logits(model, talks), wanted), "same answers": same}


# %%
table = pd.DataFrame({name: compared(model) for name, model in ways.items()}).T
table

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 2.4))
axes.barh(table.index[::-1], table["largest gap"][::-1], color="#0072B2")
axes.set(xscale="log", xlabel="largest difference of a logit from the unmerged model (log scale)")
print("; ".join(f"{name}: {gap:.1g}" for name, gap in table["largest gap"].items()))
plt.show()

# %%
rounded = table["largest gap"]["merged into 4 bits"]
print(f"merging into 4 bits changes a logit {rounded / gap:,.0f} times as much as merging in full precision")
assert rounded > 100 * gap

# %% [markdown]
# So: merge into full precision, whatever the adapter was trained on. If you serve in fewer bits, quantise the merged
# model as the last step, and let *that* model sit the exam: evaluate what you serve.
#
# ## 5. An export that is whole or not there
#
# `export` asks the gate, then writes into a hidden folder beside the target, the manifest last, and renames it. A
# process that dies on the way leaves nothing under the target's name.

# %%
from pathlib import Path

from labkit.tune.deploy import Check, export

checks = [*examined(merged), Check("merging gap", gap, limits.gap, at_most=True)]
folder = export(merged, Path(work.name) / "norvale", checks, lab.profile.name, "hybrid", lab.model.fingerprint)
pd.Series({path.name: path.stat().st_size for path in sorted(folder.iterdir())}).rename("bytes").to_frame()

# %% [markdown]
# All weights are in `safetensors`: numbers and nothing else. A pickle, the older way, is a program that runs when you
# load it. The card says what the model is made of and what it passed:

# %%
print((folder / "README.md").read_text().split("---\n", 2)[2].strip())

# %% [markdown]
# Files get damaged later too: a copy that stopped, a full disk. Copy the export and lose its last byte.

# %%
import shutil

from labkit.tune.deploy import verify

copied = Path(shutil.copytree(folder, folder.with_name("copy")))
(copied / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1])

# %%
attempt(lambda: verify(copied))
assert verify(folder) == folder

# %% [markdown]
# ## 6. Serve it
#
# `transformers serve` gives any chat model the interface that most programs already speak, OpenAI's. `serve` starts it
# on this machine only, in a process of its own, and returns when it answers. (In a terminal: `labkit serve FOLDER`.)

# %%
from labkit.tune.deploy import serve

server = serve(folder)
print("model", repr(server.name), "listens on", server.host)
assert server.running

# %% [markdown]
# The client needs the address. It insists on a key, though the server asks for none. `trust_env=False`: never go
# through a proxy that the machine may be set up with; this question shall not leave it.

# %%
from openai import DefaultHttpxClient, OpenAI

client = OpenAI(base_url=server.url, api_key="none", http_client=DefaultHttpxClient(trust_env=False))


def ask(messages, **more):
    wanted = {"model": server.name, "temperature": 0, "max_tokens": room}
    return client.chat.completions.create(messages=messages, **wanted, **more)


# %%
reply = ask(talks[0])
print(reply.choices[0].message.content)
print(reply.usage.prompt_tokens, "tokens read,", reply.usage.completion_tokens, "written")

# %% [markdown]
# Is that the model that passed? Ask it everything again and compare with what it says in this process. The check is not
# idle: a server puts *its* idea of the chat format around the model. This one, left to guess where an answer begins,
# sent the whole prompt back with it. So the export says so, in `tokenizer_config.json`.

# %%
import json

served = [ask(talk).choices[0].message.content.strip() for talk in talks]
in_process = [made.text for made in load_model(folder, dtype="float32").generate(talks)]
print(f"{sum(a == b for a, b in zip(served, in_process, strict=True))} of {len(talks)} answers are the same")

# %%
print(json.loads((folder / "tokenizer_config.json").read_text())["response_template"])
assert served == in_process

# %% [markdown]
# People wait for the first word, not for the last. With `stream=True` the words come as they are made:

# %%
began, arrived = time.perf_counter(), []
for part in ask(talks[0], stream=True):
    if part.choices[0].delta.content:
        arrived.append((time.perf_counter() - began, part.choices[0].delta.content))

# %%
print("".join(text for _, text in arrived).strip())
print(f"first piece after {arrived[0][0]:.2f} s, last after {arrived[-1][0]:.2f} s")

# %% [markdown]
# ## 7. What goes wrong, and how it ends
#
# The usual mistakes, each told in one line: a port that is taken, a model that is not there, an export that is damaged.

# %%
attempt(lambda: serve(folder, port=server.port))
attempt(lambda: serve("no-such-model"))
attempt(lambda: serve(copied))

# %% [markdown]
# A server that outlives its notebook keeps memory and port. `stop` waits until the process is gone. If the notebook is
# killed instead, the server notices, for the pipe between them closes, and ends by itself.

# %%
from labkit.tune.deploy import free_port

server.stop()
assert not server.running and free_port(server.host, server.port) == server.port
work.cleanup()
print("stopped; the port is free")

# %% [markdown]
# ## 8. On a GPU
#
# `transformers serve` answers one request after another here. For many users at once, [vLLM](https://docs.vllm.ai)
# reads the same folder and speaks the same API; only the command differs:
#
#     vllm serve norvale --host 127.0.0.1 --port 8000 --generation-config vllm
#
# `--generation-config vllm` leaves sampling to the request instead of the checkpoint. vLLM can also keep adapters
# *beside* one base and choose by the model's name in the request, at the price of section 3, which pays when many
# adapters share a base:
#
#     vllm serve BASE --enable-lora --lora-modules norvale=ADAPTER --max-lora-rank 16
#
# It takes no adapter that changes embeddings or the output head, so we never train those. Neither server asks for a
# password unless told to: before you open one to a network, put something in front that does.
#
# ## Takeaways
#
# - Limits come before results, and a gate is worth trusting once it has refused something.
# - Merged in full precision, the model gives the same answers as unmerged; merged into four bits, its logits differ far
#   more.
# - An export is trusted when its manifest matches, not when its folder exists.
# - The server is part of the model: compare what it says with what the model says in process.
#
# ## Exercises
#
# 1. Which limit would you add for your own use? Write it as a `Check`, and find a model that fails it.
# 2. Export in bfloat16 (`labkit merge hybrid --dtype bfloat16 --out FOLDER`). How much smaller is it, and does it still
#    pass?
# 3. Quantise the *merged* model to four bits and put it into the table of section 4. Is that better than merging into
#    four bits?
# 4. Call the server with `temperature=1` ten times. How many answers are still right? When would you want that?
# 5. Kill the kernel while the server runs. How long does the port stay taken?
