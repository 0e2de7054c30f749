"""Losses beside plain formulas; against the official numbers see test_golden_parity."""

import math

import pytest
import small
import torch
from torch.nn import functional as F

from x2vlm import losses


def features(rows: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, 6, generator=generator), dim=-1)


def test_contrastive_is_the_mean_of_both_directions() -> None:
    image_BE, text_BE, temperature = features(4, 0), features(4, 1), torch.tensor(0.1)
    logits = image_BE @ text_BE.t() / temperature
    plain = -(logits.log_softmax(1).diag().mean() + logits.log_softmax(0).diag().mean()) / 2
    torch.testing.assert_close(losses.contrastive(image_BE, text_BE, temperature), plain)
    alone = torch.tensor([7, 8, 9, 5])
    torch.testing.assert_close(losses.contrastive(image_BE, text_BE, temperature, alone), plain)


def test_texts_of_one_image_share_the_label() -> None:
    image_BE, text_BE, temperature = features(3, 0), features(3, 1), torch.tensor(0.2)
    share = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    logits = image_BE @ text_BE.t() / temperature
    plain = -(share * (logits.log_softmax(1) + logits.t().log_softmax(1))).sum(1).mean() / 2
    found = losses.contrastive(image_BE, text_BE, temperature, torch.tensor([4, 4, 2]))
    torch.testing.assert_close(found, plain)


def test_hard_negatives_are_drawn_by_similarity_and_never_right() -> None:
    torch.manual_seed(0)
    group_B = torch.tensor([0, 0, 1, 2])
    image_BE, text_BE = features(4, 0), features(4, 1)
    temperature = torch.tensor(0.5)
    counts = torch.zeros(4, 4)
    for _ in range(2000):
        image_B, text_B = losses.hard_negatives(image_BE, text_BE, temperature, group_B)
        assert (group_B[image_B] != group_B).all()
        assert (group_B[text_B] != group_B).all()
        counts[torch.arange(4), text_B] += 1
    weights = (image_BE @ text_BE.t() / temperature).softmax(1) + 1e-5
    weights = weights.masked_fill(group_B[:, None] == group_B, 0)
    torch.testing.assert_close(
        counts / 2000, weights / weights.sum(1, keepdim=True), atol=0.05, rtol=0
    )


def test_a_batch_of_one_group_has_no_negatives() -> None:
    image_B, text_B = losses.hard_negatives(
        features(2, 0), features(2, 1), torch.tensor(0.1), torch.tensor([3, 3])
    )
    assert losses.matching_targets(image_B, text_B).tolist() == [1, 1, -100, -100, -100, -100]


def test_matching_scores_one_pair_and_two_negatives() -> None:
    model = small.model("matching")
    image_BVD = torch.randn(3, model.config.vision.tokens, model.config.vision.width)
    text_BLD, mask_BL = torch.randn(3, 4, 24), torch.ones(3, 4)
    image_B, text_B = torch.tensor([1, 2, 0]), torch.tensor([2, 0, 1])
    images = image_BVD[[0, 1, 2, 1, 2, 0, 0, 1, 2]]
    texts = text_BLD[[0, 1, 2, 0, 1, 2, 2, 0, 1]]
    logits = model.match(model.fuse(texts, torch.ones(9, 4), model.memory(images)))
    plain = F.cross_entropy(logits, torch.tensor([1, 1, 1, 0, 0, 0, 0, 0, 0]))
    memory = model.memory(image_BVD)
    found = losses.matching(model, text_BLD, mask_BL, memory, image_B, text_B)
    torch.testing.assert_close(found, plain)


def test_masked_tokens_are_averaged_and_padding_ignored() -> None:
    model = small.model("mlm")
    fused = torch.randn(2, 5, 24)
    positions, targets = torch.tensor([[1, 3], [2, 0]]), torch.tensor([[7, 9], [11, -100]])
    logits = model.mlm(fused)
    plain = -sum(logits[b, p].log_softmax(0)[t] for b, p, t in ((0, 1, 7), (0, 3, 9), (1, 2, 11)))
    torch.testing.assert_close(losses.mlm(model, fused, positions, targets), plain / 3)
    nothing = losses.mlm(model, fused, positions, torch.full((2, 2), -100))
    assert nothing.item() == 0
    assert nothing.requires_grad


def test_smoothed_is_a_divergence_from_a_spread_target() -> None:
    logits = torch.randn(1, 2, 6)
    target = torch.full((6,), 0.1 / 4)
    target[2], target[5] = 0, 0.9  # [CLS] gets nothing
    plain = F.kl_div(logits[0, 0].log_softmax(-1), target, reduction="none").sum()
    tokens, weights = torch.tensor([[5, 2]]), torch.tensor([[1, 0]])
    found = losses.smoothed(logits, tokens, weights, 0.1, start=2)
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)
    assert losses.smoothed(logits, tokens, weights * 0, 0.1, start=2).item() == 0


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1.0),
        ((0, 0, 1, 1), (1, 1, 2, 2), -0.5),
        ((0, 0, 2, 1), (1, 0, 3, 1), 1 / 3),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
    ],
)
def test_generalised_iou(one: tuple[int, ...], other: tuple[int, ...], wanted: float) -> None:
    found = losses.giou(torch.tensor([one]).float(), torch.tensor([other]).float())
    assert found.item() == pytest.approx(wanted)


def test_boxes_are_averaged_over_boxes_alone() -> None:
    found = losses.box(
        torch.tensor([[0.5, 0.5, 1, 1], [0.1, 0.1, 0.1, 0.1]]),
        torch.tensor([[0.25, 0.5, 0.5, 1], [0.9, 0.9, 0.1, 0.1]]),
        torch.tensor([True, False]),
    )
    assert found["box"].item() == pytest.approx(0.75)
    assert found["giou"].item() == pytest.approx(0.5)
    none = losses.box(torch.rand(2, 4), torch.rand(2, 4), torch.zeros(2))
    assert [value.item() for value in none.values()] == [0, 0]
    assert math.isfinite(found["giou"].item())


def test_kinds_are_compared_among_themselves() -> None:
    torch.manual_seed(0)
    image_BE, text_BE = (F.normalize(torch.randn(12, 8), dim=1) for _ in range(2))
    group_B, kind_B = torch.arange(12) % 4, torch.arange(12) % 2  # groups lie within kinds
    temperature = torch.tensor(0.1)
    whole = losses.contrastive(image_BE, text_BE, temperature, group_B, kind_B)
    parts = [
        losses.contrastive(image_BE[rows], text_BE[rows], temperature, group_B[rows])
        for rows in (kind_B == 0, kind_B == 1)
    ]
    torch.testing.assert_close(whole, torch.stack(parts).mean())
    assert whole < losses.contrastive(image_BE, text_BE, temperature, group_B)
