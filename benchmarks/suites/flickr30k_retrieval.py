"""Flickr30K image-text retrieval on Karpathy's split (Young et al. 2014; Karpathy 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from benchmarks.base import Benchmark, Split
from benchmarks.captions import read_captions, stem
from benchmarks.files import Files, under
from benchmarks.media import FLICKR, Images
from benchmarks.metrics import retrieval
from x2vlm.types import Record

FOLDERS = ("flickr30k", "", "finetune", "data/finetune", "annotations", "data")
IMAGES = "flickr30k-images"
"""the folder in the official archive"""


def names(split: str) -> list[str]:
    """Where the annotations of a split may be, the official file first."""
    return under(
        FOLDERS,
        "dataset_flickr30k.json",
        f"flickr30k_{split}.json",
        f"{split}/state.json",
        f"data/{split}-*.parquet",
    )


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """The images of one Karpathy split with their five captions."""
    images = Images(files, FLICKR)
    return read_captions(
        files,
        files.find(split, names(split)),
        (split, "validation") if split == "val" else (split,),
        locate=lambda name: images(f"{IMAGES}/{PurePosixPath(name).name}"),
        name=stem,
        language=language,
    )


BENCHMARK = Benchmark(
    name="flickr30k_retrieval",
    task="retrieval",
    title="Flickr30K retrieval, 1K test",
    read=read,
    score=retrieval.score,
    headline="text_r1",
    splits={"train": Split("train"), "val": Split("validation"), "test": Split("test")},
    chance={"text_r1": 0.1, "image_r1": 0.1},
    options={"k": 256},
    paper="Young et al., TACL 2014; split of Karpathy and Fei-Fei, CVPR 2015",
    url="https://shannon.cs.illinois.edu/DenotationGraph/",
    licence="images: non-commercial research and education, by their owners' terms",
    access="images on request (form of the University of Illinois); dataset_flickr30k.json is open",
)
