"""Fields of pre-training rows: texts in any of their forms, images, videos, boxes.

A bad field is a DataError that names the row.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from x2vlm.data.cleaning import clean_caption
from x2vlm.data.decode import open_oriented
from x2vlm.data.image import Box
from x2vlm.data.orientation import upright_box, upright_size
from x2vlm.errors import DataError
from x2vlm.types import Media


def together(row: Mapping[str, Any], source: str) -> list[Mapping[str, Any]]:
    """The rows under "together", which are to stand in one batch; of any other row, itself."""
    if "together" not in row:
        return [row]
    rows = row["together"]
    if not isinstance(rows, list) or not rows or not all(isinstance(one, dict) for one in rows):
        raise DataError("has nothing together", source=source, expected="a list of rows")
    return rows


def choose(texts: object, rng: np.random.Generator, language: str | None, source: str) -> str:
    """One text out of a text, a list, or texts by language."""
    if isinstance(texts, list) and texts:
        texts = texts[int(rng.integers(len(texts)))]
    if isinstance(texts, dict) and texts:
        if language is not None and language not in texts:
            raise DataError(f"has no text in {language!r}", source=source)
        names = sorted(texts)
        texts = texts[language or names[int(rng.integers(len(names)))]]
        if isinstance(texts, list):
            return choose(texts, rng, language, source)
    if not isinstance(texts, str):
        raise DataError(
            f"text is {texts!r:.40}", source=source, expected="a text, a list, or {language: text}"
        )
    return texts


def text_of(
    texts: object, rng: np.random.Generator, language: str | None, max_words: int, source: str
) -> str:
    """`choose`, cleaned and cut at `max_words`."""
    try:
        return clean_caption(choose(texts, rng, language, source), max_words)
    except DataError as error:
        raise DataError(error.what, source=source, expected=error.expected) from None


def all_texts(row: Mapping[str, Any]) -> list[str]:
    """Every text of a region row, of any language."""
    found: list[str] = []
    pending = [row.get("caption"), *(elem.get("caption") for elem in row["elems"])]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
    return found


def encoded(value: object, source: str) -> bytes:
    """An image file, from bytes or base64."""
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(str(value), validate=True)
    except ValueError as error:
        raise DataError(f"image is not base64 ({error})", source=source) from None


def video_of(frames: object, path: object, root: Path, source: str) -> Media:
    """Frames that stand in the row, else a video file."""
    if isinstance(frames, list) and frames:
        return Media(source, "frames", tuple(encoded(frame, source) for frame in frames))
    if not isinstance(path, str):
        raise DataError("has neither video_frames nor video", source=source)
    return Media(str(root / path), "video")


def image_of(row: Mapping[str, Any], root: Path, source: str) -> tuple[Image.Image, int]:
    """From "binary" (bytes or base64), or "image": path, bytes, or the hub's {"bytes", "path"};
    upright, with the EXIF orientation by which it was turned."""
    value = row.get("binary", row.get("image"))
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if "binary" in row or isinstance(value, bytes):
        return open_oriented(Media(source, inline=(encoded(value, source),)))
    if not isinstance(value, str):
        raise DataError("has neither binary nor image", source=source)
    return open_oriented(Media(str(root / value)))


def fractions_of(elem: Any, size: tuple[int, int], source: str, orientation: int = 1) -> Box:
    """ "bb" [x, y, w, h] in stored pixels -> (cx, cy, w, h) of the upright image, clipped to it.

    size: of the upright image; orientation: EXIF's, by which it was turned.
    """
    try:
        stored = [float(value) for value in elem["bb"]]
        x, y, w, h = upright_box(stored, upright_size(size, orientation), orientation)
    except (KeyError, TypeError, ValueError):
        raise DataError("elem without bb", source=source, expected="[x, y, w, h]") from None
    left, right = max(x, 0.0), min(x + w, size[0])
    top, bottom = max(y, 0.0), min(y + h, size[1])
    if not (left < right and top < bottom):
        raise DataError(
            f"box {elem['bb']} has no area inside its image of {size[0]} x {size[1]} pixels",
            source=source,
        )
    cx, cy = (left + right) / 2 / size[0], (top + bottom) / 2 / size[1]
    return cx, cy, (right - left) / size[0], (bottom - top) / size[1]
