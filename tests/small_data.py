"""A few good rows of every benchmark, in the official file names: what readers are tested on.

`CASES[name]` says what to write and where its rows are, so that a test can spoil one of them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.small_rows import (
    COCO,
    COCO_PICTURES,
    FLICKR,
    FLICKR_PICTURES,
    GQA,
    INSTANCES,
    MAP,
    MARVL_ROWS,
    MSRVTT_DATA,
    NLVR2_PICTURES,
    NLVR2_ROWS,
    OVAD,
    QA_ROWS,
    REFCOCO_PICTURES,
    REFS,
    STAIR,
    VIDEOS,
    VQA_ANNOTATIONS,
    VQA_QUESTIONS,
    WINOGROUND_ROWS,
    WIT_ROWS,
    XFLICKR_ROWS,
    XVNLI_ROWS,
    jpeg,
    karpathy,
    png,
)


@dataclass(frozen=True)
class Case:
    """One benchmark's small data.

    files: path -> content (dict and list: JSON, JSON lines when the path says so; str: text;
    bytes: as they are). main: the file that holds the rows, `table` the list of them in it.
    text, id, box, answers: the fields of a row to spoil; image: a field that names an entry of
    another table. pictures: images to draw. count: records of `split` in `language`.
    """

    split: str
    main: str
    files: Mapping[str, Any]
    pictures: tuple[str, ...]
    count: int
    text: str
    id: str = ""
    table: str = ""
    language: str = "en"
    box: str = ""
    answers: str = ""
    image: str = ""


def encode(path: str, content: Any) -> bytes:
    """A file's bytes from its content: see `Case.files`."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if path.endswith(".p"):
        return pickle.dumps(content, protocol=2)
    if path.endswith(".jsonl") or path.startswith("nlvr2/"):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content).encode()
    return json.dumps(content, ensure_ascii=False).encode()


def put(root: Path, path: str, content: Any) -> Path:
    """Write one file below `root`."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encode(path, content))
    return target


def draw(root: Path, pictures: Iterable[str]) -> None:
    """Draw the images below `root`."""
    for path in pictures:
        put(root, path, png() if path.endswith(".png") else jpeg())


def write(root: Path, case: Case) -> Path:
    """Write the case below `root`; returns the main file."""
    for path, content in case.files.items():
        put(root, path, content)
    draw(root, case.pictures)
    return root / case.main


def _refcoco(folder: str, by: str) -> Case:
    return Case(
        "val",
        f"{folder}/instances.json",
        {f"{folder}/refs({by}).p": REFS, f"{folder}/instances.json": INSTANCES},
        REFCOCO_PICTURES,
        2,
        text="",
        table="annotations",
        box="bbox",
        image="id",
    )


CASES: dict[str, Case] = {
    "coco_retrieval": Case(
        "test", "coco/dataset_coco.json", {"coco/dataset_coco.json": karpathy(COCO, "val2014")},
        COCO_PICTURES, 2, text="sentences", id="cocoid", table="images"),
    "flickr30k_retrieval": Case(
        "test", "flickr30k/dataset_flickr30k.json",
        {"flickr30k/dataset_flickr30k.json": karpathy(FLICKR)},
        FLICKR_PICTURES, 2, text="sentences", id="filename", table="images"),
    "coco_captioning": Case(
        "test", "coco/dataset_coco.json", {"coco/dataset_coco.json": karpathy(COCO, "val2014")},
        COCO_PICTURES, 2, text="sentences", id="cocoid", table="images"),
    "vqav2": Case(
        "val", "vqav2/v2_OpenEnded_mscoco_val2014_questions.json",
        {"vqav2/v2_OpenEnded_mscoco_val2014_questions.json": VQA_QUESTIONS,
         "vqav2/v2_mscoco_val2014_annotations.json": VQA_ANNOTATIONS},
        COCO_PICTURES, 2, text="question", id="question_id", table="questions",
        answers="vqav2/v2_mscoco_val2014_annotations.json"),
    "nlvr2": Case("dev", "nlvr2/dev.json", {"nlvr2/dev.json": NLVR2_ROWS}, NLVR2_PICTURES, 2,
                  text="sentence", id="identifier"),
    "refcoco": _refcoco("refcoco", "unc"),
    "refcoco_plus": _refcoco("refcoco+", "unc"),
    "refcocog": _refcoco("refcocog", "umd"),
    "winoground": Case(
        "test", "winoground/examples.jsonl", {"winoground/examples.jsonl": WINOGROUND_ROWS},
        tuple(f"winoground/images/ex_{i}_img_{j}.png" for i in (0, 1) for j in (0, 1)), 2,
        text="caption_0", id="id"),
    "ovad": Case("test", "ovad/ovad2000.json", {"ovad/ovad2000.json": OVAD},
                 ("images/coco/val2017/000000000139.jpg",), 2, text="", id="id",
                 table="annotations", box="bbox", image="image_id"),
    "msrvtt_retrieval": Case("val", "msrvtt/MSRVTT_data.json",
                             {"msrvtt/MSRVTT_data.json": MSRVTT_DATA}, VIDEOS, 1,
                             text="caption", table="sentences"),
    "msrvtt_qa": Case("test", "msrvtt_qa/test.jsonl",
                      {"msrvtt_qa/test.jsonl": QA_ROWS, "msrvtt_qa/train_ans2label.json": MAP},
                      VIDEOS, 2, text="question", answers="msrvtt_qa/test.jsonl"),
    "msvd_qa": Case("test", "msvd_qa/test.jsonl",
                    {"msvd_qa/test.jsonl": [row | {"video_id": "clip_1_2"} for row in QA_ROWS],
                     "msvd_qa/train_ans2label.json": MAP,
                     "videos/msvd/clip_1_2.avi": b"not looked at"}, (), 2,
                    text="question", answers="msvd_qa/test.jsonl"),
    "gqa": Case("testdev", "gqa/testdev_balanced_questions.json",
                {"gqa/testdev_balanced_questions.json": GQA}, ("images/gqa/n100.jpg",), 2,
                text="question", answers="gqa/testdev_balanced_questions.json"),
    "xgqa": Case("test", "xgqa/few_shot/de/test.json", {"xgqa/few_shot/de/test.json": GQA},
                 ("images/gqa/n100.jpg",), 2, text="question", language="de",
                 answers="xgqa/few_shot/de/test.json"),
    "multi30k": Case("test", "multi30k/test_2016_flickr.fr",
                     {"multi30k/test_2016_flickr.fr": "un homme\nun chien\n",
                      "multi30k/image_splits/test_2016_flickr.txt": "\n".join(FLICKR) + "\n"},
                     FLICKR_PICTURES, 2, text="line", language="fr"),
    "coco_multilingual": Case(
        "test", "stair/stair_captions_v1.2_val.json",
        {"coco/dataset_coco.json": karpathy(COCO, "val2014"),
         "stair/stair_captions_v1.2_val.json": STAIR},
        COCO_PICTURES, 2, text="caption", table="annotations", language="ja"),
    "xvnli": Case("test", "xvnli/fr/test.jsonl", {"xvnli/fr/test.jsonl": XVNLI_ROWS},
                  FLICKR_PICTURES[:1], 3, text="sentence2", id="pairID", language="fr"),
    "marvl": Case("test", "marvl/marvl-id.jsonl", {"marvl/marvl-id.jsonl": MARVL_ROWS},
                  tuple(f"images/marvl/id/images/39-Panci/39-{i}.jpg" for i in (0, 1)), 2,
                  text="caption", id="id", language="id"),
    "xflickrco": Case("test", "xflickrco/de/test.jsonl", {"xflickrco/de/test.jsonl": XFLICKR_ROWS},
                      (FLICKR_PICTURES[0], COCO_PICTURES[0]), 2, text="sentences", id="img_path",
                      language="de"),
    "wit": Case("test", "wit/test_en.jsonl", {"wit/test_en.jsonl": WIT_ROWS}, (), 2,
                text="caption_reference_description"),
}  # fmt: skip
