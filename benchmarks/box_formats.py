"""What the four numbers of a box mean, and whether the numbers of a file can mean it.

A format is a shape (xywh, xyxy: two corners, cxcywh: centre) and a unit (pixels, fractions of the
image, thousandths of it), written "xyxy", "fractions" or "xyxy-fractions"; xywh and pixels where
it names none. Inside the harness boxes are [x, y, w, h] in pixels, from the upper left corner.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.media import image_size
from benchmarks.rows import Row
from x2vlm.data.orientation import Pixels
from x2vlm.errors import ConfigError, DataError, unknown
from x2vlm.types import Media

SHAPES = ("xywh", "xyxy", "cxcywh")
UNITS = {"pixels": 0.0, "fractions": 1.0, "thousandths": 1000.0}
"""unit -> what the whole side of an image is in it; 0: its pixels"""
SYNONYMS = {"corners": "xyxy", "center": "cxcywh", "centre": "cxcywh"}
WORDS = {
    "xywh": "[x, y, width, height]",
    "xyxy": "[left, top, right, bottom]",
    "cxcywh": "[centre x, centre y, width, height]",
}
OVERHANG = 1.0
"""pixels by which a box may leave its image: official boxes are rounded"""


@dataclass(frozen=True, slots=True)
class BoxFormat:
    """shape and unit; see the module."""

    shape: str = "xywh"
    unit: str = "pixels"

    def __str__(self) -> str:
        return self.shape if self.unit == "pixels" else f"{self.shape}-{self.unit}"

    @property
    def words(self) -> str:
        """What is expected of a row."""
        unit = {"pixels": "pixels", "fractions": "0 to 1"}.get(self.unit, "0 to 1000")
        return f"{WORDS[self.shape]}, four numbers in {unit}"

    def pixels(self, numbers: Sequence[float], size: Sequence[int]) -> list[float]:
        """[x, y, w, h] in pixels of an image of `size` = (width, height)."""
        whole = UNITS[self.unit]
        across, down = (size[0] / whole, size[1] / whole) if whole else (1.0, 1.0)
        a, b, c, d = numbers[0] * across, numbers[1] * down, numbers[2] * across, numbers[3] * down
        if self.shape == "xyxy":
            return [a, b, c - a, d - b]
        if self.shape == "cxcywh":
            return [a - c / 2, b - d / 2, c, d]
        return [a, b, c, d]

    def fits(self, numbers: Sequence[float], size: Sequence[int]) -> bool:
        """Whether these numbers are a box of positive area inside such an image."""
        x, y, w, h = self.pixels(numbers, size)
        over = OVERHANG
        if UNITS[self.unit]:
            over = min(over, 0.01 * max(size))
        inside = min(x, y) >= -over and x + w <= size[0] + over and y + h <= size[1] + over
        return w > 0 and h > 0 and inside


FORMATS = tuple(BoxFormat(shape, unit) for unit in UNITS for shape in SHAPES)


def box_format(text: str) -> BoxFormat:
    """The format that `text` names; ConfigError with the close ones when it names none."""
    words = [SYNONYMS.get(word, word) for word in re.split(r"[-_ ]", text.lower()) if word]
    shapes = [word for word in words if word in SHAPES]
    units = [word for word in words if word in UNITS]
    if not words or len(shapes) > 1 or len(units) > 1 or len(shapes) + len(units) < len(words):
        raise ConfigError(unknown("box_format", text, (*map(str, FORMATS), *UNITS)))
    return BoxFormat(*(shapes or ["xywh"]), *(units or ["pixels"]))


class Located(NamedTuple):
    """A row with the numbers of its box, its image, and the image's size in the stated pixels."""

    row: Row
    numbers: list[float]
    media: Media
    size: list[int]


def numbers_of(row: Row, name: str, stated: BoxFormat) -> list[float]:
    """The four finite numbers of a field."""
    value = row.values.get(name)
    if (
        not isinstance(value, (list, tuple))
        or len(value) != 4
        or not all(type(number) in (int, float) and math.isfinite(number) for number in value)
    ):
        raise row.wrong(name, stated.words)
    return [float(number) for number in value]


def located(row: Row, name: str, media: Media, stated: BoxFormat, pixels: Pixels) -> Located:
    """The row's numbers beside its image; DataError when either cannot be read."""
    numbers = numbers_of(row, name, stated)
    size = image_size(media, pixels)
    if size is None:
        raise row.error(f"the image {media.path} cannot be read", "an image file")
    return Located(row, numbers, media, size)


def likely(found: Sequence[Located], stated: BoxFormat) -> str:
    """The setting under which all boxes fit, when they do not fit as stated; "" when none does."""
    largest = max((max(one.numbers) for one in found), default=0.0)
    for other in FORMATS:
        small = largest <= 1.0 + 1e-6
        if other == stated or small != (other.unit == "fractions"):
            continue
        if all(other.fits(one.numbers, one.size) for one in found):
            return f"box_format={other}"
    return ""


def check_file(found: Sequence[Located], stated: BoxFormat, pixels: Pixels, source: str) -> None:
    """DataError when the numbers of a whole file cannot be in the stated format, with the likely
    one; a single row that does not fit is left to be a bad row."""
    misfits = [one for one in found if not stated.fits(one.numbers, one.size)]
    every = [number for one in found for number in one.numbers]
    tiny = stated.unit != "fractions" and every and max(map(abs, every)) <= 1.0
    tiny = tiny and any(max(one.size) > 2 for one in found)
    if not tiny and (len(misfits) < 2 or 10 * len(misfits) <= len(found)):
        return
    what = (
        f"no number of its {len(found)} boxes is above 1"
        if tiny
        else f"{len(misfits)} of {len(found)} boxes have no area or leave their images, "
        f"first {misfits[0].numbers} in {misfits[0].size[0]} x {misfits[0].size[1]} pixels "
        f"({misfits[0].row.source})"
    )
    guess = likely(found, stated)
    other: Pixels = "stored" if pixels == "upright" else "upright"
    if not tiny and all(
        stated.fits(one.numbers, image_size(one.media, other) or one.size) for one in found
    ):
        guess = f"box_pixels={other}"
    if guess:
        raise DataError(
            f"{what}: they cannot be {stated}",
            source=source,
            expected=stated.words,
            fix=f"they fit {guess}: say so, or correct them",
        )


def box_in_pixels(one: Located, name: str, stated: BoxFormat) -> list[float]:
    """[x, y, w, h] in pixels of one row; DataError when it has no area or leaves its image."""
    box = stated.pixels(one.numbers, one.size)
    if box[2] <= 0 or box[3] <= 0:
        raise one.row.wrong(name, f"a box of positive width and height, as {stated}")
    if not stated.fits(one.numbers, one.size):
        width, height = one.size
        guess = likely([one], stated)
        hint = f" (as {guess} it is)" if guess and "cxcywh" not in guess else ""
        raise one.row.wrong(
            name, f"a box inside the image of {width} x {height} pixels, as {stated}{hint}"
        )
    return box
