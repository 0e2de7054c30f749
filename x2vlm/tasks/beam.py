"""Captions by masked language modelling: beam search with keys and values of all earlier tokens.

Each step reads the last token and a [MASK] after it; the mask's state predicts the next token, its
keys and values are forgotten. Beams of all images of a batch run together; image keys and values
are projected once per image and shared by its beams. A beam that ended is never extended, one that
can no longer win is dropped, and so is an image whose winner is known; the result is that of the
plain search, because log-probabilities only fall.

Axes: B images, R beams that live (of all images), V visual tokens, D width, L tokens of the
prompt, W words of the vocabulary, K beams per image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from x2vlm.model.layers import Cache
from x2vlm.tasks.packed import layers_of

if TYPE_CHECKING:
    from x2vlm.model.layers import Memory
    from x2vlm.model.text import Stack
    from x2vlm.model.x2vlm import X2VLM

FORBIDDEN = -10000.0
"""added to the log-probability of what must not come next (official value)"""


@dataclass(frozen=True, slots=True)
class Search:
    """prompt: token ids the caption begins with, not part of the result. mask, end: token ids of
    [MASK] and [SEP]. beams: K. min_length, max_length: tokens of the caption; the end counts in
    the longest, not in the shortest. ngram: no run of so many tokens comes twice; 0 is off."""

    prompt: tuple[int, ...]
    mask: int
    end: int
    beams: int = 3
    min_length: int = 5
    max_length: int = 50
    ngram: int = 3


@dataclass(slots=True)
class Beam:
    """One unfinished caption: which image it is of, its row in the caches, its tokens so far."""

    image: int
    row: int
    tokens: list[int] = field(default_factory=list)
    score: float = 0.0


@dataclass(slots=True)
class Best:
    """The best finished caption of an image so far."""

    tokens: list[int] = field(default_factory=list)
    score: float = -math.inf


class BeamCache(Cache):
    """Keys and values of the tokens that beams have read, in memory that is allocated once.

    Reordering beams copies between two blocks of memory; allocating anew for every step took
    longer than the step. Tokens come first in memory, so that a step appends without a copy:
    (S, layers, 2, R, N, U).
    """

    def __init__(self, stack: Stack, beams: int, tokens: int) -> None:
        super().__init__()
        attention = layers_of(stack)[0].attention
        width = attention.query.out_features // attention.heads
        self.shape = (len(stack.layers), 2, beams, attention.heads, width)
        self.held = 0
        self._room = tokens * math.prod(self.shape)
        self._blocks: list[Tensor] = []

    def __len__(self) -> int:
        return self.held

    def extend(self, layer: int, key_RNSU: Tensor, value_RNSU: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new tokens of `layer`; returns keys and values of all tokens."""
        if not self._blocks:
            self._blocks = [key_RNSU.new_empty(self._room) for _ in range(2)]
        total = self.held + key_RNSU.shape[2]
        every = self._view(0, total)[:, layer]
        every[self.held :, 0] = key_RNSU.permute(2, 0, 1, 3)
        every[self.held :, 1] = value_RNSU.permute(2, 0, 1, 3)
        key, value = every.permute(1, 2, 3, 0, 4)
        return key, value

    def step(self, tokens: int) -> None:
        """Keep the first `tokens` of the tokens written since the last step."""
        self.held += tokens

    def reorder(self, rows_R: Tensor) -> None:
        """Keep these beams, in this order; a beam may appear several times."""
        old_shape = self.shape
        self.shape = (*self.shape[:2], len(rows_R), *self.shape[3:])
        if self.held:
            old = self._blocks[0][: self.held * math.prod(old_shape)].view(self.held, *old_shape)
            torch.index_select(old, 3, rows_R, out=self._view(1, self.held))
            self._blocks.reverse()

    def _view(self, block: int, tokens: int) -> Tensor:
        count = tokens * math.prod(self.shape)
        return self._blocks[block][:count].view(tokens, *self.shape)


class Reader:
    """The model reading beams token by token; keeps keys and values of what it read."""

    def __init__(self, model: X2VLM, memory: Memory, search: Search) -> None:
        self.model, self.memory, self.mask = model, memory, search.mask
        beams = len(memory) * search.beams
        tokens = len(search.prompt) + search.max_length + 1
        self.text = BeamCache(model.text, beams, tokens)
        self.fused = BeamCache(model.fusion, beams, tokens)
        self.images = list(range(len(memory)))

    def next_words(self, text_RL: Tensor, beams: list[Beam]) -> Tensor:
        """Log-probabilities of the token after `text_RL`, the new tokens of each beam: (R, W)."""
        count, new = text_RL.shape
        held = len(self.text)
        self._keep(beams)
        masked_RL = torch.cat([text_RL, text_RL.new_full((count, 1), self.mask)], 1)
        position_L = torch.arange(held, held + new + 1, device=text_RL.device)
        seen_LS = torch.arange(held + new + 1, device=text_RL.device) <= position_L[:, None]
        position_RL = (position_L + self.model.config.text.first_position).expand(count, -1)
        states = self.model.text.encode(masked_RL, seen_LS[None], position_RL, self.text)
        place = {image: index for index, image in enumerate(self.images)}
        rows = torch.tensor([place[beam.image] for beam in beams])
        states = self.model.fusion(states, seen_LS[None], self.memory, rows, self.fused)
        self.text.step(new)
        self.fused.step(new)
        logits_RW = self.model.mlm(states[:, -1])
        return logits_RW.log_softmax(-1, dtype=torch.promote_types(logits_RW.dtype, torch.float32))

    def _keep(self, beams: list[Beam]) -> None:
        """Reorder the caches to the beams that live, and forget images that have none."""
        rows_R = torch.tensor([beam.row for beam in beams], device=self.model.device)
        self.text.reorder(rows_R)
        self.fused.reorder(rows_R)
        living = {beam.image for beam in beams}
        if len(living) < len(self.images):
            kept = [place for place, image in enumerate(self.images) if image in living]
            self.memory = self.memory.select(kept)
            self.images = [self.images[place] for place in kept]


def generate(model: X2VLM, image_BVD: Tensor, search: Search) -> list[list[int]]:
    """The likeliest caption of each image as token ids, the end included when it was reached."""
    reader = Reader(model, model.memory(image_BVD), search)
    best = [Best() for _ in range(len(image_BVD))]
    beams = [Beam(image, image) for image in range(len(image_BVD))]
    text_RL = torch.tensor([search.prompt] * len(beams), device=image_BVD.device)
    for step in range(search.max_length):
        words_RW = reader.next_words(text_RL, beams)
        _forbid(words_RW, beams, step, search)
        last = step == search.max_length - 1
        beams = _advance(words_RW, beams, best, search, last)
        if not beams:
            break
        text_RL = torch.tensor([[beam.tokens[-1]] for beam in beams], device=image_BVD.device)
    return [winner.tokens for winner in best]


def _forbid(words_RW: Tensor, beams: list[Beam], step: int, search: Search) -> None:
    """Make an early end and repeated runs unlikely beyond any choice, in place."""
    if step < search.min_length:
        words_RW[:, search.end] = FORBIDDEN
    if search.ngram:
        for row, beam in enumerate(beams):
            words = repeats(beam.tokens, search.ngram)
            if words:
                words_RW[row, words] += FORBIDDEN


def repeats(tokens: list[int], ngram: int) -> list[int]:
    """The tokens that would complete, for a second time, a run of `ngram` that `tokens` hold."""
    if len(tokens) < ngram:
        return []
    tail = tokens[len(tokens) - ngram + 1 :]
    runs = range(len(tokens) - ngram + 1)
    return sorted({tokens[i + ngram - 1] for i in runs if tokens[i : i + ngram - 1] == tail})


def _advance(
    words_RW: Tensor, beams: list[Beam], best: list[Best], search: Search, last: bool
) -> list[Beam]:
    """The beams that go on: of each image's K best continuations those that have not ended and can
    still win. Ended ones (in the last step all) are compared with the best so far."""
    top = words_RW.topk(search.beams, dim=-1)
    # Sums in this type, as the plain search adds them, so that near ties fall the same way.
    past_R1 = words_RW.new_tensor([[beam.score] for beam in beams])
    scores, words = (top.values + past_R1).tolist(), top.indices.tolist()
    options: dict[int, list[tuple[float, int, int]]] = {}
    for row, beam in enumerate(beams):
        found = zip(scores[row], words[row], strict=True)
        options.setdefault(beam.image, []).extend((score, row, word) for score, word in found)
    going = []
    for image, found_here in options.items():
        found_here.sort(key=lambda option: -option[0])
        for score, row, word in found_here[: search.beams]:
            tokens = [*beams[row].tokens, word]
            if word != search.end and not last:
                going.append(Beam(image, row, tokens, score))
            elif score > best[image].score:
                best[image] = Best(tokens, score)
    return [beam for beam in going if beam.score > best[beam.image].score]
