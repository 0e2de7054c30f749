"""Winoground (Thrush et al. 2022): two captions of the same words, two images, which is which?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files, under
from benchmarks.metrics import winoground
from benchmarks.readers import read_rows
from benchmarks.rows import Row, each
from x2vlm.types import Media, Record

FOLDERS = ("winoground", "winoground/data", "data", "")
TAGS = ("tag", "secondary_tag", "collapsed_tag", "num_main_preds")


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """The examples: texts (c0, c1), images (i0, i1)."""
    names = under(
        FOLDERS, "examples.jsonl", "test/state.json", "data/test-*.parquet", "test-*.parquet"
    )
    # drawn look-alikes in the same layout, not a part of Winoground
    names += ["winoground/curated_synthetic/examples.jsonl"]
    path = files.find(split, names)
    if "curated" in str(path):
        files.stands_in = True
        files.note(f"{path} holds look-alike examples in Winoground's layout, not Winoground")
    folders = [path.parent, path.parent / "images", files.root / "images/winoground"]
    given = files.look("images", (), kind="folder")
    if given is not None:
        folders = [given]

    def make(row: Row) -> Record:
        pictures = tuple(_picture(row, f"image_{i}", folders) for i in (0, 1))
        texts = (row.text("caption_0"), row.text("caption_1"))
        told = [name for name in TAGS if row.values.get(name) not in (None, "")]
        tags = {name: row.values[name] for name in told if row.id(name)}
        id_ = row.id("id")
        return Record(
            id_, pictures, texts, {}, language, group=id_, tags=tags, source=row.source
        )  # fmt: skip

    return each(files, read_rows(files, path), make)


def _picture(row: Row, field: str, folders: Sequence[Path]) -> Media:
    """The official names have no suffix: "ex_0_img_0" is images/ex_0_img_0.png."""
    inline = row.picture(field)
    if inline is not None:
        return inline
    name = row.text(field)
    if not Path(name).suffix:
        name += ".png"
    places = [folder / name for folder in folders]
    return Media(str(next((place for place in places if place.is_file()), places[0])))


BENCHMARK = Benchmark(
    name="winoground",
    task="matching",
    title="Winoground, zero-shot",
    read=read,
    score=winoground.score,
    headline="group",
    splits={"test": Split("test")},
    chance={"text": 25.0, "image": 25.0, "group": 100.0 / 6.0},
    paper="Thrush et al., CVPR 2022",
    url="https://huggingface.co/datasets/facebook/winoground",
    licence="META IMAGES RESEARCH LICENSE (Getty Images): evaluation only, no redistribution",
    access="gated: accept the terms on the hub, then examples.jsonl and images.zip",
)
