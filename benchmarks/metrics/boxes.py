"""Intersection over union of boxes, as the official grounding code has it and as it should be.

Boxes are [x, y, w, h] in pixels of the original image; N boxes have shape (N, 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.metrics.stats import Scores, clusters, mean, tagged_means
from x2vlm.types import Prediction, Record

THRESHOLD = 0.5


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of paired boxes, (..., 4) each -> (...). Two empty boxes: 0."""
    return _iou(a, b, inclusive=0.0)


def iou_official(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """The IoU of the RefCOCO code (refer, MAttNet, X²-VLM): corners are inclusive pixels.

    The last pixel is x + w - 1, an intersection needs more than one pixel each way and is measured
    with + 1, while areas are plain w * h.
    """
    return _iou(a, b, inclusive=1.0)


def _iou(a: ArrayLike, b: ArrayLike, inclusive: float) -> NDArray[np.float64]:
    p, q = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    low = np.maximum(p[..., :2], q[..., :2])
    ends = (p[..., :2] + p[..., 2:] - inclusive, q[..., :2] + q[..., 2:] - inclusive)
    span = np.minimum(*ends) - low
    inside = np.where((span > 0).all(-1), np.prod(span + inclusive, axis=-1), 0.0)
    union = np.prod(p[..., 2:], axis=-1) + np.prod(q[..., 2:], axis=-1) - inside
    shares: NDArray[np.float64] = np.zeros_like(inside)
    np.divide(inside, union, out=shares, where=union > 0)
    return shares


def score(
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    tags: Sequence[str] = (),
    **_: Any,
) -> Scores:
    """Percent of boxes at IoU >= 0.5: `accuracy` by the official IoU, `accuracy_plain_iou` beside.

    `mean_iou` is the mean of the plain IoU in percent. Errors are clustered by image.
    """
    predicted_N4 = np.array([row["box"] for row in predictions], dtype=np.float64).reshape(-1, 4)
    true_N4 = np.array([r.target["box"] for r in records], dtype=np.float64).reshape(-1, 4)
    official_N, plain_N = iou_official(predicted_N4, true_N4), iou(predicted_N4, true_N4)
    groups = clusters(records)
    scores = tagged_means("accuracy", [float(x) for x in official_N >= THRESHOLD], records, tags)
    scores["accuracy_plain_iou"] = mean((plain_N >= THRESHOLD).astype(float), groups, 100.0)
    scores["mean_iou"] = mean(plain_N, groups, 100.0)
    return scores
