"""The score of each sample, such that their mean is the benchmark's metric. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.base import Benchmark
from benchmarks.metrics.attributes import UNKNOWN, average_precision
from benchmarks.metrics.captions import cider_per_image
from benchmarks.metrics.retrieval import DIRECTIONS, ranks_from_predictions
from benchmarks.metrics.stats import clusters
from x2vlm.types import Prediction, Record

WINOGROUND = ("text", "image", "group")
BOX_AP = "box_ap"


@dataclass(frozen=True)
class SampleScores:
    """values: sample id -> score, in the metric's unit divided by `scale` (so 0..1 for percents).

    metric: the one whose value is scale * mean(values). groups: sample id -> its cluster.
    """

    metric: str
    values: dict[str, float]
    groups: dict[str, str]
    scale: float = 100.0

    @property
    def binary(self) -> bool:
        """Whether every sample is either right or wrong."""
        return set(self.values.values()) <= {0.0, 1.0}


def per_sample(
    benchmark: Benchmark, records: Sequence[Record], rows: Sequence[Prediction]
) -> list[SampleScores]:
    """Scores of every sample; rows are joined to the records (`benchmarks.predictions.join`).

    retrieval      "text_r1" per image, "image_r1" per text, as far as predicted
    captioning     "cider" per image
    matching       "text", "image", "group"
    attributes     "box_ap", the precision of each box's own ranking of its known attributes: no
                   part of mAP, which has no mean over samples
    others         the headline, by asking the benchmark's scorer for each sample alone
    Samples without a score (no known answer) are left out.
    """
    owners = clusters(records)
    if benchmark.task == "retrieval":
        return _retrieval(records, rows, owners)
    groups = {record.id: group for record, group in zip(records, owners, strict=True)}
    if benchmark.task == "captioning":
        cider = cider_per_image(records, rows)
        return [SampleScores("cider", dict(zip(groups, cider, strict=True)), groups, 1.0)]
    if benchmark.task == "attributes":
        return [SampleScores(BOX_AP, _box_precisions(records, rows), groups)]
    metrics = WINOGROUND if benchmark.task == "matching" else (benchmark.headline,)
    return [_one_by_one(benchmark, metric, records, rows, groups) for metric in metrics]


def _retrieval(
    records: Sequence[Record], rows: Sequence[Prediction], owners: Sequence[str]
) -> list[SampleScores]:
    found = []
    for direction in DIRECTIONS:
        ranks = ranks_from_predictions(records, rows, direction)
        if ranks is None:
            continue
        if direction == "text":
            groups = {record.id: group for record, group in zip(records, owners, strict=True)}
        else:
            groups = {
                str(text): group
                for record, group in zip(records, owners, strict=True)
                for text in record.target["text_ids"]
            }
        values = dict(zip(groups, map(float, ranks.hits(1)), strict=True))
        found.append(SampleScores(f"{direction}_r1", values, groups))
    return found


def _one_by_one(
    benchmark: Benchmark,
    metric: str,
    records: Sequence[Record],
    rows: Sequence[Prediction],
    groups: dict[str, str],
) -> SampleScores:
    """Any metric that is a mean: its value for one sample alone is that sample's score."""
    values = {}
    for record, row in zip(records, rows, strict=True):
        scores = benchmark.score([record], [row])
        measure = scores.get(f"{metric}/{record.language}", scores[metric])
        if measure.value is not None:
            values[record.id] = measure.value / 100.0
    return SampleScores(metric, values, {name: groups[name] for name in values})


def _box_precisions(records: Sequence[Record], rows: Sequence[Prediction]) -> dict[str, float]:
    values = {}
    for record, row in zip(records, rows, strict=True):
        labels_A = np.asarray(record.target["labels"])
        known_A = labels_A != UNKNOWN
        present_A = labels_A[known_A] == 1
        if present_A.any():
            scores_A = np.asarray(row["scores"], dtype=np.float64)[known_A]
            values[record.id] = float(average_precision(scores_A, present_A)[0])
    return values
