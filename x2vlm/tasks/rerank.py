"""Re-ranking: the matching score of many image-text pairs, each computed once and nothing twice.

What the plain loop repeats and this does not:
- keys and values of an image are projected once, and read by all of its texts in one attention
  call; pairs are grouped by image, so that only one image's keys and values exist at a time;
- texts are packed without padding: products run over all tokens, self-attention over runs of
  texts of one length, without a mask (on a GPU in one call, see `Block`);
- the first fusion layer's self-attention sees text alone: it is computed once per text;
- the matching head reads the first token alone: the last layer computes nothing for the others.

Axes: T tokens of all texts one after another, R texts, N heads, U width of a head, V visual
tokens, D width, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from x2vlm.tasks.features import Texts, chunks_by_length, tokens_per_pass
from x2vlm.tasks.packed import (
    finish,
    first_tokens,
    layers_of,
    look_and_feed,
    runs_of,
    self_attention,
)

if TYPE_CHECKING:
    from x2vlm.model.layers import Attention, Memory
    from x2vlm.model.x2vlm import X2VLM

Group = tuple[int, Tensor]
"""An image and the texts to be scored with it."""


class PairScorer:
    """Matching scores of encoded texts with one image (or region) after another."""

    def __init__(self, model: X2VLM, texts: Texts, tokens: int | None = None) -> None:
        """tokens: how many are computed at a time; None: what suits the device."""
        self.model = model
        self.tokens = tokens or tokens_per_pass(model.device)
        self.texts = before_images(model, texts, self.tokens)
        self.one_call = model.device.type == "cuda"

    def score(self, memory: Memory, rows: Sequence[int]) -> Tensor:
        """Logit of class 1 of the one image in `memory` with each of the texts `rows`, (R,)."""
        scores_R = torch.empty(len(rows), device=self.model.device)
        lengths = [self.texts.lengths[row] for row in rows]
        for places in packs(lengths, self.tokens):
            fused_RD = self._first_tokens(memory, [rows[place] for place in places])
            place_R = torch.tensor(places).to(scores_R.device, non_blocking=True)
            scores_R[place_R] = self.model.match(fused_RD[:, None])[:, 1].float()
        return scores_R

    def _first_tokens(self, memory: Memory, rows: Sequence[int]) -> Tensor:
        """Fused first tokens (R, D) of texts in order of length."""
        lengths = [self.texts.lengths[row] for row in rows]
        runs = list(runs_of(lengths))
        x_TD = self.texts.packed(rows)
        block = Block.of(lengths, x_TD.device) if self.one_call else None
        layers = layers_of(self.model.fusion)
        for number, (layer, seen) in enumerate(zip(layers, memory.layers, strict=True)):
            last = number == len(layers) - 1
            if number > 0 and block:
                x_TD = block.self_attention(layer.attention, x_TD, first_only=last)
            elif number > 0:
                x_TD = self_attention(layer.attention, x_TD, runs, first_only=last)
            elif last:
                x_TD = first_tokens(x_TD, runs)
            x_TD = look_and_feed(layer, x_TD, seen, memory.mask_IS, [len(x_TD)])
        return x_TD


@dataclass(frozen=True, slots=True)
class Block:
    """Where packed tokens stand when padded, for self-attention in one call over all lengths: on a
    GPU a call per length takes longer to launch than to compute. The products stay packed.

    place_T: of each token in the (R, L) block; first_R: of each text's first token among the packed
    ones; seen_R11L: what is not padding.
    """

    place_T: Tensor
    first_R: Tensor
    seen_R11L: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Block:
        """Of texts as long as this, one after another."""
        length_R = torch.tensor(lengths)
        seen_RL = torch.arange(max(lengths)) < length_R[:, None]
        parts = seen_RL.flatten().nonzero()[:, 0], length_R.cumsum(0) - length_R
        every = (*parts, seen_RL[:, None, None])
        return cls(*(part.to(device, non_blocking=True) for part in every))

    def self_attention(
        self, attention: Attention, x_TD: Tensor, first_only: bool = False
    ) -> Tensor:
        """As `packed.self_attention`: (T, D), or (R, D)."""
        asking_TD = x_TD[self.first_R] if first_only else x_TD
        query_TD = attention.query(asking_TD)
        query = (
            attention.split(query_TD[:, None]) if first_only else self._padded(attention, query_TD)
        )
        key, value = (
            self._padded(attention, part(x_TD)) for part in (attention.key, attention.value)
        )
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self.seen_R11L)
        context_RLD = mixed.transpose(1, 2).flatten(2)
        context_TD = context_RLD[:, 0] if first_only else context_RLD.flatten(0, 1)[self.place_T]
        return finish(attention, context_TD, asking_TD)

    def _padded(self, attention: Attention, x_TD: Tensor) -> Tensor:
        """(T, D) -> (R, L, N, U), zeros beyond the texts."""
        texts, longest = len(self.seen_R11L), self.seen_R11L.shape[-1]
        flat = x_TD.new_zeros(texts * longest, x_TD.shape[1]).index_copy_(0, self.place_T, x_TD)
        return attention.split(flat.view(texts, longest, -1))


def rerank(
    model: X2VLM,
    images: Mapping[int, Tensor] | Sequence[Tensor] | Tensor,
    texts: Texts,
    pairs: Tensor,
    *,
    tokens: int | None = None,
    watch: Callable[[list[Group]], Iterable[Group]] = iter,
) -> Tensor:
    """Matching score (logit of class 1) of each pair, float32 on the CPU, in the order of `pairs`.

    images: visual tokens (V, D) of image i, on any device.
    pairs_P2: (image, text); neighbours of one image are scored together, so sort them by image.
    watch: is handed the groups, e.g. to show progress.
    """
    scorer = PairScorer(model, texts, tokens)
    # On the device until the end, so that a GPU never waits for the next image's texts.
    scores_P = torch.empty(len(pairs), device=model.device)
    done = 0
    image_G, count_G = torch.unique_consecutive(pairs[:, 0], return_counts=True)
    groups = zip(image_G.tolist(), torch.split(pairs[:, 1], count_G.tolist()), strict=True)
    for image, text_R in watch(list(groups)):
        memory = model.memory(images[image].to(model.device, non_blocking=True)[None])
        scores_P[done : done + len(text_R)] = scorer.score(memory, text_R.tolist())
        done += len(text_R)
    return scores_P.cpu()


def before_images(model: X2VLM, texts: Texts, tokens: int) -> Texts:
    """Texts after the self-attention of the first fusion layer, which no image has a part in."""
    attention = layers_of(model.fusion)[0].attention
    states_TD = torch.empty_like(texts.states_TD)
    for rows in packs(texts.lengths, tokens):
        runs = list(runs_of(texts.lengths[row] for row in rows))
        states_TD[texts.places(rows)] = self_attention(attention, texts.packed(rows), runs).to(
            states_TD.dtype
        )
    return replace(texts, states_TD=states_TD)


def packs(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Rows in order of length, cut after about `tokens` tokens in equal parts."""
    parts = max(1, -(-sum(lengths) // tokens))
    yield from chunks_by_length(lengths, -(-sum(lengths) // parts), padded=False)
