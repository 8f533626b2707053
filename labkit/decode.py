"""Greedy decoding in batches: what prompts share is read once, and rows of similar length go together.

A Llama-like network on a processor is read by `PackedReader`, any other by `Reader`, as transformers runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel


def plan(lengths: Sequence[int], room: int, batch_tokens: int) -> list[list[int]]:
    """Indices in batches of similar length, longest first, each of at most `batch_tokens` or of one row.

    >>> plan([5, 90, 6], room=10, batch_tokens=100)
    [[1], [2, 0]]
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * (lengths[batches[-1][0]] + room) <= batch_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


SHARE = 64  # the least tokens that all prompts must begin with to be read once for all


def common_prefix(prompts: Sequence[list[int]]) -> list[int]:
    """The ids that all of several prompts begin with, without the last one of the shortest; none where they are few.

    >>> len(common_prefix([[7] * 100 + [1], [7] * 100 + [2]]))
    100
    """
    if len(prompts) < 2:
        return []
    first, last = min(prompts), max(prompts)  # whatever these two share, all others share
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    same = min(same, min(map(len, prompts)) - 1)
    return first[:same] if same >= SHARE else []


class Reader:
    """A network and what the rows of a batch have read so far: their keys and values, and which columns are no padding."""

    def __init__(self, network: PreTrainedModel) -> None:
        import torch
        from transformers import DynamicCache

        self.network, self.cache = network, DynamicCache(config=network.config)
        self.mask = torch.ones(1, 0, dtype=torch.long, device=network.device)

    @property
    def length(self) -> int:
        """Tokens read, padding included."""
        return self.mask.shape[1]

    def read(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scores of the next token, (rows, vocabulary), after ids of (rows, tokens); the mask is 0 where they are padding."""
        return self.network(
            input_ids=ids, position_ids=self._positions(mask), attention_mask=self.mask, past_key_values=self.cache,
            use_cache=True, logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip

    def _positions(self, mask: torch.Tensor) -> torch.Tensor:
        """Takes note of the new columns; the place of each new token in its row."""
        import torch

        self.mask = torch.cat([self.mask, mask], 1)
        return (self.mask.cumsum(1) - 1).clamp(min=0)[:, -mask.shape[1] :]

    def repeat(self, rows: int) -> Self:
        """A batch of rows that each have read what the only row here has."""
        batch = copy(self)
        batch.mask, batch.cache = self.mask.repeat(rows, 1), deepcopy(self.cache)
        batch.cache.batch_repeat_interleave(rows)
        return batch

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with some rows alone."""
        self.mask = self.mask[rows]
        self.cache.batch_select_indices(rows)


# Architectures whose layers are nothing but what `PackedReader` computes.
LLAMA = ("llama", "mistral", "qwen2", "qwen3")
BLOCK = 128  # queries that attend together
PORTION = 1024  # tokens that are read together: what passes between the layers stays in the processor's cache
ROOM = 32  # columns by which a cache grows: to grow is to copy


class PackedReader(Reader):
    """A Llama-like network on a processor, read faster than by code that is written for every device.

    Weights are laid out once for oneDNN's kernels, as torch.compile does for a frozen model. Prompts are read a few rows at a
    time, without their padding. Keys and values stand in blocks of (rows, key heads, room, width) that are written in place.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        import torch

        self.network = network
        self.mask = torch.ones(1, 0, dtype=torch.long)
        self.layers = [_pack_layer(layer) for layer in network.model.layers]
        self.head = pack(network.lm_head)
        self.heads, self.key_heads, self.width = _shape(network.config)
        empty = torch.empty(1, self.key_heads, 0, self.width, dtype=network.dtype)
        self.cache = [(empty, empty)] * len(self.layers)

    @staticmethod
    def fits(network: PreTrainedModel) -> bool:
        """Whether it computes this network: of a known kind, whole, on a processor whose kernels take its precision."""
        import torch

        float32, bfloat16 = (network.dtype == kind for kind in (torch.float32, torch.bfloat16))
        return (
            is_llama(network.config)
            and network.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and (float32 or (bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()))
            # Adapters that stand beside the weights and quantised weights are modules of other types.
            and all(type(m) is torch.nn.Linear for n, m in network.named_modules() if n.endswith(("_proj", "lm_head")))
        )

    def read(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """As `Reader.read`; prompts a few rows at a time, single tokens in one pass over the whole room."""
        import torch
        from torch.nn.functional import pad

        start, positions = self.length, self._positions(mask)
        if self.length > (room := self.cache[0][0].shape[2]):
            self._replace(lambda block: pad(block, (0, 0, 0, self.length + ROOM - room)))
        if (new := ids.shape[1]) == 1:
            hidden = pad(self.mask == 0, (0, self.cache[0][0].shape[2] - self.length), value=True)
            return self._read(ids, positions, hidden, slice(None), slice(0, None), start)
        scores, step = [], max(1, PORTION // new)
        for rows in (slice(i, i + step) for i in range(0, len(ids), step)):
            padding = int(mask[rows].sum(0).eq(0).sum())  # columns that are padding in each of these rows
            seen = slice(0 if start else padding, self.length)
            hidden = self.mask[rows, seen] == 0
            hidden = hidden[:, : sum(hidden.any(0).nonzero()[-1:, 0] + 1)]  # up to the last column that any row hides
            scores.append(
                self._read(ids[rows, padding:], positions[rows, padding:], hidden, rows, seen, start + padding)
            )
        return torch.cat(scores)

    def _read(
        self, ids: torch.Tensor, positions: torch.Tensor, hidden: torch.Tensor, rows: slice, seen: slice, start: int
    ) -> torch.Tensor:
        """Scores of the last token; keys and values of the new ones are written from column `start`, and `seen` attended to."""
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

        body, end = self.network.model, start + ids.shape[1]
        x = body.embed_tokens(ids)
        turn = body.rotary_emb(x, positions)
        for layer, (qkv, output, up, down), cache in zip(body.layers, self.layers, self.cache, strict=True):
            made = qkv(layer.input_layernorm(x)).unflatten(2, (-1, self.width))
            query, key, value = made.split([self.heads, self.key_heads, self.key_heads], 2)
            if hasattr(layer.self_attn, "q_norm"):  # Qwen3
                query, key = layer.self_attn.q_norm(query), layer.self_attn.k_norm(key)
            query, key = apply_rotary_pos_emb(query.transpose(1, 2), key.transpose(1, 2), *turn)
            keys, values = (block[rows] for block in cache)
            keys[:, :, start:end], values[:, :, start:end] = key, value.transpose(1, 2)
            if layer is body.layers[-1]:  # only the last token's scores are wanted
                x, query = x[:, -1:], query[:, :, -1:]
            context = attend(query, keys[:, :, seen], values[:, :, seen], layer.self_attn.scaling, hidden)
            x = x + output(context.transpose(1, 2).flatten(2))
            gate, value = up(layer.post_attention_layernorm(x)).chunk(2, -1)
            x = x + down(layer.mlp.act_fn(gate) * value)
        return self.head(body.norm(x[:, -1]))

    def repeat(self, rows: int) -> Self:
        """As `Reader.repeat`; the packed weights are shared."""
        batch = copy(self)
        batch.mask, batch.cache = self.mask.repeat(rows, 1), list(self.cache)
        batch._replace(lambda block: block.repeat(rows, 1, 1, 1))
        return batch

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with some rows alone."""
        self.mask = self.mask[rows]
        self._replace(lambda block: block[rows])

    def _replace(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Other keys and values, layer by layer: memory never holds two whole caches."""
        for n, (keys, values) in enumerate(self.cache):
            self.cache[n] = change(keys), change(values)


def is_llama(config: PretrainedConfig) -> bool:
    """Whether a network's layers are Llama's, every token attending to all before it."""
    return config.model_type in LLAMA and not getattr(config, "sliding_window", None)


def _shape(config: PretrainedConfig) -> tuple[int, int, int]:
    """Heads, heads of keys, and the width of a head."""
    heads = config.num_attention_heads
    return heads, config.num_key_value_heads, getattr(config, "head_dim", None) or config.hidden_size // heads


def pack(*linears: torch.nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """Linear maps of the same input as one, with its weights as oneDNN's kernels want them."""
    import torch

    weight = torch.cat([linear.weight for linear in linears])
    bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])
    weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _pack_layer(layer: torch.nn.Module) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    attention, mlp = layer.self_attn, layer.mlp
    maps = [attention.q_proj, attention.k_proj, attention.v_proj], [attention.o_proj]
    return [pack(*some) for some in (*maps, [mlp.gate_proj, mlp.up_proj], [mlp.down_proj])]


def attend(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float, hidden: torch.Tensor | None = None
) -> torch.Tensor:
    """Causal attention of (rows, heads, new tokens, width) to (rows, key heads, tokens, width), the last of which are new.

    `hidden`, of (rows, first tokens), is True where no token may look. Blocks of queries compare no keys that lie after them.
    """
    import torch

    (rows, heads, new, width), (key_heads, tokens) = query.shape, keys.shape[1:3]
    query, made = (query * scale).unflatten(1, (key_heads, -1)), []
    later = torch.ones(min(new, BLOCK), min(new, BLOCK), dtype=torch.bool, device=query.device).triu(1)
    for start in range(0, new, BLOCK):
        block = query[:, :, :, start : start + BLOCK]  # the queries of the heads that share a key stand together
        size = block.shape[3]
        seen = tokens - new + start + size
        scores = block.flatten(2, 3) @ keys[:, :, :seen].transpose(-1, -2)
        lowest = torch.finfo(scores.dtype).min  # not -inf: a row of padding sees nothing
        if size > 1:
            scores.unflatten(2, (-1, size))[..., -size:].masked_fill_(later[:size, :size], lowest)
        if hidden is not None:
            scores[..., : hidden.shape[1]].masked_fill_(hidden[:, None, None, :seen], lowest)
        made.append((torch.softmax(scores, -1) @ values[:, :, :seen]).unflatten(2, (-1, size)))
    return torch.cat(made, 3).view(rows, heads, new, width)


def read_prefix(network: PreTrainedModel, prefix: Sequence[int] = ()) -> Reader:
    """A reader of one row that has read the ids that many prompts begin with, for `greedy`."""
    import torch

    with torch.inference_mode():
        reader = PackedReader(network) if PackedReader.fits(network) else Reader(network)
        if prefix:
            ids = torch.tensor([list(prefix)], device=network.device)
            reader.read(ids, torch.ones_like(ids))
    return reader


def greedy(
    network: PreTrainedModel,
    prompts: Sequence[list[int]],
    ends: Collection[int],
    limit: int,
    prefix: Reader | None = None,
) -> list[list[int]]:
    """The most probable next id, again and again: per prompt at most `limit` ids, up to and with an end id.

    `prefix` is what `read_prefix` made of the ids before every prompt. Rows that ended leave the batch once they are a quarter of it: copying the cache costs about a step.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    outputs: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    given = [torch.tensor(prompt, device=network.device) for prompt in prompts]
    # Padding stands on the left: every prompt ends in the last column.
    ids = pad_sequence(given, batch_first=True, padding_side="left")
    mask = pad_sequence([torch.ones_like(row) for row in given], batch_first=True, padding_side="left")
    with torch.inference_mode():
        batch = (prefix or read_prefix(network)).repeat(len(rows))
        for _ in range(limit):
            ids = batch.read(ids, mask).argmax(-1, keepdim=True)
            going = _extend(outputs, rows, ids[:, 0].tolist(), ends)
            if not going:
                break
            if len(going) <= 0.75 * len(rows):
                keep = torch.tensor(going, device=ids.device)
                batch.keep(keep)
                ids, rows = ids[keep], [rows[i] for i in going]
            mask = torch.ones_like(ids)
    return outputs


def _extend(outputs: list[list[int]], rows: Sequence[int], tokens: Sequence[int], ends: Collection[int]) -> list[int]:
    """Give each unfinished row its token; the places in the batch of the rows that go on."""
    going = []
    for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        if not outputs[row] or outputs[row][-1] not in ends:
            outputs[row].append(token)
            if token not in ends:
                going.append(place)
    return going
