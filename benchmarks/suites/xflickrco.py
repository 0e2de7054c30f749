"""xFlickr&CO (Bugliarello et al. 2022, IGLUE): retrieval on 2 000 images in eight languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from benchmarks.base import Benchmark, Split
from benchmarks.captions import IGLUE_WORDS, read_captions, stem
from benchmarks.files import Files, under
from benchmarks.media import COCO, FLICKR, Images
from benchmarks.metrics import retrieval
from benchmarks.metrics.languages import by_language
from benchmarks.suites import flickr30k_retrieval
from x2vlm.types import Media, Record

FOLDERS = ("iglue/xflickrco", "xflickrco", "xFlickrCO", "xFlickrCO/annotations", "")


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """1 000 images of Flickr30K and 1 000 of COCO, one caption each; trained on Flickr30K."""
    if split in ("train", "val"):
        return flickr30k_retrieval.read(files, split, language)
    path = files.find(split, under(FOLDERS, "{language}/test.jsonl"), language=language)
    coco, flickr = Images(files, COCO), Images(files, FLICKR)

    def locate(name: str) -> Media:
        file = PurePosixPath(name).name
        if file.startswith("COCO_"):
            return coco(f"{file.split('_')[1]}/{file}")
        return flickr(f"{flickr30k_retrieval.IMAGES}/{file}")

    # one German caption is empty in the official file, and counted in the published scores
    return read_captions(
        files, path, (split,), locate=locate, name=stem, language=language, empty=True
    )


BENCHMARK = Benchmark(
    name="xflickrco",
    task="retrieval",
    title="xFlickr&CO retrieval in eight languages",
    read=read,
    score=by_language(retrieval.score),
    headline="image_r1",
    splits={
        "train": Split("train", languages=("en",), note="English Flickr30K"),
        "val": Split("validation", languages=("en",), note="English Flickr30K"),
        "test": Split("test"),
    },
    chance={"image_r1": 0.05, "text_r1": 0.05},
    options={"k": 256, "max_words": IGLUE_WORDS, "bare": "keep"},
    languages=("en", "de", "es", "id", "ja", "ru", "tr", "zh"),
    paper="Bugliarello et al., ICML 2022",
    url="https://github.com/e-bug/iglue",
    licence="IGLUE MIT; images as Flickr30K and COCO",
    access="texts open; images as Flickr30K and COCO",
)
