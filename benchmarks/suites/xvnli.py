"""XVNLI (Bugliarello et al. 2022, IGLUE): does a photograph entail a sentence? Five languages."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.base import Benchmark, Split
from benchmarks.captions import IGLUE_WORDS
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
UNDECIDED = "-"


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Hypotheses about Flickr30K images; training data is English (SNLI-VE).

    14 test rows have no gold label ("-"): IGLUE keeps them, and no answer to them is right;
    X²-VLM and CCLM leave them out ("test_labelled"), and so does training.
    """
    name = {"val": "dev", "test_labelled": "test"}.get(split, split)
    path = files.find(name, under(FOLDERS, f"{{language}}/{name}.jsonl"), language=language)
    images = Images(files, FLICKR)

    def make(row: Row) -> Record | None:
        label = row.text("gold_label")
        if label not in (*LABELS, UNDECIDED):
            raise row.wrong("gold_label", f"one of {', '.join(LABELS)}, or {UNDECIDED!r}")
        if label == UNDECIDED and split != "test":
            return None
        image = row.id("Flikr30kID", "Flickr30kID", "Flickr30K_ID").removesuffix(".jpg")
        media = row.picture("image") or images(f"{IMAGES}/{image}.jpg")
        return Record(
            row.text("pairID"), (media,), (row.text("sentence2"),),
            {"label": None if label == UNDECIDED else LABELS.index(label)}, language,
            group=image, source=row.source,
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
        "test": Split("test", note="as IGLUE: 14 rows without a gold label count as wrong"),
        "test_labelled": Split("test", note="as X²-VLM: without those 14 rows"),
    },
    chance={"accuracy": 100.0 / 3.0},
    options={"max_words": IGLUE_WORDS, "flip": "free"},
    languages=("en", "ar", "es", "fr", "ru"),
    labels=lambda _: LABELS,
    paper="Bugliarello et al., ICML 2022",
    url="https://github.com/e-bug/iglue",
    licence="IGLUE MIT; SNLI CC BY-SA 4.0; images as Flickr30K",
    access="texts open; images as Flickr30K",
)
