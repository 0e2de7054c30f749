"""Files for the official servers, validated against the split before they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.predictions import join
from benchmarks.suites.nlvr2 import LABELS
from x2vlm.errors import ConfigError, PredictionError, unknown
from x2vlm.types import Prediction, Record
from x2vlm.writing import write_atomically


def write_submission(
    kind: str,
    records: Sequence[Record],
    predictions: Iterable[Prediction],
    folder: Path,
    name: str,
    *,
    subset: str = "val2014",
) -> Path:
    """Write the file of one server and return its path.

    kind: "vqav2" (EvalAI JSON), "coco_captioning" (captions_{subset}_{name}_results.json; subset
    val2014 or test2014), "nlvr2" (CSV without header), "nocaps" (EvalAI JSON). name: of the entry,
    part of the file's name. Raises PredictionError when an id is missing, double, foreign or of the
    wrong type, ConfigError for an unknown kind, subset or a name that is no file name.
    """
    if kind not in KINDS:
        raise ConfigError(unknown("submission kind", kind, KINDS))
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ConfigError(f"name={name!r}: use letters, digits and any of _ . + - only")
    if subset not in ("val2014", "test2014"):
        raise ConfigError(unknown("subset", subset, ("val2014", "test2014")))
    task, pattern, render = KINDS[kind]
    rows, _ = join(task, records, predictions)
    path = folder / pattern.format(name=name, subset=subset)
    write_atomically(path, render(rows))
    return path


def _vqav2(rows: Sequence[Prediction]) -> str:
    return _json([{"question_id": _integer(row), "answer": _text(row, "answer")} for row in rows])


def _captions(rows: Sequence[Prediction]) -> str:
    return _json([{"image_id": _integer(row), "caption": _text(row, "caption")} for row in rows])


def _nlvr2(rows: Sequence[Prediction]) -> str:
    lines = []
    for row in rows:
        label = row["label"]  # a name, or its place among the labels
        label = LABELS[label] if label in (0, 1) else str(label).capitalize()
        if label not in LABELS or "," in row["id"]:
            raise PredictionError(
                f"prediction {row!r}: NLVR2 wants an identifier and True or False"
            )
        lines.append(f"{row['id']},{label}\n")
    return "".join(lines)


KINDS: dict[str, tuple[str, str, Callable[[Sequence[Prediction]], str]]] = {
    "vqav2": ("answering", "vqav2_{name}_results.json", _vqav2),
    "coco_captioning": ("captioning", "captions_{subset}_{name}_results.json", _captions),
    "nlvr2": ("classification", "nlvr2_{name}_predictions.csv", _nlvr2),
    "nocaps": ("captioning", "nocaps_{name}_results.json", _captions),
}


def _json(rows: Sequence[dict[str, object]]) -> str:
    return json.dumps(rows, ensure_ascii=False, allow_nan=False) + "\n"


def _integer(row: Prediction) -> int:
    if not re.fullmatch(r"[0-9]+", row["id"]):
        raise PredictionError(f"id {row['id']!r}: this server wants whole numbers as ids")
    return int(row["id"])


def _text(row: Prediction, field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise PredictionError(f"prediction {row['id']!r}: {field} must be a string, not {value!r}")
    return value
