"""Pre-training's streams mixed: exact resuming, micro-batches, turns, shares and starts."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests import pretraining_world as world
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError
from x2vlm.train.trainer import train
from x2vlm.types import Batch


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write_shards(tmp_path_factory.mktemp("shards"))


def equal(one: Batch, other: Batch) -> bool:
    """The same rows, drawn alike: ids, pixels, texts and what is hidden of them."""
    ours, theirs = (
        {"ids": b.ids, "image": b.image, "text": b.text_BL, "mask": b.mask_BL, **b.target}
        for b in (one, other)
    )
    return ours.keys() == theirs.keys() and all(
        torch.equal(value, theirs[name]) if isinstance(value, Tensor) else value == theirs[name]
        for name, value in ours.items()
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mixture_resumes_exactly(shards: Path, workers: int) -> None:
    whole = list(itertools.islice(iter(world.source(shards)), 7))
    source = world.source(shards, workers=workers)
    steps = iter(source)
    for _ in range(4):
        next(steps)
    position = source.state_dict()
    again = world.source(shards, workers=workers)
    again.load_state_dict(position)
    for expected, found in zip(whole[4:], itertools.islice(again, 3), strict=True):
        assert len(expected) == len(found) == 5
        assert all(equal(*pair) for pair in zip(expected, found, strict=True))


def test_halved_batches_hold_the_same_rows(shards: Path) -> None:
    whole, halved = world.source(shards, batch_size=4), world.source(shards, batch_size=4)
    assert halved.halve()
    one, two = next(iter(whole)), next(iter(halved))
    assert (len(one), len(two)) == (5, 10)
    assert [i for b in one for i in b.ids] == [i for b in two for i in b.ids]


@pytest.mark.parametrize("micro", [0, 2])
def test_rows_together_share_a_micro_batch(tmp_path: Path, micro: int) -> None:
    """Two images a row: a part of four rows is eight samples, or twice four."""
    rows = world.rows("image", 16)
    pairs = [{"together": rows[i : i + 2]} for i in range(0, 16, 2)]
    (tmp_path / "image").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in pairs)
    (tmp_path / "image/0.jsonl").write_text(lines)
    source = world.source(tmp_path, batch_size=4, micro_batch=micro)
    for batches in itertools.islice(iter(source), 3):
        assert [len(batch.ids) for batch in batches] == ([4, 4] if micro else [8])
        for batch in batches:
            assert batch.ids[::2] == batch.ids[1::2]
            assert len(set(batch.ids)) == len(batch.ids) // 2
            counts = world.task().counts(batch)
            assert counts["image_contrastive"] == len(batch.ids)
    task = world.task()
    config = TrainConfig(steps=2, lr=1e-3, log_every=1, drop_path=0)
    result = train(task, source, config, tmp_path / "run", total_steps=2)
    assert result.samples == 16


def test_matching_ends_after_a_step(shards: Path) -> None:
    source = world.source(shards, matching_until=2)
    found = [
        [bool(batch.target["matching"]) for batch in batches]
        for batches in itertools.islice(iter(source), 4)
    ]
    assert found == [[True] * 5] * 2 + [[False] * 5] * 2


def test_parts_of_a_choice_take_turns_by_their_shares(shards: Path) -> None:
    source = world.source(shards)
    clean = source.parts["image"]
    parts = {
        "clean": replace(clean, choice="image", share=3),
        "noisy": replace(
            clean, choice="image", share=1, collate=replace(clean.collate, matching=False)
        ),
    }
    mixed = type(source)(parts, seed=0)
    noisy = [not b[0].target["matching"] for b in itertools.islice(iter(mixed), 200)]
    assert 30 < sum(noisy) < 70
    assert mixed.state_dict()["step"] == 200


def test_a_part_may_start_later(shards: Path) -> None:
    source = world.source(shards)
    clean = source.parts["image"]
    parts = {
        "first": replace(clean, choice="image", share=1),
        "later": replace(clean, choice="image", share=1, start=10),
        "always": replace(clean, start=5),
    }
    mixed = type(source)(parts, seed=0)
    taken = []
    for step in range(40):
        mixed.step = step
        taken.append(mixed._taking_part())
    assert taken[:5] == [["first"]] * 5
    assert taken[5:10] == [["first", "always"]] * 5
    assert {names[0] for names in taken[10:]} == {"first", "later"}
    with pytest.raises(ConfigError, match="start later"):
        type(source)({"late": replace(clean, start=1)}, seed=0)


def test_shares_below_one_leave_steps_without_a_choice(shards: Path) -> None:
    source = world.source(shards)
    parts = {
        "image": source.parts["image"],
        "video": replace(source.parts["video"], choice="second", share=0.25),
    }
    mixed = type(source)(parts, seed=0)
    kinds = [[b.target["kind"] for b in step] for step in itertools.islice(iter(mixed), 200)]
    assert all(step[0] == "image" for step in kinds)
    assert 30 < sum(len(step) == 2 for step in kinds) < 70
    with pytest.raises(ConfigError, match="left without any stream"):
        type(source)({"video": parts["video"]}, seed=0)


def test_other_streams_refuse_to_resume(shards: Path) -> None:
    position = world.source(shards).state_dict()
    del position["streams"]["video"]
    with pytest.raises(ConfigError, match="saved with streams"):
        world.source(shards).load_state_dict(position)
