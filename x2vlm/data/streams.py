"""Pre-training streams: endless, shuffled from (seed, epoch), split by rank, resumable anywhere.

An epoch walks the shards in a drawn order and cuts the rows into blocks of `buffer`; each block is
shuffled by itself. So a position is five small numbers, memory is one block, and what comes next
never depends on the number of workers. With at least as many shards as ranks each rank reads its
own shards; otherwise all ranks read all rows and take turns.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from x2vlm.data.concepts import Concepts, Parser
from x2vlm.data.fields import together
from x2vlm.data.shards import Row, decode_row, find_shards, read_rows
from x2vlm.data.workers import Loaded, Report, Skipped
from x2vlm.errors import ConfigError, DataError
from x2vlm.stopping import ignore_ctrl_c
from x2vlm.types import Batch

LOG = logging.getLogger("x2vlm")

_NAMED = 100  # bad rows that a report names
_SETTLED = 100  # rows after which the share of bad ones is judged


class Position(NamedTuple):
    """Where a stream stands: `offset` of this rank's entries into the block that begins at row
    `row` of the epoch's `shard`-th shard, after `before` rows of the epoch."""

    epoch: int = 0
    shard: int = 0
    row: int = 0
    before: int = 0
    offset: int = 0


class Entry(NamedTuple):
    """One row: where it is stored, and as it is stored."""

    path: Path
    row: int
    value: Row

    @property
    def source(self) -> str:
        """ "FILE:ROW", the row counted from 1."""
        return f"{self.path}:{self.row + 1}"


class Dealt(NamedTuple):
    """An entry in its turn. after: the position behind it; it is block[place]."""

    entry: Entry
    after: Position
    block: Sequence[Entry]
    place: int


class Stream:
    """The rows of shards, in an order fixed by `seed`.

    paths: files, folders or glob patterns. buffer: rows shuffled together, and held in memory.
    split: "shards" gives each rank its own shards; "rows" deals single rows, so that the union
    over ranks is the same for any `world`; "auto" is "shards" when there are enough.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        buffer: int = 1000,
        split: Literal["auto", "shards", "rows"] = "auto",
    ) -> None:
        self.shards = find_shards(paths)
        self.seed, self.rank, self.world, self.buffer = seed, rank, world, buffer
        self.by_rows = split == "rows" or (split == "auto" and len(self.shards) < world)
        if not self.by_rows and len(self.shards) < world:
            raise ConfigError(f"{len(self.shards)} shards do not reach for {world} processes")

    def deal(self, position: Position | None = None) -> Iterator[Dealt]:
        """Endless entries from `position` on (None: the beginning).

        Raises DataError when an epoch holds no row for this rank, or a shard is broken.
        """
        position = position or Position()
        while True:
            turn = None
            for turn in self.epoch(position):
                yield turn
            if turn is None and position == Position(position.epoch):
                raise DataError("holds no row for this process", source=str(self.shards[0].parent))
            position = Position(position.epoch + 1)

    def epoch(self, position: Position) -> Iterator[Dealt]:
        """The entries of one epoch from `position` on."""
        skipped = position.offset
        for start, block in self._blocks(position):
            order = np.random.default_rng(
                (self.seed, start.epoch, start.shard, start.row, 0 if self.by_rows else self.rank)
            ).permutation(len(block))
            if self.by_rows:
                order = order[(self.rank - start.before) % self.world :: self.world]
            at = start[:-1]
            for offset, place in enumerate(order[skipped:].tolist(), start=skipped + 1):
                yield Dealt(block[place], Position(*at, offset), block, place)
            skipped = 0

    def _blocks(self, position: Position) -> Iterator[tuple[Position, list[Entry]]]:
        """(position of its beginning, rows in stored order) of each block from `position`'s on."""
        shards = np.random.default_rng((self.seed, position.epoch)).permutation(len(self.shards))
        mine = shards if self.by_rows else shards[self.rank :: self.world]
        start, block = position._replace(offset=0), list[Entry]()
        for number in range(position.shard, len(mine)):
            path = self.shards[mine[number]]
            for row, value in read_rows(path, position.row if number == position.shard else 0):
                block.append(Entry(path, row, value))
                if len(block) == self.buffer:
                    yield start, block
                    before = start.before + len(block)
                    start, block = Position(start.epoch, number, row + 1, before), []
        if block:
            yield start, block


@dataclass(slots=True)
class _Parcel:
    """What a worker sends: a batch, the position behind it, its rows and the bad among them."""

    loaded: Loaded
    after: Position
    rows: int

    def pin_memory(self) -> _Parcel:
        self.loaded.pin_memory()
        return self


class StreamLoader:
    """Endless batches of a stream, decoded by workers ahead of the model.

    parse: a row -> Concepts. collate: Concepts -> Batch, as the pre-training task says. batch_size:
    rows of a batch and rank; one that holds several samples ("together") counts once. A bad row is
    counted and named in `report`, and its place taken by another of its block, so that batches keep
    their size; above the share `max_bad` of all rows it is fatal. wait_seconds: time spent waiting
    for data; samples: rows handed out.
    """

    def __init__(
        self,
        stream: Stream,
        parse: Parser,
        collate: Callable[[Sequence[Concepts]], Batch],
        batch_size: int,
        *,
        workers: int = 0,
        max_bad: float = 0.01,
    ) -> None:
        self.stream, self.parse, self.collate = stream, parse, collate
        self.batch_size, self.workers, self.max_bad = batch_size, workers, max_bad
        self.position, self.report = Position(), Report()
        self.wait_seconds, self.samples = 0.0, 0

    def __iter__(self) -> Iterator[Batch]:
        """From the position last loaded, or behind the last batch handed out."""
        loader = DataLoader(
            _Parcels(self, self.position),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=ignore_ctrl_c,
        )
        parcels = iter(loader)
        while True:
            started = time.perf_counter()
            parcel = next(parcels)
            self.wait_seconds += time.perf_counter() - started
            if parcel.loaded.error is not None:
                raise parcel.loaded.error
            self._count(parcel)
            self.position = parcel.after
            if parcel.loaded.batch is not None:
                yield parcel.loaded.batch

    def _count(self, parcel: _Parcel) -> None:
        report, skipped = self.report, parcel.loaded.skipped
        self.samples += parcel.rows
        report.seen += parcel.rows
        report.bad += len(skipped)
        for bad in skipped[: max(_NAMED - len(report.named), 0)]:
            LOG.warning("%(source)s: %(reason)s; another row takes its place", bad)
            report.named.append(bad)
        if report.bad > self.max_bad * report.seen and report.seen >= _SETTLED:
            lines = "; ".join(f"{bad['source']}: {bad['reason']}" for bad in report.named[:3])
            raise DataError(
                f"{report.bad} of {report.seen} rows are bad, e.g. {lines}",
                source=str(self.stream.shards[0].parent),
                expected=f"at most {self.max_bad:.1%} bad rows",
                fix="mend the shards, or raise max_bad",
            )

    def state_dict(self) -> dict[str, Any]:
        """Position and report behind the last batch handed out; plain JSON values."""
        return {
            "position": self.position._asdict(),
            "report": asdict(self.report),
            "layout": self._layout(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go there; workers and batch size may differ.

        Raises ConfigError when shards, seed, buffer or processes are others.
        """
        if state["layout"] != self._layout():
            raise ConfigError(
                f"cannot resume: the stream was {state['layout']}, now it is {self._layout()}\n"
                "  to do: the same shards, seed and processes, or a new run folder"
            )
        self.position = Position(**state["position"])
        self.report = Report(**{**state["report"], "named": list(state["report"]["named"])})

    def _layout(self) -> dict[str, Any]:
        stream = self.stream
        names = "\n".join(path.name for path in stream.shards)
        return {
            "shards": f"{len(stream.shards)}:{zlib.crc32(names.encode()):08x}",
            "seed": stream.seed,
            "buffer": stream.buffer,
            "world": stream.world,
            "by_rows": stream.by_rows,
        }


class _Parcels(IterableDataset[_Parcel]):
    """All batches from a position on; a worker makes every n-th and only walks past the others."""

    def __init__(self, loader: StreamLoader, position: Position) -> None:
        self.loader, self.position = loader, position

    def __iter__(self) -> Iterator[_Parcel]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        turns = self.loader.stream.deal(self.position)
        size = self.loader.batch_size
        while True:
            try:
                groups = [list(islice(turns, size)) for _ in range(workers)]
                yield self._make(groups[number])
            except DataError as error:
                yield _Parcel(Loaded(None, [], error), self.position, 0)
                return

    def _make(self, turns: Sequence[Dealt]) -> _Parcel:
        samples: list[Concepts] = []
        skipped: list[Skipped] = []
        taken = {turn.entry.source for turn in turns}
        for turn in turns:
            # The row itself, then others of its block that this batch does not hold yet.
            for step in range(len(turn.block)):
                entry = turn.block[(turn.place + step) % len(turn.block)]
                if step and entry.source in taken:
                    continue
                try:
                    samples += self._parse(entry, turn.after.epoch)
                except DataError as error:
                    if step == 0:
                        skipped.append(
                            {"id": entry.source, "source": entry.source, "reason": error.what}
                        )
                else:
                    taken.add(entry.source)
                    break
        batch = self.loader.collate(samples) if samples else None
        return _Parcel(Loaded(batch, skipped), turns[-1].after, len(turns))

    def _parse(self, entry: Entry, epoch: int) -> list[Concepts]:
        """What a row holds: one sample, or those that are to stand together. Random through (seed,
        epoch, shard name, row) alone."""
        shard = zlib.crc32(entry.path.name.encode())
        rng = np.random.default_rng((self.loader.stream.seed, epoch, shard, entry.row))
        rows = together(decode_row(entry.value, entry.source), entry.source)
        return [self.loader.parse(row, rng, entry.source) for row in rows]
