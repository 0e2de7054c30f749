"""Where the loop gets its micro-batches from: the protocol, and the one for fine-tuning."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from x2vlm import distributed
from x2vlm.config import TrainConfig
from x2vlm.data.loader import training_loader
from x2vlm.errors import ConfigError
from x2vlm.tasks.base import Task
from x2vlm.types import Batch, Record

LOG = logging.getLogger("x2vlm")


class Source(Protocol):
    """The micro-batches of this process, step by step, in an order fixed by the seed.

    Iteration starts at the position last loaded and does not end before training does. The state
    is plain JSON values and belongs to the last step that was handed out, whatever was prefetched.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of a pass over the data; 0 when there are no passes."""
        ...

    def __iter__(self) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each further step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Position after the last step handed out."""
        ...

    def load_state_dict(self, position: Mapping[str, Any]) -> None:
        """Go there."""
        ...

    def halve(self) -> bool:
        """Cut micro-batches in two from the next `iter` on; False when they cannot be cut."""
        ...


class RecordSource:
    """Steps of `config.batch_size` samples over all processes, from records shuffled per epoch.

    frames: of each video. Raises ConfigError when the global batch does not divide among the
    processes and their micro-batches, and what `Task.check_training` finds.
    """

    def __init__(
        self,
        task: Task,
        records: Sequence[Record],
        config: TrainConfig,
        *,
        frames: int = 1,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        self.task, self.units, self.config = task, task.training_records(records), config
        self.frames, self.on_error = frames, on_error
        self.world = distributed.world()
        share, rest = divmod(config.batch_size, self.world)
        self.micro_batch = config.micro_batch or share
        if rest or share % self.micro_batch:
            raise ConfigError(
                f"train.batch_size={config.batch_size} does not divide into {self.world} processes "
                f"of micro-batches of {self.micro_batch}\n  to do: change one of them"
            )
        for warning in task.check_training(self.units, config, self.micro_batch):
            if distributed.is_main():
                LOG.warning("%s", warning)
        self.skipped: list[dict[str, str]] = []
        self._loader = self._load(0)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of a pass over the records, rounded up."""
        return -(-len(self.units) // self.config.batch_size)

    def _load(self, start: int) -> Any:
        return training_loader(
            self.task,
            self.units,
            micro_batch=self.micro_batch,
            seed=self.config.seed,
            start=start,
            workers=self.config.workers,
            rank=distributed.rank(),
            world=self.world,
            frames=self.frames,
            on_error=self.on_error,
            skipped=self.skipped,
        )

    def __iter__(self) -> Iterator[list[Batch]]:
        """The micro-batches of each further step, without end."""
        batches = iter(self._loader)
        pieces = self.config.batch_size // self.world // self.micro_batch
        while True:
            yield [next(batches) for _ in range(pieces)]

    def state_dict(self) -> dict[str, Any]:
        """Position after the last step handed out."""
        return dict(self._loader.state_dict())

    def load_state_dict(self, position: Mapping[str, Any]) -> None:
        """Go there; ConfigError when the data or the seed are others."""
        self._loader.load_state_dict(position)

    def halve(self) -> bool:
        """Cut micro-batches in two from the next `iter` on; False at an odd size."""
        if self.micro_batch % 2:
            return False
        position = self.state_dict()
        self.micro_batch //= 2
        self._loader = self._load(0)
        self._loader.load_state_dict(position)
        return True
