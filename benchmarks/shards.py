"""Annotations of COCO, Visual Genome and Flickr30k Entities -> pre-training shards.

The rows are those that `x2vlm.data.concepts` reads: images with captions, and images with objects
and regions. No torch.
"""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.readers import read_json, read_lines, table_rows
from benchmarks.rows import Row
from x2vlm.data.shards import Format, write_shards
from x2vlm.errors import ConfigError, DataError, unknown
from x2vlm.tasks.base import Progress

_PHRASE = re.compile(r"\[/EN#(\d+)/\S+ ([^\]]*)\]")


@dataclass(frozen=True)
class Picture:
    """One image of the annotations. regions: its boxes, of which `elem` makes {"bb", "caption",
    "attributes"?} or a DataError; both None where only captions are meant."""

    name: str
    source: str
    captions: Sequence[str] = ()
    regions: Sequence[Row] | None = None
    elem: Callable[[Row], Mapping[str, Any]] | None = None


@dataclass
class Built:
    """shards: the files written. rows, boxes: how many. excluded: images left out as asked;
    empty: images without a caption or box; skipped: bad images and boxes {"source", "reason"}."""

    shards: list[Path] = field(default_factory=list)
    rows: int = 0
    boxes: int = 0
    excluded: int = 0
    empty: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)


def build_shards(
    kind: str,
    annotations: Sequence[Path],
    images: Path,
    out: Path,
    *,
    exclude: Collection[str] = (),
    inline: bool = True,
    rows_per_shard: int = 10_000,
    form: Format = "jsonl.gz",
    on_error: Literal["raise", "skip"] = "raise",
    progress: Progress | None = None,
) -> Built:
    """Write shards of `kind` below `out`; KINDS says what `annotations` must be.

    images: folder of the pictures. exclude: file names (without folder) to leave out; give those
    of every test split that will be evaluated. inline: pixels inside the rows; False stores paths
    relative to `images`. on_error: "skip" counts and names bad images and boxes.
    Raises ConfigError for an unknown kind, DataError naming file and row.
    """
    if kind not in KINDS:
        raise ConfigError(unknown("kind of shards", kind, KINDS))
    built = Built()

    def bad(error: DataError) -> None:
        if on_error == "raise":
            raise error
        built.skipped.append({"source": error.source, "reason": error.what})

    def rows() -> Iterator[Mapping[str, Any]]:
        pictures = KINDS[kind](annotations, images)
        items = progress(pictures, f"shards of {kind}", len(pictures), "images") if progress else ()
        for picture in items or pictures:
            if picture.name.rpartition("/")[2] in exclude:
                built.excluded += 1
                continue
            try:
                row = {**_texts(picture, bad), **_pixels(picture, images, inline)}
            except DataError as error:
                bad(error)
                continue
            boxes = len(row.get("elems", ()))
            if not boxes and ("elems" in row or "caption" not in row):
                built.empty += 1
                continue
            built.rows += 1
            built.boxes += boxes
            yield row

    built.shards = write_shards(rows(), out, rows_per_shard, form)
    return built


def _texts(picture: Picture, bad: Callable[[DataError], None]) -> dict[str, Any]:
    row: dict[str, Any] = {"caption": list(picture.captions)} if picture.captions else {}
    if picture.regions is not None and picture.elem is not None:
        row["elems"] = []
        for region in picture.regions:
            try:
                row["elems"].append(picture.elem(region))
            except DataError as error:
                bad(error)
    return row


def _pixels(picture: Picture, images: Path, inline: bool) -> dict[str, str]:
    path = images / picture.name
    if not path.is_file():
        raise DataError(
            f"image {picture.name} is not below {images}",
            source=picture.source,
            fix="check the image folder, or run with on_error=skip",
        )
    if not inline:
        return {"image": picture.name}
    return {"binary": base64.b64encode(path.read_bytes()).decode()}


def coco_captions(annotations: Sequence[Path], images: Path) -> list[Picture]:
    """captions_*.json: images with their captions."""
    del images
    found, captions = _coco(annotations, "caption")
    return [
        Picture(image.text("file_name"), image.source, _stripped(captions.get(number, ())))
        for number, image in found.items()
    ]


def coco_objects(annotations: Sequence[Path], images: Path) -> list[Picture]:
    """instances_*.json, and captions_*.json of the same images: objects, and whole captions.

    Crowds are left out: their box is not that of an object.
    """
    del images
    found, objects = _coco(annotations, "bbox")
    captions = _coco(annotations, "caption")[1]
    names: dict[int, str] = {}
    for path in annotations:
        names |= {row.integer("id"): row.text("name") for row in _table(path, "categories")}

    def elem(row: Row) -> dict[str, Any]:
        image = found[row.integer("image_id")]
        size = (image.integer("width"), image.integer("height"))
        if row.integer("category_id") not in names:
            raise row.wrong("category_id", "the id of a category")
        return {"bb": row.box("bbox", size), "caption": names[row.integer("category_id")]}

    return [
        Picture(
            image.text("file_name"),
            image.source,
            _stripped(captions.get(number, ())),
            [row for row in objects.get(number, ()) if not row.values.get("iscrowd")],
            elem,
        )
        for number, image in found.items()
    ]


def _coco(annotations: Sequence[Path], wanted: str) -> tuple[dict[int, Row], dict[int, list[Row]]]:
    """(images by id, annotations that have the field `wanted` by image id) of COCO files."""
    found: dict[int, Row] = {}
    grouped: dict[int, list[Row]] = {}
    for path in annotations:
        found.update((row.integer("id"), row) for row in _table(path, "images"))
        for row in _table(path, "annotations"):
            if row.has(wanted):
                grouped.setdefault(row.integer("image_id"), []).append(row)
    if lost := sorted(set(grouped) - set(found)):
        raise grouped[lost[0]][0].wrong("image_id", "the id of an image of these files")
    return found, grouped


def _table(path: Path, name: str) -> list[Row]:
    value = read_json(path)
    if not isinstance(value, Mapping) or "images" not in value:
        raise DataError("has no images", source=str(path), expected="a COCO annotation file")
    return table_rows(value, path, name) if name in value else []


def _stripped(captions: Iterable[Row]) -> list[str]:
    return [row.text("caption").strip() for row in captions]


def genome_regions(annotations: Sequence[Path], images: Path) -> list[Picture]:
    """region_descriptions.json of Visual Genome: phrases with boxes."""

    def elem(row: Row) -> dict[str, Any]:
        return {"bb": _corner_box(row, "width", "height"), "caption": row.text("phrase").strip()}

    return _genome(annotations, images, ("regions",), elem)


def genome_objects(annotations: Sequence[Path], images: Path) -> list[Picture]:
    """objects.json or attributes.json of Visual Genome: names, and attributes, with boxes."""

    def elem(row: Row) -> dict[str, Any]:
        made: dict[str, Any] = {"bb": _corner_box(row, "w", "h"), "caption": [*row.texts("names")]}
        if row.values.get("attributes"):
            made["attributes"] = list(row.texts("attributes"))
        return made

    return _genome(annotations, images, ("attributes", "objects"), elem)


def _genome(
    annotations: Sequence[Path],
    images: Path,
    tables: Sequence[str],
    elem: Callable[[Row], Mapping[str, Any]],
) -> list[Picture]:
    pictures = []
    for path in annotations:
        for row in table_rows(read_json(path), path):
            number = row.id("image_id", "id") if row.has("image_id") else row.id("id")
            table = next((name for name in tables if row.has(name)), tables[-1])
            folders = ("VG_100K", "VG_100K_2", "")
            names = [f"{folder}/{number}.jpg".lstrip("/") for folder in folders]
            name = next((name for name in names if (images / name).is_file()), names[-1])
            pictures.append(Picture(name, row.source, (), row.rows(table), elem))
    return pictures


def _corner_box(row: Row, width: str, height: str) -> list[float]:
    fields = ("x", "y", width, height)
    if not row.has(*fields):
        raise row.error(f"box without {', '.join(n for n in fields if not row.has(n))}")
    return Row({"bbox": [row.values[name] for name in fields]}, row.source).box()


def flickr_entities(annotations: Sequence[Path], images: Path) -> list[Picture]:
    """The folder of Flickr30k Entities with Sentences/ID.txt and Annotations/ID.xml.

    A phrase is one concept; the box of a phrase of several objects is the smallest around them all
    (our choice). Phrases without a box are left out.
    """
    del images
    pictures = []
    for folder in annotations:
        texts = sorted((folder / "Sentences").glob("*.txt"))
        if not texts:
            raise DataError("no sentence file", source=str(folder), expected="Sentences/ID.txt")
        for path in texts:
            lines = [line for line in read_lines(path) if line.strip()]
            boxes = _entity_boxes(folder / "Annotations" / f"{path.stem}.xml")
            regions = [
                Row({"bb": boxes[number], "caption": phrase}, f"{path}:{row}")
                for row, line in enumerate(lines, 1)
                for number, phrase in _PHRASE.findall(line)
                if number in boxes
            ]
            captions = [_PHRASE.sub(lambda match: match[2], line) for line in lines]
            pictures.append(
                Picture(f"{path.stem}.jpg", str(path), captions, regions, lambda row: row.values)
            )
    return pictures


def _entity_boxes(path: Path) -> dict[str, list[int]]:
    """Entity number -> [x, y, w, h] around all its boxes, of one annotation file."""
    try:
        root = ET.fromstring(path.read_bytes())
        corners: dict[str, list[list[int]]] = {}
        for item in root.iter("object"):
            box = item.find("bndbox")
            if box is not None:
                sides = [int(box.findtext(name, "")) for name in ("xmin", "ymin", "xmax", "ymax")]
                for name in item.iter("name"):
                    corners.setdefault(str(name.text), []).append(sides)
    except (OSError, ET.ParseError, ValueError) as error:
        raise DataError(
            f"cannot be read ({error})", source=str(path), expected="boxes of Flickr30k Entities"
        ) from error
    found = {}
    for number, boxes in corners.items():
        left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
        right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
        found[number] = [left, top, right - left, bottom - top]
    return found


KINDS: Mapping[str, Callable[[Sequence[Path], Path], list[Picture]]] = {
    "coco-captions": coco_captions,
    "coco-objects": coco_objects,
    "vg-regions": genome_regions,
    "vg-objects": genome_objects,
    "flickr30k-entities": flickr_entities,
}
"""Kind -> its reader, whose docstring says which files it takes."""
