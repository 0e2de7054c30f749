"""Loaders: decoded ahead of the model by worker processes, every record where it belongs.

Evaluation hands out each record of a rank's share once, in order. Training walks an endless
sequence of permutations, one per epoch; the randomness of a sample depends on (seed, epoch, index
of its record) alone, so workers, processes and resuming change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from x2vlm.data.image import Sample
from x2vlm.data.workers import (
    ENDLESS,
    Groups,
    Loaded,
    Loader,
    OnError,
    Prepares,
    Reader,
    Skipped,
    skip,
)
from x2vlm.errors import ConfigError, DataError, MediaError
from x2vlm.types import Batch, Media, Record

__all__ = ["EvaluationLoader", "Sample", "TrainingLoader", "evaluation_loader", "training_loader"]

IMAGE_COST, TEXT_COST = 100.0, 10.0
"""of encoding an image, and of any text whatever its length, in words of a text: roughly those of
base, whose image has 577 tokens that no other pass repeats"""
TRIES = 100
"""records tried in the place of an unreadable one before training gives up"""


class EvaluationLoader(Loader):
    """See `evaluation_loader`."""

    def __init__(
        self,
        task: Prepares,
        records: Sequence[Record],
        batch_size: int,
        workers: int,
        frames: int,
        on_error: OnError,
        skipped: list[Skipped],
    ) -> None:
        super().__init__(workers)
        self.records, self.batch_size, self.frames = records, batch_size, frames
        self.on_error, self.skipped = on_error, skipped
        self._collate = task.collate
        self._reader = Reader(task.transform(train=False), frames)

    def __len__(self) -> int:
        return -(-len(self.records) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for loaded in self.run(Groups(len(self), self._make)):
            known = {item["id"] for item in self.skipped}  # a second pass counts none twice
            self.skipped.extend(item for item in loaded.skipped if item["id"] not in known)
            if loaded.batch is not None:
                yield loaded.batch

    def _make(self, index: int) -> Loaded:
        first = index * self.batch_size
        samples, skipped = [], []
        for record in self.records[first : first + self.batch_size]:
            try:
                samples.append(self._reader.sample(record, (0,), train=False))
            except MediaError as error:
                if self.on_error == "raise":
                    raise
                skipped.append(skip(record, error))
        return Loaded(self._collate(samples, False) if samples else None, skipped)


def evaluation_loader(
    task: Prepares,
    records: Sequence[Record],
    *,
    batch_size: int,
    workers: int = 0,
    frames: int = 1,
    rank: int = 0,
    world: int = 1,
    on_error: OnError = "raise",
    skipped: list[Skipped] | None = None,
) -> EvaluationLoader:
    """Batches of this rank's share of `records`, each record once, without padding.

    The shares are contiguous, so records of one image stay together. frames: of each video.
    on_error: "raise" a MediaError that names file and row, or "skip" and append
    {"id", "source", "reason"} to `skipped`. len(loader) is the number of batches, those that are
    wholly unreadable included; the loader may be iterated again.
    """
    share = share_of(records, rank, world, frames)
    return EvaluationLoader(
        task, share, batch_size, workers, frames, on_error, [] if skipped is None else skipped
    )


def share_of(records: Sequence[Record], rank: int, world: int, frames: int = 1) -> list[Record]:
    """The contiguous part of the records that one of `world` processes evaluates.

    The parts cost about the same (see `costs`), whatever their number of records.
    """
    if world == 1:
        return list(records)
    end_R = np.cumsum(costs(records, frames))
    middle_R = end_R - np.diff(end_R, prepend=0.0) / 2
    part_R = middle_R * world // (end_R[-1] if len(end_R) else 1.0)
    return [record for record, part in zip(records, part_R, strict=True) if part == rank]


def costs(records: Sequence[Record], frames: int = 1) -> list[float]:
    """What each record costs to evaluate, in words of text.

    Pictures that the record before has shown already (questions about one image) are encoded once.
    frames: of each video.
    """
    found: list[float] = []
    before: tuple[Media, ...] = ()
    for record in records:
        shown = sum(1 if media.kind == "image" else frames for media in record.images)
        new = shown if record.images != before else 0
        found.append(new * IMAGE_COST + sum(TEXT_COST + text.count(" ") for text in record.texts))
        before = record.images
    return found


class TrainingLoader(Loader):
    """See `training_loader`. consumed: samples handed out over all ranks since epoch 0."""

    def __init__(
        self,
        task: Prepares,
        records: Sequence[Record],
        *,
        micro_batch: int,
        seed: int,
        workers: int,
        rank: int,
        world: int,
        frames: int,
        on_error: OnError,
        skipped: list[Skipped],
    ) -> None:
        super().__init__(workers)
        if not records:
            raise DataError("there is no record to train on", expected="at least one record")
        self.records, self.micro_batch, self.seed = records, micro_batch, seed
        self.rank, self.world = rank, world
        self.on_error, self.skipped = on_error, skipped
        self.consumed = 0
        self._collate = task.collate
        self._reader = Reader(task.transform(train=True), frames)
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        """Batches of this rank in one pass over the records, rounded up."""
        return -(-len(self.records) // (self.micro_batch * self.world))

    @property
    def epoch(self) -> int:
        """Passes finished."""
        return self.consumed // len(self.records)

    def __iter__(self) -> Iterator[Batch]:
        """Endless, from `consumed` on."""
        window = self.micro_batch * self.world
        first = self.consumed + self.rank * self.micro_batch
        groups = Groups(ENDLESS, partial(self._make, first, window))
        for loaded in self.run(groups):
            self.skipped.extend(loaded.skipped)
            self.consumed += window
            if loaded.batch is not None:
                yield loaded.batch

    def state_dict(self) -> dict[str, int]:
        """The position after the last batch handed out, and what it is valid for."""
        return {"consumed": self.consumed, "records": len(self.records), "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from `state_dict`; micro-batch, workers and world may differ.

        Raises ConfigError when seed or number of records differ: the order would be another.
        """
        for name, ours in (("records", len(self.records)), ("seed", self.seed)):
            if state[name] != ours:
                raise ConfigError(
                    f"cannot resume: saved with {name}={state[name]}, now {name}={ours}"
                )
        self.consumed = state["consumed"]

    def _make(self, first: int, window: int, index: int) -> Loaded:
        """The batch of `micro_batch` samples from position first + index * window on."""
        samples, skipped = [], []
        first += index * window
        for position in range(first, first + self.micro_batch):
            sample, bad = self._sample(position)
            samples.append(sample)
            skipped += bad
        return Loaded(self._collate(samples, True), skipped)

    def _sample(self, position: int) -> tuple[Sample, list[Skipped]]:
        """An unreadable record's place is taken by the next of the order, so batches stay full."""
        skipped: list[Skipped] = []
        epoch, place = divmod(position, len(self.records))
        for attempt in range(min(TRIES, len(self.records))):
            index = int(self._permutation(epoch)[(place + attempt) % len(self.records)])
            try:
                sample = self._reader.sample(
                    self.records[index], (self.seed, epoch, index), train=True
                )
            except MediaError as error:
                if self.on_error == "raise":
                    raise
                skipped.append(skip(self.records[index], error))
            else:
                return sample, skipped
        raise DataError(
            f"{len(skipped)} records in a row cannot be read, e.g. {skipped[0]['reason']}",
            source=skipped[0]["source"],
            fix="check the image folder",
        )

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.records))
            self._order = (epoch, order)
        return self._order[1]


def training_loader(
    task: Prepares,
    records: Sequence[Record],
    *,
    micro_batch: int,
    seed: int,
    epoch: int = 0,
    start: int = 0,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    frames: int = 1,
    on_error: OnError = "raise",
    skipped: list[Skipped] | None = None,
) -> TrainingLoader:
    """Endless batches of `micro_batch` samples for this rank.

    The sequence of all samples is one permutation of `records` per epoch, drawn from (seed,
    epoch), end to end: every record once per epoch, nothing dropped, so a batch may reach over the
    end of an epoch. Each window of micro_batch x world samples is cut into contiguous shares by
    rank: the samples of a step depend on the global batch alone. Begins `start` samples (over all
    ranks) into `epoch`; `state_dict` and `load_state_dict` keep the position exactly.
    on_error: as for evaluation, but an unreadable record's place is taken by another.
    """
    loader = TrainingLoader(
        task,
        records,
        micro_batch=micro_batch,
        seed=seed,
        workers=workers,
        rank=rank,
        world=world,
        frames=frames,
        on_error=on_error,
        skipped=[] if skipped is None else skipped,
    )
    loader.consumed = epoch * len(records) + start
    return loader
