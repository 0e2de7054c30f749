"""predictions.jsonl as it is written: row by row, kept when a run is killed, merged by id."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from benchmarks.prediction_kinds import check
from benchmarks.predictions import Key, few, keys, stream, wanted_keys
from x2vlm.errors import PredictionError
from x2vlm.types import Prediction, Record
from x2vlm.writing import reported, whole


class Writer:
    """Writes predictions one by one to PATH.part, and renames it to PATH when all is done.

    A new Writer keeps the whole lines of a PATH.part that a killed run left (`done` has their ids).
    Use as a context manager: an exception leaves the part file for the next run.
    """

    def __init__(self, path: Path, task: str) -> None:
        self.path, self.task = path, task
        self.part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done: set[Key] = set()
        if self.part.exists():
            _drop_half_line(self.part)
            self.done = {key for row in stream(self.part, task) for key in keys(row)}
        self._file = self.part.open("a", encoding="utf-8", newline="\n")

    def write(self, row: Prediction) -> None:
        """Append one checked prediction; PredictionError when it is malformed or there already."""
        row = check(self.task, row, f"prediction {row.get('id')!r}")
        new = keys(row)
        if not self.done.isdisjoint(new):
            raise PredictionError(f"prediction {row['id']!r} was made twice; each id needs one row")
        self.done.update(new)
        with reported(self.part):
            self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            with reported(self.part):
                os.fsync(self._file.fileno())
                self._file.close()
                self.part.replace(self.path)
        with contextlib.suppress(OSError):  # the reason for the exception, perhaps
            self._file.close()


def _drop_half_line(path: Path) -> None:
    """Cut what follows the last line end: the row a killed run was writing."""
    with path.open("r+b") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)


def merge(path: Path, task: str, records: Sequence[Record], shares: Sequence[Path]) -> int:
    """Write the rows of all shares into one file in the order of the records; how many they are.

    The file appears whole or not at all. Only the places of the rows are in memory. Raises
    PredictionError when a share is missing, or an id is in two of them or not of these records.
    """
    places: dict[Key, tuple[int, int]] = {}
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_open_share(share)) for share in shares]
        for number, file in enumerate(files):
            start = 0
            for line in file:
                key = keys(json.loads(line))[0]
                if key in places:
                    raise PredictionError(f"{shares[number]}: {key[0]!r} was predicted twice")
                places[key] = (number, start)
                start += len(line)
        wanted = wanted_keys(task, records, places)
        foreign = [key for key in places if key not in wanted]
        if foreign:
            raise PredictionError(f"predicted but not asked for: {few(foreign)}")
        with whole(path) as beside, beside.open("wb") as out:
            for number, start in (places[key] for key in wanted if key in places):
                files[number].seek(start)
                out.write(files[number].readline())
    return len(places)


def _open_share(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise PredictionError(
            f"{path}: the predictions of one process are missing\n"
            "  to do: keep the run folder on a disk that all processes share"
        ) from error
