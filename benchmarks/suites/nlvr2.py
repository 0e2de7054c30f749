"""NLVR2 (Suhr et al. 2019): is a statement true of a pair of photographs?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.base import Benchmark, Split
from benchmarks.captions import last_two, stem
from benchmarks.files import Files, under
from benchmarks.media import Images
from benchmarks.metrics import labels as metric
from benchmarks.readers import read_rows
from benchmarks.rows import Row, each
from x2vlm.types import Media, Record

FOLDERS = ("nlvr2", "nlvr2/data", "nlvr/nlvr2/data", "", "finetune", "data/finetune")
IMAGES = ("images/nlvr2", "nlvr2/images", "nlvr2", "images", "")
FILES = {"train": "train", "dev": "dev", "test": "test1"}
"""split -> name of the official file; "test" is test-P, the public one"""
LABELS = ("False", "True")


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Statements with their two images, left first."""
    official = FILES[split]
    names = under(
        FOLDERS,
        f"{official}.json",
        f"nlvr_{split}.json",
        f"{split}/state.json",
        f"data/{split}-*.parquet",
    )
    rows = read_rows(files, files.find(split, names))
    return each(files, rows, record_of(Images(files, IMAGES), official, language))


def record_of(images: Images, official: str, language: str) -> Callable[[Row], Record]:
    """Row -> Record, for the official rows, ALBEF's ("images": [left, right]) and hub rows."""
    seen: dict[str, int] = {}

    def make(row: Row) -> Record:
        if row.has("identifier"):
            id_ = row.text("identifier")
            parts = id_.split("-")
            if len(parts) != 4:
                raise row.wrong("identifier", '"SPLIT-SET-PAIR-SENTENCE", such as "dev-850-0-1"')
            pair, sentence = "-".join(parts[:3]), f"{parts[0]}-{parts[1]}-{parts[3]}"
            folder = f"train/{row.id('directory')}" if row.has("directory") else official
            left = row.picture("left_image") or images(f"{folder}/{pair}-img0.png")
            right = row.picture("right_image") or images(f"{folder}/{pair}-img1.png")
        else:
            left, right, pair = _pair(row, images)
            seen[pair] = seen.get(pair, -1) + 1
            id_, sentence = f"{pair}#{seen[pair]}", f"{pair.rpartition('-')[0]}-{_text(row)}"
        return Record(
            id_, (left, right), (_text(row),), {"label": label_of(row)}, language,
            group="-".join(pair.split("-")[:2]), tags={"sentence": sentence}, source=row.source,
        )  # fmt: skip

    return make


def _text(row: Row) -> str:
    return row.text("sentence", "caption", "question")


def _pair(row: Row, images: Images) -> tuple[Media, Media, str]:
    names = row.texts("images")
    if len(names) != 2:
        raise row.wrong("images", "two image names: left, right")
    left, right = (last_two(name) for name in names)
    return images(left), images(right), stem(left).rpartition("-")[0]


def label_of(row: Row) -> int:
    """0 for false, 1 for true, written as a boolean, a number or a word of any case."""
    value = row.values.get("label", row.values.get("answer"))
    found = {"false": 0, "true": 1, "0": 0, "1": 1}.get(str(value).lower())
    if found is None:
        raise row.wrong("label", "true or false")
    return found


BENCHMARK = Benchmark(
    name="nlvr2",
    task="classification",
    title="NLVR2: true or false of two images",
    read=read,
    score=partial(metric.score, consistency_by="sentence"),
    headline="accuracy",
    splits={
        "train": Split("train"),
        "dev": Split("validation"),
        "test": Split("test", note="test-P, the public test set (test1.json)"),
    },
    chance={"accuracy": 50.0},
    options={"images": 2, "flip": "free"},
    labels=lambda _: LABELS,
    paper="Suhr et al., ACL 2019",
    url="https://lil.nlp.cornell.edu/nlvr/",
    licence="annotations CC BY 4.0; images are not licensed by the authors (research use)",
    access="annotations open (github.com/lil-lab/nlvr); images on request by their form",
)
