"""What runs inside and around the worker processes of a loader: reading, sending, waiting."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from x2vlm.data.decode import open_oriented
from x2vlm.data.image import Pixels, Sample, Transform
from x2vlm.data.orientation import turned, upright_size
from x2vlm.data.video import read_frames
from x2vlm.errors import DataError, MediaError
from x2vlm.stopping import ignore_ctrl_c
from x2vlm.types import Batch, Media, Record

OnError = Literal["raise", "skip"]
Skipped = dict[str, str]
"""{"id", "source", "reason"} of a record that was left out."""

_CACHED = 8  # decoded images a worker keeps: records of one image follow each other
ENDLESS = 2**62  # batches; the sampler behind counts, it does not list


class Prepares(Protocol):
    """The part of a Task that a loader needs."""

    def transform(self, train: bool) -> Transform:
        """How pixels are prepared."""
        ...

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """Samples -> one batch."""
        ...


class Reader:
    """Records -> Samples, inside a worker."""

    def __init__(self, transform: Transform, frames: int) -> None:
        self.transform, self.frames = transform, frames
        self._decoded: OrderedDict[object, tuple[Pixels, int]] = OrderedDict()

    def sample(self, record: Record, seed: Sequence[int], train: bool) -> Sample:
        """The sample of `record`, random only through `seed`; MediaError names file and row.

        Its pixels are upright, and so is its record's box (`orientation.turned`).
        """
        rng = np.random.default_rng(seed)
        try:
            opened = [self._pixels(media, rng if train else None) for media in record.images]
        except MediaError as error:
            raise MediaError(
                f"{error.what} (used by {record.source or record.id})",
                source=error.source,
                expected=error.expected,
                fix=error.fix,
            ) from error
        seen = _upright(record, *opened[0]) if opened else record
        return self.transform(seen, [pixels for pixels, _ in opened], rng)

    def _pixels(self, media: Media, rng: np.random.Generator | None) -> tuple[Pixels, int]:
        """Upright pixels, and the EXIF orientation by which they were turned."""
        if media.kind != "image" and rng is not None:
            return read_frames(media, self.frames, rng), 1
        key = (media.path, media.kind, hash(media.inline))
        if key not in self._decoded:
            still = media.kind == "image"
            self._decoded[key] = (
                open_oriented(media) if still else (read_frames(media, self.frames), 1)
            )
            if len(self._decoded) > _CACHED:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(key)
        return self._decoded[key]


def _upright(record: Record, pixels: Pixels, orientation: int) -> Record:
    """The record with its box in the upright picture."""
    if orientation == 1 or isinstance(pixels, list):
        return record
    target = turned(record.target, upright_size(pixels.size, orientation), orientation)
    return record if target is record.target else replace(record, target=target)


@dataclass(slots=True)
class Loaded:
    """What a worker sends: a batch (None when nothing of it could be read), what it left out, and
    the error that stops the loader, as a value so that its message arrives without tracebacks."""

    batch: Batch | None
    skipped: list[Skipped]
    error: DataError | None = None

    def pin_memory(self) -> Loaded:
        """Called by DataLoader, so that copies to a GPU can overlap with computing."""
        if self.batch is not None:

            def pin(value: Any) -> Any:
                return value.pin_memory() if isinstance(value, Tensor) else value

            self.batch = Batch(
                self.batch.ids,
                pin(self.batch.image),
                pin(self.batch.text_BL),
                pin(self.batch.mask_BL),
                {name: pin(value) for name, value in self.batch.target.items()},
            )
        return self


@dataclass
class Report:
    """What a stream has met since its beginning: rows seen, bad ones, and the first bad by name."""

    seen: int = 0
    bad: int = 0
    named: list[Skipped] = field(default_factory=list)


class Groups(Dataset[Loaded]):
    """Batch number -> batch: every batch is made whole inside one worker."""

    def __init__(self, length: int, make: Callable[[int], Loaded]) -> None:
        self.length, self.make = length, make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Loaded:
        try:
            return self.make(index)
        except DataError as error:
            return Loaded(None, [], error)


class Loader:
    """Runs the workers. wait_seconds: time spent waiting for data; samples: handed out so far."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.wait_seconds = 0.0
        self.samples = 0

    def run(self, groups: Groups) -> Iterator[Loaded]:
        """The batches of `groups` in order, prepared ahead; raises what a worker ran into."""
        loader = DataLoader(
            groups,
            batch_size=None,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=2 if self.workers else None,
            worker_init_fn=ignore_ctrl_c,
        )
        batches = iter(loader)
        while True:
            started = time.perf_counter()
            try:
                loaded = next(batches)
            except StopIteration:
                return
            self.wait_seconds += time.perf_counter() - started
            if loaded.error is not None:
                raise loaded.error
            self.samples += len(loaded.batch.ids) if loaded.batch else 0
            yield loaded


def skip(record: Record, error: MediaError) -> Skipped:
    """What to remember of a record that was left out."""
    return {
        "id": record.id,
        "source": record.source or record.id,
        "reason": f"{error.source}: {error.what}",
    }
