"""Images opened safely: upright RGB from any encoding, or a MediaError that says what to do."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from x2vlm.data.orientation import orientation_of
from x2vlm.errors import MediaError
from x2vlm.types import Media

MAX_PIXELS = 178_956_970
"""width x height above which an image is refused: a decompression bomb rather than a photograph"""


def open_image(media: Media) -> Image.Image:
    """The first image of `media` as RGB, upright, whatever its encoding.

    Raises MediaError: missing, empty, truncated, not an image, or above MAX_PIXELS.
    """
    return open_oriented(media)[0]


def open_oriented(media: Media) -> tuple[Image.Image, int]:
    """`open_image`, and the EXIF orientation by which it was turned upright (1: as stored)."""
    try:
        return _upright(media.inline[0] if media.inline else Path(media.path), media.path)
    except FileNotFoundError:
        raise MediaError(
            "image file does not exist", source=media.path, fix="check the image folder"
        ) from None
    except MediaError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise MediaError(
            f"cannot be decoded ({type(error).__name__}: {error})",
            source=media.path,
            expected="a complete image file that Pillow reads",
            fix="get the file again, or set data.on_error=skip to count it and go on",
        ) from error


def _upright(found: bytes | Path, name: str) -> tuple[Image.Image, int]:
    encoded = found.read_bytes() if isinstance(found, Path) else found
    if not encoded:
        raise MediaError("file is empty", source=name, fix="get the file again")
    try:
        with warnings.catch_warnings():
            # Pillow warns from half of its limit on; the limit below is the one that counts.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError:
        raise MediaError(
            "is not an image in a known format",
            source=name,
            expected="JPEG, PNG, WebP, GIF, BMP or TIFF",
            fix="get the file again; an HTML page saved under an image name is a common cause",
        ) from None
    if image.width * image.height > MAX_PIXELS:
        raise MediaError(
            f"has {image.width} x {image.height} pixels",
            source=name,
            expected=f"at most {MAX_PIXELS} pixels, so that a crafted file cannot fill the memory",
            fix="scale the image down",
        )
    image.load()
    return upright(image)


def upright(image: Image.Image) -> tuple[Image.Image, int]:
    """An opened image as RGB, upright, and the EXIF orientation by which it was turned."""
    return _rgb(ImageOps.exif_transpose(image)), orientation_of(image)


def _rgb(image: Image.Image) -> Image.Image:
    """RGB with the values a viewer shows: 16 bits scaled down, transparency on white."""
    if image.mode == "RGB":
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, dtype=np.float64)
        top = 65535 if values.max(initial=0) > 255 else 255
        image = Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
