"""predictions.jsonl: one prediction per line, checked when read, complete when joined. No torch.

`benchmarks.prediction_kinds` says what a row of each task holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

import jsonlines

from benchmarks.metrics.retrieval import DIRECTIONS, Ranking, query_targets
from benchmarks.prediction_kinds import VALUES, check
from benchmarks.sourced import SourcedPrediction, replaced, where
from x2vlm import plain
from x2vlm.errors import PredictionError
from x2vlm.types import Prediction, Record

Extra = Literal["raise", "ignore"]
Key = tuple[str, str]
"""(id, direction); the direction is empty except in retrieval."""
Note = Callable[[str], None]
"""Says something that whoever reads the scores must know."""


class MisfitError(PredictionError):
    """Other ids than asked for. fit: queries answered; faults: missing and foreign ids."""

    fit = faults = 0


def read(path: Path, task: str) -> list[Prediction]:
    """All of `stream`."""
    return list(stream(path, task))


def stream(path: Path, task: str) -> Iterator[Prediction]:
    """The predictions of one file, in its order, one at a time; rankings packed (`Ranking`).

    Blank lines are left out. Raises PredictionError naming file and line of a malformed row, NaN
    and Infinity included.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _rows(file, task, path)
    except (OSError, ValueError) as error:
        raise PredictionError(f"{path}: not readable as UTF-8 JSON lines ({error})") from error


def _rows(file: TextIO, task: str, path: Path) -> Iterator[Prediction]:
    names: dict[str, str] = {}
    line = 0

    def lines() -> Iterator[str]:
        nonlocal line
        for text in plain.lines(file):
            line += 1
            yield text

    reader = jsonlines.Reader(lines(), loads=plain.loads)
    while True:
        try:
            row = reader.read(skip_empty=True)
        except EOFError:
            return
        except jsonlines.InvalidLineError as error:
            raise PredictionError(
                f"{path}:{line}: not a JSON object ({error})\n"
                "  expected: one JSON object per line; a killed run is finished by running it again"
            ) from error
        source = f"{path}:{line}"
        row = SourcedPrediction(check(task, row, source), source)
        if task == "retrieval":
            row["ranking"] = {way: Ranking(pairs, names) for way, pairs in row["ranking"].items()}
        yield row


def keys(row: Prediction) -> list[Key]:
    """What a row answers: (id, direction) in retrieval, else (id, "")."""
    return [(row["id"], way) for way in row.get("ranking", ("",))]


def join(
    task: str,
    records: Sequence[Record],
    predictions: Iterable[Prediction],
    *,
    extra: Extra = "raise",
    note: Note | None = None,
) -> tuple[list[Prediction], int]:
    """Predictions in the order of the records (retrieval: images, then texts), and how many other
    ids were left out.

    Ids are compared as strings. A row that repeats an earlier one (the padding of runs on several
    GPUs) is dropped, and `note` says how many. Raises PredictionError for two rows of one id that
    differ, and MisfitError for an id that is missing or not of this split (unless extra="ignore"),
    with counts and the first few.
    """
    found: dict[Key, Prediction] = {}
    repeated: list[Prediction] = []
    differing: list[tuple[Key, Prediction, Prediction]] = []
    for row in predictions:
        for key in keys(row):
            first = found.setdefault(key, row)
            if first is row:
                continue
            if repeats(task, _one_way(first, key[1]), _one_way(row, key[1])):
                repeated.append(row)
            else:
                differing.append((key, first, row))
    wanted = wanted_keys(task, records, found)
    _refuse_differing([one for one in differing if extra == "raise" or one[0] in wanted])
    foreign = [key for key in found if key not in wanted]
    missing = [key for key in wanted if key not in found]
    if missing or (foreign and extra == "raise"):
        raise _misfit(len(wanted), missing, foreign if extra == "raise" else [])
    if repeated and note is not None:
        note(
            f"{len(repeated)} predictions repeat an earlier one and were dropped, "
            f"first {where(repeated[0])}"
        )
    return [_one_way(found[key], key[1]) for key in wanted], len(foreign)


def repeats(task: str, first: Any, second: Any) -> bool:
    """Whether two rows say the same, numbers to four digits: a padded batch rounds otherwise."""
    return all(_alike(first.get(name), second.get(name)) for name in VALUES[task])


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_alike(a[name], b[name]) for name in a)
    if isinstance(a, str) or not isinstance(a, Sequence) or not isinstance(b, Sequence):
        return bool(a == b)
    return len(a) == len(b) and all(map(_alike, a, b))


def _refuse_differing(differing: Sequence[tuple[Key, Prediction, Prediction]]) -> None:
    if differing:
        key, first, second = differing[0]
        raise PredictionError(
            f"{where(second)}: contradicts {where(first)}: both answer {few([key])!r}, and "
            f"differently ({len(differing)} such rows)\n"
            "  to do: keep one answer for each id; rows that repeat each other are dropped here"
        )


def _misfit(expected: int, missing: Sequence[Key], foreign: Sequence[Key]) -> MisfitError:
    faults = [("missing", missing), ("not in this split", foreign)]
    found = "; ".join(f"{len(rows)} {what} ({few(rows)})" for what, rows in faults if rows)
    error = MisfitError(
        f"predictions do not fit the {expected} expected: {found}\n"
        "  to do: predict this split (and limit) again, or score the split that was predicted"
        + ("; extra=ignore drops the others" if foreign else "")
    )
    error.fit = expected - len(missing)
    error.faults = len(missing) + len(foreign)
    return error


def wanted_keys(task: str, records: Sequence[Record], found: Mapping[Key, Any]) -> dict[Key, None]:
    """What there is to answer: every record; in retrieval, of the directions found, every query."""
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
    return replaced(row, ranking={way: row["ranking"][way]}) if way else row


def few(rows: Sequence[Key]) -> str:
    """The first three, in words."""
    names = [" ".join(filter(None, key)) for key in rows[:3]]
    return ", ".join(names) + (", …" if len(rows) > 3 else "")
