"""Images: opened safely, prepared for training and evaluation, boxes moved along.

Boxes of a Sample are (cx, cy, w, h) as fractions of the prepared image. Axes: C channels, H W
pixels, F frames, V = 1 + P patches.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from x2vlm.data.augment import COLOUR, RandAugment, apply
from x2vlm.data.decode import open_image
from x2vlm.errors import DataError
from x2vlm.types import Record

__all__ = [
    "MEAN",
    "STD",
    "BoxTransform",
    "EvalTransform",
    "Sample",
    "TrainTransform",
    "Transform",
    "annotated_size",
    "crop_around",
    "move_box",
    "open_image",
    "patch_mask",
    "relative_box",
    "resize",
    "says_side",
    "to_tensor",
]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
Box = tuple[float, float, float, float]
Pixels = Image.Image | list[Image.Image]
"""One image, or the frames of one video."""
Flip = Literal["free", "careful", "never"]
AUGMENT = RandAugment()

# "left" and "right" in the languages of the benchmarks; a false alarm only costs a flip.
_SIDES = re.compile(
    r"left|right|\blink|\brecht|gauche|droit|izquierd|derech|esquerd|direit|лев|прав|vlevo|vpravo"
    r"|\blev[aáeéiíoýou]|\bprav[aáeéiíoýou]|左|右|왼|오른|\bkiri|\bkanan|\bsol(?:da|u|un)?\b|\bsağ"
    r"|يسار|يمين|বাম|ডান|kushoto|kulia|இடது|வலது",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A record with its pixels.

    images: one tensor per `record.images`, CHW, or FCHW for a video; consecutive evaluation
    samples of one image hold the very same tensor. box: `target["box"]` as fractions, if any.
    flipped: whether any of its images is mirrored.
    """

    record: Record
    images: tuple[Tensor, ...]
    box: Box | None = None
    flipped: bool = False


class Transform(Protocol):
    """How a task's pixels are prepared."""

    def __call__(
        self, record: Record, images: Sequence[Pixels], rng: np.random.Generator
    ) -> Sample:
        """A Sample of `record`; all randomness comes from `rng`."""


def says_side(texts: Sequence[str]) -> bool:
    """Whether any text says left or right, so that a mirrored image would make it wrong."""
    return any(_SIDES.search(text) for text in texts)


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image -> float32 CHW, scaled to [0, 1] and normalised with MEAN and STD."""
    pixels_HWC = torch.from_numpy(np.array(image, dtype=np.uint8))
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    scaled_HWC = pixels_HWC.float().div_(255).sub_(mean).div_(std)
    return scaled_HWC.permute(2, 0, 1).contiguous()


def resize(image: Image.Image, size: int) -> Image.Image:
    """Bicubic to a size x size square; the aspect ratio is not kept (official behaviour)."""
    return image.resize((size, size), Image.Resampling.BICUBIC)


def patch_mask(box_xywh: Sequence[float], image_size: int, patch_size: int) -> NDArray[np.bool_]:
    """Which visual tokens a box in pixels of the square image covers: bool (1 + P), first True.

    Patch columns floor(x/p) <= j < ceil((x+w)/p), rows likewise, at least one each, in the grid.
    """
    x, y, w, h = box_xywh
    grid = image_size // patch_size

    def span(start: float, length: float) -> slice:
        # Rounded, so that fractions of a patch border turned back into pixels stay on the border.
        low, high = round(start / patch_size, 9), round((start + length) / patch_size, 9)
        first = min(max(math.floor(low), 0), grid - 1)
        return slice(first, max(first + 1, min(math.ceil(high), grid)))

    inside = np.zeros((grid, grid), dtype=bool)
    inside[span(y, h), span(x, w)] = True
    return np.concatenate([np.ones(1, dtype=bool), inside.ravel()])


def annotated_size(record: Record) -> tuple[int, int] | None:
    """(width, height) of the image that `target["box"]` refers to, when the record says so."""
    size = record.target.get("size")
    return (int(size[0]), int(size[1])) if size else None


def relative_box(record: Record, image: Image.Image) -> Box | None:
    """`target["box"]` [x, y, w, h] in pixels -> (cx, cy, w, h) fractions of the image, or None."""
    if "box" not in record.target:
        return None
    width, height = annotated_size(record) or image.size
    x, y, w, h = record.target["box"]
    if w <= 0 or h <= 0 or x < 0 or y < 0 or x + w > width + 1 or y + h > height + 1:
        raise DataError(
            f"box {list(record.target['box'])} has no area or leaves its image",
            source=record.source or record.id,
            expected=f"[x, y, w, h] in pixels inside {width} x {height}",
        )
    return ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)


def _frames(pixels: Pixels) -> list[Image.Image]:
    return pixels if isinstance(pixels, list) else [pixels]


def _stack(pixels: Pixels, tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)) if isinstance(pixels, list) else tensors[0]


class EvalTransform:
    """Bicubic resize to the square, normalise; nothing random. Keeps boxes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._last: tuple[Pixels, Tensor] | None = None

    def __call__(
        self, record: Record, images: Sequence[Pixels], rng: np.random.Generator
    ) -> Sample:
        """See Transform; `rng` is not used."""
        del rng
        tensors = tuple(self._prepare(pixels) for pixels in images)
        return Sample(record, tensors, relative_box(record, _frames(images[0])[0]))

    def _prepare(self, pixels: Pixels) -> Tensor:
        # Many questions or phrases share an image: the same object in gives the same tensor out.
        if self._last is not None and self._last[0] is pixels:
            return self._last[1]
        tensor = _stack(pixels, [to_tensor(resize(f, self.size)) for f in _frames(pixels)])
        self._last = (pixels, tensor)
        return tensor


class TrainTransform:
    """Random resized crop, flip, RandAugment, normalise: for everything without boxes.

    scale: share of the area that the crop keeps. flip: "free" with probability 0.5, "careful" the
    same unless the texts, the answers or the label say left or right, "never". augment: None is
    off. labels: names of the labels that `target["label"]` counts, where there are any.
    Several images are drawn for one by one (official); the frames of one video share everything.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.5, 1.0),
        flip: Flip = "free",
        augment: RandAugment | None = AUGMENT,
        labels: Sequence[str] = (),
    ) -> None:
        self.size, self.scale, self.flip, self.augment = size, scale, flip, augment
        self.labels = labels

    def __call__(
        self, record: Record, images: Sequence[Pixels], rng: np.random.Generator
    ) -> Sample:
        """See Transform."""
        careful = self.flip == "careful" and not _sided(record, self.labels)
        allowed = self.flip == "free" or careful
        flips = [bool(draw < 0.5) and allowed for draw in rng.random(len(images))]
        prepared = [self._prepare(p, f, rng) for p, f in zip(images, flips, strict=True)]
        return Sample(record, tuple(prepared), None, any(flips))

    def _prepare(self, pixels: Pixels, flipped: bool, rng: np.random.Generator) -> Tensor:
        frames = _frames(pixels)
        crop = _random_crop(frames[0].size, self.scale, rng)
        operations = self.augment.draw(rng) if self.augment else []
        squares = (resize(frame.crop(crop), self.size) for frame in frames)
        mirrored = (ImageOps.mirror(square) if flipped else square for square in squares)
        return _stack(pixels, [to_tensor(apply(square, operations)) for square in mirrored])


class BoxTransform:
    """For tasks with a box. train: random crop that keeps the box whole, careful flip, colours.

    Evaluation is EvalTransform. The record's target must hold "box".
    """

    def __init__(self, size: int, train: bool) -> None:
        self.size = size
        self.augment = RandAugment(operations=COLOUR)
        self.evaluate = None if train else EvalTransform(size)

    def __call__(
        self, record: Record, images: Sequence[Pixels], rng: np.random.Generator
    ) -> Sample:
        """See Transform; one still image. Raises DataError when the box is not in the image."""
        if self.evaluate:
            return self.evaluate(record, images, rng)
        image = _frames(images[0])[0]
        box = relative_box(record, image)
        if box is None:
            raise DataError("has no box", source=record.source or record.id)
        crop = crop_around(box, image.size, rng)
        flipped = bool(rng.random() < 0.5) and not _sided(record)
        square = resize(image.crop(crop), self.size)
        square = apply(ImageOps.mirror(square) if flipped else square, self.augment.draw(rng))
        moved = move_box(box, image.size, crop, flipped)
        return Sample(record, (to_tensor(square),), moved, flipped)


def crop_around(
    box: Box, size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A random crop (left, top, right, bottom) in pixels of an image of `size` that holds `box`."""
    spans = []
    for centre, length, pixels in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        # Rounding at 1e-6 pixels: fractions of whole pixels must not lose a pixel to floats.
        start = np.floor(round((centre - length / 2) * pixels, 6))
        stop = np.ceil(round((centre + length / 2) * pixels, 6))
        first = rng.integers(0, int(np.clip(start, 0, pixels - 1)), endpoint=True)
        last = rng.integers(int(np.clip(stop, first + 1, pixels)), pixels, endpoint=True)
        spans.append((int(first), int(last)))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom


def move_box(
    box: Box, size: tuple[int, int], crop: tuple[int, int, int, int], flipped: bool
) -> Box:
    """The fractions of `box` after `crop` (pixels of an image of `size`) and a mirror."""
    left, top, right, bottom = crop
    width, height = right - left, bottom - top
    cx = (box[0] * size[0] - left) / width
    cy = (box[1] * size[1] - top) / height
    return (
        1 - cx if flipped else cx,
        cy,
        box[2] * size[0] / width,
        box[3] * size[1] / height,
    )


def _sided(record: Record, labels: Sequence[str] = ()) -> bool:
    """Whether the texts, an answer or the label of a record name a side."""
    place = record.target.get("label")
    label = [labels[place]] if labels and place is not None else []
    return says_side((*record.texts, *record.target.get("answers", ()), *label))


def _random_crop(
    size: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A crop with `scale` of the area, width / height in [3/4, 4/3]; the centre if none fits."""
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        ratio = float(np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))))
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left = int(rng.integers(0, width - w, endpoint=True))
            top = int(rng.integers(0, height - h, endpoint=True))
            return left, top, left + w, top + h
    w = min(width, round(height * 4 / 3))
    h = min(height, round(width * 4 / 3))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
