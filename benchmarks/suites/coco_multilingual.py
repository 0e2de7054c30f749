"""COCO retrieval in English, Chinese (COCO-CN, Li et al. 2019) and Japanese (STAIR, 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from benchmarks.base import Benchmark, Split
from benchmarks.captions import coco_id, last_two, read_captions, retrieval_record
from benchmarks.files import Files, under
from benchmarks.media import COCO, Images
from benchmarks.metrics import retrieval
from benchmarks.metrics.languages import by_language
from benchmarks.readers import AGAIN, read_json, read_lines, read_rows, table_rows
from benchmarks.rows import Row, each
from benchmarks.suites import coco_retrieval
from x2vlm.errors import DataError
from x2vlm.types import Record

LANGUAGES = ("en", "zh", "ja")
CN = ("coco_cn", "coco-cn", "coco-cn-version1805v1.1", "coco_multilingual", "coco/coco-cn", "")
STAIR = ("stair", "stair_captions", "STAIR-captions", "coco_multilingual", "coco", "")
SMALL = 1000
"""images of the 1K test: the first of Karpathy's"""


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Images with the captions of one language.

    English and Japanese follow Karpathy's split; COCO-CN brings its own, with 1 000 test images.
    A caption file given for a split (any layout of `benchmarks.captions`) is read as it is.
    """
    part = "test" if split == "test_1k" else split
    if f"{split}_{language}" in files.given:
        images = Images(files, COCO)
        return read_captions(
            files, files.find(split, (), language=language), coco_retrieval.KEEP[part],
            locate=lambda name: images(last_two(name)), name=coco_id, language=language,
        )  # fmt: skip
    if language == "zh":
        return _coco_cn(files, part)
    records = (
        coco_retrieval.read(files, part, language) if language == "en" else _stair(files, part)
    )
    return islice(records, SMALL) if split == "test_1k" else records


def _coco_cn(files: Files, split: str) -> Iterator[Record]:
    """COCO-CN: lists of image names per split, and lines "IMAGE#…<space or tab>caption"."""
    names = under(CN, "imageid.human-written-caption.txt")
    path = files.find("captions", names, language="zh")
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(path), 1):
        head, _, text = line.replace("\t", " ").partition(" ")
        if "#" not in head or not text.strip():
            raise DataError(
                f"holds {line[:60]!r}", source=f"{path}:{number}", expected="IMAGE#NUMBER caption"
            )
        captions.setdefault(head.partition("#")[0], []).append(text.strip())
    chosen = files.find(split, under(CN, f"coco-cn_{split}.txt"), language="zh")
    images = Images(files, COCO)

    def make(row: Row) -> Record:
        name = row.text("image").removesuffix(".jpg")
        if name not in captions:
            raise row.error(f"image {name} has no caption in {path.name}", "at least one")
        folder = name.split("_")[1] if name.count("_") == 2 else ""
        media = images(f"{folder}/{name}.jpg")
        return retrieval_record(coco_id(name), media, captions[name], row.source, "zh")

    rows = (
        Row({"image": line.strip()}, f"{chosen}:{number}")
        for number, line in enumerate(read_lines(chosen), 1)
    )
    return each(files, rows, make)


def _stair(files: Files, split: str) -> Iterator[Record]:
    """STAIR's two caption files, joined to the images of Karpathy's split."""
    captions: dict[str, list[str]] = {}
    parts = ("train", "val") if split == "train" else ("val",)
    for part in parts:
        names = under(STAIR, f"stair_captions_v1.2_{part}.json", f"stair_captions_v1.1_{part}.json")
        path = files.find(f"stair_{part}", names, language="ja")
        for row in table_rows(read_json(path), path, "annotations"):
            captions.setdefault(row.id("image_id"), []).append(row.text("caption"))
    karpathy = files.find(split, coco_retrieval.names(split))
    if not read_rows(files, karpathy, table="images"):
        raise DataError("is empty", source=str(karpathy), expected="images", fix=AGAIN)

    for record in coco_retrieval.read(files, split, "ja"):
        texts = captions.get(record.id)
        if texts:
            yield retrieval_record(record.id, record.images[0], texts, record.source, "ja")
        else:
            files.skip(
                DataError(
                    f"image {record.id} has no Japanese caption",
                    source=record.source,
                    expected="at least one in stair_captions_v1.2_{train,val}.json",
                    fix="fetch STAIR captions again",
                )
            )


BENCHMARK = Benchmark(
    name="coco_multilingual",
    task="retrieval",
    title="COCO retrieval in en, zh, ja",
    read=read,
    score=by_language(retrieval.score),
    headline="mean_recall",
    splits={
        "train": Split("train"),
        "val": Split("validation"),
        "test": Split("test", note="5K in en and ja; the 1 000 images of COCO-CN in zh"),
        "test_1k": Split("test", note="the first 1 000 images of Karpathy's test in en and ja"),
    },
    chance={"mean_recall": 0.32},
    options={"k": 256},
    languages=LANGUAGES,
    paper="Li et al., IEEE Multimedia 2019 (COCO-CN); Yoshikawa et al., ACL 2017 (STAIR)",
    url="https://github.com/li-xirong/coco-cn",
    licence="STAIR CC BY 4.0; COCO-CN research use; images under their Flickr terms",
    access="STAIR open (stair-lab-cit/STAIR-captions); COCO-CN on request to its authors",
)
