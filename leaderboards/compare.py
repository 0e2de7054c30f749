"""Paired comparison of runs on the same samples: is the difference real, and which samples flipped?

Right or wrong, every sample its own cluster: exact McNemar. Otherwise, or when samples share an
image: sign-flip permutation of the clusters' differences. A metric that is no mean over samples
(mAP): paired bootstrap over images. Intervals are percentile intervals of a clustered bootstrap.
p-values are corrected by Holm over all comparisons asked for together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.per_sample import SampleScores
from leaderboards.export import escape_markdown
from leaderboards.plain_text import csv_text, visible

Floats = NDArray[np.float64]
Test = Literal["McNemar, exact", "sign-flip permutation", "sign-flip, all", "paired bootstrap"]
RESAMPLES = 2000
FLIPS = 9999
ENUMERATED = 13
"""With so many differing clusters or fewer all sign flips are tried."""

RIGHT = 0.5
"""A sample counts as right from this score on."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """effect: B minus A in the metric's unit, with its 95 % interval low..high.

    p_holm: p corrected over all comparisons of the call. gained: ids that B has right and A has
    not; lost: the other way round.
    """

    benchmark: str
    metric: str
    name_a: str
    name_b: str
    n: int
    clusters: int
    a: float
    b: float
    effect: float
    low: float
    high: float
    test: Test
    p: float
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    p_holm: float = 1.0

    def verdict(self, level: float = 0.05) -> str:
        """Which one is better, if that is shown at the corrected level."""
        if self.p_holm > level or self.effect == 0:
            return "no difference shown"
        return f"{self.name_b if self.effect > 0 else self.name_a} is better"


def compare_scores(
    a: SampleScores,
    b: SampleScores,
    *,
    benchmark: str = "",
    names: tuple[str, str] = ("A", "B"),
    seed: int = 0,
) -> Comparison:
    """Compare two runs by their sample scores. ValueError when they scored different samples."""
    if a.metric != b.metric or set(a.values) != set(b.values) or not a.values:
        raise ValueError(
            f"{benchmark} {a.metric}: the two runs scored different samples "
            f"({len(a.values)} and {len(b.values)}, {len(set(a.values) & set(b.values))} shared); "
            "compare runs of one split and limit"
        )
    ids = list(a.values)
    a_N = np.array([a.values[i] for i in ids])
    b_N = np.array([b.values[i] for i in ids])
    keys = {group: place for place, group in enumerate(dict.fromkeys(a.groups.values()))}
    cluster_N = np.array([keys[a.groups[i]] for i in ids])
    difference_N = b_N - a_N
    sums_C: Floats = np.bincount(cluster_N, difference_N, len(keys)).astype(np.float64)
    sizes_C = np.bincount(cluster_N, minlength=len(keys)).astype(np.float64)
    low, high = bootstrap_interval(sums_C, sizes_C, seed=seed)
    alone = len(keys) == len(ids)
    if alone and a.binary and b.binary:
        test: Test = "McNemar, exact"
        p = mcnemar(int((difference_N > 0).sum()), int((difference_N < 0).sum()))
    else:
        p, complete = sign_flip(sums_C, seed=seed)
        test = "sign-flip, all" if complete else "sign-flip permutation"
    right_a, right_b = a_N >= RIGHT, b_N >= RIGHT
    return Comparison(
        benchmark, a.metric, *names, len(ids), len(keys),
        a.scale * float(a_N.mean()), a.scale * float(b_N.mean()),
        a.scale * float(difference_N.mean()), a.scale * low, a.scale * high, test, p,
        tuple(i for i, flip in zip(ids, right_b & ~right_a, strict=True) if flip),
        tuple(i for i, flip in zip(ids, right_a & ~right_b, strict=True) if flip),
    )  # fmt: skip


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value of `gained` against `lost` discordant pairs; 1 without any."""
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue)


def sign_flip(sums_C: Floats, *, flips: int = FLIPS, seed: int = 0) -> tuple[float, bool]:
    """(two-sided p-value, all flips tried?): how often random signs give as large a total.

    sums_C: the summed differences of each cluster; under the null either sign is as likely.
    """
    sums_C = sums_C[sums_C != 0]
    observed = abs(float(sums_C.sum())) - 1e-12 * float(np.abs(sums_C).sum())  # rounding is a tie
    count = len(sums_C)
    if count == 0:
        return 1.0, True
    if count <= ENUMERATED:
        bits = (np.arange(1 << count)[:, None] >> np.arange(count)) & 1
        return float((np.abs((1 - 2 * bits) @ sums_C) >= observed).mean()), True
    rng = np.random.default_rng(seed)
    reached, done = 0, 0
    while done < flips:
        size = min(flips - done, max(1, 4_000_000 // count))
        signs = 1 - 2 * rng.integers(0, 2, size=(size, count), dtype=np.int8)
        reached += int((np.abs(signs @ sums_C) >= observed).sum())
        done += size
    return (reached + 1) / (flips + 1), False


def bootstrap_interval(
    sums_C: Floats, sizes_C: Floats, *, samples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of sum(sums) / sum(sizes) when whole clusters are drawn again."""
    rng = np.random.default_rng(seed)
    count, drawn = len(sums_C), []
    for start in range(0, samples, 100):
        rows = rng.integers(0, count, size=(min(100, samples - start), count))
        drawn.append(sums_C[rows].sum(axis=1) / sizes_C[rows].sum(axis=1))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return float(low), float(high)


def bootstrap_p(effect: float, drawn_S: Floats) -> float:
    """Two-sided p-value of "no difference": the effect against the deviation of bootstrapped ones,
    by the normal distribution. (Counting those beyond zero cannot fall below 2 / resamples, which
    Holm over a suite of benchmarks turns into "no difference" whatever was found.)
    """
    deviation = float(np.std(drawn_S, ddof=1))
    if deviation == 0:  # one image: nothing to resample
        return 1.0
    return float(2 * stats.norm.sf(abs(effect) / deviation))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: each p times the hypotheses left, never falling, at most 1."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, floor = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = floor
    return corrected


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons, corrected over all of them."""
    corrected = holm([one.p for one in comparisons])
    return [replace(one, p_holm=p) for one, p in zip(comparisons, corrected, strict=True)]


def to_markdown(comparisons: Sequence[Comparison], flips: int = 5) -> str:
    """Per pair of runs: who is A and who B, a table, and of each of its comparisons the first
    `flips` samples that changed sides."""
    heads = ("benchmark", "metric", "n", "A", "B", "B − A", "95 % interval", "test", "p",
             "p (Holm)", "gained", "lost", "verdict")  # fmt: skip
    lines: list[str] = []
    for a, b in dict.fromkeys((one.name_a, one.name_b) for one in comparisons):
        pair = [one for one in comparisons if (one.name_a, one.name_b) == (a, b)]
        lines += [] if (a, b) == ("A", "B") else [f"A is {a}, B is {b}."]
        lines += ["", "| " + " | ".join(heads) + " |", "|" + " :-- |" * len(heads)]
        for one in pair:
            texts = [one.benchmark, one.metric, str(one.n), f"{one.a:.2f}", f"{one.b:.2f}",
                     f"{one.effect:+.2f}", f"{one.low:+.2f} to {one.high:+.2f}", one.test,
                     f"{one.p:.2g}", f"{one.p_holm:.2g}", str(len(one.gained)),
                     str(len(one.lost)), one.verdict()]  # fmt: skip
            lines.append("| " + " | ".join(map(escape_markdown, texts)) + " |")
        for one in pair:
            for what, ids in (("gained", one.gained), ("lost", one.lost)):
                if ids:
                    more = ", …" if len(ids) > flips else ""
                    lines += ["", f"{one.benchmark} {one.metric} {what}: "
                              f"{', '.join(ids[:flips])}{more}"]  # fmt: skip
        lines.append("")
    return visible("\n".join(lines).rstrip("\n") + "\n")


def flips_csv(comparisons: Sequence[Comparison]) -> str:
    """Every sample that changed sides, one a line: benchmark, metric, A, B, gained or lost, id."""
    rows = (
        (one.benchmark, one.metric, one.name_a, one.name_b, change, name)
        for one in comparisons
        for change, ids in (("gained", one.gained), ("lost", one.lost))
        for name in ids
    )
    return csv_text(("benchmark", "metric", "a", "b", "change", "id"), rows)
