"""Streams put together: one of several by ratio, or one batch of each per step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from x2vlm.errors import ConfigError
from x2vlm.types import Batch


class Part(Protocol):
    """Endless batches with a position: a StreamLoader, or a Mixture of some."""

    batch_size: int

    def __iter__(self) -> Iterator[Batch]:
        """From the position last loaded on."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Position behind the last batch handed out."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go there."""
        ...


class Mixture:
    """Each batch comes from one part, drawn by ratio from (seed, step): clean and noisy data.

    parts: name -> (part, ratio). A batch's target["stream"] is the name of its part, so that a
    task can leave a loss out for noisy data.
    """

    def __init__(self, parts: Mapping[str, tuple[Part, float]], seed: int) -> None:
        self.parts = {name: part for name, (part, _) in parts.items()}
        ratios = np.array([ratio for _, ratio in parts.values()], dtype=float)
        if not len(ratios) or (ratios < 0).any() or not ratios.sum():
            raise ConfigError(f"ratios of a mixture must be positive, got {ratios.tolist()}")
        self.ends = np.cumsum(ratios / ratios.sum())
        self.seed, self.step = seed, 0

    @property
    def batch_size(self) -> int:
        """Rows of a batch; setting it sets it for every part."""
        return max(part.batch_size for part in self.parts.values())

    @batch_size.setter
    def batch_size(self, rows: int) -> None:
        for part in self.parts.values():
            part.batch_size = rows

    def __iter__(self) -> Iterator[Batch]:
        """From the position last loaded on."""
        names = list(self.parts)
        batches = {name: iter(part) for name, part in self.parts.items()}
        while True:
            draw = np.random.default_rng((self.seed, self.step)).random()
            name = names[min(int(np.searchsorted(self.ends, draw, "right")), len(names) - 1)]
            batch = next(batches[name])
            batch.target["stream"] = name
            self.step += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Step and the states of the parts, by name."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {"step": self.step, "parts": parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go there; ConfigError when the parts have other names."""
        _load(self.parts, state["parts"])
        self.step = state["step"]


class StreamSource:
    """Steps of pre-training: one batch of every kind, e.g. images, regions, videos, parallel text.

    A `x2vlm.train.source.Source`; streams have no passes, so training is measured in steps.
    """

    steps_per_epoch = 0

    def __init__(self, parts: Mapping[str, Part]) -> None:
        if not parts:
            raise ConfigError("pre-training needs at least one stream")
        self.parts = dict(parts)
        self._pieces = 1

    def __iter__(self) -> Iterator[Sequence[Batch]]:
        """The batches of each further step, without end."""
        streams = [iter(part) for part in self.parts.values()]
        while True:
            yield [next(stream) for stream in streams for _ in range(self._pieces)]

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, position: Mapping[str, Any]) -> None:
        """Go there; ConfigError when the parts have other names."""
        _load(self.parts, position)

    def halve(self) -> bool:
        """Cut every batch in two from the next `iter` on; False when one has an odd size."""
        if any(part.batch_size % 2 for part in self.parts.values()):
            return False
        for part in self.parts.values():
            part.batch_size //= 2
        self._pieces *= 2
        return True


def _load(parts: Mapping[str, Part], states: Mapping[str, Any]) -> None:
    if set(parts) != set(states):
        raise ConfigError(f"cannot resume: streams were {sorted(states)}, now {sorted(parts)}")
    for name, part in parts.items():
        part.load_state_dict(states[name])
