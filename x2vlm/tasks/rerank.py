"""Re-ranking: the matching score of many image-text pairs, each computed once and nothing twice.

What the plain loop repeats and this does not:
- keys and values of an image are projected once, and read by all of its texts in one attention
  call; pairs are grouped by image, so that only one image's keys and values exist at a time;
- texts are packed without padding: products run over all tokens, self-attention over runs of
  texts of one length, without a mask;
- the first fusion layer's self-attention sees text alone: it is computed once per text;
- the matching head reads the first token alone: the last layer computes nothing for the others.

Axes: T tokens of all texts one after another, R texts, N heads, U width of a head, V visual
tokens, D width, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from x2vlm.tasks.features import Texts, chunks_by_length, tokens_per_pass
from x2vlm.tasks.packed import first_tokens, layers_of, look_and_feed, runs_of, self_attention

if TYPE_CHECKING:
    from x2vlm.model.layers import Memory
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

    def score(self, memory: Memory, rows: Sequence[int]) -> Tensor:
        """Logit of class 1 of the one image in `memory` with each of the texts `rows`, (R,)."""
        scores_R = torch.empty(len(rows), device=self.model.device)
        lengths = [self.texts.lengths[row] for row in rows]
        for places in packs(lengths, self.tokens):
            fused_RD = self._first_tokens(memory, [rows[place] for place in places])
            scores_R[places] = self.model.match(fused_RD[:, None])[:, 1].float()
        return scores_R

    def _first_tokens(self, memory: Memory, rows: Sequence[int]) -> Tensor:
        """Fused first tokens (R, D) of texts in order of length."""
        runs = list(runs_of(self.texts.lengths[row] for row in rows))
        x_TD = self.texts.packed(rows)
        layers = layers_of(self.model.fusion)
        for number, (layer, seen) in enumerate(zip(layers, memory.layers, strict=True)):
            last = number == len(layers) - 1
            if number > 0:
                x_TD = self_attention(layer.attention, x_TD, runs, first_only=last)
            elif last:
                x_TD = first_tokens(x_TD, runs)
            x_TD = look_and_feed(layer, x_TD, seen, memory.mask_IS, [len(x_TD)])
        return x_TD


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
    scores_P = torch.empty(len(pairs))
    done = 0
    image_G, count_G = torch.unique_consecutive(pairs[:, 0], return_counts=True)
    groups = zip(image_G.tolist(), torch.split(pairs[:, 1], count_G.tolist()), strict=True)
    for image, text_R in watch(list(groups)):
        memory = model.memory(images[image].to(model.device, non_blocking=True)[None])
        scores_P[done : done + len(text_R)] = scorer.score(memory, text_R.tolist()).cpu()
        done += len(text_R)
    return scores_P


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
