"""COCO captioning on Karpathy's test images (Chen et al. 2015), scored as by coco-caption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.base import Benchmark, Split
from benchmarks.captions import coco_id, last_two, read_captions
from benchmarks.files import Files, under
from benchmarks.media import COCO, Images
from benchmarks.metrics import captions
from benchmarks.suites import coco_retrieval
from x2vlm.types import Record

FOLDERS = ("coco", "coco_caption", "annotations", "coco/annotations", "")


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Images with their reference captions; "val2017" is COCO's own split, not Karpathy's."""
    if split == "val2017":
        images = Images(files, COCO)
        path = files.find(split, under(FOLDERS, "captions_val2017.json"))
        records = read_captions(
            files,
            path,
            (),
            locate=lambda name: images(last_two(name if "/" in name else f"val2017/{name}")),
            name=coco_id,
            language=language,
        )
    else:
        records = coco_retrieval.read(files, split, language)
    return (replace(record, target={}) for record in records)


BENCHMARK = Benchmark(
    name="coco_captioning",
    task="captioning",
    title="COCO captioning, Karpathy test",
    read=read,
    score=captions.score,
    headline="cider",
    splits={
        "train": Split("train"),
        "val": Split("validation"),
        "test": Split("test"),
        "val2017": Split("validation", note="COCO's own 2017 split; papers report Karpathy test"),
    },
    chance={"cider": 0.0},
    perfect=None,
    paper="Chen et al., 2015 (arXiv 1504.00325); split of Karpathy and Fei-Fei, CVPR 2015",
    url="https://cocodataset.org/",
    licence="annotations CC BY 4.0; images under their Flickr terms",
    access="open download: dataset_coco.json (Karpathy), train2014 and val2014 images (COCO)",
)
