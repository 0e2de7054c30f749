"""Raw pre-training records -> batches; runs in loader workers, on the CPU, without a model.

Record formats (spec §2), one JSON object each; pictures are base64 ("binary") or a path ("image"):
    image     {"binary" | "image", "desc" | "caption": text, texts, or {language: text}}
    region    {"binary" | "image", "caption"?, "elems": [{"bb": [x, y, w, h] pixels,
               "caption": text or texts, "attributes"?}]}
    video     {"video_frames": [base64, …] or clips of them, "text" | "caption"}
    parallel  {"source_text", "target_text"}
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from x2vlm.data.augment import COLOUR, RandAugment, apply
from x2vlm.data.image import (
    Box,
    TrainTransform,
    crop_around,
    move_box,
    open_image,
    patch_mask,
    resize,
    says_side,
    to_tensor,
)
from x2vlm.data.masking import mask_tokens
from x2vlm.data.text import Tokenizer, clean_caption
from x2vlm.data.video import frame_indices
from x2vlm.errors import DataError
from x2vlm.types import Batch, Media, Record

Raw = Mapping[str, Any]
WHOLE: Box = (0.5, 0.5, 1.0, 1.0)


@dataclass(slots=True)
class Prepared:
    """A batch (None when no record of it was good) and what was left out: {"id", "reason"}."""

    batch: Batch | None
    skipped: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Concept:
    """A text, its box as fractions of the prepared image, and whether the box is one."""

    text: str
    box: Box
    is_box: bool


@dataclass(frozen=True)
class Preparer:
    """How records become batches. max_regions: concepts of one image, its caption included;
    min_in_image: share of a box that must survive the crop; mask_probability, max_masks: of MLM.
    """

    tokenizer: Tokenizer
    image_size: int = 224
    patch_size: int = 16
    max_tokens: int = 40
    max_words: int = 30
    mask_probability: float = 0.5
    max_masks: int = 12
    frames: int = 3
    max_regions: int = 5
    min_in_image: float = 0.5
    parallel_tokens: int = 64
    augment: bool = True
    colours: RandAugment = field(default_factory=lambda: RandAugment(operations=COLOUR))

    def __call__(self, kind: str, records: Sequence[Raw], seed: Sequence[int]) -> Prepared:
        """The batch of `records`; record i is random only through (*seed, i).

        Records that cannot be used are left out and named.
        """
        read = getattr(self, f"_{kind}")
        items, skipped = [], []
        for index, record in enumerate(records):
            name = str(record.get("id", f"{kind} {'-'.join(map(str, seed))}-{index}"))
            try:
                items.append((name, read(record, name, np.random.default_rng((*seed, index)))))
            except (DataError, KeyError, TypeError, ValueError) as error:
                skipped.append({"id": name, "reason": f"{type(error).__name__}: {error}"})
        if not items:
            return Prepared(None, skipped)
        rng = np.random.default_rng((*seed, len(records)))
        ids = tuple(name for name, _ in items)
        found = [item for _, item in items]
        if kind == "region":
            return Prepared(self._region_batch(ids, found, rng), skipped)
        if kind == "parallel":
            return Prepared(self._parallel_batch(ids, found, rng), skipped)
        text_BL, mask_BL, target = self._texts([text for _, text in found], self.max_tokens, rng)
        image = torch.stack([pixels for pixels, _ in found])
        return Prepared(Batch(ids, image, text_BL, mask_BL, {"kind": kind, **target}), skipped)

    def _texts(
        self, texts: Sequence[str], max_tokens: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        text_BL, mask_BL = self.tokenizer.encode(texts, max_tokens)
        masked = mask_tokens(
            text_BL, mask_BL, self.tokenizer, rng, self.mask_probability, self.max_masks
        )
        return text_BL, mask_BL, {
            "hidden_BL": masked.text_BL,
            "positions_BM": masked.positions_BM,
            "targets_BM": masked.targets_BM,
        }  # fmt: skip

    def _image(self, record: Raw, name: str, rng: np.random.Generator) -> tuple[Tensor, str]:
        text = clean_caption(_pick(_caption(record), rng), self.max_words)
        return self._pixels(name, _open(record, name), text, rng), text

    def _video(self, record: Raw, name: str, rng: np.random.Generator) -> tuple[Tensor, str]:
        encoded = record["video_frames"]
        if not isinstance(encoded[0], str):  # clips: one of them
            encoded = encoded[int(rng.integers(len(encoded)))]
        chosen = [encoded[i] for i in frame_indices(len(encoded), self.frames, rng)]
        text = clean_caption(_pick(_caption(record), rng), self.max_words)
        return self._pixels(name, [_decode(frame, name) for frame in chosen], text, rng), text

    def _parallel(self, record: Raw, name: str, rng: np.random.Generator) -> tuple[str, str]:
        del name
        pair = [clean_caption(record[k], self.parallel_tokens) for k in
                ("source_text", "target_text")]  # fmt: skip
        first = int(rng.integers(2))  # either language is predicted from the other
        return pair[first], pair[1 - first]

    def _pixels(
        self, name: str, image: Image.Image | list[Image.Image], text: str,
        rng: np.random.Generator,
    ) -> Tensor:  # fmt: skip
        colours = RandAugment() if self.augment else None
        transform = TrainTransform(self.image_size, (0.2, 1.0), "careful", colours)
        return transform(Record(name, (Media(name),), (text,)), [image], rng).images[0]

    def _region(
        self, record: Raw, name: str, rng: np.random.Generator
    ) -> tuple[Tensor, list[Concept]]:
        """One image, cropped around one of its objects, and the concepts that survive."""
        image = _open(record, name)
        elements = [record["elems"][i] for i in rng.permutation(len(record["elems"])).tolist()]
        boxes = [_fractions(element["bb"], image.size, name) for element in elements]
        texts = [clean_caption(_with_attribute(e, rng), self.max_words) for e in elements]
        captions = [clean_caption(_pick(_caption(record), rng), self.max_words)] if (
            record.get("caption") or record.get("desc")) else []  # fmt: skip
        crop = crop_around(boxes[0], image.size, rng)
        flipped = bool(rng.random() < 0.5) and not says_side([*texts, *captions])
        concepts = [Concept(text, WHOLE, False) for text in captions]
        for text, box in zip(texts, boxes, strict=True):
            moved = move_box(box, image.size, crop, flipped)
            kept = _clip(moved)
            if kept is None or len(concepts) == self.max_regions:
                continue
            if kept[2] * kept[3] > self.min_in_image * moved[2] * moved[3]:
                concepts.append(Concept(text, kept, True))
        square = resize(image.crop(crop), self.image_size)
        square = ImageOps.mirror(square) if flipped else square
        if self.augment:
            square = apply(square, self.colours.draw(rng))
        return to_tensor(square), concepts

    def _region_batch(
        self, ids: tuple[str, ...], items: Sequence[tuple[Tensor, list[Concept]]],
        rng: np.random.Generator,
    ) -> Batch:  # fmt: skip
        concepts = [concept for _, found in items for concept in found]
        rows = [row for row, (_, found) in enumerate(items) for _ in found]
        text_BL, mask_BL, target = self._texts([c.text for c in concepts], self.max_tokens, rng)
        patches = [patch_mask(_corner_pixels(c.box, self.image_size), self.image_size,
                              self.patch_size) for c in concepts]  # fmt: skip
        target |= {
            "rows_B": torch.tensor(rows),
            "patches_BV": torch.from_numpy(np.stack(patches)),
            "box_B4": torch.tensor([c.box for c in concepts], dtype=torch.float32),
            "is_box_B": torch.tensor([c.is_box for c in concepts]),
        }
        image_GCHW = torch.stack([pixels for pixels, _ in items])
        return Batch(ids, image_GCHW, text_BL, mask_BL, {"kind": "region", **target})

    def _parallel_batch(
        self, ids: tuple[str, ...], items: Sequence[tuple[str, str]], rng: np.random.Generator
    ) -> Batch:
        texts = [text for text, _ in items]
        text_BL, mask_BL, target = self._texts(texts, self.parallel_tokens, rng)
        others = [other for _, other in items]
        target["text_BL"], target["mask_BL"] = self.tokenizer.encode(others, self.parallel_tokens)
        return Batch(ids, None, text_BL, mask_BL, {"kind": "parallel", **target})


def _caption(record: Raw) -> Any:
    for key in ("desc", "caption", "text"):
        if record.get(key):
            return record[key]
    raise DataError("has no text", expected='"caption", "desc" or "text"')


def _pick(texts: Any, rng: np.random.Generator) -> str:
    """One of a text, texts, or texts by language."""
    if isinstance(texts, Mapping):
        texts = [texts[language] for language in sorted(texts)]
    if isinstance(texts, str):
        return texts
    return str(texts[int(rng.integers(len(texts)))])


def _with_attribute(element: Raw, rng: np.random.Generator) -> str:
    text = _pick(element["caption"], rng)
    attributes = element.get("attributes")
    return f"{_pick(attributes, rng)} {text}" if attributes else text


def _open(record: Raw, name: str) -> Image.Image:
    if "binary" in record:
        return _decode(record["binary"], name)
    return open_image(Media(str(record["image"])))


def _decode(text: str, name: str) -> Image.Image:
    try:
        return open_image(Media(name, inline=(base64.b64decode(text, validate=True),)))
    except binascii.Error as error:
        raise DataError(f"picture is not base64 ({error})", source=name) from error


def _fractions(box: Sequence[float], size: tuple[int, int], name: str) -> Box:
    """[x, y, w, h] in pixels -> (cx, cy, w, h) fractions, clipped to the image."""
    x, y, w, h = (float(value) for value in box)
    clipped = _clip(((x + w / 2) / size[0], (y + h / 2) / size[1], w / size[0], h / size[1]))
    if clipped is None:
        raise DataError(f"box {list(box)} is outside the image of {size} pixels", source=name)
    return clipped


def _clip(box: Box) -> Box | None:
    """The part of (cx, cy, w, h) inside the unit square, None when there is none."""
    cx, cy, w, h = box
    left, right = max(0.0, cx - w / 2), min(1.0, cx + w / 2)
    top, bottom = max(0.0, cy - h / 2), min(1.0, cy + h / 2)
    if right <= left or bottom <= top:
        return None
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _corner_pixels(box: Box, size: int) -> tuple[float, float, float, float]:
    """Fractions (cx, cy, w, h) -> (x, y, w, h) in pixels of the square image; floats' dust off."""
    cx, cy, w, h = box
    x, y = round((cx - w / 2) * size, 4), round((cy - h / 2) * size, 4)
    return x, y, round((cx + w / 2) * size, 4) - x, round((cy + h / 2) * size, 4) - y
