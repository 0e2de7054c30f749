"""predictions.jsonl: one prediction per line, checked when read, complete when joined. No torch.

Kinds, by task (a row may carry more keys; these are required):
    retrieval       {"id": IMAGE, "ranking": {"text": [[TEXT, score], …]}} for each image, and
                    {"id": TEXT, "ranking": {"image": [[IMAGE, score], …]}} for each text; one
                    direction may be absent as a whole
    answering       {"id", "answer": str}
    classification  {"id", "label": name or index, "scores"}
    grounding       {"id", "box": [x, y, w, h]} in pixels of the original image
    captioning      {"id", "caption": str}
    matching        {"id", "c0_i0", "c0_i1", "c1_i0", "c1_i1"}; with prefix "feature_" beside
    attributes      {"id", "scores": [one per attribute]}
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TextIO

import jsonlines

from benchmarks.metrics.retrieval import DIRECTIONS, Ranking, query_targets
from benchmarks.metrics.winoground import PAIRS
from x2vlm import plain
from x2vlm.errors import ConfigError, PredictionError, unknown
from x2vlm.types import Prediction, Record
from x2vlm.writing import reported, whole

Extra = Literal["raise", "ignore"]
Key = tuple[str, str]
"""(id, direction); the direction is empty except in retrieval."""


class MisfitError(PredictionError):
    """Other ids than asked for. fit: queries answered; faults: missing, double and foreign ids."""

    fit = faults = 0


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_number, value))


def _ranking(row: Mapping[str, Any]) -> bool:
    found = row.get("ranking")
    return (
        isinstance(found, dict)
        and bool(found)
        and set(found) <= set(DIRECTIONS)
        and all(isinstance(pairs, list) and _pairs(pairs) for pairs in found.values())
    )


def _pairs(pairs: Sequence[Any]) -> bool:
    """Whether all are [id, score]; by kinds, because there are millions."""
    if not set(map(type, pairs)) <= {list} or not set(map(len, pairs)) <= {2}:
        return False
    scores = [score for _, score in pairs]
    return set(map(type, scores)) <= {int, float} and all(map(math.isfinite, scores))


def _box(row: Mapping[str, Any]) -> bool:
    box = row.get("box")
    return _numbers(box) and len(row["box"]) == 4


def _label(row: Mapping[str, Any]) -> bool:
    label = row.get("label")
    return isinstance(label, (str, int)) and not isinstance(label, bool)


KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], bool], str]] = {
    "retrieval": (_ranking, '"ranking": {"text" or "image": [[id, finite score], …]}'),
    "answering": (lambda row: isinstance(row.get("answer"), str), '"answer": a string'),
    "classification": (_label, '"label": the name or the index of a label'),
    "grounding": (_box, '"box": [x, y, w, h], four finite numbers in pixels'),
    "captioning": (lambda row: isinstance(row.get("caption"), str), '"caption": a string'),
    "matching": (lambda row: all(_number(row.get(pair)) for pair in PAIRS),
                 f"finite numbers {', '.join(PAIRS)}"),
    "attributes": (lambda row: _numbers(row.get("scores")), '"scores": a list of finite numbers'),
}  # fmt: skip


def check(task: str, row: Any, where: str) -> Prediction:
    """`row` with its id as a string; PredictionError with `where` when it is not of this kind."""
    if task not in KINDS:
        raise ConfigError(unknown("task", task, KINDS))
    right, expected = KINDS[task]
    if not isinstance(row, dict) or not isinstance(row.get("id"), (str, int)) or not right(row):
        text = json.dumps(row, ensure_ascii=False, default=str)
        raise PredictionError(
            f"{where}: no {task} prediction: {text[:120]}\n"
            f'  expected: a JSON object with "id" and {expected}'
        )
    return row | {"id": str(row["id"])}


def read(path: Path, task: str) -> list[Prediction]:
    """All of `stream`."""
    return list(stream(path, task))


def stream(path: Path, task: str) -> Iterator[Prediction]:
    """The predictions of one file, in its order, one at a time; rankings packed (`Ranking`).

    Raises PredictionError naming file and line of a malformed row, NaN and Infinity included.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from _rows(file, task, path)
    except (OSError, UnicodeDecodeError) as error:
        raise PredictionError(f"{path}: not readable as UTF-8 JSON lines ({error})") from error


def _rows(file: TextIO, task: str, path: Path) -> Iterator[Prediction]:
    names: dict[str, str] = {}
    reader = jsonlines.Reader(plain.lines(file), loads=plain.loads)
    number = 0
    while True:
        number += 1
        try:
            row = reader.read()
        except EOFError:
            return
        except jsonlines.InvalidLineError as error:
            raise PredictionError(
                f"{path}:{error.lineno}: not a JSON object ({error})\n"
                "  expected: one JSON object per line; a killed run is finished by running it again"
            ) from error
        row = check(task, row, f"{path}:{number}")
        if task == "retrieval":
            row["ranking"] = {way: Ranking(pairs, names) for way, pairs in row["ranking"].items()}
        yield row


def keys(row: Prediction) -> list[Key]:
    """What a row answers: (id, direction) in retrieval, else (id, "")."""
    return [(row["id"], way) for way in row.get("ranking", ("",))]


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
        wanted = _wanted(task, records, places)
        foreign = [key for key in places if key not in wanted]
        if foreign:
            raise PredictionError(f"predicted but not asked for: {_few(foreign)}")
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


def join(
    task: str,
    records: Sequence[Record],
    predictions: Iterable[Prediction],
    *,
    extra: Extra = "raise",
) -> tuple[list[Prediction], int]:
    """Predictions in the order of the records (retrieval: images, then texts), and how many other
    ids were left out.

    Ids are compared as strings. Raises PredictionError for an id that is missing, double, or not of
    this split (unless extra="ignore"), with counts and the first few.
    """
    found: dict[Key, Prediction] = {}
    double: list[Key] = []
    for row in predictions:
        for key in keys(row):
            if key in found:
                double.append(key)
            found[key] = row
    wanted = _wanted(task, records, found)
    foreign = [key for key in found if key not in wanted]
    missing = [key for key in wanted if key not in found]
    faults = [("missing", missing), ("double", double)]
    if extra == "raise":
        faults.append(("not in this split", foreign))
    if any(rows for _, rows in faults):
        told = "; ".join(f"{len(rows)} {what} ({_few(rows)})" for what, rows in faults if rows)
        error = MisfitError(
            f"predictions do not fit the {len(wanted)} expected: {told}\n"
            "  to do: predict this split (and limit) again, or score the split that was predicted"
            + ("; extra=ignore drops the others" if extra == "raise" and foreign else "")
        )
        error.fit = len(wanted) - len(missing)
        error.faults = sum(len(rows) for _, rows in faults)
        raise error
    return [_one_way(found[key], key[1]) for key in wanted], len(foreign)


def _wanted(task: str, records: Sequence[Record], found: Mapping[Key, Any]) -> dict[Key, None]:
    if task != "retrieval":
        return dict.fromkeys((record.id, "") for record in records)
    ways = {way for _, way in found} or set(DIRECTIONS)
    return {
        (query, way): None
        for way in DIRECTIONS
        if way in ways
        for query in query_targets(records, way)
    }


def _one_way(row: Prediction, way: str) -> Prediction:
    return row | {"ranking": {way: row["ranking"][way]}} if way else row


def _few(rows: Sequence[Key]) -> str:
    names = [" ".join(filter(None, key)) for key in rows[:3]]
    return ", ".join(names) + (", …" if len(rows) > 3 else "")
