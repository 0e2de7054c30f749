"""Pictures and records that the tests of images and their transforms share."""

from __future__ import annotations

import numpy as np
from PIL import Image

from x2vlm.types import Record

HALVES = np.zeros((40, 60, 3), dtype=np.uint8)
"""pixels: the left half red, the right half black"""
HALVES[:, :30] = (255, 0, 0)


def picture(seed: int = 0, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Noise of its own for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
    return Image.fromarray(pixels.astype(np.uint8))


def record(box: list[float] | None = None, text: str = "a dog", **target: object) -> Record:
    """A record without images, which are given to the transform."""
    if box is not None:
        target["box"] = box
    return Record("r", (), (text,), target, source="file.json:7")
