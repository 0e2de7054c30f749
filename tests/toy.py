"""A task that trains in milliseconds, and a source of batches in memory, for trainer tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tests import small
from x2vlm import distributed
from x2vlm.data.image import EvalTransform, Sample, Transform
from x2vlm.losses import contrastive
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.base import Task
from x2vlm.types import Batch, Prediction

COUNT = 24


class Toy(Task):
    """Images and vectors: features towards their own (mse), and told apart (contrastive)."""

    name: ClassVar[str] = "toy"
    names: tuple[str, ...] = ("mse", "contrastive")
    broken: str | None = None
    """id of a sample that makes the loss NaN"""

    @classmethod
    def heads(cls, **_: object) -> dict[str, object]:
        return {"heads": ("contrastive",)}

    def transform(self, train: bool) -> Transform:
        del train
        return EvalTransform(small.SIZE)

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        del train
        return batch([int(sample.record.id) for sample in samples])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.image is not None
        if self.broken is not None and self.broken in batch.ids:
            batch.target["goal_BE"] = batch.target["goal_BE"] * float("nan")
        feature_BE = self.model.image_feature(self.model.encode_image(batch.image))
        goal_BE = batch.target["goal_BE"]
        found = {
            "mse": F.mse_loss(feature_BE, goal_BE),
            "contrastive": contrastive(feature_BE, goal_BE, self.model.temperature),
        }
        return {name: found[name] for name in self.names}

    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        del loader
        raise NotImplementedError


def task(seed: int = 0, drop_path: float = 0.0) -> Toy:
    """A toy on a fresh model."""
    torch.manual_seed(seed)
    config = replace(small.CONFIG, heads=("contrastive",), vision=replace(small.VISION, depth=2))
    model = X2VLM(config)
    model.set_drop_path(vision=drop_path)
    return Toy(model, small.tokenizer())


def batch(places: Sequence[int]) -> Batch:
    """Fixed random images and goals by place."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(COUNT, 3, small.SIZE, small.SIZE, generator=generator)
    goal_BE = F.normalize(torch.randn(COUNT, 16, generator=generator), dim=-1)
    chosen = list(places)
    ids = tuple(str(place) for place in chosen)
    return Batch(ids, image[chosen], target={"goal_BE": goal_BE[chosen]})


class Batches:
    """A `Source`: steps of `size` samples in order, over and over, cut by process and micro-batch.

    uneven: the first process (and micro-batch) gets one sample more, the last one less.
    """

    def __init__(self, size: int = 6, micro: int = 0, uneven: bool = False) -> None:
        self.size, self.micro, self.uneven, self.step = size, micro, uneven, 0
        self.halved = 0

    @property
    def steps_per_epoch(self) -> int:
        return 0

    def __iter__(self) -> Iterator[list[Batch]]:
        while True:
            begin = self.step * self.size
            places = [(begin + i) % COUNT for i in range(self.size)]
            cuts = _cuts(self.size, distributed.world(), self.uneven)
            mine = places[cuts[distributed.rank()] : cuts[distributed.rank() + 1]]
            # As many for every process: they wait for each other in each micro-batch.
            share = -(-self.size // distributed.world())
            pieces = -(-share // (self.micro or share))
            cuts = _cuts(len(mine), pieces, self.uneven)
            self.step += 1
            yield [batch(mine[a:b]) for a, b in itertools.pairwise(cuts)]

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, position: Mapping[str, Any]) -> None:
        self.step = int(position["step"])

    def halve(self) -> bool:
        size = self.micro or self.size
        self.micro, self.halved = size // 2, self.halved + 1
        return size > 1


def _cuts(count: int, pieces: int, uneven: bool) -> list[int]:
    cuts = [count * i // pieces for i in range(pieces + 1)]
    return [c + 1 if uneven and 0 < i < pieces else c for i, c in enumerate(cuts)]
