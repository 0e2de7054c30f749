"""COCO captioning on Karpathy's test images (Chen et al. 2015), scored as by coco-caption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.base import Benchmark, Split
from benchmarks.captions import coco_id, last_two, read_captions
from benchmarks.files import Files, under
from benchmarks.media import COCO, Images
from benchmarks.metrics import captions
from benchmarks.readers import read_json, table_rows
from benchmarks.rows import Row, each
from benchmarks.suites import coco_retrieval
from x2vlm.types import Record

FOLDERS = ("coco", "coco_caption", "annotations", "coco/annotations", "")
NOCAPS = ("nocaps", "nocaps/annotations", "annotations", "")
SERVER = {
    "val2014": ("val2014", under(FOLDERS, "image_info_val2014.json", "captions_val2014.json")),
    "test2014": ("test2014", under(FOLDERS, "image_info_test2014.json")),
    "nocaps_val": ("val", under(NOCAPS, "nocaps_val_image_info.json")),
    "nocaps_test": ("test", under(NOCAPS, "nocaps_test_image_info.json")),
}
"""split whose captions a server scores -> (folder of its images, its list of images)"""


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Images with their reference captions; "val2017" is COCO's own split, not Karpathy's.

    The splits of `SERVER` are images without captions, by the numbers that the server knows.
    """
    if split in SERVER:
        return _listed(files, split)
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


def _listed(files: Files, split: str) -> Iterator[Record]:
    folder, names = SERVER[split]
    path = files.find(split, names)
    bases = ("images/nocaps", "nocaps/images", "nocaps") if folder in ("val", "test") else COCO
    images = Images(files, bases)

    def make(row: Row) -> Record:
        id_ = row.id("id")
        return Record(
            id_, (images(f"{folder}/{row.text('file_name')}"),), (), group=id_, source=row.source
        )

    return each(files, table_rows(read_json(path), path, "images"), make)


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
        "val2014": Split("test", scored=False, note="all of it, for COCO's server"),
        "test2014": Split("test", scored=False, note="for COCO's server"),
        "nocaps_val": Split("test", scored=False, note="NoCaps (Agrawal et al., ICCV 2019)"),
        "nocaps_test": Split("test", scored=False, note="NoCaps, for its server"),
    },
    chance={"cider": 0.0},
    perfect=None,
    paper="Chen et al., 2015 (arXiv 1504.00325); split of Karpathy and Fei-Fei, CVPR 2015",
    url="https://cocodataset.org/",
    licence="annotations CC BY 4.0; images under their Flickr terms",
    access="open download: dataset_coco.json (Karpathy), train2014 and val2014 images (COCO)",
)
