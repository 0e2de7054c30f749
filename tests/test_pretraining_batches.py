"""Pre-training's batches: what is hidden of texts, and the regions of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests import pretraining_world as world
from x2vlm.data.concepts import Concepts
from x2vlm.tasks.pretraining_data import Collate


def concepts(seed: int, words: int = 1) -> Concepts:
    texts = tuple(f"the {world.NAMES[(seed + i) % 6]} square" for i in range(words))
    boxes = ((0.5, 0.5, 1.0, 1.0), (0.25, 0.5, 0.5, 0.5), (0.8, 0.2, 0.1, 0.1))[:words]
    is_box = (False, True, True)[:words]
    return Concepts(torch.full((3, 32, 32), float(seed)), texts, boxes, is_box, seed, f"f:{seed}")


def test_masks_do_not_depend_on_the_company() -> None:
    collate = Collate("image", world.TOKENIZER, 32, 8)
    alone, together = collate([concepts(3)]), collate([concepts(1), concepts(3)])
    length = int(together.mask_BL[1].sum())  # type: ignore[index]
    assert torch.equal(
        alone.target["hidden_BL"][0, :length], together.target["hidden_BL"][1, :length]
    )
    masks = alone.target["positions_BM"].shape[1]
    assert torch.equal(alone.target["targets_BM"][0], together.target["targets_BM"][1, :masks])


def test_the_answer_is_hidden_behind_its_question(tmp_path: Path) -> None:
    batch = world.first_batches(world.write_shards(tmp_path))["question"]
    tokenizer = world.TOKENIZER
    texts, _ = world.parts_of(batch)
    rows_B = batch.target["rows_B"]
    assert rows_B.tolist() == [g for g in range(len(batch.ids)) for _ in range(2)]
    said = [
        (tokenizer.decode(text), tokenizer.decode(targets[targets >= 0]), hidden[positions])
        for text, targets, hidden, positions in zip(
            texts.text_BL, texts.targets_BM, texts.hidden_BL, texts.positions_BM, strict=True
        )
    ]
    assert {text.removesuffix(answer).strip() for text, answer, _ in said} == {
        "what is in the picture", "what color is it"}  # fmt: skip
    assert {answer for _, answer, _ in said} <= {"square", *world.NAMES}
    assert all(bool((hidden == tokenizer.mask).all()) for _, _, hidden in said)
    kept = texts.hidden_BL != tokenizer.mask
    assert torch.equal(texts.hidden_BL[kept], texts.text_BL[kept])


def test_regions_of_a_batch_know_their_image_box_and_patches() -> None:
    batch = Collate("region", world.TOKENIZER, 32, 8)([concepts(0, 3), concepts(1, 2)])
    assert batch.target["rows_B"].tolist() == [0, 0, 0, 1, 1]
    assert batch.target["is_box_B"].tolist() == [False, True, True, False, True]
    patches = batch.target["patches_BV"]
    assert patches.shape == (5, 17)
    assert patches[0].all()
    grid = patches[1, 1:].reshape(4, 4)  # box (0.25, 0.5, 0.5, 0.5): columns 0-1, rows 1-2
    expected = np.zeros((4, 4), dtype=bool)
    expected[1:3, 0:2] = True
    assert np.array_equal(grid.numpy(), expected)
    assert batch.ids == ("f:0", "f:1")


def test_a_limit_of_concepts_takes_from_the_richest() -> None:
    collate = Collate("region", world.TOKENIZER, 32, 8, max_concepts=4)
    assert collate([concepts(0, 3), concepts(1, 1), concepts(2, 1)]).target["rows_B"].tolist() == [
        0, 0, 1, 2]  # fmt: skip
