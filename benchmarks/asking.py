"""Questions put to a model: each process writes its rows as they come; one file, by id, at the end.

    FOLDER/predictions.part/KEY-RANK.jsonl    the shares, while a run is under way
    FOLDER/predictions.jsonl                  all of them, in the order of the records

No process holds more than one batch of rows. A killed process goes on where it was: batches whose
rows are all on disk are not asked again, and the others are cut as before, so results are equal.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.plan import Plan
from benchmarks.prediction_writer import Writer, merge
from benchmarks.predictions import Key, keys
from benchmarks.stages import digest
from benchmarks.weights import ModelOfRun
from x2vlm import distributed
from x2vlm.data.loader import evaluation_loader, share_of
from x2vlm.data.workers import Skipped
from x2vlm.tasks.base import Task
from x2vlm.tasks.features import largest_batch
from x2vlm.types import Record
from x2vlm.watch import watch

log = logging.getLogger("x2vlm")


class Asking:
    """How the task of one plan is asked. waited: seconds of the last asking in which this process
    waited for decoded pictures."""

    def __init__(self, plan: Plan, benchmark: Benchmark, model: ModelOfRun) -> None:
        self.plan, self.benchmark, self.model = plan, benchmark, model
        self.waited = 0.0

    def write(
        self, out: Path, task: Task, records: Sequence[Record], key: Any = None
    ) -> tuple[int, list[Skipped]]:
        """Write the predictions of `records` to `out`: how many, and the records left out.

        key: plain values that the predictions depend on; what a killed process left under the same
        key is kept. None: nothing is kept. Collective: every process calls it, and all of them see
        the file when it returns.
        """
        task.progress, task.cache = watch, self.plan.predict.cache
        size, shares = self.batch_size(task), out.with_suffix(".part")
        mark = digest([key, size, distributed.world()])
        names = [shares / f"{mark}-{rank}.jsonl" for rank in range(distributed.world())]
        if distributed.is_main():
            _make_room(shares, "" if key is None else mark)
        distributed.barrier()
        skipped: list[Skipped] = []
        started, self.waited = time.monotonic(), 0.0
        with Writer(names[distributed.rank()], self.benchmark.task) as writer:
            for gallery in self.galleries(records):
                self.waited += self._ask(task, gallery, size, writer, skipped)
        seconds = max(time.monotonic() - started, 1e-9)
        log.info(
            "%d records asked in %.1f s, %.0f %% of it waiting for pictures to be decoded "
            "(predict.workers=%d)",
            len(records), seconds, 100 * self.waited / seconds, self.plan.predict.workers,
        )  # fmt: skip
        told = distributed.all_gather_objects(skipped)  # so every share is complete now
        count = 0
        if distributed.is_main():
            count = merge(out, self.benchmark.task, records, names)
            shutil.rmtree(shares)
        distributed.barrier()
        return count, [item for share in told for item in share]

    def batch_size(self, task: Task) -> int:
        """Samples per forward pass, equal in all processes."""
        size = self.plan.predict.batch_size
        if size == "auto":
            video = self.benchmark.media == "video"
            size = largest_batch(task.model, self.plan.model.frames if video else 0)
        return min(distributed.all_gather_objects(size))

    def galleries(self, records: Sequence[Record]) -> list[list[Record]]:
        """What is ranked against each other: in retrieval, every language on its own."""
        if self.benchmark.task != "retrieval":
            return [list(records)]
        parts: dict[str, list[Record]] = {}
        for record in records:
            parts.setdefault(record.language, []).append(record)
        return list(parts.values())

    def _ask(
        self,
        task: Task,
        records: Sequence[Record],
        size: int,
        writer: Writer,
        skipped: list[Skipped],
    ) -> float:
        """Ask, and write what is new; the seconds spent waiting for decoded data."""
        world, frames = distributed.world(), self.plan.model.frames
        share = share_of(records, distributed.rank(), world, frames)
        loader = evaluation_loader(
            task, unfinished(share, size, writer.done), batch_size=size,
            workers=self.plan.predict.workers, frames=frames,
            on_error=self.plan.data.on_error, skipped=skipped,
        )  # fmt: skip
        with task.evaluating(), self.model.autocast():
            for row in task.predict(loader):
                if writer.done.isdisjoint(keys(row)):
                    writer.write(row)
        return loader.wait_seconds


def unfinished(records: Sequence[Record], size: int, done: Collection[Key]) -> list[Record]:
    """The batches of `size` records without those of which every record is done.

    Whole batches, because another cut would change the last digits. (Ranked records are never
    done: their rows come when all are known.)
    """
    parts = [records[first : first + size] for first in range(0, len(records), size)]
    return [r for part in parts for r in part if any((r.id, "") not in done for r in part)]


def _make_room(shares: Path, mark: str) -> None:
    """Remove what earlier processes left there, apart from shares that can be continued."""
    for path in shares.glob("*"):
        if not mark or not path.name.startswith(mark):
            path.unlink()
        elif path.suffix == ".jsonl":  # complete, but killed before all were put together
            path.replace(path.with_name(path.name + ".part"))
