"""Boxes by reference, as X²-VLM, X-VLM and UNITER write them: {"ref_id", "pred"} per sentence.

A reference has several sentences, and one box is right for all of them: its rows are given to its
sentences in their order. X²-VLM's boxes are centre, width and height as fractions of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.prediction_checks import FRACTION
from benchmarks.predictions import Note, repeats
from benchmarks.sourced import SourcedPrediction, replaced, where
from x2vlm.errors import PredictionError
from x2vlm.types import Prediction, Record


def by_reference(
    rows: Sequence[SourcedPrediction], records: Sequence[Record], *, fractions: bool, note: Note
) -> list[Prediction]:
    """Rows whose id is a reference -> rows of its sentences; those of other references keep theirs.

    fractions: boxes are (cx, cy, w, h) of the image, and are turned into pixels. More rows than
    sentences: those that repeat another are dropped; PredictionError when that is not enough.
    """
    sentences: dict[str, list[Record]] = {}
    for record in records:
        owner = str(record.tags.get("ref_id", record.id.rpartition("_")[0]))
        sentences.setdefault(owner, []).append(record)
    answers: dict[str, list[SourcedPrediction]] = {}
    for row in rows:
        answers.setdefault(row["id"], []).append(row)
    found: list[Prediction] = []
    dropped = 0
    for owner, given in answers.items():
        if owner not in sentences:
            found += [replaced(row, id=f"reference {owner} #{k}") for k, row in enumerate(given)]
            continue
        kept = _without_repeats(given, len(sentences[owner]))
        dropped += len(given) - len(kept)
        for row, record in zip(kept, sentences[owner], strict=False):
            box = _pixels(row, record) if fractions else row["box"]
            found.append(replaced(row, id=record.id, box=box))
    if dropped:
        note(f"{dropped} predictions repeat an earlier one of their reference and were dropped")
    return found


def are_fractions(rows: Sequence[SourcedPrediction]) -> bool:
    """Whether most of these boxes are fractions of the image."""
    small = [row for row in rows if max(map(abs, row["box"])) <= FRACTION]
    return 2 * len(small) > len(rows)


def _without_repeats(rows: Sequence[SourcedPrediction], count: int) -> list[SourcedPrediction]:
    """At most `count` of them: from the last on, those that repeat an earlier one are left out."""
    kept = list(rows)
    for row in reversed(rows):
        place = next(i for i, one in enumerate(kept) if one is row)
        if len(kept) > count and any(repeats("grounding", one, row) for one in kept[:place]):
            del kept[place]
    if len(kept) > count:
        raise PredictionError(
            f"{where(kept[-1])}: reference {rows[0]['id']} has {count} sentences in this split, "
            f"and {len(kept)} different boxes here (first {where(kept[0])})\n"
            "  to do: keep one row for each sentence; rows that repeat each other are dropped here"
        )
    return kept


def _pixels(row: SourcedPrediction, record: Record) -> list[float]:
    """[x, y, w, h] in pixels, computed as the official evaluation does it."""
    cx, cy, w, h = row["box"]
    if not all(-1e-3 <= value <= 1 + 1e-3 for value in (cx, cy, w, h)):
        raise PredictionError(
            f"{row.source}: {row['box']}\n  expected: centre, width and height as fractions of "
            "the image, as in the other rows"
        )
    if "size" not in record.target:
        raise PredictionError(
            f"{row.source}: the size of the image of {record.id!r} is not known, so fractions "
            "cannot be turned into pixels\n  to do: score against the official references "
            "(refs(unc).p beside instances.json), or put the images there"
        )
    width, height = record.target["size"]
    return [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]
