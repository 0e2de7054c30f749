"""Masked language modelling: which tokens are hidden, and how.

`mask_tokens` hides words in place (pre-training). `prepend_at` puts a [MASK] in front of each
chosen token at the same position (captioning), so that the text itself stays whole and training
looks like generation. Source: the official masking of pre-training and captioning.
Axes: B batch, L tokens, M masks of the row with most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from x2vlm.data.text import Tokenizer

IGNORED = -100
"""target where a row has fewer masks than M; its weight is 0 too"""


@dataclass(frozen=True, slots=True)
class Masked:
    """text_BL int64 with some tokens hidden; positions_BM int64 into L of what to predict;
    targets_BM the hidden ids (IGNORED in padding); weights_BM float 1 or 0."""

    text_BL: Tensor
    positions_BM: Tensor
    targets_BM: Tensor
    weights_BM: Tensor


@dataclass(frozen=True, slots=True)
class Prepended:
    """As Masked, with L grown by the masks: mask_BLL bool is causal and hides every [MASK] from
    later tokens; position_BL are position ids, shared by a [MASK] and its token."""

    text_BL: Tensor
    mask_BLL: Tensor
    position_BL: Tensor
    positions_BM: Tensor
    targets_BM: Tensor
    weights_BM: Tensor


def choose(
    starts: Sequence[bool],
    rng: np.random.Generator,
    probability: float,
    max_masks: int,
    prompt: int = 0,
    whole_word: bool = True,
    skipgram: float = 0.2,
) -> list[int]:
    """Sorted positions to hide in a text whose token i begins a word where starts[i].

    Position 0 ([CLS]) and the `prompt` tokens after it are never chosen; [SEP] may be.
    About `probability` of the tokens, at least 1, at most `max_masks`; with probability
    `skipgram` a draw takes a run of 2 or 3 tokens; runs grow to whole words.
    """
    length, first = len(starts), 1 + prompt
    wanted = min(max_masks, max(1, round((length - prompt) * probability)))
    chosen: set[int] = set()
    for position in rng.permutation(np.arange(first, length)).tolist():
        if len(chosen) >= wanted:
            break
        if position in chosen:
            continue
        run = int(rng.integers(2, 4)) if rng.random() < skipgram else 1
        begin, end = position, min(position + run, length)
        while whole_word and begin > first and not starts[begin]:
            begin -= 1
        while whole_word and end < length and not starts[end]:
            end += 1
        chosen.update(range(begin, end))
    kept = sorted(chosen)
    if len(kept) > wanted:
        kept = sorted(rng.permutation(kept)[:wanted].tolist())
    return kept


def mask_tokens(
    text_BL: Tensor,
    mask_BL: Tensor,
    tokenizer: Tokenizer,
    rng: np.random.Generator,
    probability: float = 0.5,
    max_masks: int = 12,
    whole_word: bool = True,
    skipgram: float = 0.2,
) -> Masked:
    """Hide words: of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay.

    text_BL int64 from [CLS] to [SEP], mask_BL True on tokens. Nothing is changed in place.
    """
    hidden_BL = text_BL.clone()
    rows: list[list[int]] = []
    for b, length in enumerate(mask_BL.sum(1).tolist()):
        starts = tokenizer.starts_word(text_BL[b, :length]).tolist()
        row = choose(starts, rng, probability, max_masks, whole_word=whole_word, skipgram=skipgram)
        for position in row:
            draw = rng.random()
            if draw < 0.8:
                hidden_BL[b, position] = tokenizer.mask
            elif draw < 0.9:
                hidden_BL[b, position] = int(rng.integers(tokenizer.vocabulary))
        rows.append(row)
    targets = [[int(text_BL[b, p]) for p in row] for b, row in enumerate(rows)]
    return Masked(hidden_BL, *_pad(rows, targets))


def prepend_at(
    texts: Sequence[Sequence[int]], chosen: Sequence[Sequence[int]], mask: int, pad: int
) -> Prepended:
    """Put the id `mask` in front of the tokens at chosen[b] (from `choose`) of each row of ids.

    Padded with `pad`; see Prepended for the result.
    """
    length = max(len(text) + len(set(row)) for text, row in zip(texts, chosen, strict=True))
    text_BL = torch.full((len(texts), length), pad, dtype=torch.int64)
    position_BL = torch.zeros((len(texts), length), dtype=torch.int64)
    mask_BLL = torch.ones((length, length), dtype=torch.bool).tril().repeat(len(texts), 1, 1)
    places: list[list[int]] = []
    for b, (text, row) in enumerate(zip(texts, chosen, strict=True)):
        grown: list[int] = []
        positions: list[int] = []
        place: list[int] = []
        for index, token in enumerate(text):
            if index in row:
                place.append(len(grown))
                grown.append(mask)
                positions.append(index)
            grown.append(token)
            positions.append(index)
        positions += range(len(text), len(text) + length - len(grown))  # padding, seen by no token
        text_BL[b, : len(grown)] = torch.tensor(grown)
        position_BL[b] = torch.tensor(positions)
        mask_BLL[b, :, place] = False
        mask_BLL[b, place, place] = True
        places.append(place)
    targets = [[text[i] for i in sorted(row)] for text, row in zip(texts, chosen, strict=True)]
    return Prepended(text_BL, mask_BLL, position_BL, *_pad(places, targets))


def _pad(
    positions: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Ragged rows -> (positions_BM, targets_BM, weights_BM)."""
    most = max(map(len, positions), default=0)
    positions_BM = torch.zeros((len(positions), most), dtype=torch.int64)
    targets_BM = torch.full((len(positions), most), IGNORED, dtype=torch.int64)
    weights_BM = torch.zeros((len(positions), most))
    for b, (row, ids) in enumerate(zip(positions, targets, strict=True)):
        positions_BM[b, : len(row)] = torch.tensor(row, dtype=torch.int64)
        targets_BM[b, : len(row)] = torch.tensor(ids, dtype=torch.int64)
        weights_BM[b, : len(row)] = 1
    return positions_BM, targets_BM, weights_BM
