"""OVAD, boxes given: average precision per attribute over the boxes whose label is known.

Axes: N boxes, A attributes, S bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics.stats import Measure, Scores, clusters, resamples
from x2vlm.errors import DataError, PredictionError
from x2vlm.types import Prediction, Record

UNKNOWN = -1


def average_precision(
    scores_N: NDArray[np.float64],
    present_N: NDArray[np.bool_],
    counts_NS: NDArray[np.integer[Any]] | None = None,
) -> NDArray[np.float64]:
    """Area under the precision-recall steps as scikit-learn has it: sum of precision * new recall.

    Equal scores are one threshold. counts_NS: how often each box counts in each resample (default:
    once, in one); returns one value per resample, NaN where no positive is left.
    """
    order = np.argsort(-scores_N, kind="stable")
    if counts_NS is None:
        counts_NS = np.ones((len(order), 1), dtype=np.int64)
    present_N, threshold_N = present_N[order], -scores_N[order]
    hits = np.flatnonzero(present_N)
    if not len(hits):
        return np.full(counts_NS.shape[1], np.nan)
    # Recall rises at the thresholds of positives alone: boxes are summed from one to the next.
    thresholds, first = np.unique(threshold_N[hits], return_index=True)
    ends = np.searchsorted(threshold_N, thresholds, side="right")
    chosen_NS = counts_NS[order[: ends[-1]]]
    steps_TS = np.add.reduceat(chosen_NS[hits], first, axis=0)
    chosen_TS = np.add.reduceat(chosen_NS, np.append(0, ends[:-1]), axis=0).cumsum(axis=0)
    hits_TS = steps_TS.cumsum(axis=0)
    area_S = (hits_TS / np.maximum(chosen_TS, 1) * steps_TS).sum(axis=0)
    positives_S = hits_TS[-1]
    found_S: NDArray[np.float64] = np.full(area_S.shape, np.nan)
    np.divide(area_S, positives_S, out=found_S, where=positives_S > 0)
    return found_S


def score(
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    frequency: Sequence[str] = (),
    samples: int = 100,
    **_: Any,
) -> Scores:
    """`map` in percent over all attributes, and `map/head`, `map/medium`, `map/tail` of each set.

    Unknown labels (-1) are left out; an attribute without a positive is undefined and left out of
    the mean, which its note says. frequency: the set of each attribute (`freq_set` of the file), if
    not in the records' target "frequency". Errors: seeded bootstrap over images.
    """
    labels_NA, scores_NA = _matrices(records, predictions)
    sets = tuple(frequency) or (tuple(records[0].target.get("frequency", ())) if records else ())
    if sets and len(sets) != labels_NA.shape[1]:
        raise DataError(
            f"{len(sets)} frequency sets for {labels_NA.shape[1]} attributes",
            source=records[0].source,
            fix="att_vec and attributes of the annotation file must agree",
        )
    values_A, errors = _precisions(labels_NA, scores_NA, clusters(records), samples)
    found: Scores = {}
    for name in ("", *sorted(set(sets))):
        chosen_A = np.array([name in ("", s) for s in sets] or [True] * labels_NA.shape[1], bool)
        found[f"map/{name}" if name else "map"] = _mean(values_A, errors, chosen_A, len(records))
    return found


def _precisions(
    labels_NA: NDArray[np.int64],
    scores_NA: NDArray[np.float64],
    groups: Sequence[str],
    samples: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average precision per attribute (A,), and of each bootstrap resample (S, A)."""
    boxes, attributes = labels_NA.shape
    counts_NS = by_box(resamples(boxes, groups, samples=samples))
    values_A = np.full(attributes, np.nan)
    drawn_SA = np.full((counts_NS.shape[1], attributes), np.nan)
    for a in range(attributes):
        known_N = labels_NA[:, a] != UNKNOWN
        present_N = labels_NA[known_N, a] == 1
        if not present_N.any():
            continue
        scores_N = scores_NA[known_N, a]
        values_A[a] = average_precision(scores_N, present_N)[0]
        drawn_SA[:, a] = average_precision(scores_N, present_N, counts_NS[known_N])
    return values_A, drawn_SA


def by_box(counts_SN: NDArray[np.int64]) -> NDArray[np.int32]:
    """Counts as `average_precision` reads them quickly: those of a box side by side."""
    return np.ascontiguousarray(counts_SN.T, dtype=np.int32)


def _mean(
    values_A: NDArray[np.float64],
    drawn_SA: NDArray[np.float64],
    chosen_A: NDArray[np.bool_],
    boxes: int,
) -> Measure:
    defined_A = chosen_A & ~np.isnan(values_A)
    count, total = int(defined_A.sum()), int(chosen_A.sum())
    note = f"{count} of {total} attributes have a positive" if count < total else ""
    if count == 0:
        return Measure(None, boxes, None, note or "no attribute")
    drawn_SD = drawn_SA[:, defined_A]
    defined_SD = ~np.isnan(drawn_SD)
    counts_S = defined_SD.sum(axis=1)
    means_S = np.where(defined_SD, drawn_SD, 0.0).sum(axis=1)[counts_S > 0] / counts_S[counts_S > 0]
    error = 100.0 * float(means_S.std(ddof=1)) if len(means_S) > 1 else None
    return Measure(100.0 * float(values_A[defined_A].mean()), boxes, error, note)


def _matrices(
    records: Sequence[Record], predictions: Sequence[Prediction]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """labels_NA and scores_NA; an error names the first box whose lengths differ."""
    width = len(records[0].target["labels"]) if records else 0
    for record, row in zip(records, predictions, strict=True):
        if len(record.target["labels"]) != width:
            raise DataError(
                f"{len(record.target['labels'])} attribute labels",
                source=record.source,
                expected=f"{width}, as for the first box",
            )
        if len(row["scores"]) != width:
            raise PredictionError(
                f"prediction {row['id']!r} has {len(row['scores'])} scores for {width} attributes"
            )
    labels_NA = np.array([r.target["labels"] for r in records], dtype=np.int64)
    scores_NA = np.array([row["scores"] for row in predictions], dtype=np.float64)
    return labels_NA.reshape(-1, width), scores_NA.reshape(-1, width)
