"""Accuracy of class labels, per tag, and consistency of groups of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from benchmarks.metrics.stats import Scores, clusters, mean, tagged_means
from x2vlm.types import Prediction, Record


def score(
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    tags: Sequence[str] = (),
    consistency_by: str | None = None,
    **_: Any,
) -> Scores:
    """`accuracy` in percent, `accuracy/VALUE` per value of `tags`, and `consistency`.

    A label is right when it equals the record's; a record whose label is None (an answer outside
    the vocabulary) cannot be answered rightly and counts as wrong, as in the official code of
    MSRVTT-QA and MSVD-QA. consistency_by: the tag whose groups must be right as a whole, such as
    NLVR2's "sentence" (official `metrics.py`: identifier without its pair).
    """
    right = [
        float(record.target["label"] is not None and record.target["label"] == row["label"])
        for record, row in zip(records, predictions, strict=True)
    ]
    scores = tagged_means("accuracy", right, records, tags)
    if consistency_by is not None:
        whole: dict[Hashable, float] = {}
        cluster: dict[Hashable, str] = {}
        for record, value, group in zip(records, right, clusters(records), strict=True):
            key = record.tags[consistency_by]
            whole[key] = min(value, whole.get(key, 1.0))
            cluster.setdefault(key, group)
        scores["consistency"] = mean(list(whole.values()), list(cluster.values()), 100.0)
    return scores
