"""Records -> one long table, the truth behind every board; what may not stand there is refused.

A record can be limited (n records asked for), partial (rows skipped, files that hold a part of the
split, languages missing from an average), dirty (uncommitted code, or no revision known) or
superseded (a newer or more complete record of the same cell may stand in its place). Such a
record is refused with the reason, or shown with its flags when `allow` names them all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.record import ResultRecord
from x2vlm.errors import RecordError, unknown

FLAGS = ("limited", "partial", "dirty", "superseded")
CELL = ["suite", "benchmark", "version", "split", "protocol", "metric", "model", "pretraining"]
COLUMNS = [*CELL, "value", "n", "standard_error", "seed", "parameters", "resolution", "chance",
           "headline", "higher_is_better", "floor", "floor_met", "note", "revision", "date",
           "flags", "record", "training"]  # fmt: skip
SHARED = ["parameters", "resolution", "chance", "headline", "higher_is_better", "floor", "training"]
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
    """rows: one per record and metric, columns COLUMNS. refused: the records that are not in it."""

    rows: pd.DataFrame
    refused: tuple[Refusal, ...]
    records: tuple[ResultRecord, ...]


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
    """The records of run folders, of folders of runs, or of record files."""
    return [ResultRecord.read(path) for path in find_records(paths)]


def flags_of(record: ResultRecord) -> dict[str, str]:
    """flag -> reason, for what the record says about itself (so never "superseded")."""
    flags = {}
    if record.limit is not None:
        flags["limited"] = f"limited to {record.limit} records"
    if reasons := _partial(record):
        flags["partial"] = ", ".join(reasons)
    if record.revision.get("dirty") is not False:
        known = record.revision.get("commit")
        flags["dirty"] = "uncommitted changes in the code" if known else "revision unknown"
    return flags


def _partial(record: ResultRecord) -> list[str]:
    """Why a record stands for less than its split, apart from a limit."""
    reasons = [f"{len(record.skipped)} rows were skipped"] if record.skipped else []
    if parts := sorted(set(record.data.get("partial", {}).values())):
        reasons.append(f"part of the split: {' '.join(parts)}")
    if missing := record.data.get("missing_languages"):
        reasons.append(f"averages without {' '.join(missing)}")
    return reasons


def _whole(record: ResultRecord) -> bool:
    return record.limit is None and not _partial(record)


def long_table(records: Sequence[ResultRecord], allow: Collection[str] = ()) -> Long:
    """All metrics of all admitted records. allow: flags that may be shown, out of FLAGS.

    The order of the rows follows benchmark, split, protocol, model and seed, never the order of
    the input, so that equal input gives equal output.
    """
    for flag in allow:
        if flag not in FLAGS:
            raise RecordError(unknown("flag to allow", flag, FLAGS))
    records = sorted(records, key=_order)
    superseded = _superseded(records, allow)
    refused, admitted = [], []
    for number, record in enumerate(records):
        flags = flags_of(record)
        if number in superseded:
            flags["superseded"] = superseded[number]
        barred = tuple(flag for flag in FLAGS if flag in flags and flag not in allow)
        if barred:
            reason = "; ".join(flags[flag] for flag in barred)
            hint = f" (to show it marked: allow={','.join(barred)})"
            refused.append(Refusal(record.path, record.benchmark, barred, reason + hint))
        else:
            admitted.append((record, tuple(flag for flag in FLAGS if flag in flags)))
    sizes: dict[tuple[object, ...], set[object]] = {}
    for record, _ in admitted:
        sizes.setdefault(_score(record), set()).add(record.model.get("resolution"))
    rows: list[dict[str, object]] = []
    for record, marks in admitted:
        rows += _rows(record, marks, _called(record, marks, len(sizes[_score(record)]) > 1))
    kept = tuple(record for record, _ in admitted)
    return Long(pd.DataFrame(rows, columns=COLUMNS), tuple(refused), kept)


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: CELL, then value (mean), sd (over seeds), n and the rest of SUMMARY.

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


def _model(record: ResultRecord) -> tuple[str, str]:
    return str(record.model.get("name", "")), str(record.model.get("pretraining") or "")


def _score(record: ResultRecord) -> tuple[object, ...]:
    return (record.suite, record.benchmark, record.split, record.protocol, *_model(record))


def _cell(record: ResultRecord) -> tuple[object, ...]:
    return (*_score(record), record.model.get("resolution"))


def _called(record: ResultRecord, flags: Sequence[str], sizes: bool) -> str:
    """The model's name, longer where one row could not hold both: a superseded record is no seed of
    its successor, nor one resolution of another (sizes: whether the score has several)."""
    told = [f"{record.model.get('resolution')} px"] if sizes else []
    if "superseded" in flags:
        told.append(f"superseded, {record.created[:19].replace('T', ' ')}")
    return _model(record)[0] + (f" ({', '.join(told)})" if told else "")


def _order(record: ResultRecord) -> tuple[object, ...]:
    size = str(record.model.get("resolution") or "")
    return (*_score(record), size.zfill(6), record.seed, record.created, record.path)


def _superseded(records: Sequence[ResultRecord], allow: Collection[str]) -> dict[int, str]:
    """Position -> why: an older benchmark version, an incomplete twin, or an older record.

    A record that is itself refused takes no other's place, so that no result is lost to it.
    """
    versions: dict[str, int] = {}
    for record in records:
        name, version = record.benchmark, record.benchmark_version
        versions[name] = max(versions.get(name, 0), version)
    standing = [
        number
        for number, record in enumerate(records)
        if record.benchmark_version == versions[record.benchmark]
        and all(flag in allow for flag in flags_of(record))
    ]
    complete = {_cell(records[n]): n for n in standing if _whole(records[n])}

    def age(number: int) -> tuple[str, str, int]:
        return records[number].created, records[number].path, number

    latest: dict[tuple[object, ...], int] = {}
    for number in sorted(standing, key=age):
        if _whole(records[number]) or _cell(records[number]) not in complete:
            latest[(*_cell(records[number]), records[number].seed)] = number
    reasons: dict[int, str] = {}
    for number, record in enumerate(records):
        now, whole = versions[record.benchmark], complete.get(_cell(record))
        newer = latest.get((*_cell(record), record.seed))
        if record.benchmark_version < now:
            reasons[number] = f"version {record.benchmark_version} of the benchmark, now {now}"
        elif whole is not None and not _whole(record):
            reasons[number] = f"superseded by the complete record {records[whole].path}"
        elif newer is not None and age(newer) > age(number):
            reasons[number] = f"superseded by the newer record {records[newer].path}"
    return reasons


def _rows(record: ResultRecord, flags: tuple[str, ...], model: str) -> list[dict[str, object]]:
    """model: what the record's model is called in the table."""
    _, pretraining = _model(record)
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
                "pretraining": pretraining,
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
                "training": "unknown" if record.training_unknown else "",
            }
        )
    return rows
