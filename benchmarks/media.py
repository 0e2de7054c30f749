"""Where the pixels are: names of images and videos in annotation files -> paths on the disk.

No pixel is decoded here; a folder is listed once, so that a missing file is known before a run.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from benchmarks.files import Files
from x2vlm.data.orientation import Pixels, orientation_of, upright_size
from x2vlm.errors import DataError
from x2vlm.types import Media, Record

VIDEO_SUFFIXES = (".mp4", ".avi", ".webm", ".mkv")
COCO = ("images/coco", "coco/images", "coco", "images", "", "COCO", "mscoco", "images/mscoco")
FLICKR = ("images", "flickr30k", "flickr30k/images", "", "Flickr30k", "images/flickr30k")


class Images:
    """Finds image files below the first of some base folders that has their folder.

    bases: folders below the root, in order of preference; `file.images=DIR` is stronger. An image
    that is nowhere gets the path where it should be: `check_media` reports it, scoring needs none.
    """

    def __init__(self, files: Files, bases: Sequence[str], role: str = "images") -> None:
        given = files.look(role, (), kind="folder") if role in files.given else None
        self.bases = [given] if given else [files.root / base for base in bases]
        self._given = given is not None
        self._folders: dict[str, Path] = {}

    def __call__(self, name: str) -> Media:
        """name: path relative to a base, such as "val2014/COCO_val2014_000000000042.jpg"."""
        folder, _, file = name.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._find(folder)
        return Media(str(self._folders[folder] / file))

    def _find(self, folder: str) -> Path:
        places = [base / folder for base in self.bases]
        if self._given:  # a folder named on the command line may be the innermost itself
            places += [self.bases[0] / PurePosixPath(folder).name, self.bases[0]]
        return next((place for place in places if place.is_dir()), places[0])


class Videos:
    """Finds videos by name: a video file, a folder of frames, or a JSON list of base64 frames.

    Each folder is listed once. A video file is preferred to frames of the same name.
    """

    def __init__(self, files: Files, folders: Sequence[str], role: str = "videos") -> None:
        given = files.look(role, (), kind="folder") if role in files.given else None
        places = [given] if given else [files.root / folder for folder in folders]
        self.expected = places[0]
        self._found: dict[str, Media] = {}
        for folder in places:
            for media in _listed(folder):
                name = PurePosixPath(media.path).stem if media.kind != "frames" else None
                name = name or PurePosixPath(media.path).name.removesuffix(".json")
                known = self._found.get(name)
                if known is None or (known.kind == "frames" and media.kind == "video"):
                    self._found[name] = media

    def __call__(self, name: str) -> Media:
        """name: without suffix, such as "video7020" (X²-VLM's frame files: video_7020.json)."""
        stem = PurePosixPath(name)
        bare = stem.stem if stem.suffix in VIDEO_SUFFIXES else stem.name
        found = self._found.get(bare) or self._found.get(bare.replace("video", "video_", 1))
        return found or Media(str(self.expected / f"{bare}.mp4"), kind="video")


def _listed(folder: Path) -> Iterable[Media]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = PurePosixPath(entry.name).suffix.lower()
            if suffix in VIDEO_SUFFIXES:
                yield Media(entry.path, kind="video")
            elif suffix == ".json" or entry.is_dir():
                yield Media(entry.path, kind="frames")


def image_size(media: Media, pixels: Pixels = "stored") -> list[int] | None:
    """[width, height] as the head of the file says, in stored pixels or turned upright as EXIF
    says; None when there is no readable image."""
    source = io.BytesIO(media.inline[0]) if media.inline else Path(media.path)
    try:
        with Image.open(source) as image:
            orientation = orientation_of(image) if pixels == "upright" else 1
            return list(upright_size(image.size, orientation))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def missing_media(records: Iterable[Record]) -> list[tuple[Record, Media]]:
    """Every (record, image or video) whose file is not there; folders are listed once."""
    listed: dict[str, frozenset[str]] = {}
    missing = []
    for record in records:
        for media in record.images:
            folder, name = os.path.split(media.path)
            if media.inline:
                continue
            if folder not in listed:
                listed[folder] = _names(folder)
            if name not in listed[folder]:
                missing.append((record, media))
    return missing


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in Path(folder).iterdir())
    except OSError:  # the folder itself is missing: then so is everything in it
        return frozenset()


def check_media(records: Sequence[Record], files: Files) -> list[Record]:
    """The records whose images and videos are all there.

    Missing ones raise one DataError with their number and the first of them, or are counted and
    left out when on_error is "skip" (DataError all the same when nothing is left).
    """
    missing = missing_media(records)
    if not missing:
        return list(records)
    first, media = missing[0]
    gone = {record.id for record, _ in missing}
    error = DataError(
        f"the files of {len(gone)} of {len(records)} records are missing, first {media.path}",
        source=first.source,
        expected="every image and video of the annotation file on disk",
        fix="put them there or name their folder (file.images=DIR, file.videos=DIR); "
        "`x2vlm data status` lists what is needed; on_error=skip leaves these records out",
    )
    kept = [record for record in records if record.id not in gone]
    if files.on_error == "raise" or not kept:
        raise error
    for record, media in {record.id: (record, media) for record, media in missing}.values():
        files.skip(DataError(f"missing {media.path}", source=record.source))
    return kept
