"""Winoground: does a model bind words to the right picture? (Thrush et al., CVPR 2022, 3.2)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.metrics.stats import Scores, tagged_means
from x2vlm.types import Prediction, Record

PAIRS = ("c0_i0", "c0_i1", "c1_i0", "c1_i1")
FEATURE = "feature_"
"""Prefix of the same four scores by the contrastive features, when a prediction has them."""


def judge(scores: Mapping[str, float], prefix: str = "") -> tuple[bool, bool, bool]:
    """(text, image, group) of one example; every comparison is strict, so ties are wrong."""
    c0_i0, c0_i1, c1_i0, c1_i1 = (scores[prefix + pair] for pair in PAIRS)
    text = c0_i0 > c1_i0 and c1_i1 > c0_i1
    image = c0_i0 > c0_i1 and c1_i1 > c1_i0
    return text, image, text and image


def score(
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    tags: Sequence[str] = ("collapsed_tag", "secondary_tag"),
    **_: Any,
) -> Scores:
    """`text`, `image` and `group` in percent, each per value of `tags` ("text/Relation").

    With feature scores in every prediction also `feature_text`, `feature_image`, `feature_group`.
    """
    scores: Scores = {}
    featured = bool(predictions) and all(FEATURE + PAIRS[0] in row for row in predictions)
    for prefix in ("", FEATURE) if featured else ("",):
        judged = [judge(row, prefix) for row in predictions]
        for place, name in enumerate(("text", "image", "group")):
            values = [float(verdict[place]) for verdict in judged]
            scores |= tagged_means(prefix + name, values, records, tags)
    return scores
