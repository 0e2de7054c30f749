"""MaRVL (Liu et al. 2021): true or false of two images, in five languages and their cultures."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.base import Benchmark, Split
from benchmarks.captions import last_two
from benchmarks.files import Files, under
from benchmarks.media import Images
from benchmarks.metrics import labels as metric
from benchmarks.metrics.languages import by_language
from benchmarks.readers import read_rows
from benchmarks.rows import Row, each
from benchmarks.suites import nlvr2
from x2vlm.types import Media, Record

FOLDERS = ("iglue/marvl", "marvl", "MaRVL", "marvl/zero_shot/annotations", "marvl/annotations", "")
IMAGES = ("images/marvl", "marvl/images", "marvl_images", "marvl/marvl_images", "marvl", "images")
TESTED = ("id", "sw", "ta", "tr", "zh")


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Statements with their two images; training and validation data is English NLVR2."""
    if split in ("train", "val"):
        return nlvr2.read(files, "dev" if split == "val" else split, language)
    names = under(FOLDERS, "marvl-{language}.jsonl", "annotations/marvl-{language}.jsonl")
    path = files.find(split, names, language=language)
    images = Images(files, IMAGES)

    def picture(row: Row, field: str) -> Media:
        """The archive holds LANGUAGE/images/CONCEPT/FILE; rows of the hub hold the picture."""
        if (inside := row.picture(field)) is not None:
            return inside
        name = row.text(field)
        if "/" in name:
            return images(last_two(name))
        return images(f"{language}/images/{row.text('concept')}/{name}")

    def make(row: Row) -> Record:
        pair = (picture(row, "left_img"), picture(row, "right_img"))
        return Record(
            row.id("id"), pair, (row.text("caption"),), {"label": nlvr2.label_of(row)}, language,
            group=row.text("concept"), source=row.source,
        )  # fmt: skip

    return each(files, read_rows(files, path), make)


BENCHMARK = Benchmark(
    name="marvl",
    task="classification",
    title="MaRVL: true or false of two images, five languages",
    read=read,
    score=by_language(metric.score),
    headline="accuracy",
    splits={
        "train": Split("train", languages=("en",), note="English NLVR2"),
        "val": Split("validation", languages=("en",), note="English NLVR2 dev"),
        "test": Split("test", languages=TESTED),
    },
    chance={"accuracy": 50.0},
    options={"images": 2, "max_words": 30, "flip": "free"},  # read by NLVR2's official code
    languages=("en", *TESTED),
    labels=lambda _: nlvr2.LABELS,
    paper="Liu et al., EMNLP 2021",
    url="https://marvl-challenge.github.io/",
    licence="texts CC BY 4.0; images under their owners' terms",
    access="open download",
)
