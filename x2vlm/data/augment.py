"""RandAugment over the ten operations of the official fine-tuning, with Pillow alone.

Source: spec of the official code: two operations drawn with replacement at level 7 of 10, each
then applied with probability 0.5; geometry is filled with mid grey. Levels become values so:
enhancement 0.1 + 1.8 level/10, shear 0.3 level/10, translation level pixels, rotation 3 level
degrees, the last three with a random sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

COLOUR = ("Identity", "AutoContrast", "Equalize", "Brightness", "Sharpness")
GEOMETRY = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
_GREY = (128, 128, 128)

Operation = tuple[str, float]
"""Name and value (factor, shear, pixels or degrees; 0 where there is none)."""


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=_GREY,
    )


_APPLY: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "Identity": lambda image, _: image,
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Brightness": lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    "Sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
    "ShearX": lambda image, v: _affine(image, (1, -v, 0, 0, 1, 0)),
    "ShearY": lambda image, v: _affine(image, (1, 0, 0, -v, 1, 0)),
    "TranslateX": lambda image, v: _affine(image, (1, 0, -v, 0, 1, 0)),
    "TranslateY": lambda image, v: _affine(image, (1, 0, 0, 0, 1, -v)),
    "Rotate": lambda image, v: image.rotate(v, Image.Resampling.BILINEAR, fillcolor=_GREY),
}


def _value(name: str, level: float) -> float:
    """The value of an operation at `level` in [0, 10], before a random sign."""
    share = level / 10
    if name in ("Brightness", "Sharpness"):
        return 0.1 + 1.8 * share
    if name in ("ShearX", "ShearY"):
        return 0.3 * share
    if name in ("TranslateX", "TranslateY"):
        return 10 * share
    return 30 * share if name == "Rotate" else 0.0


@dataclass(frozen=True)
class RandAugment:
    """Draws operations apart from applying them, so that the frames of a video share them."""

    count: int = 2
    level: float = 7
    operations: Sequence[str] = COLOUR + GEOMETRY
    probability: float = 0.5

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """The operations of one sample."""
        drawn: list[Operation] = []
        for index in rng.integers(len(self.operations), size=self.count):
            name = self.operations[index]
            applied, negative = rng.random(2) < (self.probability, 0.5)
            if applied:
                value = _value(name, self.level)
                drawn.append((name, -value if negative and name in GEOMETRY else value))
        return drawn


def apply(image: Image.Image, operations: Sequence[Operation]) -> Image.Image:
    """The RGB image after `operations`, in order; its size stays."""
    for name, value in operations:
        image = _APPLY[name](image, value)
    return image
