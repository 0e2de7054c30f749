"""OVAD, box-oracle (Bravo et al. 2023): 117 attributes of given boxes on COCO val2017."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files, under
from benchmarks.media import COCO, Images
from benchmarks.metrics import attributes
from benchmarks.readers import read_json, table_rows
from benchmarks.rows import Row, each, index
from x2vlm.types import Record

NAMES = under(("ovad", "", "OVAD", "ovad/annotations"), "ovad2000.json")
PROMPTS = Path(__file__).with_name("ovad_prompts.json")


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """One record per annotated box; its id is the annotation's.

    target["labels"]: 1 present, 0 absent, -1 unknown, in the order of `labels(files)`;
    target["frequency"]: head, medium or tail of each attribute (one list, shared by all records).
    texts: the noun of the box.
    """
    path = files.find(split, NAMES)
    tables = read_json(path)
    images = index(table_rows(tables, path, "images"), "id")
    categories = index(table_rows(tables, path, "categories"), "id")
    nouns = {id_: row.text("name") for id_, row in categories.items()}
    known = _attributes(tables, path)
    frequency = [row["frequency"] for row in known]
    locate = Images(files, COCO)

    def make(row: Row) -> Record:
        image = images.get(row.id("image_id"))
        noun = nouns.get(row.id("category_id"))
        if image is None or noun is None:
            missing = "image" if image is None else "category"
            raise row.error(f"its {missing} is not in the file", f"one {missing} for each box")
        size = [image.integer("width"), image.integer("height")]
        vector = row.values.get("att_vec")
        if (
            not isinstance(vector, list)
            or len(vector) != len(known)
            or not all(type(value) is int and value in (1, 0, -1) for value in vector)
        ):
            raise row.wrong("att_vec", f"{len(known)} values out of 1, 0 and -1")
        target = {"box": row.box("bbox", size), "size": size, "labels": list(vector)}
        target["frequency"] = frequency
        media = locate(f"val2017/{image.text('file_name').rpartition('/')[2]}")
        return Record(
            row.id("id"), (media,), (noun,), target, language,
            group=row.id("image_id"), tags={"category": noun}, source=row.source,
        )  # fmt: skip

    return each(files, table_rows(tables, path, "annotations"), make)


def _attributes(tables: Any, path: Path) -> tuple[Mapping[str, str], ...]:
    """What the file says of each attribute; "name" is "type:synonym/synonym"."""
    rows = table_rows(tables, path, "attributes")
    return tuple(
        {
            "name": row.text("name"),
            "type": row.text("type") if row.has("type") else row.text("name").partition(":")[0],
            "is_has": row.word("is_has_att", ("is", "has")) if row.has("is_has_att") else "is",
            "frequency": row.word("freq_set", ("head", "medium", "tail")),
        }
        for row in rows
    )


def labels(files: Files) -> list[str]:
    """Names of the attributes, "type:synonym/synonym", in the order of the vectors."""
    path = files.find("test", NAMES)
    return [row["name"] for row in _attributes(read_json(path), path)]


def prompts(files: Files) -> dict[str, Any]:
    """{"templates": prompts by kind of attribute}, with {noun} and {words} to fill.

    They are data, `ovad_prompts.json`; `file.prompts=PATH` names others.
    """
    templates = read_json(files.look("prompts", ()) or PROMPTS)
    return {"templates": {kind: tuple(templates[kind]) for kind in ("is", "has")}}


BENCHMARK = Benchmark(
    name="ovad",
    task="attributes",
    title="OVAD: attributes of given boxes, zero-shot",
    read=read,
    score=attributes.score,
    headline="map",
    splits={"test": Split("test")},
    chance={"map": 8.6},
    labels=labels,
    file_options=prompts,
    paper="Bravo et al., CVPR 2023",
    url="https://ovad-benchmark.github.io/",
    licence="annotations CC BY-NC-SA 4.0; images under their Flickr terms",
    access="open download: ovad2000.json; COCO val2017 images",
)
