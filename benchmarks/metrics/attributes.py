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
SAMPLES_AT_ONCE = 25


def average_precision(
    scores_N: NDArray[np.float64],
    present_N: NDArray[np.bool_],
    counts_SN: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Area under the precision-recall steps as scikit-learn has it: sum of precision * new recall.

    Equal scores are one threshold. counts_SN: how often each box counts (default: once); returns
    one value per row, NaN where no positive is left. Returns shape (1,) without counts.
    """
    order = np.argsort(-scores_N, kind="stable")
    ends = np.flatnonzero(np.diff(scores_N[order], append=np.nan))
    weights_SN = np.ones((1, len(order)), dtype=np.int64) if counts_SN is None else counts_SN
    weights_SN = weights_SN[:, order]
    chosen_ST = np.cumsum(weights_SN, axis=1)[:, ends]
    hits_ST = np.cumsum(weights_SN * present_N[order], axis=1)[:, ends]
    precision_ST = np.divide(hits_ST, chosen_ST, out=np.zeros(hits_ST.shape), where=chosen_ST > 0)
    steps_ST = np.diff(hits_ST, axis=1, prepend=0)
    positives_S = hits_ST[:, -1] if hits_ST.size else np.zeros(len(weights_SN))
    area_S = (precision_ST * steps_ST).sum(axis=1)
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
    counts_SN = resamples(boxes, groups, samples=samples)
    values_A = np.full(attributes, np.nan)
    drawn_SA = np.full((len(counts_SN), attributes), np.nan)
    for a in range(attributes):
        known_N = labels_NA[:, a] != UNKNOWN
        present_N = labels_NA[known_N, a] == 1
        if not present_N.any():
            continue
        scores_N = scores_NA[known_N, a]
        values_A[a] = average_precision(scores_N, present_N)[0]
        for start in range(0, len(counts_SN), SAMPLES_AT_ONCE):
            part = slice(start, start + SAMPLES_AT_ONCE)
            drawn_SA[part, a] = average_precision(scores_N, present_N, counts_SN[part][:, known_N])
    return values_A, drawn_SA


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
