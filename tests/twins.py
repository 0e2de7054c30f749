"""The evaluation protocols as plainly as the specification states them: the fast paths' twins.

Texts padded to a fixed length, keys and values projected anew for every pair, no caches, one
thing at a time. `tests/bench.py` measures the fast paths against these, the tests compare outputs.
Axes: N images, M texts, P pairs, V visual tokens, L tokens, D width, B questions, C candidates,
A tokens of a candidate, K kept, W words of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.beam import Search

PADDED = 40
MINUS = -10000.0


def pad_to(values: Tensor, length: int) -> Tensor:
    """Zeros (padding ids, hidden tokens) up to `length` along axis 1."""
    missing = length - values.shape[1]
    return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1)


def padded_texts(model: X2VLM, text_ML: Tensor, mask_ML: Tensor) -> tuple[Tensor, Tensor]:
    """Encoded texts, all padded to one length: (text_MLD, mask_ML)."""
    length = max(PADDED, text_ML.shape[1])
    text_ML, mask_ML = pad_to(text_ML, length), pad_to(mask_ML, length)
    return model.encode_text(text_ML, mask_ML), mask_ML


def rerank_scores(
    model: X2VLM,
    image_NVD: Tensor,
    text_MLD: Tensor,
    mask_ML: Tensor,
    pairs: Tensor,
    batch: int = 8,
) -> Tensor:
    """Matching logit of class 1 of (image, text) pairs, `batch` of them at a time.

    Larger batches are slower here: every pair has keys and values of its own in memory.
    """
    scores = []
    for image_B, text_B in (part.T for part in pairs.split(batch)):
        memory = model.memory(image_NVD[image_B])
        fused_BLD = model.fuse(text_MLD[text_B], mask_ML[text_B], memory)
        scores.append(model.match(fused_BLD)[:, 1])
    return torch.cat(scores)


def rank_answers(
    decoder: Any,
    states_BLD: Tensor,
    mask_BL: Tensor,
    text_CA: Tensor,
    mask_CA: Tensor,
    k: int,
    rule: str = "official",
) -> tuple[Tensor, Tensor]:
    """(index_BK, probability_BK): k candidates by first token, then by the whole answer."""
    start_B1 = text_CA[:1, :1].expand(len(states_BLD), 1)
    states = decoder.states(
        start_B1, torch.ones_like(start_B1), decoder.memory(states_BLD, mask_BL)
    )
    first_BC = decoder.logits(states[:, 0]).softmax(1).index_select(1, text_CA[:, 1])
    first_BK, chosen_BK = first_BC.topk(k, dim=1)
    scores = []
    for question in range(len(states_BLD)):
        text_KA, mask_KA = text_CA[chosen_BK[question]], mask_CA[chosen_BK[question]]
        state_KLD = states_BLD[question].expand(k, -1, -1)
        memory = decoder.memory(state_KLD, mask_BL[question].expand(k, -1))
        log_KAW = decoder.logits(decoder.states(text_KA, mask_KA, memory)).log_softmax(-1)
        log_KA = log_KAW[:, :-1].gather(2, text_KA[:, 1:, None])[..., 0]
        score_K = log_KA.masked_fill(~mask_KA[:, 1:].bool(), 0).sum(1)
        scores.append(score_K + (first_BK[question].log() if rule == "official" else 0))
    probability_BK, order_BK = torch.stack(scores).softmax(1).topk(k, dim=1)
    return chosen_BK.gather(1, order_BK), probability_BK


def beam_captions(model: X2VLM, image_NVD: Tensor, search: Search) -> list[list[int]]:
    """Beam search that reads the whole text again at every step, one image after another."""
    return [_beam_caption(model, image_VD, search) for image_VD in image_NVD]


def _beam_caption(model: X2VLM, image_VD: Tensor, search: Search) -> list[int]:
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    frames = []
    for _ in range(search.max_length):
        options = []
        for (score, tokens), log_W in zip(
            beams, _next(model, image_VD, beams, search), strict=True
        ):
            penalty = MINUS if tokens and tokens[-1] == search.end else 0.0
            best = _allowed(log_W, tokens, search).topk(search.beams)
            for gain, word in zip(best.values, best.indices.tolist(), strict=True):
                options.append((float(gain + penalty + score), [*tokens, word]))
        options.sort(key=lambda option: -option[0])
        beams = options[: search.beams]
        frames.append(beams)
        if all(tokens[-1] == search.end for _, tokens in beams):
            break
    winner, most = [0], -math.inf
    for frame in frames:
        for score, tokens in frame:
            if (tokens[-1] == search.end or frame is frames[-1]) and score > most:
                winner, most = tokens, score
    return winner


def _allowed(log_W: Tensor, tokens: list[int], search: Search) -> Tensor:
    """Log-probabilities of the next word, without early ends and runs that came before."""
    for word in _repeated(tokens, search.ngram):
        log_W[word] += MINUS
    if len(tokens) < search.min_length:
        log_W[search.end] = MINUS
    return log_W


def _next(
    model: X2VLM, image_VD: Tensor, beams: Sequence[tuple[float, list[int]]], search: Search
) -> Tensor:
    """Log-probabilities of the next word of each beam, from the whole text and a [MASK]."""
    rows = [[*search.prompt, *tokens, search.mask] for _, tokens in beams]
    text_KL = torch.tensor(rows, device=image_VD.device)
    seen_KLL = torch.ones(len(rows), *[text_KL.shape[1]] * 2, device=image_VD.device).tril()
    text_KLD = model.encode_text(text_KL, seen_KLL, _positions(model, text_KL))
    memory = model.memory(image_VD.expand(len(rows), -1, -1))
    return model.mlm(model.fuse(text_KLD, seen_KLL, memory)[:, -1]).log_softmax(-1)


def _positions(model: X2VLM, text_KL: Tensor) -> Tensor:
    place_L = torch.arange(text_KL.shape[1], device=text_KL.device)
    return (place_L + model.config.text.first_position).expand(len(text_KL), -1)


def _repeated(tokens: list[int], ngram: int) -> set[int]:
    if ngram == 0 or len(tokens) < ngram:
        return set()
    tail = tokens[len(tokens) - ngram + 1 :]
    found = set()
    for start in range(len(tokens) - ngram + 1):
        if tokens[start : start + ngram - 1] == tail:
            found.add(tokens[start + ngram - 1])
    return found
