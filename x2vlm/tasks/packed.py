"""Transformer layers over packed tokens: texts one after another, without padding, no dropout.

The same modules and numbers as `x2vlm.model.layers`, in evaluation; only the arrangement differs.
Axes: T tokens of all texts, R texts, N heads, U width of a head, I images, S keys, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from x2vlm.model.layers import Attention, Layer
    from x2vlm.model.text import Stack

Run = tuple[int, int, int]
"""(first token, texts, their length) of neighbouring texts that are equally long"""


def runs_of(lengths: Iterable[int]) -> Iterator[Run]:
    """Neighbouring texts of one length."""
    start = 0
    for length, group in groupby(lengths):
        count = sum(1 for _ in group)
        yield start, count, length
        start += count * length


def first_tokens(x_TD: Tensor, runs: Sequence[Run]) -> Tensor:
    """The first token of each text, (R, D)."""
    return torch.cat(
        [x_TD[start : start + count * length : length] for start, count, length in runs]
    )


def self_attention(
    attention: Attention, x_TD: Tensor, runs: Sequence[Run], first_only: bool = False
) -> Tensor:
    """Self-attention inside each text, with output layer, residual and norm: (T, D), or (R, D)."""
    asking_TD = first_tokens(x_TD, runs) if first_only else x_TD
    query, key, value = attention.query(asking_TD), attention.key(x_TD), attention.value(x_TD)
    out_TD = torch.empty_like(query)
    done = 0
    for start, count, length in runs:
        asked = slice(done, done + count * (1 if first_only else length))
        given = slice(start, start + count * length)
        done = asked.stop
        q, k, v = (
            x.view(count, -1, attention.heads, x.shape[-1] // attention.heads).transpose(1, 2)
            for x in (query[asked], key[given], value[given])
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        out_TD[asked] = mixed.transpose(1, 2).reshape(asked.stop - asked.start, -1)
    return finish(attention, out_TD, asking_TD)


def look_and_feed(
    layer: Layer,
    x_TD: Tensor,
    seen: tuple[Tensor, Tensor],
    mask_IS: Tensor | None,
    counts: list[int],
) -> Tensor:
    """Cross-attention, in one call per image, then the feed-forward part: (T, D) -> (T, D).

    counts: how many tokens, one after another, look at each image (or question) of `seen`.
    """
    cross = _cross(layer)
    contexts = []
    for number, query_TNU in enumerate(torch.split(cross.split(cross.query(x_TD)), counts)):
        key_1NSU, value_1NSU = (part[number, None] for part in seen)
        mask = None if mask_IS is None else mask_IS[number].bool()[None, None, None]
        context = F.scaled_dot_product_attention(
            query_TNU.transpose(0, 1)[None], key_1NSU, value_1NSU, attn_mask=mask
        )
        contexts.append(context[0].transpose(0, 1).flatten(1))
    x_TD = finish(cross, torch.cat(contexts), x_TD)
    fed_TD: Tensor = layer.norm(layer.fc2(F.gelu(layer.fc1(x_TD))) + x_TD)
    return fed_TD


def finish(attention: Attention, context_TD: Tensor, residual_TD: Tensor) -> Tensor:
    """Output layer, residual and norm."""
    normed_TD: Tensor = attention.norm(attention.out(context_TD) + residual_TD)
    return normed_TD


def layers_of(stack: Stack) -> list[Layer]:
    """The layers of a stack, typed."""
    return cast("list[Layer]", list(stack.layers))


def _cross(layer: Layer) -> Attention:
    assert layer.cross is not None, "fusion and decoder layers look at a memory"
    return layer.cross
