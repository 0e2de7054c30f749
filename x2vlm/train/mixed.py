"""Pre-training data as a `Source`: several streams, each with its kind, mixed in every step."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch.utils.data import DataLoader, Dataset

from x2vlm import distributed
from x2vlm.errors import ConfigError, DataError
from x2vlm.tasks.pretraining_data import Prepared, Preparer
from x2vlm.types import Batch


class Stream(Protocol):
    """Raw records of this process without end, in an order fixed by the seed.

    The state belongs to the last record handed out.
    """

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """From the position last loaded."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go there."""
        ...


@dataclass(frozen=True)
class Part:
    """One stream of a mixture. kind: "image", "region", "video" or "parallel".

    batch_size: records (images, not concepts) per step over all processes. share: of the steps in
    which it takes part; parts that name the same `choice` take turns by their shares, such as clean
    and noisy images. matching: off for noisy data.
    """

    kind: str
    stream: Stream
    batch_size: int
    share: float = 1.0
    choice: str = ""
    matching: bool = True


@dataclass(frozen=True)
class _Job:
    """What a worker turns into a batch."""

    kind: str
    records: list[Mapping[str, Any]]
    seed: tuple[int, ...]
    matching: bool


class _Jobs(Dataset[Prepared]):
    """Jobs instead of indices: the sampler reads the streams, workers decode."""

    def __init__(self, preparer: Preparer) -> None:
        self.preparer = preparer

    def __getitem__(self, job: _Job) -> Prepared:
        prepared = self.preparer(job.kind, job.records, job.seed)
        if prepared.batch is not None:
            prepared.batch.target["matching"] = job.matching
        return prepared


class MixedSource:
    """Steps that mix one batch of each part. Exactly resumable, whatever the workers prefetch.

    parts: by name. matching_until: step from which matching is left out; 0: never. max_bad: share
    of unusable records above which training stops (judged after 1000 records). skipped: the first
    1000 records that were left out, with the reason. micro_batch: records per forward pass; 0: all.
    """

    def __init__(
        self,
        preparer: Preparer,
        parts: Mapping[str, Part],
        *,
        seed: int,
        workers: int = 0,
        micro_batch: int = 0,
        matching_until: int = 0,
        max_bad: float = 0.01,
    ) -> None:
        self.preparer, self.parts, self.seed, self.workers = preparer, parts, seed, workers
        self.micro_batch, self.matching_until, self.max_bad = micro_batch, matching_until, max_bad
        self.rank, self.world = distributed.rank(), distributed.world()
        for name, part in parts.items():
            if part.batch_size % self.world:
                raise ConfigError(
                    f"stream {name}: batch_size={part.batch_size} does not divide into "
                    f"{self.world} processes"
                )
        self.skipped: list[dict[str, str]] = []
        self._bad = self._seen = 0
        self._position = self._state(0)

    @property
    def steps_per_epoch(self) -> int:
        """0: streams have no common epoch."""
        return 0

    def state_dict(self) -> dict[str, Any]:
        """Position after the last step handed out."""
        return self._position

    def load_state_dict(self, position: Mapping[str, Any]) -> None:
        """Go there; ConfigError when the streams are others."""
        if set(position["streams"]) != set(self.parts):
            raise ConfigError(
                f"saved with streams {sorted(position['streams'])}, now {sorted(self.parts)}"
            )
        self._position = dict(position)
        self._bad, self._seen = position["bad"], position["seen"]

    def halve(self) -> bool:
        """Cut micro-batches in two; False when they hold one record."""
        largest = max(part.batch_size // self.world for part in self.parts.values())
        size = self.micro_batch or largest
        if size == 1:
            return False
        self.micro_batch = size // 2
        return True

    def __iter__(self) -> Iterator[list[Batch]]:
        """The micro-batches of each further step, without end."""
        pending: collections.deque[tuple[int, dict[str, Any]]] = collections.deque()
        loader = DataLoader(
            _Jobs(self.preparer),
            sampler=self._jobs(pending),  # type: ignore[arg-type]
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            persistent_workers=False,
        )
        prepared = iter(loader)
        while True:
            first = next(prepared)  # the sampler announces a step before its first job
            count, position = pending.popleft()
            rest = [next(prepared) for _ in range(count - 1)]
            batches = [batch for item in (first, *rest) if (batch := self._good(item)) is not None]
            self._position = {**position, "bad": self._bad, "seen": self._seen}
            yield batches

    def _good(self, item: Prepared) -> Batch | None:
        """Count what was left out; DataError when it is too much, or nothing is left."""
        self._bad += len(item.skipped)
        self._seen += len(item.skipped) + (len(item.batch.ids) if item.batch else 0)
        self.skipped = [*self.skipped, *item.skipped][:1000]
        if (self._seen >= 1000 and self._bad > self.max_bad * self._seen) or item.batch is None:
            raise DataError(
                f"{self._bad} of {self._seen} records cannot be used, the last one "
                f"{item.skipped[-1]['id']}: {item.skipped[-1]['reason']}",
                expected=f"at most {self.max_bad:.1%}",
                fix="mend the shards, or raise max_bad",
            )
        return item.batch

    def _jobs(self, pending: collections.deque[tuple[int, dict[str, Any]]]) -> Iterator[_Job]:
        """The jobs of all further steps; what belongs together is announced in `pending`."""
        step = int(self._position["step"])
        for name, state in self._position["streams"].items():
            self.parts[name].stream.load_state_dict(state)
        readers = {name: iter(part.stream) for name, part in self.parts.items()}
        while True:
            jobs: list[_Job] = []
            for number, name in enumerate(self.parts):
                if name in self._taking_part(step):
                    jobs += self._cut(step, number, self.parts[name], readers[name])
            step += 1
            pending.append((len(jobs), self._state(step)))
            yield from jobs

    def _cut(
        self, step: int, number: int, part: Part, reader: Iterator[Mapping[str, Any]]
    ) -> Iterator[_Job]:
        """This process's records of a part in a step, as micro-batches."""
        share = part.batch_size // self.world
        size = self.micro_batch or share
        matching = part.matching and not 0 < self.matching_until <= step
        records = [next(reader) for _ in range(share)]
        for start in range(0, share, size):
            seed = (self.seed, number, step, self.rank, start)
            yield _Job(part.kind, records[start : start + size], seed, matching)

    def _taking_part(self, step: int) -> set[str]:
        """Names of the parts of a step, the same on every process."""
        rng = np.random.default_rng((self.seed, step))
        chosen: set[str] = set()
        rivals: dict[str, list[str]] = {}
        for name, part in self.parts.items():
            if part.choice:
                rivals.setdefault(part.choice, []).append(name)
            elif part.share >= 1 or rng.random() < part.share:
                chosen.add(name)
        for names in rivals.values():
            shares = np.array([self.parts[name].share for name in names])
            chosen.add(names[int(rng.choice(len(names), p=shares / shares.sum()))])
        return chosen

    def _state(self, step: int) -> dict[str, Any]:
        streams = {name: part.stream.state_dict() for name, part in self.parts.items()}
        return {"step": step, "streams": streams, "bad": self._bad, "seen": self._seen}


class Repeated:
    """Records in memory as a stream: this process's share of a new order per epoch."""

    def __init__(self, records: Sequence[Mapping[str, Any]], seed: int) -> None:
        self.records, self.seed = records, seed
        self.consumed = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Without end."""
        rank, world = distributed.rank(), distributed.world()
        while True:
            epoch, place = divmod(self.consumed * world + rank, len(self.records))
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.records))
            self.consumed += 1
            yield self.records[int(order[place])]

    def state_dict(self) -> dict[str, Any]:
        """Records handed out to each process."""
        return {"consumed": self.consumed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go there."""
        self.consumed = int(state["consumed"])
