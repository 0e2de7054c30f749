"""XVNLI (Bugliarello et al. 2022, IGLUE): does a photograph entail a sentence? Five languages."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files, under
from benchmarks.media import FLICKR, Images
from benchmarks.metrics import labels as metric
from benchmarks.metrics.languages import by_language
from benchmarks.readers import read_rows
from benchmarks.rows import Row, each
from benchmarks.suites.flickr30k_retrieval import IMAGES
from x2vlm.types import Record

FOLDERS = ("iglue/xvnli", "xvnli", "XVNLI", "iglue/XVNLI/annotations", "XVNLI/annotations", "")
LABELS = ("contradiction", "entailment", "neutral")


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Hypotheses about Flickr30K images; training data is English (SNLI-VE)."""
    name = {"val": "dev"}.get(split, split)
    path = files.find(split, under(FOLDERS, f"{{language}}/{name}.jsonl"), language=language)
    images = Images(files, FLICKR)

    def make(row: Row) -> Record:
        label = row.text("gold_label")
        if label not in LABELS:
            raise row.wrong("gold_label", f"one of {', '.join(LABELS)}")
        image = row.id("Flikr30kID", "Flickr30kID", "Flickr30K_ID").removesuffix(".jpg")
        return Record(
            row.text("pairID"), (images(f"{IMAGES}/{image}.jpg"),), (row.text("sentence2"),),
            {"label": LABELS.index(label)}, language, group=image, source=row.source,
        )  # fmt: skip

    return each(files, read_rows(files, path), make)


BENCHMARK = Benchmark(
    name="xvnli",
    task="classification",
    title="XVNLI: visual entailment in five languages",
    read=read,
    score=by_language(metric.score),
    headline="accuracy",
    splits={
        "train": Split("train", languages=("en",), note="English SNLI-VE"),
        "val": Split("validation", languages=("en",), note="English SNLI-VE"),
        "test": Split("test"),
    },
    chance={"accuracy": 100.0 / 3.0},
    languages=("en", "ar", "es", "fr", "ru"),
    labels=lambda _: LABELS,
    paper="Bugliarello et al., ICML 2022",
    url="https://github.com/e-bug/iglue",
    licence="IGLUE MIT; SNLI CC BY-SA 4.0; images as Flickr30K",
    access="texts open; images as Flickr30K",
)
