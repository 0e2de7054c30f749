"""Which records others have taken the place of: reruns, parts of the data, older benchmarks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from benchmarks.identity import SAME_AIM, missing_parts
from benchmarks.record import ResultRecord
from benchmarks.stages import digest


def superseded(
    records: Sequence[ResultRecord], known: Sequence[Mapping[str, Any]], standing: Collection[int]
) -> dict[int, str]:
    """Position -> why, for the records whose place another one took.

    Only a record of the same seed, and of the same identity but for SAME_AIM, takes another's
    place: of a newer version of the benchmark, complete where the other is not, or, when all is
    equal, made later. known: the facts of each record (benchmarks/identity.py). standing:
    positions of the records that may take a place; one that is itself refused may not, so that no
    result is lost to it.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for number, found in enumerate(known):
        aim = digest({name: value for name, value in found.items() if name not in SAME_AIM})
        groups.setdefault((aim, records[number].seed), []).append(number)
    reasons: dict[int, str] = {}
    for group in groups.values():
        rivals = sorted((n for n in group if n in standing), key=lambda n: _rank(records, n))
        for number in group:
            for other in reversed(rivals):
                why = other != number and _why(records, known, number, other)
                if why:
                    reasons[number] = why
                    break
    return reasons


def _rank(records: Sequence[ResultRecord], number: int) -> tuple[int, bool, str, str, int]:
    """The order in which records take the place of others: the last is the one to keep."""
    record = records[number]
    return record.benchmark_version, complete(record), record.created, record.path, number


def _why(
    records: Sequence[ResultRecord], known: Sequence[Mapping[str, Any]], number: int, other: int
) -> str:
    """Why `other` takes the place of `number`; "" when it does not."""
    record, rival = records[number], records[other]
    if record.benchmark_version < rival.benchmark_version:
        now = rival.benchmark_version
        same_parts = all(known[number][name] == known[other][name] for name in ("limit", "missing"))
        if complete(rival) or same_parts:
            return f"version {record.benchmark_version} of the benchmark, now {now}"
    elif record.benchmark_version > rival.benchmark_version:
        return ""
    elif complete(rival) and not complete(record):
        same_training = known[number].get("train_data") == known[other].get("train_data")
        if record.limit is not None or same_training:
            return f"superseded by the complete record {rival.path}"
    elif known[number] == known[other] and _rank(records, number) < _rank(records, other):
        return f"superseded by the newer record {rival.path}"
    return ""


def complete(record: ResultRecord) -> bool:
    """Whether a record stands for all of its split."""
    return record.limit is None and not missing_parts(record)
