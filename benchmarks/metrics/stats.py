"""Measures with their count and standard error: the one shape in which every metric is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2vlm.types import Record

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
    error = clustered_error((x - centre) / n, range(n) if groups is None else groups)
    value = scale * float(x.sum()) / n
    return Measure(value, n, None if error is None else scale * error)


def clustered_error(influences: Samples, groups: Sequence[Hashable]) -> float | None:
    """Standard error of a linear statistic from what each sample adds to it (sums to 0).

    A mean's influences are (x - mean) / n. Samples of one group are summed first, as they are
    dependent; C groups give sqrt(C / (C - 1) * sum of squares). None with fewer than two groups.
    """
    if len(groups) != len(influences):
        raise ValueError(f"{len(influences)} influences but {len(groups)} groups")
    keys = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    clusters = len(keys)
    if clusters < 2:
        return None
    index = np.fromiter((keys[group] for group in groups), dtype=np.int64, count=len(groups))
    sums = np.bincount(index, weights=np.asarray(influences), minlength=clusters)
    return float(np.sqrt(clusters / (clusters - 1) * np.sum(sums**2)))


def clusters(records: Sequence[Record]) -> list[str]:
    """The group of each record; a record without one stands alone."""
    return [record.group or f"\0{record.id}" for record in records]


def tagged_means(
    name: str,
    values: Sequence[float | None],
    records: Sequence[Record],
    tags: Sequence[str] = (),
    *,
    scale: float = 100.0,
) -> Scores:
    """Mean of `values` under `name`, and under "name/VALUE" for each value of the records' `tags`.

    None is left out (undefined). A tag may hold one value or a list of them. Sub-results are sorted
    by name; errors are clustered by the records' group.
    """
    groups = clusters(records)
    members: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        for tag in tags:
            found = record.tags.get(tag, ())
            for value in found if isinstance(found, (list, tuple)) else (found,):
                members.setdefault(str(value), []).append(index)

    def over(indices: Sequence[int]) -> Measure:
        known = [(v, groups[i]) for i in indices if (v := values[i]) is not None]
        return mean([v for v, _ in known], [g for _, g in known], scale)

    scores = {name: over(range(len(records)))}
    scores.update({f"{name}/{value}": over(members[value]) for value in sorted(members)})
    return scores


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
    counts_SN = resamples(n, groups, samples=samples, seed=seed)
    index = np.arange(n)
    values = [v for row in counts_SN if (v := statistic(np.repeat(index, row))) is not None]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def resamples(
    n: int, groups: Sequence[Hashable] | None = None, *, samples: int = 200, seed: int = 0
) -> NDArray[np.int64]:
    """How often each of `n` samples is drawn in each bootstrap resample: (samples, n) counts.

    Whole groups are drawn with replacement, as many as there are. A statistic of weighted samples
    can be computed for all resamples at once from these.
    """
    if n == 0:
        return np.zeros((0, 0), dtype=np.int64)
    names = range(n) if groups is None else groups
    keys = {group: index for index, group in enumerate(dict.fromkeys(names))}
    index = np.fromiter((keys[group] for group in names), dtype=np.int64, count=n)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(keys), size=(samples, len(keys)))
    counts = np.stack([np.bincount(row, minlength=len(keys)) for row in drawn])
    return counts[:, index]


def average(measures: Sequence[Measure], *, dependent: bool = False) -> Measure:
    """Unweighted mean of measures; undefined as soon as one of them is (no holes).

    Its standard error takes the measures as independent; dependent=True takes the upper bound that
    holds for any correlation (the mean of the errors), for measures of the same images or texts.
    """
    values = [m.value for m in measures]
    if not values or any(v is None for v in values):
        return Measure(None, sum(m.n for m in measures), None, "incomplete" if values else "")
    errors = [m.standard_error for m in measures if m.standard_error is not None]
    error = None
    if len(errors) == len(measures):
        total = sum(errors) if dependent else math.sqrt(sum(e * e for e in errors))
        error = total / len(errors)
    return Measure(
        sum(v for v in values if v is not None) / len(values), sum(m.n for m in measures), error
    )
