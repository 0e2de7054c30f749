"""MSVD-QA (Xu et al. 2017): one-word questions about MSVD clips, 1 000 answers as classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files, under
from benchmarks.media import Videos
from benchmarks.metrics import labels as metric
from benchmarks.readers import read_lines
from benchmarks.rows import Row, each
from benchmarks.suites.msrvtt_qa import classes, record_of, rows_of
from x2vlm.errors import DataError
from x2vlm.types import Record

FOLDERS = ("msvd_qa", "MSVD-QA", "msvd", "", "finetune/msvd_qa", "data/finetune/msvd_qa")
VIDEOS = ("videos/msvd", "msvd/videos", "msvd_qa/video", "MSVD-QA/video", "YouTubeClips", "videos")
CLASSES = 1000


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Questions with the class of their answer; None for answers outside the classes."""
    make = record_of(labels(files), Videos(files, VIDEOS), "vid{}", language)
    return each(files, rows_of(files, FOLDERS, split), _named(files, make))


def _named(files: Files, make: Callable[[Row], Record]) -> Callable[[Row], Record]:
    """Official rows number the videos: `youtube_mapping.txt` ("NAME vidN") names the clips."""
    clips: dict[str, str] = {}

    def named(row: Row) -> Record:
        number = row.id("video_id", "video")
        if not number.isdecimal():
            return make(row)
        if not clips:
            clips.update(_mapping(files))
        if number not in clips:
            raise row.error(f"video {number} is not in youtube_mapping.txt", "every video once")
        return make(Row({**row.values, "video_id": clips[number]}, row.source, row.key))

    return named


def _mapping(files: Files) -> dict[str, str]:
    path = files.find("mapping", under(FOLDERS, "youtube_mapping.txt"))
    found = {}
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if len(words) != 2 or not words[1].startswith("vid"):
            raise DataError(f"holds {line!r}", source=f"{path}:{number}", expected='"NAME vidN"')
        found[words[1].removeprefix("vid")] = words[0]
    return found


def labels(files: Files) -> list[str]:
    """The answers that are classes."""
    return classes(files, FOLDERS, CLASSES)


BENCHMARK = Benchmark(
    name="msvd_qa",
    task="classification",
    title="MSVD-QA",
    read=read,
    score=partial(metric.score, tags=("answer_type",)),
    headline="accuracy",
    splits={"train": Split("train"), "val": Split("validation"), "test": Split("test")},
    chance={"accuracy": 100.0 / CLASSES},
    options={"text": "question"},
    labels=labels,
    media="video",
    paper="Xu et al., ACM Multimedia 2017; videos of Chen and Dolan, ACL 2011",
    url="https://github.com/xudejing/video-question-answering",
    licence="videos: research use; no licence is stated for the questions",
    access="questions open; videos from the MSVD page (YouTubeClips)",
)
