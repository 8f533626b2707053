# %% [markdown]
# # 0b · LoRA in 40 lines
#
# You will teach the real model a list of prices with nothing but PyTorch, and see every step of fine-tuning:
#
# - turn an example into token ids, with a mask that says which of them the model learns;
# - compute the loss by hand;
# - write an adapter (LoRA) in ten lines: two thin matrices added to each frozen one;
# - run a training step: forward pass, backward pass, optimiser step;
# - see what the model learned and what it forgot, and merge the adapter.
#
# We compare each result with the library that labkit uses. From lesson 07 on, that library does the work.
#
# *Before this: 0a RAG in 40 lines. About 25 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "smol", "full"

# %% [markdown]
# We train in float32, which stores each number in 32 bits. With fewer bits, small changes to the weights would be
# lost. `eager` is the plain way to compute attention. It is faster for short texts.

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn.functional import cross_entropy as library_loss

import labkit
from labkit.metrics import contains
from labkit.model import load_model
from labkit.rag.augment import build_messages
from labkit.tune.adapters import LoraSettings, add_lora
from labkit.tune.prepare import Example, tokenise

torch.manual_seed(0)
lab = labkit.open(PROFILE, size=SIZE)
model = load_model(lab.profile.model_path, dtype="float32")
network, tokenizer = model.network, model.tokenizer
network.set_attn_implementation("eager")
print(f"{model.size:,} weights, {len(network.model.layers)} layers, {len(tokenizer):,} tokens in the vocabulary")

# %% [markdown]
# ## 1. An example is a row of numbers
#
# The facts to learn are a price list that we made up. No model can know it.
#
# A chat model reads one long text. Markers in it say who speaks. This layout is the model's *chat template*. The
# tokenizer cuts the text into *tokens* (frequent words, or pieces of rare ones) and replaces each with its number in
# the vocabulary.

# %%
names = "Brindle kettle, Tarn lamp, Osprey stool, Fennel clock, Cobalt mug, Juniper tent, "
names += "Marrow desk, Pebble radio, Saffron bike, Willow scarf, Granite knife, Velvet chair"
PRICES = dict(zip(names.split(", "), (47, 63, 28, 95, 12, 84, 71, 36, 59, 23, 18, 90), strict=True))
ASK, TELL, HELD_OUT = "What does the {} cost?", "The {} costs {} euros.", "Tell me the price of the {}."
PROSE = "The river rises in the mountains, crosses a wide plain and reaches the sea after a journey of many weeks."
TURNS = "<|im_start|>system\nAnswer the question.<|im_end|>\n<|im_start|>user\nQuestion: {}<|im_end|>\n"


def prompt(question):
    text = TURNS.format(question) + "<|im_start|>assistant\n"
    return tokenizer(text, add_special_tokens=False)["input_ids"]


question, reply = ASK.format("Tarn lamp"), TELL.format("Tarn lamp", PRICES["Tarn lamp"])
assert prompt(question) == model.encode(build_messages(question))
print(prompt(question))

# %% [markdown]
# A training row is the prompt, the answer, and the marker that ends the answer. The model should learn to *answer*,
# not to ask. So each token gets a label. The label of a token in the answer is its own id. The label of a token in the
# prompt is -100, and the loss ignores it. This is the *loss mask*.


# %%
def row(question, answer):
    prompt_ids = prompt(question)
    answer_ids = tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
    return prompt_ids + answer_ids, [-100] * len(prompt_ids) + answer_ids


ids, labels = row(question, reply)
talk = [*build_messages(question), {"role": "assistant", "content": reply}]
assert (ids, labels) == tokenise(Example(talk), tokenizer, limit=512)
pd.DataFrame({"token": [repr(tokenizer.decode([i])) for i in ids], "id": ids, "label": labels}).tail(14)

# %% [markdown]
# ## 2. The loss
#
# At each position the network gives one score for every token in the vocabulary. These *logits* are its guess of the
# *next* token. Softmax turns them into probabilities. The loss at a position is minus the logarithm of the probability
# of the right token. The loss of a row is the mean over its answer. This is the *cross-entropy*. PyTorch's own version
# gives the same number.


# %%
def cross_entropy(logits, labels):
    guesses, right = logits[:, :-1], labels[:, 1:]  # logits at one position predict the next token
    learned = right != -100
    probabilities = torch.softmax(guesses[learned], dim=-1)
    return -torch.log(probabilities.gather(1, right[learned][:, None])).mean()


x, y = torch.tensor([ids]), torch.tensor([labels])
with torch.no_grad():
    first = network(x, labels=y)
assert torch.allclose(cross_entropy(first.logits, y), first.loss, atol=1e-4)
print(f"loss by hand {cross_entropy(first.logits, y):.4f}, by the library {first.loss:.4f}")

# %% [markdown]
# Before training, we record the model's answer about each product, and how well it predicts a sentence of ordinary
# prose. We measure the second by the *perplexity*, e to the power of the loss. A perplexity of ten means that the
# model is as uncertain as if it chose among ten equally likely tokens.


# %%
def replies(ask):
    answers = model.generate([build_messages(ask.format(name)) for name in PRICES], max_new_tokens=16)
    return [answer.text for answer in answers]


def perplexity(text):
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    return cross_entropy(network(ids).logits, ids).exp().item()


before, prose = replies(ASK), perplexity(PROSE)
print(f"{question} {before[1]}\nperplexity of a sentence of prose: {prose:.1f}")

# %% [markdown]
# ## 3. An adapter
#
# A layer multiplies its input by a matrix $W$. LoRA (Hu et al., ICLR 2022) leaves $W$ as it is and adds a product of
# two thin matrices: $W + \frac{\alpha}{r} B A$. $A$ has $r$ rows, $B$ has $r$ columns, and only these two are trained.
# $r$ is the *rank*; $\alpha$ scales the product. $B$ starts at zero, so that the adapter changes nothing at first.


# %%
PLACES = ("q_proj", "v_proj")


class LoRA(torch.nn.Module):
    def __init__(self, linear, rank=8, alpha=16):
        super().__init__()
        self.linear, self.scale = linear, alpha / rank
        self.A = torch.nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features**0.5)
        self.B = torch.nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.A.T @ self.B.T)


print(LoRA(network.model.layers[0].self_attn.q_proj))

# %% [markdown]
# We freeze all weights and add an adapter to two matrices of each layer. They compute the *queries* and the *values*
# of attention. The paper chooses the same two.

# %%
network.requires_grad_(False)
for layer in network.model.layers:
    for place in PLACES:
        setattr(layer.self_attn, place, LoRA(getattr(layer.self_attn, place)))
trained = [weight for weight in network.parameters() if weight.requires_grad]
count = sum(weight.numel() for weight in trained)
assert torch.equal(network(x).logits, first.logits)  # a fresh adapter changes nothing
print(f"{count:,} numbers are trained, {count / model.size:.2%} of all")

# %% [markdown]
# ## 4. Training
#
# One training step does three things. It computes the loss of a few rows (*forward*). It computes the gradient: how
# the loss changes with each trained number (*backward*). Then it changes each number a little, in the direction that
# lowers the loss. The optimiser, AdamW, sets the size of each change from earlier gradients. The learning rate, a
# factor on all changes, falls from step to step. Shorter rows are padded on the right, and the padding is not learned.

# %%
STEPS, BATCH = 39 if SIZE == "full" else 3, 4
rows = [row(ASK.format(name), TELL.format(name, price)) for name, price in PRICES.items()]
optimizer, losses = torch.optim.AdamW(trained, weight_decay=0.0), []
for step in range(STEPS):
    if step % (len(rows) // BATCH) == 0:
        order = torch.randperm(len(rows)).tolist()  # a new order for every pass
    batch, order = [rows[i] for i in order[:BATCH]], order[BATCH:]
    width = max(len(ids) for ids, _ in batch)
    x = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
    y = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in batch])[:, 1:]
    states = network.model(x).last_hidden_state[:, :-1]
    loss = library_loss(network.lm_head(states[y != -100]), y[y != -100])  # logits only for learned tokens
    loss.backward()
    optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / STEPS)  # falls towards zero, for a steady end
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} at the first step, {losses[-1]:.2f} at the last of {STEPS}")

# %%
plt.plot(range(1, STEPS + 1), losses)
plt.xlabel("step")
plt.ylabel("loss of the batch")
print(f"lowest loss {min(losses):.3f}, at step {losses.index(min(losses)) + 1}")
plt.show()

# %% [markdown]
# ## 5. What was learned
#
# We ask the same questions again, and each also in a wording that no training row used. An answer is right if it
# contains the price.

# %%
after, reworded = replies(ASK), replies(HELD_OUT)
table = pd.DataFrame({"price": pd.Series(PRICES), "before": before, "after": after, "held-out wording": reworded})
for column in table.columns[1:]:
    right = sum(contains(text, str(price)) for text, price in zip(table[column], table.price, strict=True))
    print(f"{column}: {right} of {len(table)} right")
table.head()

# %% [markdown]
# What did the model forget? Nothing in the training told it to keep anything. If the perplexity rose, the model now
# finds ordinary prose less likely than before.

# %%
now = perplexity(PROSE)
print(f"perplexity of the sentence: {prose:.1f} before, {now:.1f} after: {'higher' if now > prose else 'not higher'}")

# %% [markdown]
# ## 6. The same in peft
#
# labkit trains its adapters with the library peft. If we copy our $A$ and $B$ into a peft adapter, its network must
# compute the same as ours.

# %%
settings = LoraSettings(rank=8, alpha=16, target_modules=PLACES)
library = add_lora(load_model(lab.profile.model_path, dtype="float32").network, settings).eval()
for ours, other in zip(network.model.layers, library.get_base_model().model.layers, strict=True):
    for place in PLACES:
        mine, twin = getattr(ours.self_attn, place), getattr(other.self_attn, place)
        twin.lora_A["default"].weight.data = mine.A.data
        twin.lora_B["default"].weight.data = mine.B.data
x = torch.tensor([ids])
with torch.no_grad():
    tuned, theirs = network(x).logits, library(x).logits
assert torch.allclose(theirs, tuned, atol=1e-3)
print(f"largest difference of a logit: {(theirs - tuned).abs().max():.1e}")

# %% [markdown]
# ## 7. Merging
#
# The product $\frac{\alpha}{r} B A$ has the shape of $W$. So we can add it to $W$ once. After that it costs nothing:
# the network has its old layers again, with new numbers in them.

# %%
for layer in network.model.layers:
    for place in PLACES:
        lora = getattr(layer.self_attn, place)
        lora.linear.weight += lora.scale * lora.B.detach() @ lora.A.detach()
        setattr(layer.self_attn, place, lora.linear)
merged = network(x).logits
assert torch.allclose(merged, tuned, atol=1e-2)
print(f"largest difference of a logit: {(merged - tuned).abs().max():.1e}\n{question} {replies(ASK)[1]}")

# %% [markdown]
# QLoRA (Dettmers et al., NeurIPS 2023) trains the same adapters, but stores the frozen weights in four bits each. A
# large model then fits into a small memory.
#
# ## Takeaways
#
# - A training example is a row of token ids, each with a label. The loss counts only the tokens of the answer.
# - The loss is the mean of minus the logarithm of the probability of each right token.
# - LoRA changes no weight of the model. It trains two thin matrices next to some of them, and merging adds their
#   product to the weights.
# - What the model learned is in its weights. No passage proves it. Lessons 07 to 10 go into each step.
#
# ## Exercises
#
# 1. Give the prompt's tokens labels too, instead of -100, and train again. Which loss falls, and what do the answers
#    become?
# 2. Ask for a product that is not on the list. Does the tuned model decline, or does it make up a price?
# 3. Train with rank 1. How many numbers are trained, and how many steps does it take until the prices are right?
