"""Does an image decode? Remembered between calls: a long check goes on where it stopped."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from x2vlm.errors import DataError
from x2vlm.plain import Kind, rows
from x2vlm.types import Media

SEEN = Kind(
    "[path, bytes, time of change, width, height]",
    lambda row: (
        isinstance(row, list) and [type(value) for value in row] == [str, int, int, int, int]
    ),
)


class Sound:
    """Files found sound: path -> (size in bytes, time of change, width, height).

    checked: files decoded through this object; known: those spared, unchanged since.
    """

    def __init__(self, path: Path | None) -> None:
        self.checked = self.known = 0
        self.seen: dict[str, tuple[int, int, int, int]] = {}
        if path is not None and path.is_file():
            for name, *values in rows(path, SEEN, DataError):
                self.seen[name] = tuple(values)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("a", encoding="utf-8") if path is not None else None

    def get(self, path: Path) -> list[int] | None:
        """[width, height] of a file that is as it was when it was found sound."""
        stat = path.stat()
        known = self.seen.get(str(path))
        return list(known[2:]) if known and known[:2] == (stat.st_size, stat.st_mtime_ns) else None

    def add(self, path: Path, size: Sequence[int]) -> None:
        """Remember a file that was decoded just now; size: width and height."""
        stat = path.stat()
        self.seen[str(path)] = (stat.st_size, stat.st_mtime_ns, size[0], size[1])
        if self.file is not None:
            self.file.write(json.dumps([str(path), *self.seen[str(path)]]) + "\n")
            self.file.flush()

    def close(self) -> None:
        """Close the file of the memory, if there is one."""
        if self.file is not None:
            self.file.close()


def check(media: Media, sound: Sound) -> list[int] | None:
    """[width, height] of an image that decodes, None for videos; OSError or ValueError if not."""
    if media.inline:
        sound.checked += 1
        return next(iter([_decode(io.BytesIO(data)) for data in media.inline]))
    path = Path(media.path)
    known = sound.get(path)
    if known is not None:
        sound.known += 1
        return known if media.kind == "image" else None
    sound.checked += 1
    sizes = [_decode(item) for item in _pictures(media)]
    if not sizes and path.stat().st_size == 0:
        raise ValueError("the file is empty")
    sound.add(path, sizes[0] if sizes else (0, 0))
    return sizes[0] if media.kind == "image" else None


def _pictures(media: Media) -> Iterator[Path | io.BytesIO]:
    """What there is to decode: an image, the frames of a video; video files are left to decord."""
    path = Path(media.path)
    if media.kind == "image":
        yield path
    elif media.kind == "frames" and path.is_dir():
        frames = sorted(item for item in path.iterdir() if not item.name.startswith("."))
        if not frames:
            raise ValueError("a folder without frames")
        yield from frames
    elif media.kind == "frames":
        try:
            for frame in json.loads(path.read_bytes()):
                yield io.BytesIO(base64.b64decode(frame, validate=True))
        except (TypeError, RecursionError, binascii.Error) as error:
            raise ValueError(f"no JSON list of base64 images ({error})") from error


def _decode(source: Path | io.BytesIO) -> list[int]:
    try:
        with Image.open(source) as image:
            image.load()
            return list(image.size)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def box_faults(target: Mapping[str, Any], stored: Sequence[int] | None) -> list[str]:
    """What is wrong with a record's box, held against its image of `stored` = [width, height]."""
    box, said = target.get("box"), target.get("size")
    if stored is None or not isinstance(box, list):
        return []
    size, upright = list(stored), list(stored)[::-1]
    found = []
    if isinstance(said, list) and said == upright:
        size = said  # annotated on the picture as EXIF turns it
    elif isinstance(said, list) and said != size:
        found.append(f"the annotations say {said} pixels, the image has {size}")
    x, y, w, h = box
    if x < -1 or y < -1 or x + w > size[0] + 1 or y + h > size[1] + 1:
        found.append(f"box {box} is not inside the image of {size[0]} x {size[1]} pixels")
    return found
