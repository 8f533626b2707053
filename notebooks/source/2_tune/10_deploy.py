# %% [markdown]
# # 10 · Deploy
#
# You will move a tuned model to a server, and check every step:
#
# - set limits, and see two models fail them;
# - merge an adapter into its base, in full precision and in four bits;
# - write an export that is complete or absent;
# - serve it behind the OpenAI API, and stop it cleanly.
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
# *"Validate results and deploy the new model,"* says the article. Ours is the base with the hybrid's adapter.

# %%
from labkit.model import find

path, adapter = find(lab.profile.model_path), lab.adapter("hybrid")
for name, folder in {"base": path, "adapter": adapter}.items():
    weights = [path for path in folder.iterdir() if path.suffix == ".safetensors"]
    print(f"{name}: {', '.join(path.name for path in weights)}, {sum(p.stat().st_size for p in weights) / 1e6:.1f} MB")

# %% [markdown]
# As trained, the adapter stands *beside* the weights: each linear layer adds its product at every step. Merging adds it
# to the weights once.

# %%
from labkit.model import load_model

beside = load_model(path, dtype="float32", adapter=adapter, merge=False)
merged = load_model(path, dtype="float32", adapter=adapter)
print(f"beside: {beside.size:,} parameters; merged: {merged.size:,}; base: {lab.model.size:,}")
assert merged.size == lab.model.size < beside.size

# %% [markdown]
# ## 2. The gate
#
# Set limits *before* you see results; otherwise you only describe them.

# %%
from dataclasses import asdict

import pandas as pd

from labkit.tune.deploy import Limits

limits = Limits() if SIZE == "full" else Limits(accuracy=0, style=0, kept=0, finished=0)  # smoke size learns nothing
pd.Series(asdict(limits)).rename("limit").to_frame()

# %% [markdown]
# - `accuracy`, `style`: shares of answers that are right and in style, in an exam over retrieved passages; no training
#   pair asks its questions;
# - `kept`: of the questions that the *base* read right, the share still right; an average hides a lost skill;
# - `finished`: the share of answers that end before the token limit;
# - `weight`: megabytes, as a multiple of the base's. `gap`: the most that merging may change a logit.

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
# Does the gate refuse a bad model? We test two. The **tuned** arm's was trained in the same style, but without
# passages, which this exam shows.

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
# In the second, one weight is not a number. The gate checks weights first.

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
# On paper, *W·x + B·(A·x) = (W + B·A)·x*. Computers round, so the sides differ a little. We compare every *logit*, the
# score of a possible next token.

# %%
from labkit.compare.arms import passages
from labkit.rag.augment import build_messages
from labkit.tune.deploy import largest_gap, logits

asked = exam_items(lab)[:: 5 if SIZE == "full" else 8]
searches = lab.retriever().search_batch([item.question for item in asked], lab.profile.top_k)
talks = [build_messages(item.question, passages(hits)) for item, hits in zip(asked, searches, strict=True)]

# %%
wanted = logits(beside, talks)
gap = largest_gap(logits(merged, talks), wanted)
print(f"{sum(row.numel() for row in wanted):,} logits compared, the largest difference is {gap:.1g}")
assert gap <= limits.gap

# %% [markdown]
# A greedy answer takes the likeliest token, so it changes only where two are about equally likely.

# %%
unmerged_answers = [answer.text for answer in beside.generate(talks)]
same = [a == b.text for a, b in zip(unmerged_answers, merged.generate(talks), strict=True)]
print(f"{sum(same)} of {len(same)} answers are the same, word for word")
print(unmerged_answers[0])
assert all(same)

# %% [markdown]
# What does merging gain? We time both in turns, so that a busy machine slows both.

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
# QLoRA (lesson 09) trains over a base in four bits. Merged into that base, the adapter's small changes are rounded to
# sixteen values per weight.

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
# Four forms of the model, compared with the unmerged one in full precision:

# %%
ways = {
    "merged, float32": merged,
    "merged, bfloat16": load_model(path, dtype="bfloat16", adapter=adapter),
    "4-bit base, adapter beside": four_beside,
    "merged into 4 bits": four_merged,
}


def compared(model):
    answers = [answer.text for answer in model.generate(talks)]
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
# So merge into full precision, whatever base the adapter was trained on. To serve in fewer bits, quantise last and let
# *that* model sit the exam: evaluate what you serve.
#
# ## 5. An export that is whole or not there
#
# `export` asks the gate, writes to a hidden folder, the manifest last, and renames it. If the process dies, no half
# export remains under the target's name.

# %%
from pathlib import Path

from labkit.tune.deploy import Check, export

checks = [*examined(merged), Check("merging gap", gap, limits.gap, at_most=True)]
folder = export(merged, Path(work.name) / "norvale", checks, lab.profile.name, "hybrid", lab.model.fingerprint)
pd.Series({path.name: path.stat().st_size for path in sorted(folder.iterdir())}).rename("bytes").to_frame()

# %% [markdown]
# Weights are in `safetensors`, which holds only numbers. A pickle, the older format, is a program that runs when
# loaded. The card states the model's origin and its checks:

# %%
print((folder / "README.md").read_text().split("---\n", 2)[2].strip())

# %% [markdown]
# Files can be damaged later: we cut the last byte of a copy.

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
# `transformers serve` offers OpenAI's interface, which most programs use. Our `serve` (`labkit serve FOLDER` in a
# terminal) starts it on this machine only.

# %%
from labkit.tune.deploy import serve

server = serve(folder)
print("model", repr(server.name), "listens on", server.host)
assert server.running

# %% [markdown]
# The client requires a key; the server ignores it. `trust_env=False` bypasses proxies, so the question stays here.

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
# Is this the model that passed? We compare its answers with those in process. A server applies *its own* chat format:
# without the entry in `tokenizer_config.json`, this one returned the prompt with the answer.

# %%
import json

served = [ask(talk).choices[0].message.content.strip() for talk in talks]
in_process = [answer.text for answer in load_model(folder, dtype="float32").generate(talks)]
print(f"{sum(a == b for a, b in zip(served, in_process, strict=True))} of {len(talks)} answers are the same")

# %%
print(json.loads((folder / "tokenizer_config.json").read_text())["response_template"])
assert served == in_process

# %% [markdown]
# With `stream=True`, words arrive as they are written:

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
# A port in use, a missing model and a damaged export each fail with one line.

# %%
attempt(lambda: serve(folder, port=server.port))
attempt(lambda: serve("no-such-model"))
attempt(lambda: serve(copied))

# %% [markdown]
# `stop` waits until the process is gone. If the notebook is killed, the pipe between them closes and the server ends
# too.

# %%
from labkit.tune.deploy import free_port

server.stop()
assert not server.running and free_port(server.host, server.port) == server.port
work.cleanup()
print("stopped; the port is free")

# %% [markdown]
# ## 8. On a GPU
#
# Here, `transformers serve` answers one request after another. For many users, [vLLM](https://docs.vllm.ai) reads the
# same folder and offers the same API:
#
#     vllm serve norvale --host 127.0.0.1 --port 8000 --generation-config vllm
#
# `--generation-config vllm` takes sampling from the request, not the checkpoint. vLLM can also keep adapters *beside*
# one base and choose by the request's model name. That costs the time of section 3, and pays when many adapters share a
# base:
#
#     vllm serve BASE --enable-lora --lora-modules norvale=ADAPTER --max-lora-rank 16
#
# It refuses adapters of embeddings or output head, so we never train those. Neither server asks for a password by
# default: protect it before you open it to a network.
#
# ## Takeaways
#
# - Set limits before you see results, and trust a gate only after it has refused something.
# - Merging in full precision keeps the answers; into four bits, it changes logits far more.
# - Trust an export when its manifest matches, not when its folder exists.
# - The server is part of the model: compare its answers with those in process.
#
# ## Exercises
#
# 1. Which limit would you add for your own use? Write it as a `Check`, and find a model that fails it.
# 2. Export in bfloat16 (`labkit merge hybrid --dtype bfloat16 --out FOLDER`). How much smaller is it, and does it still
#    pass?
# 3. Quantise the *merged* model to four bits and add it to the table of section 4. Is that better than merging into
#    four bits?
# 4. Call the server with `temperature=1` ten times. How many answers are still right? When would you want that?
# 5. Kill the kernel while the server runs. How long does the port stay taken?
