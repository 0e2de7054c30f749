"""Records -> one long table, the truth behind every board; what may not stand there is refused.

A record can be altered (its predictions contradict it), limited (n records asked for), partial
(rows skipped, files that hold a part of the split, languages missing from an average), dirty
(uncommitted code, or no revision known) or superseded (a newer or more complete record of the same
identity and seed stands in its place, superseding.py). Such a record is refused with the reason, or
shown with its flags when `allow` names them all. Seeds are the records of one identity
(benchmarks/identity.py); records of another one have a row of their own, and its name says in what
they differ (row_names.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.identity import facts, missing_parts
from benchmarks.recompute import hash_fault
from benchmarks.record import ResultRecord
from benchmarks.stages import digest
from leaderboards.row_names import row_names
from leaderboards.superseding import superseded
from x2vlm.errors import RecordError, unknown

FLAGS = ("altered", "limited", "partial", "dirty", "superseded")
CELL = ["suite", "benchmark", "version", "split", "protocol", "metric", "model", "pretraining",
        "identity"]  # fmt: skip
COLUMNS = [*CELL, "value", "n", "standard_error", "seed", "parameters", "resolution", "chance",
           "headline", "higher_is_better", "floor", "floor_met", "note", "revision", "date",
           "flags", "record"]  # fmt: skip
SHARED = ["parameters", "resolution", "chance", "headline", "higher_is_better", "floor"]
SUMMARY = ["value", "sd", "seeds", "n", "standard_error", "flags", "records", "floor_met", "note",
           "date", *SHARED]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record left out of the table. flags: those of FLAGS that were not allowed."""

    record: str
    benchmark: str
    flags: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.record or self.benchmark}: refused, {self.reason}"


@dataclass(frozen=True)
class Long:
    """rows: one per record and metric, columns COLUMNS. refused: the records that are not in it.
    records: those that are; names: what their rows are called."""

    rows: pd.DataFrame
    refused: tuple[Refusal, ...]
    records: tuple[ResultRecord, ...]
    names: tuple[str, ...] = ()


def find_records(paths: Iterable[Path]) -> list[Path]:
    """Every record.json among files and below folders, in sorted order, each once.

    RecordError when a path does not exist or a folder holds none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("record.json"))
            if not inside:
                raise RecordError(f"{path}: no record.json below it; run `x2vlm run` first")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        else:
            raise RecordError(f"{path}: no such run folder or record")
    return list(found)


def read_records(paths: Iterable[Path]) -> list[ResultRecord]:
    """The records of run folders, of folders of runs, or of record files; those whose predictions
    are not the file that was scored are marked as altered."""
    records = [ResultRecord.read(path) for path in find_records(paths)]
    return [replace(record, altered=hash_fault(record)) for record in records]


def flags_of(record: ResultRecord) -> dict[str, str]:
    """flag -> reason, for what the record says about itself (so never "superseded")."""
    flags = {"altered": record.altered} if record.altered else {}
    if record.limit is not None:
        flags["limited"] = f"limited to {record.limit} records"
    if reasons := missing_parts(record):
        flags["partial"] = ", ".join(reasons)
    if record.revision.get("dirty") is not False:
        known = record.revision.get("commit")
        flags["dirty"] = "uncommitted changes in the code" if known else "revision unknown"
    return flags


def long_table(records: Sequence[ResultRecord], allow: Collection[str] = ()) -> Long:
    """All metrics of all admitted records. allow: flags that may be shown, out of FLAGS.

    The order of the rows follows benchmark, split, protocol, model and seed, never the order of
    the input, so that equal input gives equal output.
    """
    for flag in allow:
        if flag not in FLAGS:
            raise RecordError(unknown("flag to allow", flag, FLAGS))
    known = {id(record): facts(record) for record in records}
    records = sorted(records, key=lambda record: _order(known[id(record)], record))
    of = [known[id(record)] for record in records]
    flags = [flags_of(record) for record in records]
    standing = {n for n, own in enumerate(flags) if all(flag in allow for flag in own)}
    for number, why in superseded(records, of, standing).items():
        flags[number]["superseded"] = why
    refused, admitted = [], []
    for number, (record, own) in enumerate(zip(records, flags, strict=True)):
        barred = tuple(flag for flag in FLAGS if flag in own and flag not in allow)
        if barred:
            reason = "; ".join(own[flag] for flag in barred)
            hint = f" (to show it marked: allow={','.join(barred)})"
            refused.append(Refusal(record.path, record.benchmark, barred, reason + hint))
        else:
            admitted.append(number)
    kept = tuple(records[number] for number in admitted)
    shown = [place for place, number in enumerate(admitted) if "superseded" in flags[number]]
    names = row_names(kept, [of[number] for number in admitted], shown)
    rows: list[dict[str, object]] = []
    for number, name in zip(admitted, names, strict=True):
        marks = tuple(flag for flag in FLAGS if flag in flags[number])
        rows += _rows(records[number], marks, name, digest(of[number]))
    return Long(pd.DataFrame(rows, columns=COLUMNS), tuple(refused), kept, tuple(names))


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: CELL, then value (mean), sd (over seeds), n and the rest of SUMMARY.

    A cell is of one identity, so that what it averages are seeds of one result.
    standard_error joins what resampling the test set and what the seeds add: the seeds share one
    test set, so its variance stays and only the variance between seeds shrinks with their number.
    A cell of which one seed is undefined is undefined.
    """
    groups: dict[tuple[object, ...], list[dict[Hashable, Any]]] = {}
    for row in rows.to_dict("records"):  # by hand: pandas takes a millisecond per group
        groups.setdefault(tuple(row[name] for name in CELL), []).append(row)
    cells = [
        {**dict(zip(CELL, key, strict=True)), **_over_seeds(group)} for key, group in groups.items()
    ]
    frame = pd.DataFrame(cells, columns=[*CELL, *SUMMARY])
    for name in ("value", "sd", "standard_error"):
        frame[name] = frame[name].astype("float64")
    return frame


def _over_seeds(group: Sequence[Mapping[Hashable, Any]]) -> dict[str, object]:
    values = [None if pd.isna(row["value"]) else float(row["value"]) for row in group]
    errors = [
        None if pd.isna(row["standard_error"]) else float(row["standard_error"]) for row in group
    ]
    mean, deviation = _mean_and_deviation(values)
    flags = {flag for row in group for flag in row["flags"]}
    met = [bool(row["floor_met"]) for row in group if not pd.isna(row["floor_met"])]
    return {
        "value": mean,
        "sd": deviation,
        "seeds": tuple(sorted(int(row["seed"]) for row in group)),
        "n": min(int(row["n"]) for row in group),
        "standard_error": None if mean is None else _total_error(errors, deviation),
        "flags": tuple(flag for flag in FLAGS if flag in flags),
        "records": tuple(row["record"] for row in group),
        "floor_met": all(met) if met else None,
        "note": "; ".join(dict.fromkeys(row["note"] for row in group if row["note"])),
        "date": max(row["date"] for row in group),
        **{name: group[0][name] for name in SHARED},
    }


def _mean_and_deviation(values: list[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None, None
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in known) / (len(known) - 1))


def _total_error(errors: list[float | None], deviation: float | None) -> float | None:
    known = [error for error in errors if error is not None]
    if len(known) < len(errors):
        return None
    sampling = math.fsum(error * error for error in known) / len(known)
    between = 0.0 if deviation is None else deviation**2 / len(errors)
    return math.sqrt(sampling + between)


def _order(found: Mapping[str, Any], record: ResultRecord) -> tuple[object, ...]:
    names = ("suite", "benchmark", "split", "protocol", "model.name", "pretraining")
    size = str(found["resolution"] or "").zfill(6)
    front = (*(found[name] for name in names), size)
    return (*front, record.seed, record.created, record.path, digest(found))


def _rows(
    record: ResultRecord, flags: tuple[str, ...], model: str, mark: str
) -> list[dict[str, object]]:
    """model: what the record's model is called in the table. mark: its identity."""
    floor = record.floor or {}
    rows = []
    for metric, measure in record.metrics.items():
        leads = metric == record.headline
        rows.append(
            {
                "suite": record.suite,
                "benchmark": record.benchmark,
                "version": record.benchmark_version,
                "split": record.split,
                "protocol": record.protocol,
                "metric": metric,
                "model": model,
                "pretraining": str(record.model.get("pretraining") or ""),
                "identity": mark,
                "value": math.nan if measure.value is None else measure.value,
                "n": measure.n,
                "standard_error": (
                    math.nan if measure.standard_error is None else measure.standard_error
                ),
                "seed": record.seed,
                "parameters": record.model.get("parameters"),
                "resolution": record.model.get("resolution"),
                "chance": record.chance.get(metric),
                "headline": leads,
                "higher_is_better": metric not in record.lower_is_better,
                "floor": floor.get("value") if leads else None,
                "floor_met": floor.get("met") if leads else None,
                "note": measure.note,
                "revision": record.revision.get("commit"),
                "date": record.created,
                "flags": flags,
                "record": record.path,
            }
        )
    return rows
