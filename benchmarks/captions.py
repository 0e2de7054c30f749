"""Images with captions, in every layout that people have them in, told apart by content.

- Karpathy: {"images": [{"filename", "filepath", "split", "sentences": [{"raw"}], "cocoid"}]}
- COCO: {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}; images
  without "file_name" are called by their id (MSR-VTT)
- ALBEF, X-VLM, X²-VLM, BLIP: [{"image", "caption"}], one text per row (training) or a list
- hub and IGLUE rows: {"caption" or "sentences" or "sentence", "image" or "img_path" or "filename"}
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.files import Files
from benchmarks.readers import read_json, read_rows, table_rows
from benchmarks.row_aliases import ALIASES, renamed
from benchmarks.rows import Row, each, index
from benchmarks.usable import check_caption
from x2vlm.errors import DataError
from x2vlm.types import Media, Record

Locate = Callable[[str], Media]
"""Image name of the annotation file -> where the image is."""
Name = Callable[[str], str]
"""Image name of the annotation file -> id of the image."""
IGLUE_WORDS = 80
"""words at which X²-VLM cuts the texts of IGLUE's benchmarks (elsewhere 30)"""
SPLITS = ("train", "restval", "val", "validation", "test")
"""what a row's "split" may say"""
IMAGES = ("filename", "img_path", "video_id", "clip_name", "video")
"""fields that name an image or video in official files, besides "image\""""


def stem(name: str) -> str:
    """The file name without folder and suffix."""
    return PurePosixPath(name).stem


def coco_id(name: str) -> str:
    """The number in a COCO file name: "COCO_val2014_000000000042.jpg" -> "42"."""
    digits = stem(name).rpartition("_")[2]
    return str(int(digits)) if digits.isdecimal() else stem(name)


def last_two(name: str) -> str:
    """Folder and file of a path, however long: people's lists hold absolute paths of their own."""
    return "/".join(PurePosixPath(name).parts[-2:])


def retrieval_record(
    id_: str, media: Media, texts: Sequence[str], source: str, language: str = "en"
) -> Record:
    """A record of one image (or video) and its texts; text k of image i is called "i#k"."""
    target = {"text_ids": [f"{id_}#{k}" for k in range(len(texts))]}
    return Record(id_, (media,), tuple(texts), target, language, group=id_, source=source)


def read_captions(
    files: Files,
    path: Path,
    keep: Sequence[str],
    *,
    locate: Locate,
    name: Name,
    language: str = "en",
    only: frozenset[str] | None = None,
    empty: bool = False,
    prepare: Callable[[list[Row]], list[Row]] = list,
) -> Iterator[Record]:
    """Retrieval records of the splits `keep` of a caption file, in the order of the file.

    keep: values of a row's "split" that belong to the split; rows without one all belong to it.
    locate, name: see `Locate` and `Name`. only: ids of the images to keep; None keeps all.
    empty: keep empty captions, with a note; otherwise one is a bad row. prepare: applied to the
    rows before those of one image are put together.
    """
    rows = _rows(files, path, empty, prepare)

    def make(row: Row) -> Record | None:
        if row.has("split") and row.word("split", SPLITS) not in keep:
            return None
        image = _image_name(row)
        id_ = row.id("cocoid") if row.has("cocoid") else name(image)
        if only is not None and id_ not in only:
            return None
        texts = _texts(row, empty)
        if not all(text.strip() for text in texts):
            files.note(f"{row.source}: an empty caption, kept: the official scores count it")
        media = row.picture("image") or locate(image)
        return retrieval_record(id_, media, texts, row.source, language)

    return each(files, rows, make)


def _rows(
    files: Files, path: Path, empty: bool, prepare: Callable[[list[Row]], list[Row]]
) -> list[Row]:
    rows = read_rows(files, path, table="images")
    texts = ("caption", *ALIASES["caption"])  # rows of COCO's "images" table have none of them
    if rows and "id" in rows[0].values and rows[0].values.keys().isdisjoint(texts):
        rows = _coco_rows(path, rows)
    rows = renamed(files, prepare(rows), {"image": IMAGES, "caption": ("sentences", "sentence")})
    if any(isinstance(row.values.get("caption"), str) for row in rows):
        rows = _merged(files, rows, empty)
    return rows


def _coco_rows(path: Path, images: list[Row]) -> list[Row]:
    """COCO's two tables joined: one row per image, with the list of its captions."""
    value = read_json(path)
    if not isinstance(value, Mapping) or "annotations" not in value:
        raise DataError(
            "has images but no annotations",
            source=str(path),
            expected='{"images": …, "annotations": …} of a COCO caption file',
        )
    names = {
        id_: row.text("file_name") if row.has("file_name") else id_
        for id_, row in index(images, "id").items()
    }
    joined: dict[str, tuple[Row, list[str]]] = {}
    for row in table_rows(value, path, "annotations"):
        id_ = row.id("image_id")
        if id_ not in names:
            raise row.error(f"image {id_} is not among the images of the file", "one of them")
        joined.setdefault(id_, (row, []))[1].append(row.text("caption"))
    for id_ in names.keys() - joined.keys():
        raise DataError(f"image {id_} has no caption", source=str(path), expected="at least one")
    return [
        Row({"image": names[id_], "caption": texts}, row.source)
        for id_, (row, texts) in joined.items()
    ]


def _merged(files: Files, rows: list[Row], empty: bool) -> list[Row]:
    """Rows of one caption each (or some of a list) -> rows of one image each, in the order of first
    appearance. A caption that cannot be used is left out alone, not the image with it."""
    merged: dict[Any, tuple[Row, list[str]]] = {}
    for row in rows:
        try:
            found = merged.setdefault(_image_name(row), (row, []))
            texts = _texts(row, empty)
            kept = empty or files.bare == "keep"
            found[1].extend(t if kept else check_caption(t, row.source) for t in texts)
        except DataError as error:
            files.skip(error)
    return [
        Row({**row.values, "caption": texts}, row.source) for row, texts in merged.values() if texts
    ]


def _image_name(row: Row) -> str:
    if row.has("filename"):
        folder = f"{row.text('filepath')}/" if row.has("filepath") else ""
        return folder + row.text("filename")
    for field in IMAGES[1:]:
        if row.has(field):
            return row.text(field)
    inside = row.picture("image")
    if inside is not None:  # the hub's column: called by its path, or by what it holds
        name = row.values["image"].get("path") if isinstance(row.values["image"], Mapping) else None
        return str(name or hashlib.sha256(inside.inline[0]).hexdigest()[:16])
    return row.text("image")


def _texts(row: Row, empty: bool) -> tuple[str, ...]:
    if row.has("sentences"):
        value = row.values["sentences"]
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            return tuple(sentence.text("raw") for sentence in row.rows("sentences"))
        return row.texts("sentences", empty=empty)
    return row.texts("caption", "sentence", empty=empty)
