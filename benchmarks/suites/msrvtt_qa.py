"""MSRVTT-QA (Xu et al. 2017): one-word questions about MSR-VTT videos, 1 500 answers as classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files, under
from benchmarks.media import Videos
from benchmarks.metrics import labels as metric
from benchmarks.readers import read_rows
from benchmarks.rows import Row, each
from benchmarks.suites import msrvtt_retrieval
from benchmarks.suites.vqav2 import answer_list
from x2vlm.types import Record

FOLDERS = ("msrvtt_qa", "MSRVTT-QA", "msrvtt", "", "finetune/msrvtt_qa", "data/finetune/msrvtt_qa")
CLASSES = 1500


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Questions with the class of their answer; None for answers outside the classes."""
    make = record_of(labels(files), Videos(files, msrvtt_retrieval.VIDEOS), "video{}", language)
    return each(files, rows_of(files, FOLDERS, split), make)


def names(folders: Sequence[str], split: str) -> list[str]:
    """Official JSON, LAVIS's JSON, ClipBERT's JSON lines."""
    return under(folders, f"{split}_qa.json", f"qa_{split}.json", f"{split}.jsonl")


def record_of(
    answers: Sequence[str], videos: Videos, video: str, language: str
) -> Callable[[Row], Record]:
    """Row -> Record. video: name of a video of which the row has only the number, "{}" its place.

    Ids are those of the file, else the row's number in it (ClipBERT's layout has none).
    """
    index = {answer: place for place, answer in enumerate(answers)}

    def make(row: Row) -> Record:
        answer = row.text("answer")
        name = row.id("video_id", "video")
        media = videos(video.format(name) if name.isdecimal() else name)
        question = row.text("question")
        told = row.values.get("answer_type") not in (None, "")
        kind = row.text("answer_type") if told else question.split()[0].lower()
        known = row.has("question_id") or row.has("id")
        id_ = row.key or (row.id("question_id", "id") if known else row.source.rpartition(":")[2])
        return Record(
            id_, (media,), (question,), {"label": index.get(answer), "answer": answer}, language,
            group=name, tags={"answer_type": kind}, source=row.source,
        )  # fmt: skip

    return make


def most_frequent(rows: Sequence[Row], count: int) -> list[str]:
    """The `count` most frequent answers, ties in alphabetical order."""
    counts = Counter(row.text("answer") for row in rows)
    return sorted(counts, key=lambda answer: (-counts[answer], answer))[:count]


def classes(files: Files, folders: Sequence[str], count: int) -> list[str]:
    """The answers that are classes: the user's map, else the most frequent training answers."""
    path = files.look("answers", under(folders, "train_ans2label.json", "qa_ans2label.json"))
    if path is not None:
        return answer_list(path)
    return most_frequent(rows_of(files, folders, "train"), count)


def rows_of(files: Files, folders: Sequence[str], split: str) -> list[Row]:
    """The rows of a split, in whichever layout is there."""
    return read_rows(files, files.find(split, names(folders, split)))


def labels(files: Files) -> list[str]:
    """The answers that are classes."""
    return classes(files, FOLDERS, CLASSES)


BENCHMARK = Benchmark(
    name="msrvtt_qa",
    task="classification",
    title="MSRVTT-QA",
    read=read,
    score=partial(metric.score, tags=("answer_type",)),
    headline="accuracy",
    splits={"train": Split("train"), "val": Split("validation"), "test": Split("test")},
    chance={"accuracy": 100.0 / CLASSES},
    options={"text": "question"},
    labels=labels,
    media="video",
    paper="Xu et al., ACM Multimedia 2017",
    url="https://github.com/xudejing/video-question-answering",
    licence="videos: research use; no licence is stated for the questions",
    access="questions open; videos as MSRVTT retrieval",
)
