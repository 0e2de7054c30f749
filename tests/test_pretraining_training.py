"""Pre-training in the loop: every objective is learned, and a killed run goes on bit by bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import pretraining_world as world
from x2vlm.config import TrainConfig
from x2vlm.tasks.pretraining import LOSSES
from x2vlm.train.trainer import train
from x2vlm.types import Batch


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Batch]:
    """A batch of every kind in which no two texts are the same."""
    return world.first_batches(world.write_shards(tmp_path_factory.mktemp("colours"), count=6))


LEARNED: list[tuple[str, dict[str, bool]]] = [
    *((kind, {}) for kind in LOSSES),
    ("region", {"align": False}), ("region", {"fuse": False}), ("image", {"fuse": False}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "switches"), LEARNED)
def test_one_batch_is_learned_by_heart(
    colours: dict[str, Batch], kind: str, switches: dict[str, bool], tmp_path: Path
) -> None:
    """Every objective falls close to nothing when the same batch comes again and again.

    Contrastive losses start above 1.7; two boxes over the same patches keep them above 0.
    """

    class Same:
        steps_per_epoch = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            return itertools.repeat([batch])

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, position: Mapping[str, Any]) -> None:
            del position

        def halve(self) -> bool:
            return False

    task, batch = world.task(), colours[kind]
    batch = replace(batch, target={**batch.target, **switches})
    config = TrainConfig(
        steps=200, lr=5e-3, drop_path=0, warmup=20, log_every=40, weight_decay=0, seed=1
    )
    result = train(task, Same(), config, tmp_path, total_steps=200)
    names = set(result.losses) - {"loss"}
    assert names == set(task.counts(batch))
    limits = {"contrastive": 0.3, "matching": 0.25, "mlm": 0.1, "box": 0.1, "giou": 0.2}
    for name, value in result.losses.items():
        if name != "loss":
            assert value < limits[name.split("_")[1]], (name, result.losses)


class Dying:
    """A source that ends in an interrupt."""

    def __init__(self, source: Any, steps: int) -> None:
        self.source, self.steps = source, steps
        self.steps_per_epoch = 0

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from itertools.islice(iter(self.source), self.steps)
        raise KeyboardInterrupt

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self.source, name)  # type: ignore[no-any-return]


def test_training_resumes_bit_equal(tmp_path: Path) -> None:
    shards = world.write_shards(tmp_path / "shards")

    def fit(name: str, *stops: int) -> list[Tensor]:
        for stop in stops:
            task = world.task()
            config = TrainConfig(steps=6, lr=1e-3, log_every=1, save_every=3, drop_path=0.1)
            source = world.source(shards, batch_size=3)
            if stop < 6:  # killed after the checkpoint of step 3
                source = Dying(source, stop)  # type: ignore[assignment]
            try:
                train(task, source, config, tmp_path / name, total_steps=6)
            except KeyboardInterrupt:
                continue
        return [p.detach() for p in task.model.parameters()]

    for ours, theirs in zip(fit("cut", 4, 6), fit("whole", 6), strict=True):
        assert torch.equal(ours, theirs)
