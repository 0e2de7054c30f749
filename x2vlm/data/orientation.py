"""Boxes of pictures that EXIF turns. Models see pictures upright; a box may speak of the stored
pixels instead, as COCO's do. No torch, and no pixels: sizes and boxes alone.

An orientation is EXIF's number, 1 to 8; 1 leaves a picture as it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from PIL import ExifTags, Image

Pixels = Literal["stored", "upright"]
"""stored: as a program finds them that opens the file and minds no EXIF; upright: as people see
the picture"""
_BACK = {6: 8, 8: 6}


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 when it says none (or nonsense)."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def upright_size(size: Sequence[int], orientation: int) -> tuple[int, int]:
    """(width, height) of a picture stored with `size` once it is turned upright (or back)."""
    width, height = size
    return (height, width) if orientation >= 5 else (width, height)


def upright_box(box: Sequence[float], size: Sequence[int], orientation: int) -> list[float]:
    """[x, y, w, h] in stored pixels of a picture of `size` -> the same in the upright picture."""
    x, y, w, h = box
    right, low = size[0] - x - w, size[1] - y - h
    return list(
        {
            1: (x, y, w, h),
            2: (right, y, w, h),
            3: (right, low, w, h),
            4: (x, low, w, h),
            5: (y, x, h, w),
            6: (low, x, h, w),
            7: (low, right, h, w),
            8: (y, right, h, w),
        }[orientation]
    )


def stored_box(box: Sequence[float], size: Sequence[int], orientation: int) -> list[float]:
    """[x, y, w, h] in the upright picture of `size` -> the same in stored pixels."""
    return upright_box(box, size, _BACK.get(orientation, orientation))


def turned(target: Mapping[str, Any], stored: Sequence[int], orientation: int) -> Mapping[str, Any]:
    """A record's target with its box in the upright picture, and "turned": the orientation, by
    which predictions are turned back; the target itself when its box is not in stored pixels.

    stored: size of the file. A box speaks of the upright picture when target["pixels"] says so, or
    when its annotated size is that of the upright picture alone.
    """
    said = tuple(target.get("size") or stored)
    upright = upright_size(stored, orientation)
    seen_upright = said == upright and said != tuple(stored)
    if orientation == 1 or "box" not in target or target.get("pixels") == "upright" or seen_upright:
        return target
    return {
        **target,
        "box": upright_box(target["box"], said, orientation),
        "size": list(upright_size(said, orientation)),
        "turned": orientation,
    }
