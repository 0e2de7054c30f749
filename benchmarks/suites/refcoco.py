"""RefCOCO, RefCOCO+ (Yu et al. 2016, "unc"), RefCOCOg (Mao et al. 2016, "umd"): a phrase's box."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark, Split
from benchmarks.captions import last_two
from benchmarks.files import Files, extent, under
from benchmarks.media import COCO, Images
from benchmarks.metrics import boxes
from benchmarks.phrases import (
    OWNERS,
    annotated_size,
    are_rec,
    is_mdetr,
    read_mdetr,
    read_rec,
)
from benchmarks.readers import read_bytes, read_json, read_pickle, read_rows, table_rows
from benchmarks.rows import Row, each, index
from x2vlm.errors import DataError, NoFileError
from x2vlm.types import Record

OFFICIAL = {"refcoco": "refcoco", "refcoco_plus": "refcoco+", "refcocog": "refcocog"}
"""our name -> folder of the official release"""
SPLITS = ("train", "val", "test", "testA", "testB")
"""what a reference's "split" may say"""
LAYOUTS = "refs(…).p, rows of X²-VLM, TransVG, the hub or REC, or MDETR's images with captions"
SPLIT_BY = {"refcoco": "unc", "refcoco_plus": "unc", "refcocog": "umd"}


def read(name: str, files: Files, split: str, language: str) -> Iterator[Record]:
    """The phrases of one split, each with its box."""
    path = _annotations(name, files, split)
    images = Images(files, COCO)
    if path.suffix == ".p":
        return _official(files, path, split, images, language)
    tables = _tables(path)
    if tables is not None and is_mdetr(tables):
        return read_mdetr(files, path, tables, images, language, OFFICIAL[name])
    if tables is not None:
        raise DataError(
            "has COCO's layout (images, annotations) without phrases",
            source=str(path),
            expected=LAYOUTS,
            fix=f"name another file: file.{split}=PATH",
        )
    rows = read_rows(files, path)
    if are_rec(rows):
        return read_rec(files, path, rows, images, language)
    if rows and rows[0].has("ref_id") and not rows[0].has("bbox"):
        same = replace(files, prefer=extent(path, files.root))  # shares what it notes with `files`
        refs = same.find("refs", _refs_names(name))
        return _by_reference(rows, _official(same, refs, None, images, language), files)
    return each(files, rows, _row_maker(images, language))


def _annotations(name: str, files: Files, split: str) -> Path:
    """The file of a split. References of another division of the same images are another test."""
    by = SPLIT_BY[name]
    role = "refs" if "refs" in files.given and split not in files.given else split
    try:
        path = files.find(role, _names(name, split))
    except NoFileError as error:
        others = [
            place
            for folder in _folders(name)
            for place in sorted((files.root / folder).glob("refs(*).p"))
        ]
        if not others:
            raise
        raise NoFileError(
            f"{error.what}; {others[0].name} is another split, papers and this benchmark use {by}",
            source=error.source,
            expected=error.expected,
            fix=error.fix,
        ) from error
    other = re.fullmatch(r"refs\((\w+)\)\.p", path.name)
    if other and other[1] != by:
        raise DataError(
            f"holds the split {other[1]!r} of {OFFICIAL[name]}, not {by!r}",
            source=str(path),
            expected=f"refs({by}).p, the split that papers report and this benchmark is",
            fix=f"name that file: file.{split}=PATH",
        )
    return path


def _tables(path: Path) -> Mapping[str, Any] | None:
    """A JSON object that holds COCO's two tables; None for every other file."""
    if path.suffix not in (".json", ".jsonl") or b'"annotations"' not in read_bytes(path):
        return None
    value = read_json(path)
    return value if isinstance(value, Mapping) and {"images", "annotations"} <= set(value) else None


def _names(name: str, split: str) -> list[str]:
    official = OFFICIAL[name]
    # the test file of X²-VLM holds testA and testB together: the references tell them apart
    by = SPLIT_BY[name]
    mine = (f"{official}_{split}.json", f"{official}_{by}.{split}.jsonl")
    theirs = (f"finetune_{official}_{split}.json", f"REC_{official}_{by}_{split}.jsonl")
    return [
        *_refs_names(name),
        *under((official, "refcoco", "", "finetune", "data/finetune"), *mine, *theirs),
        *under((official, name), f"{split}/state.json", f"data/{split}-*.parquet"),
    ]


def _refs_names(name: str) -> list[str]:
    return under(_folders(name), f"refs({SPLIT_BY[name]}).p")


def _folders(name: str) -> tuple[str, ...]:
    folders = (OFFICIAL[name], f"refcoco/avail/{OFFICIAL[name]}", f"refcoco/{OFFICIAL[name]}")
    bases = ("refer/data", "finetune", "data/finetune")
    return (*folders, *(f"{base}/{OFFICIAL[name]}" for base in bases))


def _official(
    files: Files, path: Path, split: str | None, images: Images, language: str
) -> Iterator[Record]:
    """REFER's two files joined: references with their sentences, and COCO instances.

    split: None keeps all, with the split in the tags.
    """
    instances = files.find("instances", [str(path.parent.resolve() / "instances.json")])
    tables = read_json(instances)
    sizes = index(table_rows(tables, instances, "images"), "id")
    found = index(table_rows(tables, instances, "annotations"), "id")
    references = table_rows(read_pickle(path), path)

    def make(row: Row) -> Sequence[Record]:
        if row.word("split", SPLITS) != split and split is not None:
            return ()
        box_row = found.get(row.id("ann_id"))
        image_row = sizes.get(row.id("image_id"))
        if box_row is None or image_row is None:
            missing = "annotation" if box_row is None else "image"
            raise row.error(
                f"its {missing} is not in {instances.name}", f"one {missing} for each reference"
            )
        if not row.rows("sentences"):
            raise row.wrong("sentences", "at least one")
        media = images(f"train2014/{image_row.text('file_name')}")
        size = annotated_size(image_row, media)
        target = _target(box_row, size)
        tags = {"ref_id": row.id("ref_id"), "split": row.text("split")}
        return [
            Record(
                s.id("sent_id"), (media,), (s.text("sent"),), target, language,
                group=row.id("image_id"), tags=tags, source=row.source,
            )
            for s in row.rows("sentences")
        ]  # fmt: skip

    return each(files, references, make)


def _by_reference(rows: list[Row], official: Iterable[Record], files: Files) -> Iterator[Record]:
    """X²-VLM's evaluation rows {"text", "ref_id", "image"}: the boxes are in the official files."""
    waiting: dict[tuple[str, str], list[Record]] = {}
    for record in official:
        waiting.setdefault((record.tags["ref_id"], record.texts[0]), []).append(record)

    def make(row: Row) -> Record:
        found = waiting.get((row.id("ref_id"), row.text("text")))
        if not found:
            raise row.error(
                f"reference {row.id('ref_id')} has no such sentence in the official references"
            )
        return found.pop(0)

    return each(files, rows, make)


def _row_maker(images: Images, language: str) -> Callable[[Row], list[Record]]:
    """Rows that hold the box: X²-VLM training JSON, TransVG tuples, hub rows of several phrases."""
    seen: dict[str, int] = {}

    def make(row: Row) -> list[Record]:
        media = row.picture("image") or images(last_two(row.text("image")))
        size = annotated_size(row, media)
        target = _target(row, size)
        owner = row.id(*OWNERS)
        texts = row.texts("answer", "phrase", "text", "sent", "expression")
        first = seen.get(owner, 0)
        seen[owner] = first + len(texts)
        group = row.id("image_id", "file_name") if row.has("image_id") else media.path
        return [
            Record(
                f"{owner}_{k}", (media,), (text,), target, language, group=group, source=row.source
            )
            for k, text in enumerate(texts, first)
        ]

    return make


def _target(row: Row, size: list[int] | None) -> dict[str, list[float] | list[int]]:
    box = row.box("bbox", size)
    return {"box": box, "size": size} if size else {"box": box}


_SPLITS: Mapping[str, Split] = {
    "train": Split("train"),
    "val": Split("validation"),
    "testA": Split("test", note="people"),
    "testB": Split("test", note="other objects"),
}


def _benchmark(name: str, title: str, splits: Mapping[str, Split], paper: str) -> Benchmark:
    return Benchmark(
        name=name,
        task="grounding",
        title=title,
        read=partial(read, name),
        score=boxes.score,
        headline="accuracy",
        splits=splits,
        chance={"accuracy": 0.0},
        paper=paper,
        url="https://github.com/lichengunc/refer",
        licence="annotations Apache 2.0 (refer); images under their Flickr terms",
        access="open: refs(unc).p, refs(umd).p, instances.json (links of `refer` are mirrored); "
        "COCO train2014 images",
    )


BENCHMARKS = (
    _benchmark("refcoco", "RefCOCO (unc)", _SPLITS, "Yu et al., ECCV 2016"),
    _benchmark("refcoco_plus", "RefCOCO+ (unc)", _SPLITS, "Yu et al., ECCV 2016"),
    _benchmark(
        "refcocog",
        "RefCOCOg (umd)",
        {"train": Split("train"), "val": Split("validation"), "test": Split("test")},
        "Mao et al., CVPR 2016; split of Nagaraja et al., ECCV 2016",
    ),
)
