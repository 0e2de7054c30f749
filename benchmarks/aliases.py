"""What neighbours call the id and the value of a prediction, and which field a file means.

The standard names come first. A name that is not standard is told in a note; a row that holds two
names of one thing with different values is an error that names both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.carriers import KEY, VALUE, Carried
from benchmarks.id_spellings import IdSpellings, text_of
from benchmarks.prediction_kinds import VALUES
from x2vlm import plain
from x2vlm.errors import PredictionError

_QUESTIONS = (
    "id",
    "question_id",
    "questionId",
    "questionid",
    "qid",
    "identifier",
    "sample_id",
    "pairID",
    "uid",
    "uniq_id",
    "index",
    "idx",
)
_IMAGES = (
    "id",
    "image_id",
    "img_id",
    "imageId",
    "cocoid",
    "image",
    "img",
    "image_name",
    "file_name",
    "filename",
    "img_path",
    "image_path",
    "video_id",
    "video",
)
IDS: Mapping[str, Sequence[str]] = {
    "retrieval": _IMAGES,
    "answering": _QUESTIONS,
    "classification": _QUESTIONS,
    "grounding": ("id", "sent_id", "question_id", "uniq_id", "index", "ref_id"),
    "captioning": _IMAGES,
    "matching": _QUESTIONS,
    "attributes": ("id", "ann_id", "annotation_id", "box_id", "index"),
}
"""task -> names of the field that holds the id"""
_ANSWERS = (
    "prediction",
    "pred_ans",
    "pred_answer",
    "predicted_answer",
    "pred",
    "predicted",
    "response",
    "output",
    "text",
)
NAMES: Mapping[str, Sequence[str]] = {
    "answering": ("answer", *_ANSWERS),
    "classification": ("label", "pred_label", "predicted_label", "answer", *_ANSWERS),
    "captioning": ("caption", "pred_caption", "generated_caption", *_ANSWERS),
    "grounding": ("box", "bbox", "pred_box", "pred_bbox", "box_pred", "prediction", "pred"),
    "attributes": ("scores", "pred_scores", "probs", "logits", "prediction", "pred"),
}
"""task -> names of the field that holds what is scored, when it is one field"""
WINOGROUND = ("label", "score")
"""fields of Winoground's official scores, one row for each pair"""
STANDARD: Mapping[tuple[str, str], str] = {
    ("question_id", "answer"): "vqa",
    ("questionId", "prediction"): "gqa",
    ("image_id", "caption"): "coco_captions",
    ("ref_id", "pred"): "x2vlm_boxes",
    ("identifier", "prediction"): "nlvr2",
}
"""(id, value) -> the format of which they are the names"""


@dataclass(frozen=True)
class Fields:
    """The names of a file's id and value; value: empty when it is several fields or `ranking`."""

    id: str
    value: str

    def format(self, task: str) -> str:
        """The format these names belong to; "aliases" when they are of none."""
        if self.id == "id" and self.value in ("", VALUES[task][0]):
            return "predictions"
        return STANDARD.get((self.id, self.value), "aliases")

    def note(self, task: str) -> str:
        """Which names were read, in words; empty when they are a format's own."""
        if self.format(task) != "aliases":
            return ""
        names = {KEY: "the key of each entry", VALUE: "what is under that key"}
        id_, value = (names.get(name, f"{name!r}") for name in (self.id, self.value))
        return f"read as predictions: {id_} as the id" + (
            f", {value} as the {VALUES[task][0]}" if self.value else ""
        )


def names_of(task: str) -> tuple[str, ...]:
    """All names that a field of this task's predictions may have."""
    pairs = WINOGROUND if task == "matching" else ()
    return (*IDS[task], *NAMES.get(task, ()), *VALUES[task], *pairs)


def choose(task: str, carried: Carried, ids: IdSpellings) -> Fields:
    """The fields that hold the id and the value. PredictionError when there are none."""
    first = carried.values[0]
    value = ""
    if task in NAMES:
        value = next((name for name in (*NAMES[task], VALUE) if first.get(name) is not None), "")
        if not value:
            raise _unknown(carried, f"the {VALUES[task][0]}", NAMES[task])
    present = [name for name in (KEY, *IDS[task]) if text_of(first.get(name)) is not None]
    present = [name for name in present if name != value]
    if not present:
        raise _unknown(carried, "the id", IDS[task])
    return Fields(_id_field(carried, present, ids), value)


def _id_field(carried: Carried, present: Sequence[str], ids: IdSpellings) -> str:
    """The one whose values are ids of the split, when there are several."""
    if len(present) == 1 or not ids.ids:
        return present[0]
    rows = [row for row in carried.values if isinstance(row, Mapping)]
    texts = {name: [text_of(row.get(name)) or "" for row in rows] for name in present}
    fits = {name: sum(ids.find(text) is not None for text in texts[name]) for name in present}
    best = [name for name in present if fits[name] == max(fits.values())]
    for name in best[1:]:
        if texts[name] != texts[best[0]]:
            place = next(i for i, text in enumerate(texts[name]) if text != texts[best[0]][i])
            raise _two(carried.sources[place], rows[place], best[0], name, "the id")
    return best[0]


def value_reader(
    task: str, carried: Carried, fields: Fields
) -> Callable[[Mapping[str, Any], str], Any]:
    """Reads the value of a row; PredictionError for a row of which it is not known."""
    others = [name for name in NAMES[task] if name not in (fields.value, fields.id)]

    def value(row: Mapping[str, Any], source: str) -> Any:
        found = row.get(fields.value)
        if found is None:
            raise PredictionError(
                f"{source}: no {fields.value!r} (fields: {', '.join(map(str, row))})\n"
                f"  expected: {fields.value!r} in every row, as in the first"
            )
        for name in others:
            if row.get(name) is not None and row[name] != found:
                raise _two(source, row, fields.value, name, f"the {VALUES[task][0]}")
        return _from_text(task, found) if carried.carrier == "table" else found

    return value


def _from_text(task: str, value: str) -> Any:
    """A cell of a table: boxes and scores are JSON inside."""
    if task not in ("grounding", "attributes"):
        return value
    try:
        return plain.loads(value, finite=False)
    except ValueError:
        return value


def _two(
    source: str, row: Mapping[str, Any], first: str, second: str, what: str
) -> PredictionError:
    return PredictionError(
        f"{source}: both {first!r} ({row.get(first)!r}) and {second!r} ({row.get(second)!r}) may "
        f"be {what}\n  to do: remove the one that is not"
    )


def _unknown(carried: Carried, what: str, names: Sequence[str]) -> PredictionError:
    row = json.dumps(carried.values[0])[:120]
    return PredictionError(
        f"{carried.sources[0]}: not a predictions file that is known here: no field of "
        f"its first row is {what}: {row}\n"
        f"  expected: {', '.join(map(repr, names))}; a table names its columns in the first line"
    )
