"""The losses, as functions of features, states and targets. Source: spec of the official training.

Axes: see `x2vlm.types`; I images of a memory, M masked positions, W words of the vocabulary.
A mean over nothing is 0 and keeps its gradient, so that a batch without boxes or masks is no fault.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from x2vlm import distributed

if TYPE_CHECKING:
    from x2vlm.model.layers import Memory
    from x2vlm.model.x2vlm import X2VLM

IGNORED = -100
"""target that no cross-entropy counts"""


def contrastive(
    image_BE: Tensor, text_BE: Tensor, temperature: Tensor, group_B: Tensor | None = None,
    kind_B: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Symmetric cross-entropy of normalised features, row b of both belonging together.

    group_B: rows of one group (texts of one image) all count as right, in equal parts. kind_B
    (with groups only): rows of other kinds (a colour and a shape) are not compared. Under
    torchrun the rows of all processes are candidates, with gradients, and the result is the mean
    over this process's rows.
    """
    images, start = distributed.gather_with_gradient(image_BE)
    texts, _ = distributed.gather_with_gradient(text_BE)
    by_image = (image_BE @ texts.t() / temperature).float()
    by_text = (text_BE @ images.t() / temperature).float()
    if group_B is None:
        target = torch.arange(start, start + len(image_BE), device=image_BE.device)
        return (F.cross_entropy(by_image, target) + F.cross_entropy(by_text, target)) / 2
    groups, _ = distributed.gather_with_gradient(group_B)
    same = (group_B[:, None] == groups).float()
    share = same / same.sum(1, keepdim=True)
    if kind_B is not None:
        kinds, _ = distributed.gather_with_gradient(kind_B)
        other = kind_B[:, None] != kinds
        least = torch.finfo(by_image.dtype).min
        by_image, by_text = by_image.masked_fill(other, least), by_text.masked_fill(other, least)
    return (F.cross_entropy(by_image, share) + F.cross_entropy(by_text, share)) / 2


@torch.no_grad()
def hard_negatives(
    image_BE: Tensor, text_BE: Tensor, temperature: Tensor, group_B: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(image_B, text_B): for text b a wrong image, for image b a wrong text, of this process.

    Drawn from the contrastive distribution (softmax + 1e-5), rows of the same group excluded.
    Where a batch has no other group, the row itself is returned; see `matching`. Features that are
    not finite give any other row: their losses are not finite either, which the step names.
    """
    similarity = (image_BE @ text_BE.t() / temperature).float()
    group_B = torch.arange(len(image_BE), device=image_BE.device) if group_B is None else group_B
    same = group_B[:, None] == group_B
    itself = torch.eye(len(group_B), dtype=torch.bool, device=group_B.device)
    alone = same.all(1, keepdim=True) & itself

    def draw(rows: Tensor) -> Tensor:
        chance = (rows.softmax(1) + 1e-5).nan_to_num(nan=1.0)
        return torch.multinomial(chance.masked_fill(same, 0).masked_fill(alone, 1), 1)[:, 0]

    return draw(similarity.t()), draw(similarity)


def matching_targets(image_B: Tensor, text_B: Tensor) -> Tensor:
    """Targets of [pairs, texts with negative images, images with negative texts], (3B,).

    1 for a pair, 0 for a negative; -100 (ignored) where no negative could be drawn.
    """
    own = torch.arange(len(image_B), device=image_B.device)
    negatives = [torch.where(rows == own, IGNORED, 0) for rows in (image_B, text_B)]
    return torch.cat([torch.ones_like(own), *negatives])


def matching(
    model: X2VLM, text_BLD: Tensor, mask_BL: Tensor, memory: Memory, image_B: Tensor, text_B: Tensor
) -> Tensor:
    """Cross-entropy of matching over pairs, texts with a wrong image, and images with a wrong text.

    image_B[b]: the wrong image of text b; text_B[b]: the wrong text of image b. Images (keys and
    values) are not repeated.
    """
    own = torch.arange(len(text_BLD), device=text_BLD.device)
    texts, images = torch.cat([own, own, text_B]), torch.cat([own, image_B, own])
    fused = model.fuse(text_BLD[texts], mask_BL[texts], memory, images)
    return F.cross_entropy(model.match(fused).float(), matching_targets(image_B, text_B))


def mlm(model: X2VLM, fused_BLD: Tensor, positions_BM: Tensor, targets_BM: Tensor) -> Tensor:
    """Cross-entropy of the hidden tokens, a mean over them; IGNORED ones are padding.

    The vocabulary is projected at the masked positions only.
    """
    rows_B1 = torch.arange(len(fused_BLD), device=fused_BLD.device)[:, None]
    logits_BMW = model.mlm(fused_BLD[rows_B1, positions_BM]).float()
    total = F.cross_entropy(logits_BMW.flatten(0, 1), targets_BM.flatten(), reduction="sum")
    return total / (targets_BM != IGNORED).sum().clamp(min=1)


def smoothed(
    logits_BMW: Tensor, targets_BM: Tensor, weights_BM: Tensor, smoothing: float, *, start: int
) -> Tensor:
    """KL divergence to a target that gives 1 - smoothing to the token, as in captioning.

    The rest is spread over the other words but `start` ([CLS], which no caption has to predict),
    smoothing / (W - 2) each: the zero in the buffer of official captioning weights. weights_BM:
    1 for a masked token, 0 for padding; the result is a mean over the tokens.
    """
    logs_BMW = logits_BMW.float().log_softmax(-1)
    rest = smoothing / (logs_BMW.shape[-1] - 2)
    chosen_BM = logs_BMW.gather(-1, targets_BM.clamp(min=0)[..., None])[..., 0]
    other_BM = logs_BMW.sum(-1) - chosen_BM - logs_BMW[..., start]
    entropy = (1 - smoothing) * math.log(1 - smoothing) + smoothing * math.log(rest or 1)
    loss_BM = entropy - (1 - smoothing) * chosen_BM - rest * other_BM
    # The official denominator, never 0 either.
    return (loss_BM * weights_BM).sum() / (weights_BM.sum() + 1e-5)


def box(box_B4: Tensor, target_B4: Tensor, counts_B: Tensor | None = None) -> dict[str, Tensor]:
    """{"box": L1 summed over the four numbers, "giou": 1 - GIoU}, means over the boxes.

    Boxes are (cx, cy, w, h), fractions of the image. counts_B: which rows are boxes; None: all.
    """
    box_B4, target_B4 = box_B4.float(), target_B4.float()
    counts_B = torch.ones_like(box_B4[:, 0]) if counts_B is None else counts_B.float()
    boxes = counts_B.sum().clamp(min=1)
    l1_B = (box_B4 - target_B4).abs().sum(1)
    giou_B = giou(corners(box_B4), corners(target_B4))
    return {"box": (l1_B * counts_B).sum() / boxes, "giou": ((1 - giou_B) * counts_B).sum() / boxes}


def corners(box_B4: Tensor) -> Tensor:
    """(cx, cy, w, h) -> (left, top, right, bottom)."""
    centre_B2, half_B2 = box_B4[:, :2], box_B4[:, 2:] / 2
    return torch.cat([centre_B2 - half_B2, centre_B2 + half_B2], 1)


def giou(one_B4: Tensor, other_B4: Tensor) -> Tensor:
    """Generalised IoU (arXiv 1902.09630) of boxes given by corners, row by row, (B,)."""

    def area(low_B2: Tensor, high_B2: Tensor) -> Tensor:
        return (high_B2 - low_B2).clamp(min=0).prod(1)

    inner = area(torch.maximum(one_B4[:, :2], other_B4[:, :2]),
                 torch.minimum(one_B4[:, 2:], other_B4[:, 2:]))  # fmt: skip
    outer = area(torch.minimum(one_B4[:, :2], other_B4[:, :2]),
                 torch.maximum(one_B4[:, 2:], other_B4[:, 2:]))  # fmt: skip
    union = area(one_B4[:, :2], one_B4[:, 2:]) + area(other_B4[:, :2], other_B4[:, 2:]) - inner
    tiny = torch.finfo(union.dtype).tiny
    return inner / union.clamp(min=tiny) - (outer - union) / outer.clamp(min=tiny)
