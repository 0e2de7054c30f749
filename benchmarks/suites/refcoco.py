"""RefCOCO, RefCOCO+ (Yu et al. 2016, "unc"), RefCOCOg (Mao et al. 2016, "umd"): a phrase's box."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.base import Benchmark, Split
from benchmarks.captions import last_two
from benchmarks.files import Files, extent, under
from benchmarks.media import COCO, Images, image_size
from benchmarks.metrics import boxes
from benchmarks.readers import read_json, read_pickle, read_rows, table_rows
from benchmarks.rows import Row, each, index
from x2vlm.types import Media, Record

OFFICIAL = {"refcoco": "refcoco", "refcoco_plus": "refcoco+", "refcocog": "refcocog"}
"""our name -> folder of the official release"""
SPLITS = ("train", "val", "test", "testA", "testB")
"""what a reference's "split" may say"""
SPLIT_BY = {"refcoco": "unc", "refcoco_plus": "unc", "refcocog": "umd"}


def read(name: str, files: Files, split: str, language: str) -> Iterator[Record]:
    """The phrases of one split, each with its box."""
    path = files.find(split, _names(name, split))
    images = Images(files, COCO)
    if path.suffix == ".p":
        return _official(files, path, split, images, language)
    rows = read_rows(files, path)
    if rows and rows[0].has("ref_id") and not rows[0].has("bbox"):
        same = replace(files, prefer=extent(path, files.root))  # shares what it notes with `files`
        refs = same.find("refs", _refs_names(name))
        return _by_reference(rows, _official(same, refs, None, images, language), files)
    return each(files, rows, _row_maker(images, language))


def _names(name: str, split: str) -> list[str]:
    official = OFFICIAL[name]
    # the test file of X²-VLM holds testA and testB together: the references tell them apart
    mine = (f"{official}_{split}.json", f"{official}_{SPLIT_BY[name]}.{split}.jsonl")
    return [
        *_refs_names(name),
        *under((official, "refcoco", "", "finetune", "data/finetune"), *mine),
        *under((official, name), f"{split}/state.json", f"data/{split}-*.parquet"),
    ]


def _refs_names(name: str) -> list[str]:
    folders = (OFFICIAL[name], f"refcoco/avail/{OFFICIAL[name]}", f"refcoco/{OFFICIAL[name]}")
    more = tuple(f"{base}/{OFFICIAL[name]}" for base in ("refer/data", "finetune", "data/finetune"))
    return under((*folders, *more), f"refs({SPLIT_BY[name]}).p")


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
        size = _size(image_row, media)
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
        size = _size(row, media)
        target = _target(row, size)
        owner = row.id("question_id", "ann_id", "ref_id")
        texts = row.texts("answer", "phrase", "text")
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


def _size(row: Row, media: Media) -> list[int] | None:
    """[width, height] as annotated, else from the head of the image; None when it is not there.

    Scoring needs no size; training and prediction read the image anyway and report what is wrong.
    """
    if row.has("width", "height"):
        size = [row.integer("width"), row.integer("height")]
        if min(size) < 1:
            raise row.error(f"the image is {size[0]} x {size[1]} pixels", "at least 1 x 1")
        return size
    return image_size(media)


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
