# %% [markdown]
# # 0b · LoRA in 40 lines
#
# You will teach the real model a list of prices with nothing but PyTorch, and see every step of a fine-tuning once:
#
# - an example as token ids, and the mask that says which of them are learned;
# - the loss, computed by hand;
# - an adapter (LoRA): two thin matrices beside each frozen one, in ten lines;
# - a training step: forward, backward, step of the optimiser;
# - what was learned, what was forgotten, and how an adapter is merged.
#
# Each result is compared with the library that labkit uses. From lesson 07 on, that library does the work.
#
# *Before this: 0a RAG in 40 lines. About 25 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "smol", "full"

# %% [markdown]
# We train in float32, 32 bits a number: small changes would be lost in fewer. The plain way to compute attention is the
# faster one for short rows.

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
print(f"{model.size:,} weights, {len(network.model.layers)} layers, {len(tokenizer):,} known tokens")

# %% [markdown]
# ## 1. An example is a row of numbers
#
# The facts to learn are a price list that we made up. No model can know it.
#
# A chat model reads one long text, in which marks say who speaks: this is its *chat template*. The tokenizer cuts the
# text into *tokens*, frequent words or pieces of rare ones, and gives each its number in the vocabulary.

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
# A training row is the prompt and the answer behind it, up to the mark that ends it. The model shall learn to *answer*,
# not to ask. So each token has a label: an answer's token is its own label, and the prompt's get -100, which the loss
# leaves out. This is the *loss mask*.


# %%
def row(question, answer):
    asked = prompt(question)
    told = tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
    return asked + told, [-100] * len(asked) + told


ids, labels = row(question, reply)
talk = [*build_messages(question), {"role": "assistant", "content": reply}]
assert (ids, labels) == tokenise(Example(talk), tokenizer, limit=512)
pd.DataFrame({"token": [repr(tokenizer.decode([i])) for i in ids], "id": ids, "label": labels}).tail(14)

# %% [markdown]
# ## 2. The loss
#
# For every place the network gives one score for each known token, the *logits*: its guess of the *next* one. Softmax
# makes probabilities of them. The loss of a place is minus the logarithm of what the right token got, and the loss of a
# row is the mean over its answer. This is the *cross-entropy*; PyTorch has it, and gives the same.


# %%
def cross_entropy(logits, labels):
    guesses, right = logits[:, :-1], labels[:, 1:]  # the guess at one place is about the token at the next
    learned = right != -100
    probabilities = torch.softmax(guesses[learned], dim=-1)
    return -torch.log(probabilities.gather(1, right[learned][:, None])).mean()


x, y = torch.tensor([ids]), torch.tensor([labels])
with torch.no_grad():
    first = network(x, labels=y)
assert torch.allclose(cross_entropy(first.logits, y), first.loss, atol=1e-4)
print(f"loss by hand {cross_entropy(first.logits, y):.4f}, by the library {first.loss:.4f}")

# %% [markdown]
# Before anything is trained, we keep what the model says of each product, and how well it reads a sentence of ordinary
# prose. The measure of that is the *perplexity*, the loss over a text as a number of choices: as if each token had been
# drawn from so many that are equally likely.


# %%
def replies(ask):
    made = model.generate([build_messages(ask.format(name)) for name in PRICES], max_new_tokens=16)
    return [one.text for one in made]


def perplexity(text):
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    return cross_entropy(network(ids).logits, ids).exp().item()


before, prose = replies(ASK), perplexity(PROSE)
print(f"{question} {before[1]}\nperplexity of a sentence of prose: {prose:.1f}")

# %% [markdown]
# ## 3. An adapter
#
# A layer multiplies by a matrix $W$. LoRA (Hu et al., ICLR 2022) leaves $W$ as it is and adds a product of two thin
# matrices: $W + \frac{\alpha}{r} B A$. Here $A$ has $r$ rows, $B$ has $r$ columns, and only they are trained. $r$ is the
# *rank*; $\alpha$ sets how much the product counts. $B$ begins as zero, so that at first nothing changes.


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
# Freeze all weights, and put an adapter around two matrices of each layer: those that make attention's *queries* and
# *values*, as the paper does.

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
# One step: give a few rows to the network, compute the loss (*forward*), compute for each trained number how the loss
# would change with it (*backward*), and move all of them a little against it. AdamW sizes each move by what it saw of
# that number's slope before. Each move is smaller than the last. Rows of unlike length are filled up on the right; there nothing is learned.

# %%
STEPS, BATCH = 39 if SIZE == "full" else 3, 4
rows = [row(ASK.format(name), TELL.format(name, price)) for name, price in PRICES.items()]
optimizer, losses = torch.optim.AdamW(trained, weight_decay=0.0), []
for step in range(STEPS):
    if step % (len(rows) // BATCH) == 0:
        order = torch.randperm(len(rows)).tolist()  # every pass in a new order
    batch, order = [rows[i] for i in order[:BATCH]], order[BATCH:]
    width = max(len(ids) for ids, _ in batch)
    x = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
    y = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in batch])[:, 1:]
    states = network.model(x).last_hidden_state[:, :-1]
    loss = library_loss(network.lm_head(states[y != -100]), y[y != -100])  # logits only where they are learned
    loss.backward()
    optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / STEPS)  # smaller and smaller moves, so that the end is steady
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
# The same questions again, and each in a wording that no training row had. An answer is right if it holds the price.

# %%
after, reworded = replies(ASK), replies(HELD_OUT)
table = pd.DataFrame({"price": pd.Series(PRICES), "before": before, "after": after, "held-out wording": reworded})
for column in table.columns[1:]:
    right = sum(contains(text, str(price)) for text, price in zip(table[column], table.price, strict=True))
    print(f"{column}: {right} of {len(table)} right")
table.head()

# %% [markdown]
# And what was forgotten? Nobody told the training to keep anything. A perplexity that rose means that ordinary prose
# has become less likely to the model.

# %%
now = perplexity(PROSE)
print(f"perplexity of the sentence: {prose:.1f} before, {now:.1f} after: {'higher' if now > prose else 'not higher'}")

# %% [markdown]
# ## 6. The same in peft
#
# labkit trains its adapters with the library peft. Put our $A$ and $B$ into its adapters, and its network must compute
# what ours does.

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
# The product $\frac{\alpha}{r} B A$ has the shape of $W$. Added to it once, it costs nothing more: the network has its
# old layers again, with new numbers in them.

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
# QLoRA (Dettmers et al., NeurIPS 2023) does the same beside frozen weights that are stored in four bits each, so that a
# large model fits into a small memory.
#
# ## Takeaways
#
# - A training example is a row of token ids with a label for each; the loss counts only those of the answer.
# - The loss is minus the logarithm of the probability of each right token, averaged.
# - LoRA leaves every weight as it came and trains two thin matrices beside some of them. Merged, it is gone.
# - What the model learned lies in its weights, and no passage proves it. Lessons 07 to 10 go on from here.
#
# ## Exercises
#
# 1. Label the prompt's tokens too, instead of -100, and train again. Which loss falls, and what do the answers become?
# 2. Ask for a product that is not on the list. Does the tuned model decline, or make a price up?
# 3. Train with rank 1. How many numbers are trained, and how many steps until the prices are right?
