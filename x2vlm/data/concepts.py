"""Rows of pre-training shards -> samples: images, regions, videos, questions, parallel text.

Formats (all fields JSON): image {"binary": base64 | "image": path, "desc" | "caption": texts};
region the same with "elems": [{"bb": [x, y, w, h], "caption": texts, "attributes"?: texts,
"kind"?: name}] and the caption optional; video {"video_frames": [base64, …] or clips of them |
"video": path, "text": texts}; question the same as image or video with "questions":
[[question, answer], …] or {language: these}; parallel {"source_text", "target_text"}. "texts" is a
text, a list, or {language: text}. A row {"together": [row, row, …]} of any of these keeps its rows
in one batch, such as look-alikes that are to be told apart.
Axes: C channels, H W pixels, F frames, N concepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import ImageOps
from torch import Tensor

from x2vlm.data.augment import COLOUR, RandAugment, apply
from x2vlm.data.fields import all_texts, choose, fractions_of, image_of, text_of, video_of
from x2vlm.data.image import (
    Box,
    Pixels,
    TrainTransform,
    crop_around,
    move_box,
    resize,
    says_side,
    to_tensor,
)
from x2vlm.data.video import read_frames
from x2vlm.errors import DataError
from x2vlm.types import Record

WHOLE: Box = (0.5, 0.5, 1.0, 1.0)
"""the box of a caption of the whole image"""
_WORDLESS = frozenset({"[Music]"})
"""transcripts of clips in which nobody speaks"""


@dataclass(frozen=True, slots=True)
class Concepts:
    """One row, prepared.

    image: CHW, FCHW for a video, None for parallel text. texts: cleaned; one for images and
    videos, N for regions, two for parallel text, question and answer in turn. boxes: one
    (cx, cy, w, h) in fractions per text, WHOLE where the text is about everything. is_box: False
    for those. seed: for what collate draws. kinds: of each text, where kinds are not to be compared
    ("shape", "colour"); empty: one kind.
    """

    image: Tensor | None
    texts: tuple[str, ...]
    boxes: tuple[Box, ...]
    is_box: tuple[bool, ...]
    seed: int
    source: str
    kinds: tuple[str, ...] = ()


class Parser(Protocol):
    """Makes Concepts of a row."""

    def __call__(self, row: Mapping[str, Any], rng: np.random.Generator, source: str) -> Concepts:
        """DataError (MediaError for pixels) names `source` when the row is bad."""
        ...


@dataclass(frozen=True)
class ImageText:
    """Images with captions. language: of captions by language; None draws one."""

    transform: TrainTransform
    max_words: int = 40
    language: str | None = None
    root: Path = Path()

    def __call__(self, row: Mapping[str, Any], rng: np.random.Generator, source: str) -> Concepts:
        """See Parser."""
        texts = row.get("desc", row.get("caption"))
        text = text_of(texts, rng, self.language, self.max_words, source)
        image, _ = image_of(row, self.root, source)
        return _whole(self.transform, [image], (text,), rng, source)


@dataclass(frozen=True)
class VideoText:
    """Videos with a text each, or clips of which one is drawn."""

    transform: TrainTransform
    frames: int
    max_words: int = 40
    language: str | None = None
    root: Path = Path()

    def __call__(self, row: Mapping[str, Any], rng: np.random.Generator, source: str) -> Concepts:
        """See Parser."""
        texts, encoded = row.get("text", row.get("caption")), row.get("video_frames")
        if encoded and isinstance(encoded[0], list):
            spoken = [i for i, text in enumerate(texts or ()) if text not in _WORDLESS]
            if not spoken or max(spoken) >= len(encoded):
                raise DataError("clips and texts do not match", source=source)
            clip = spoken[int(rng.integers(len(spoken)))]
            texts, encoded = texts[clip], encoded[clip]
        text = text_of(texts, rng, self.language, self.max_words, source)
        media = video_of(encoded, row.get("video"), self.root, source)
        return _whole(self.transform, [read_frames(media, self.frames, rng)], (text,), rng, source)


@dataclass(frozen=True)
class QuestionText:
    """Images or videos with questions and their answers. most: questions asked at a time."""

    transform: TrainTransform
    frames: int
    most: int = 4
    max_words: int = 30
    language: str | None = None
    root: Path = Path()

    def __call__(self, row: Mapping[str, Any], rng: np.random.Generator, source: str) -> Concepts:
        """See Parser."""
        asked = row.get("questions")
        if isinstance(asked, dict):
            chosen = asked if self.language is None else {self.language: asked.get(self.language)}
            asked = [pair for pairs in chosen.values() for pair in pairs or ()]
        if not isinstance(asked, list) or not asked or not all(map(_is_pair, asked)):
            what = "has questions that are no pairs" if asked else "has no questions"
            raise DataError(what, source=source, expected="[[question, answer], …]")
        drawn = rng.permutation(len(asked))[: self.most].tolist()
        texts = [
            text_of(text, rng, None, self.max_words, source)
            for index in drawn
            for text in asked[index]
        ]
        if row.get("video_frames") or isinstance(row.get("video"), str):
            media = video_of(row.get("video_frames"), row.get("video"), self.root, source)
            pixels: Pixels = read_frames(media, self.frames, rng)
        else:
            pixels = image_of(row, self.root, source)[0]
        return _whole(self.transform, [pixels], tuple(texts), rng, source)


@dataclass(frozen=True)
class ParallelText:
    """A text and its translation."""

    max_words: int = 64

    def __call__(self, row: Mapping[str, Any], rng: np.random.Generator, source: str) -> Concepts:
        """See Parser."""
        pair = tuple(
            text_of(row.get(name), rng, None, self.max_words, source)
            for name in ("source_text", "target_text")
        )
        return Concepts(None, pair, (WHOLE,) * 2, (False,) * 2, _seed(rng), source)


@dataclass(frozen=True)
class RegionText:
    """Images with objects and regions: a random crop around one of them, and those that survive.

    max_regions: most concepts of an image, its caption included. min_share: a concept stays when
    more of its box than this is inside the crop; its box is clipped. cropped: share of the images
    that are cropped, 1 officially; the others are seen whole. augment: None leaves colours alone.
    flip: mirror at random unless a text says left or right.
    """

    size: int
    max_regions: int = 5
    min_share: float = 0.5
    max_words: int = 40
    language: str | None = None
    root: Path = Path()
    augment: RandAugment | None = field(default_factory=lambda: RandAugment(operations=COLOUR))
    cropped: float = 1.0
    flip: bool = True

    def __call__(self, row: Mapping[str, Any], rng: np.random.Generator, source: str) -> Concepts:
        """See Parser."""
        image, orientation = image_of(row, self.root, source)
        elems = row.get("elems")
        if not isinstance(elems, list) or not elems:
            raise DataError("has no elems", source=source, expected="a list of objects")
        boxes = [fractions_of(elem, image.size, source, orientation) for elem in elems]
        crop = (0, 0, *image.size)
        if self.cropped == 1 or rng.random() < self.cropped:
            crop = crop_around(boxes[int(rng.integers(len(boxes)))], image.size, rng)
        flipped = bool(rng.random() < 0.5) and self.flip and not says_side(all_texts(row))
        square = resize(image.crop(crop), self.size)
        square = ImageOps.mirror(square) if flipped else square
        if self.augment is not None:
            square = apply(square, self.augment.draw(rng))

        found: list[tuple[str, Box, bool, str]] = []
        if "caption" in row:
            found.append((self._words(row["caption"], rng, source), WHOLE, False, ""))
        for index in rng.permutation(len(elems)).tolist():
            inside = _clip(move_box(boxes[index], image.size, crop, flipped), self.min_share)
            if len(found) < self.max_regions and inside is not None:
                kind = str(elems[index].get("kind", ""))
                found.append((self._named(elems[index], rng, source), inside, True, kind))
        texts, kept, is_box, kinds = zip(*found, strict=True)
        return Concepts(to_tensor(square), texts, kept, is_box, _seed(rng), source, kinds)

    def _words(self, texts: object, rng: np.random.Generator, source: str) -> str:
        return text_of(texts, rng, self.language, self.max_words, source)

    def _named(self, elem: Mapping[str, Any], rng: np.random.Generator, source: str) -> str:
        name = choose(elem.get("caption"), rng, self.language, source)
        if "attributes" in elem:
            name = f"{choose(elem['attributes'], rng, self.language, source)} {name}"
        return text_of(name, rng, None, self.max_words, source)


def _whole(
    transform: TrainTransform,
    pixels: Sequence[Pixels],
    texts: tuple[str, ...],
    rng: np.random.Generator,
    source: str,
) -> Concepts:
    """Concepts of a whole image or video, prepared by `transform`."""
    sample = transform(Record(source, (), texts), pixels, rng)
    boxes, is_box = (WHOLE,) * len(texts), (False,) * len(texts)
    return Concepts(sample.images[0], texts, boxes, is_box, _seed(rng), source)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


def _clip(box: Box, min_share: float) -> Box | None:
    """The part of `box` inside the unit square; None when it is no more than `min_share` of it."""
    cx, cy, w, h = box
    left, right = max(cx - w / 2, 0.0), min(cx + w / 2, 1.0)
    top, bottom = max(cy - h / 2, 0.0), min(cy + h / 2, 1.0)
    inside = max(right - left, 0.0) * max(bottom - top, 0.0)
    if inside <= min_share * w * h:
        return None
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
