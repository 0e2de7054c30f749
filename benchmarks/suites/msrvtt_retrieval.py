"""MSR-VTT text-video retrieval (Xu et al. 2016) on the 1kA test of Yu et al. (2018), or in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.base import Benchmark, Split
from benchmarks.captions import read_captions, retrieval_record, stem
from benchmarks.files import Files, under
from benchmarks.media import Videos
from benchmarks.metrics import retrieval
from benchmarks.readers import AGAIN, read_json, read_rows, table_rows
from benchmarks.rows import Row, each, index
from x2vlm.errors import DataError
from x2vlm.types import Record

FOLDERS = ("msrvtt", "MSRVTT", "", "finetune", "data/finetune", "msrvtt_data", "msrvtt/annotation")
VIDEOS = (
    "videos/msrvtt", "msrvtt/videos", "videos", "msrvtt/videos/all", "MSRVTT/videos/all",
    "TrainValVideo", "TestVideo", "images/msrvtt_frames", "msrvtt/frames", "frames",
)  # fmt: skip
OFFICIAL = under(FOLDERS, "MSRVTT_data.json", "train_val_videodatainfo.json")
FULL = {"train_full": "train", "val": "validate", "test_full": "test"}
"""our split -> the official one (6 513, 497 and 2 990 videos)"""


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Videos with their captions: one each on the 1kA test, twenty elsewhere."""
    videos = Videos(files, VIDEOS)
    captions = partial(
        read_captions, files, keep=(split,), locate=videos, name=stem, language=language
    )
    if split == "test":
        names = under(FOLDERS, "MSRVTT_JSFUSION_test.csv", "test.jsonl", "msrvtt_test.json")
        names += under(FOLDERS, "test_1k/state.json", "test/state.json", "test_1k/test-*.parquet")
        return captions(files.find(split, names))
    if split == "val":
        path = files.look("val", under(FOLDERS, "captions_val.coco.json", "val.jsonl"))
        path = path or files.look("val", under(FOLDERS, "captions_val.avail*.coco.json"))
        if path is not None:
            return captions(path)
    if split == "train":
        names = under(FOLDERS, "MSRVTT_train.9k.csv", "train.jsonl", "msrvtt_train.json")
        path = files.find(split, names)
        if path.suffix != ".csv":
            return captions(path)
        chosen: Sequence[Row] = read_rows(files, path)
        return _official(files, chosen, videos, language)
    path = files.find("data", [*OFFICIAL, *under(FOLDERS, "test_videodatainfo.json")])
    rows = table_rows(read_json(path), path, "videos")
    chosen = [row for row in rows if row.word("split", FULL.values()) == FULL[split]]
    return _official(files, chosen, videos, language)


def _official(
    files: Files, chosen: Sequence[Row], videos: Videos, language: str
) -> Iterator[Record]:
    """Records of the chosen videos, their captions from the official sentence table."""
    path = files.find("data", OFFICIAL)
    texts = _sentences(path)

    def make(row: Row) -> Record:
        id_ = row.text("video_id")
        if id_ not in texts:
            raise row.error(f"video {id_} has no sentence in {path.name}", "at least one")
        return retrieval_record(id_, videos(id_), texts[id_], row.source, language)

    return each(files, chosen, make)


def _sentences(path: Path) -> Mapping[str, list[str]]:
    value, texts = read_json(path), dict[str, list[str]]()
    for row in table_rows(value, path, "sentences"):
        texts.setdefault(row.text("video_id"), []).append(row.text("caption"))
    listed = value.get("videos") if isinstance(value, Mapping) else None
    known = index(table_rows(listed, path), "video_id") if listed else texts
    for id_ in texts.keys() - known.keys():
        raise DataError(
            f"a sentence is about video {id_}, which is not among the videos of the file",
            source=str(path), expected="one of them", fix=AGAIN,
        )  # fmt: skip
    return texts


BENCHMARK = Benchmark(
    name="msrvtt_retrieval",
    task="retrieval",
    title="MSRVTT text-video retrieval, 1kA",
    read=read,
    score=partial(retrieval.score, ranks=True),
    headline="image_r1",
    splits={
        "train": Split("train", note="the 9 000 videos that go with 1kA"),
        "train_full": Split("train", note="the official 6 513 videos"),
        "val": Split("validation", note="the official 497 videos"),
        "test": Split("test", note="1kA: 1 000 videos, one caption each"),
        "test_full": Split("test", note="the official 2 990 videos, twenty captions each"),
    },
    chance={"text_r1": 0.1, "image_r1": 0.1},
    lower_is_better=frozenset(
        f"{way}_{kind}_rank" for way in ("text", "image") for kind in ("median", "mean")
    ),
    options={"k": 256},
    media="video",
    paper="Xu et al., CVPR 2016; 1kA of Yu et al., ECCV 2018",
    url="https://github.com/antoine77340/MIL-NCE_HowTo100M",
    licence="videos: research use",
    access="annotations open; videos from mirrors of the MSR-VTT challenge",
)
