"""What a prediction of each task holds, and the check of one row. No torch.

Kinds, by task (a row may carry more keys; these are required):
    retrieval       {"id": IMAGE, "ranking": {"text": [[TEXT, score], …]}} for each image, and
                    {"id": TEXT, "ranking": {"image": [[IMAGE, score], …]}} for each text; one
                    direction may be absent as a whole
    answering       {"id", "answer": str}
    classification  {"id", "label": name or index, "scores"}
    grounding       {"id", "box": [x, y, w, h]} in pixels of the original image
    captioning      {"id", "caption": str}
    matching        {"id", "c0_i0", "c0_i1", "c1_i0", "c1_i1"}; with prefix "feature_" beside
    attributes      {"id", "scores": [one per attribute]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.metrics.retrieval import DIRECTIONS
from benchmarks.metrics.winoground import FEATURE, PAIRS
from benchmarks.sourced import replaced
from x2vlm.errors import ConfigError, PredictionError, unknown
from x2vlm.types import Prediction


def number(value: Any) -> bool:
    """Whether it is a finite number (not a truth value)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(number, value))


def _id(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and bool(value.strip()))


def _ranking(row: Mapping[str, Any]) -> bool:
    found = row.get("ranking")
    return (
        isinstance(found, dict)
        and bool(found)
        and set(found) <= set(DIRECTIONS)
        and all(isinstance(pairs, list) and _pairs(pairs) for pairs in found.values())
    )


def _pairs(pairs: Sequence[Any]) -> bool:
    """Whether all are [id, score], at least one; by kinds, because there are millions."""
    if set(map(type, pairs)) != {list} or set(map(len, pairs)) != {2}:
        return False
    names, scores = zip(*pairs, strict=True)
    kinds = set(map(type, scores))
    if not set(map(type, names)) <= {str, int} or not kinds <= {int, float}:
        return False
    return all(map(number if int in kinds else math.isfinite, scores))


def _box(row: Mapping[str, Any]) -> bool:
    return _numbers(row.get("box")) and len(row["box"]) == 4


def _label(row: Mapping[str, Any]) -> bool:
    label, scores = row.get("label"), row.get("scores")
    values = list(scores.values()) if isinstance(scores, dict) else scores
    return (scores is None or _numbers(values)) and (isinstance(label, str) or type(label) is int)


def _matching(row: Mapping[str, Any]) -> bool:
    featured = any(FEATURE + pair in row for pair in PAIRS)
    names = [*PAIRS, *(FEATURE + pair for pair in PAIRS if featured)]
    return all(number(row.get(name)) for name in names)


KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], bool], str]] = {
    "retrieval": (_ranking, '"ranking": {"text" or "image": [[id, finite score], …]}'),
    "answering": (lambda row: isinstance(row.get("answer"), str), '"answer": a text'),
    "classification": (
        _label,
        '"label": the name or the index of a label; "scores", if any, are finite numbers',
    ),
    "grounding": (_box, '"box": [x, y, w, h], four finite numbers in pixels'),
    "captioning": (lambda row: isinstance(row.get("caption"), str), '"caption": a text'),
    "matching": (
        _matching,
        f"finite numbers {', '.join(PAIRS)}; all four or none with {FEATURE!r} in front",
    ),
    "attributes": (lambda row: _numbers(row.get("scores")), '"scores": a list of finite numbers'),
}
VALUES: Mapping[str, Sequence[str]] = {
    "retrieval": ("ranking",),
    "answering": ("answer",),
    "classification": ("label",),
    "grounding": ("box",),
    "captioning": ("caption",),
    "matching": (*PAIRS, *(FEATURE + pair for pair in PAIRS)),
    "attributes": ("scores",),
}
"""task -> what of a row is scored"""


def check(task: str, row: Any, where: str) -> Prediction:
    """`row` with its id as a string; PredictionError with `where` when it is not of this kind."""
    if task not in KINDS:
        raise ConfigError(unknown("task", task, KINDS))
    right, expected = KINDS[task]
    if not isinstance(row, dict) or not _id(row.get("id")) or not right(row):
        text = json.dumps(row, default=str)
        raise PredictionError(
            f"{where}: no {task} prediction: {text[:120]}\n"
            f'  expected: a JSON object with "id" and {expected}'
        )
    return replaced(row, id=str(row["id"]))
