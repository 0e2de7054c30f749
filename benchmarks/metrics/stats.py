"""Measures with their count and standard error: the one shape in which every metric is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric's value. value: None when undefined (never 0); n: samples it rests on;
    standard_error: None when it has none; note: what a reader of the number must know."""

    value: float | None
    n: int
    standard_error: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "standard_error"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{name} of a measure must be finite or None, got {number}")

    def to_json(self) -> dict[str, Any]:
        """{"value", "n", "standard_error"} and "note" when there is one."""
        row = asdict(self)
        if not self.note:
            del row["note"]
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Measure:
        """The inverse of `to_json`."""
        return cls(row["value"], row["n"], row.get("standard_error"), row.get("note", ""))


Scores = dict[str, Measure]
"""Metric name -> measure; sub-results are paths: "accuracy/de", "map/head"."""


def mean(values: Samples, groups: Sequence[Hashable] | None = None, scale: float = 1.0) -> Measure:
    """Mean of per-sample scores with its analytic standard error, times `scale` (100 for percent).

    groups: one key per sample; samples that share it are dependent, and the error is clustered
    (sandwich estimator with the C/(C-1) correction). One sample or one cluster: no error (None).
    """
    x = np.asarray(values, dtype=np.float64)
    n = int(x.size)
    if n == 0:
        return Measure(None, 0, None)
    centre = float(x.mean())
    if groups is None:
        error = float(x.std(ddof=1) / math.sqrt(n)) if n > 1 else None
    else:
        if len(groups) != n:
            raise ValueError(f"{n} values but {len(groups)} groups")
        error = _clustered_error(x - centre, groups)
    return Measure(scale * centre, n, None if error is None else scale * error)


def _clustered_error(residuals: NDArray[np.float64], groups: Sequence[Hashable]) -> float | None:
    keys = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    clusters = len(keys)
    if clusters < 2:
        return None
    index = np.fromiter((keys[group] for group in groups), dtype=np.int64, count=len(groups))
    sums = np.bincount(index, weights=residuals, minlength=clusters)
    return float(np.sqrt(clusters / (clusters - 1) * np.sum(sums**2)) / residuals.size)


def bootstrap_error(
    statistic: Callable[[NDArray[np.int64]], float | None],
    n: int,
    groups: Sequence[Hashable] | None = None,
    *,
    samples: int = 200,
    seed: int = 0,
) -> float | None:
    """Standard error of any statistic by resampling `n` indices (whole groups when given).

    statistic: indices -> value (None when undefined on that resample, which is left out).
    Returns None when fewer than two resamples are defined.
    """
    rng = np.random.default_rng(seed)
    members: list[NDArray[np.int64]] | None = None
    if groups is not None:
        places: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            places.setdefault(group, []).append(index)
        members = [np.asarray(rows, dtype=np.int64) for rows in places.values()]
    values = []
    for _ in range(samples):
        if members is None:
            drawn = rng.integers(0, n, size=n)
        else:
            drawn = np.concatenate(
                [members[i] for i in rng.integers(0, len(members), len(members))]
            )
        value = statistic(drawn)
        if value is not None:
            values.append(value)
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def average(measures: Sequence[Measure]) -> Measure:
    """Unweighted mean of independent measures; undefined as soon as one of them is (no holes)."""
    values = [m.value for m in measures]
    if not values or any(v is None for v in values):
        return Measure(None, sum(m.n for m in measures), None, "incomplete" if values else "")
    errors = [m.standard_error for m in measures]
    error = None
    if all(e is not None for e in errors):
        error = math.sqrt(sum(e * e for e in errors if e is not None)) / len(errors)
    total = sum(v for v in values if v is not None)
    return Measure(total / len(values), sum(m.n for m in measures), error)
