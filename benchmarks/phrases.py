"""Phrases and their boxes in the layouts of neighbouring projects, recognised by content.

- MDETR: {"images": [{"id", "file_name", "width", "height", "caption"}],
  "annotations": [{"image_id", "bbox": xywh}]}, one "image" per phrase
- REC rows (Shikra, Qwen-VL and others): {"image", "width", "height", "sent" or "expression",
  "bbox": corners}, one phrase per row
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.box_formats import (
    BoxFormat,
    Located,
    box_format,
    box_in_pixels,
    check_file,
    numbers_of,
)
from benchmarks.captions import last_two
from benchmarks.files import Files
from benchmarks.media import Images, image_size
from benchmarks.readers import table_rows
from benchmarks.row_aliases import ALIASES, renamed
from benchmarks.rows import Row, each, index
from x2vlm.errors import DataError
from x2vlm.types import Media, Record

OWNERS = ("question_id", "ann_id", "ref_id")
"""ids that rows of the official kinds carry, and REC rows do not"""
UNKNOWN_SIZE = [10**9, 10**9]


def is_mdetr(value: object) -> bool:
    """Whether a JSON value is an object of COCO's two tables whose images carry phrases."""
    if not isinstance(value, Mapping):
        return False
    images, boxes = value.get("images"), value.get("annotations")
    if not isinstance(images, list) or not isinstance(boxes, list):
        return False
    return any(isinstance(image, Mapping) and "caption" in image for image in images)


def read_mdetr(
    files: Files, path: Path, value: Mapping[str, Any], images: Images, language: str, name: str
) -> Iterator[Record]:
    """One record per annotation; its id is that of its "image", which is a phrase."""
    phrases = index(table_rows(value, path, "images"), "id")
    boxes = table_rows(value, path, "annotations")
    files.note(f"{path}: MDETR's layout, an image of its own for each phrase")

    def make(row: Row) -> Record:
        phrase = phrases.get(row.id("image_id"))
        if phrase is None:
            raise row.error("its image is not in the file", "one image for each box")
        said = phrase.values.get("dataset_name", name)
        if said != name:
            raise phrase.wrong("dataset_name", f"{name!r}, the benchmark that is read")
        size = [phrase.integer("width"), phrase.integer("height")]
        target = {"box": row.box("bbox", size), "size": size}
        group = phrase.id("original_id") if phrase.has("original_id") else phrase.text("file_name")
        return Record(
            phrase.id("id"),
            (images(coco_name(phrase.text("file_name"))),),
            (phrase.text("caption"),),
            target,
            language,
            group=group,
            source=row.source,
        )

    return each(files, boxes, make)


def are_rec(rows: Sequence[Row]) -> bool:
    """Whether these are REC rows: a phrase and a box, and no id of the official kinds."""
    if not rows or any(rows[0].has(owner) for owner in OWNERS):
        return False
    return rows[0].has("bbox") and any(map(rows[0].has, ("text", *ALIASES["text"])))


def read_rec(
    files: Files, path: Path, rows: Sequence[Row], images: Images, language: str
) -> Iterator[Record]:
    """One record per row; the id is the row's own, else its number."""
    found: dict[str, Located] = {}
    for row in renamed(files, rows, {"image": (), "text": ()}):
        try:
            media = row.picture("image") or images(coco_name(row.text("image")))
            numbers = numbers_of(row, "bbox", BoxFormat("xyxy"))
            size = annotated_size(row, media) or UNKNOWN_SIZE
            found[row.source] = Located(row, numbers, media, size)
        except DataError as error:
            files.skip(error)
    located = list(found.values())
    stated = _stated(files, located)
    files.note(f"{path}: REC rows, a phrase each; boxes are read as {stated}, {stated.words}")
    check_file(located, stated, files.box_pixels, str(path))

    def make(row: Row) -> Record:
        one = found[row.source]
        target: dict[str, Any] = {"box": box_in_pixels(one, "bbox", stated)}
        if one.size != UNKNOWN_SIZE:
            target["size"] = one.size
        if files.box_pixels == "upright":
            target["pixels"] = "upright"
        id_ = row.id("id") if row.has("id") else row.source.rpartition(":")[2]
        return Record(
            id_,
            (one.media,),
            (row.text("text"),),
            target,
            language,
            group=PurePosixPath(one.media.path).stem,
            source=row.source,
        )

    return each(files, [one.row for one in located], make)


def _stated(files: Files, found: Sequence[Located]) -> BoxFormat:
    """The format that is said; else corners, as these rows have them, unless only xywh fits."""
    if files.box_format:
        return box_format(files.box_format)
    for shape in ("xyxy", "xywh"):
        if found and all(BoxFormat(shape).fits(one.numbers, one.size) for one in found):
            return BoxFormat(shape)
    return BoxFormat("xyxy")


def coco_name(name: str) -> str:
    """Folder and file of an image: COCO's below the folder that its name says."""
    file = PurePosixPath(name).name
    return f"{file.split('_')[1]}/{file}" if file.startswith("COCO_") else last_two(name)


def annotated_size(row: Row, media: Media) -> list[int] | None:
    """[width, height] as annotated, else from the head of the image; None when it is not there.

    Scoring needs no size; training and prediction read the image anyway and report what is wrong.
    """
    if row.has("width", "height"):
        size = [row.integer("width"), row.integer("height")]
        if min(size) < 1:
            raise row.error(f"the image is {size[0]} x {size[1]} pixels", "at least 1 x 1")
        return size
    return image_size(media)
