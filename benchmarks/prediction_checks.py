"""What predictions of one split cannot be, once their ids fit: labels, boxes, numbers of scores.

Boxes are [x, y, w, h] in pixels. A regression head may reach beyond the image a little, and the
official code counts such a box as it is; its centre and its size are those of a box inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.metrics.boxes import THRESHOLD, iou
from benchmarks.sourced import replaced, where
from x2vlm.errors import PredictionError, unknown
from x2vlm.types import Prediction, Record

Box = Sequence[float]
Size = Sequence[int]
ROUNDING = 1.0
"""pixels by which official boxes leave their image, being rounded"""
FRACTION = 1.5
"""numbers up to this are fractions of an image, or lie in its first pixel"""
GAIN = 0.3
"""share of boxes that must be right under another convention only, to say that it is meant"""


class ContentError(PredictionError):
    """The ids fit the split, and what is predicted for them is not possible."""


def numbered(rows: Sequence[Prediction], labels: Sequence[str] | None) -> list[Prediction]:
    """Rows whose label is an index; a name is looked up to the letter, then without its case.

    Raises ContentError for a label outside the list, and for scores that are not one per label.
    """
    names = {name: place for place, name in enumerate(labels or ())}
    folded = {name.casefold(): place for name, place in reversed(names.items())}
    found = []
    for row in rows:
        label, scores = row["label"], row.get("scores")
        if isinstance(label, str):
            place = names.get(label, folded.get(label.casefold()))
            if place is None:
                raise ContentError(f"{where(row)}: {unknown('label', label, names)}")
            row = replaced(row, label=place)
        elif labels is not None and not 0 <= label < len(names):
            raise ContentError(
                f"{where(row)}: label {label} is outside of the list\n"
                f"  expected: 0 to {len(names) - 1}, or a name"
            )
        if isinstance(scores, list) and labels is not None and len(scores) != len(names):
            raise ContentError(f"{where(row)}: {len(scores)} scores for {len(names)} labels")
        found.append(row)
    return found


def check_scores(records: Sequence[Record], rows: Sequence[Prediction]) -> None:
    """ContentError when a box has not one score for each attribute."""
    for record, row in zip(records, rows, strict=True):
        if len(row["scores"]) != len(record.target["labels"]):
            raise ContentError(
                f"{where(row)}: {len(row['scores'])} scores for "
                f"{len(record.target['labels'])} attributes"
            )


def check_boxes(records: Sequence[Record], rows: Sequence[Prediction]) -> None:
    """ContentError for a box that is empty, in fractions, or not in its image; and for boxes that
    are right in another convention only. Sizes that are not known are not held against a box."""
    sizes = [record.target.get("size") for record in records]
    boxes = [row["box"] for row in rows]
    for row, box, size in zip(rows, boxes, sizes, strict=True):
        if what := _fault(box, size):
            raise ContentError(
                f"{where(row)}: the box {list(box)} {what}\n"
                f"  expected: [x, y, width, height] in pixels of the original image"
                f"{_likely(boxes, sizes)}"
            )
    if len({tuple(box) for box in boxes}) < 5:
        return
    truth = [record.target["box"] for record in records]
    right = _right(boxes, truth)
    for name, (convert, sized) in CONVENTIONS.items():
        if sized and not all(sizes):
            continue
        other = _right([convert(b, s or (1, 1)) for b, s in zip(boxes, sizes, strict=True)], truth)
        if other - right >= GAIN and other >= 2 * right:
            raise ContentError(
                f"{where(rows[0])}: read as [x, y, width, height], {right:.0%} of the boxes are "
                f"right; read as {name}, {other:.0%}\n  to do: convert them to [x, y, width, "
                "height] in pixels of the original image"
            )


def overhanging(records: Sequence[Record], rows: Sequence[Prediction]) -> list[Prediction]:
    """Rows whose box is inside its image by centre and size, but not as a whole."""
    return [
        row
        for record, row in zip(records, rows, strict=True)
        if (size := record.target.get("size")) and not _inside(row["box"], size)
    ]


def _fault(box: Box, size: Size | None) -> str:
    """What is wrong with one box, in words; empty when nothing is."""
    x, y, w, h = box
    if w <= 0 or h <= 0:
        return f"has {'a negative' if min(w, h) < 0 else 'no'} width or height"
    if max(map(abs, box)) <= FRACTION and (size is None or min(size) > 8):
        return "is in fractions of the image"
    if size is None:
        return ""
    if not (
        -ROUNDING <= x + w / 2 <= size[0] + ROUNDING
        and -ROUNDING <= y + h / 2 <= size[1] + ROUNDING
    ):
        return f"has its centre outside of the image of {size[0]} x {size[1]} pixels"
    if w > size[0] + ROUNDING or h > size[1] + ROUNDING:
        return f"is larger than the image of {size[0]} x {size[1]} pixels"
    return ""


def _inside(box: Box, size: Size) -> bool:
    x, y, w, h = box
    low, right, below = -ROUNDING, size[0] + ROUNDING, size[1] + ROUNDING
    return w > 0 and h > 0 and x >= low and y >= low and x + w <= right and y + h <= below


def _corners(box: Box, _: Size) -> Box:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _centred(box: Box, _: Size) -> Box:
    return [box[0] - box[2] / 2, box[1] - box[3] / 2, box[2], box[3]]


def _scaled(convert: Callable[[Box, Size], Box], unit: float) -> Callable[[Box, Size], Box]:
    def scaled(box: Box, size: Size) -> Box:
        return convert([v * size[i % 2] / unit for i, v in enumerate(box)], size)

    return scaled


def _same(box: Box, _: Size) -> Box:
    return box


CONVENTIONS: Mapping[str, tuple[Callable[[Box, Size], Box], bool]] = {
    "corners [x1, y1, x2, y2]": (_corners, False),
    "centres [cx, cy, width, height]": (_centred, False),
    "fractions [x, y, width, height] of the image": (_scaled(_same, 1), True),
    "fractions [x1, y1, x2, y2] of the image": (_scaled(_corners, 1), True),
    "fractions [cx, cy, width, height] of the image": (_scaled(_centred, 1), True),
    "thousandths [x1, y1, x2, y2] of the image": (_scaled(_corners, 1000), True),
    "thousandths [x, y, width, height] of the image": (_scaled(_same, 1000), True),
}
"""name -> (how to turn it into [x, y, w, h] in pixels, whether that needs the image's size)"""


def _likely(boxes: Sequence[Box], sizes: Sequence[Size | None]) -> str:
    """The conventions in which every box would lie inside its image, in words."""
    if not all(sizes):
        return ""
    pairs = [(box, size) for box, size in zip(boxes, sizes, strict=True) if size]
    fitting = [
        name
        for name, (convert, _) in CONVENTIONS.items()
        if all(_inside(convert(box, size), size) for box, size in pairs)
        and not all(max(_size_of(convert(box, size))) <= 2 * FRACTION for box, size in pairs)
    ]
    return f"; all of them could be {' or '.join(fitting)}" if fitting else ""


def _size_of(box: Box) -> Box:
    return box[2:]


def _right(boxes: Sequence[Box], truth: Sequence[Box]) -> float:
    return float((iou(boxes, truth) >= THRESHOLD).mean())
