"""COCO image-text retrieval on Karpathy's split (Lin et al. 2014; Karpathy and Fei-Fei 2015)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.base import Benchmark, Split
from benchmarks.captions import coco_id, last_two, read_captions
from benchmarks.files import Files, under
from benchmarks.media import COCO, Images
from benchmarks.metrics import retrieval
from x2vlm.types import Record

FOLDERS = ("coco", "coco_retrieval", "", "finetune", "data/finetune", "annotations", "data")
KEEP: Mapping[str, Sequence[str]] = {
    "train": ("train", "restval"),
    "val": ("val", "validation"),
    "test": ("test",),
}
"""our split -> values of "split" in Karpathy's file: papers train on train and restval"""


def names(split: str) -> list[str]:
    """Where the annotations of a split may be, the official file first."""
    return under(
        FOLDERS,
        "dataset_coco.json",
        f"coco_{split}.json",
        f"coco_karpathy_{split}.json",
        f"{split}/state.json",
        f"data/{split}-*.parquet",
    )


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """The images of one Karpathy split with their captions."""
    images = Images(files, COCO)
    return read_captions(
        files,
        files.find(split, names(split)),
        KEEP[split],
        locate=lambda name: images(last_two(name)),
        name=coco_id,
        language=language,
    )


BENCHMARK = Benchmark(
    name="coco_retrieval",
    task="retrieval",
    title="COCO image-text retrieval, 5K test",
    read=read,
    score=retrieval.score,
    headline="text_r1",
    splits={"train": Split("train"), "val": Split("validation"), "test": Split("test")},
    chance={"text_r1": 0.02, "image_r1": 0.02},
    options={"k": 256},
    paper="Lin et al., ECCV 2014; split of Karpathy and Fei-Fei, CVPR 2015",
    url="https://cs.stanford.edu/people/karpathy/deepimagesent/",
    licence="annotations CC BY 4.0; images under their Flickr terms",
    access="open download: dataset_coco.json (Karpathy), train2014 and val2014 images (COCO)",
)
