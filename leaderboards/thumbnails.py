"""Small pictures for the sample browser, each written once; a few frames stand for a video."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from PIL import Image

from x2vlm.data.decode import open_oriented
from x2vlm.data.orientation import turned, upright_size
from x2vlm.data.video import read_frames
from x2vlm.errors import MediaError
from x2vlm.types import Media, Record

SIDE = 384
"""Longest side in pixels; smaller pictures keep their size."""

FRAMES = 4


def spelt_out(path: Path) -> Path:
    """An absolute path without "..", links as they are: those in a data folder are the user's."""
    return Path(os.path.normpath(Path.cwd() / path))


class Picture(TypedDict):
    """src: one path per frame, relative to the site; width, height: pixels of the original.
    error: why there is none."""

    src: list[str]
    width: int
    height: int
    error: str


class Thumbnails:
    """Writes upright thumbnails into `out`/media. failed: path -> why it could not be read.

    below: the only folders whose pictures are copied, since names in received data may lead
    anywhere on this machine; None: all.
    """

    def __init__(self, out: Path, below: Iterable[Path] | None = None) -> None:
        self.folder = out / "media"
        self.below = None if below is None else {spelt_out(path) for path in below}
        self.failed: dict[str, str] = {}
        self._made: dict[tuple[str, str, int], Picture] = {}
        self._orientations: dict[str, int] = {}

    def __call__(self, media: Media) -> Picture:
        """The pictures of one image or video, made on first use."""
        key = (media.path, media.kind, hash(media.inline))
        if key not in self._made:
            self._made[key] = self._make(media)
        return self._made[key]

    def over(self, sample: Record, shown: dict[str, Any]) -> dict[str, Any]:
        """What is shown of a sample, its "box" (in the annotation's pixels) moved along with the
        picture when EXIF turned that upright."""
        if "box" not in shown or not sample.images:
            return shown
        picture = self(sample.images[0])
        orientation = self._orientations.get(sample.images[0].path, 1)
        stored = upright_size((picture["width"], picture["height"]), orientation)
        target = turned({**sample.target, "box": shown["box"]}, stored, orientation)
        return {**shown, "box": list(target["box"])}

    def _make(self, media: Media) -> Picture:
        try:
            self._check_place(media)
            still = media.kind == "image"
            if still:
                first, self._orientations[media.path] = open_oriented(media)
            pictures = [first] if still else read_frames(media, FRAMES)
        except MediaError as error:
            self.failed[media.path] = error.what
            return Picture(src=[], width=1, height=1, error=error.what)
        width, height = pictures[0].size
        sources = list(dict.fromkeys(self._save(picture) for picture in pictures))
        return Picture(src=sources, width=width, height=height, error="")

    def _check_place(self, media: Media) -> None:
        """MediaError for a file outside of `below`. Links inside of it are the user's own."""
        if self.below is None or media.inline:
            return
        if self.below.isdisjoint(spelt_out(Path(media.path)).parents):
            raise MediaError(
                "lies outside of the data folder of its run, so it is not copied",
                source=media.path,
                fix="if you want it in the site, name its folder: pictures=DIR",
            )

    def _save(self, picture: Image.Image) -> str:
        small = picture.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        name = hashlib.sha256(repr(small.size).encode() + small.tobytes()).hexdigest()[:20] + ".jpg"
        path = self.folder / name[:2] / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            small.save(path, quality=88, subsampling=0)
        return f"media/{name[:2]}/{name}"
