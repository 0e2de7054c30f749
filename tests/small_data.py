"""A few good rows of every benchmark, in the official file names: what readers are tested on.

`CASES[name]` says what to write and where its rows are, so that a test can spoil one of them.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (40, 30)
"""width and height of every image here"""


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


def png(width: int = SIZE[0], height: int = SIZE[1]) -> bytes:
    """A PNG file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg() -> bytes:
    """A JPEG file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (20, 130, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


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


def write(root: Path, case: Case) -> Path:
    """Write the case below `root`; returns the main file."""
    for path, content in case.files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode(path, content))
    for path in case.pictures:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png() if path.endswith(".png") else jpeg())
    return root / case.main


COCO = ("COCO_val2014_000000000042.jpg", "COCO_val2014_000000000073.jpg")
COCO_PICTURES = tuple(f"images/coco/val2014/{name}" for name in COCO)
FLICKR = ("1007129816.jpg", "1009434119.jpg")
FLICKR_PICTURES = tuple(f"images/flickr30k-images/{name}" for name in FLICKR)
WORDS = (("a red shoe", "one shoe"), ("a motorcycle", "an old bike"))


def karpathy(names: tuple[str, ...], folder: str = "") -> dict[str, Any]:
    """Karpathy's JSON with the test images `names`, and one training image to be left out."""
    images = []
    for i, name in enumerate((*names, names[0])):
        row: dict[str, Any] = {
            "filename": name,
            "imgid": i,
            "split": "test" if i < len(names) else "train",
            "sentences": [{"raw": text, "tokens": text.split()} for text in WORDS[i % 2]],
        }
        if folder:
            row |= {"filepath": folder, "cocoid": int(name[-16:-4]) + 1000 * (i // len(names))}
        images.append(row)
    return {"images": images, "dataset": "test"}


VQA_QUESTIONS = {
    "questions": [
        {"image_id": 42, "question": "What color is the shoe?", "question_id": 42000},
        {"image_id": 73, "question": "Is it new?", "question_id": 73000},
    ]
}
VQA_ANNOTATIONS = {
    "annotations": [
        {
            "question_id": question,
            "image_id": image,
            "answer_type": kind,
            "question_type": "what",
            "multiple_choice_answer": answer,
            "answers": [{"answer": answer, "answer_id": k} for k in range(1, 8)]
            + [{"answer": "maybe", "answer_id": k} for k in range(8, 11)],
        }
        for question, image, kind, answer in (
            (42000, 42, "other", "red"),
            (73000, 73, "yes/no", "no"),
        )
    ]
}
NLVR2_ROWS = [
    {"identifier": "dev-850-0-0", "sentence": "Both show glass.", "label": "False"},
    {"identifier": "dev-850-0-1", "sentence": "One is empty.", "label": "True"},
]
NLVR2_PICTURES = tuple(f"images/nlvr2/dev/dev-850-0-img{i}.png" for i in (0, 1))
REFS = [
    {
        "ref_id": 7,
        "ann_id": 70,
        "image_id": 154,
        "split": "val",
        "file_name": "COCO_train2014_000000000154_7.jpg",
        "sentences": [
            {"sent_id": 700, "sent": "left zebra", "raw": "left zebra", "tokens": []},
            {"sent_id": 701, "sent": "the one in front", "raw": "", "tokens": []},
        ],
    },
    {
        "ref_id": 8,
        "ann_id": 80,
        "image_id": 154,
        "split": "testA",
        "file_name": "COCO_train2014_000000000154_8.jpg",
        "sentences": [{"sent_id": 800, "sent": "a man", "raw": "a man", "tokens": []}],
    },
]
INSTANCES = {
    "images": [
        {
            "id": 154,
            "width": SIZE[0],
            "height": SIZE[1],
            "file_name": "COCO_train2014_000000000154.jpg",
        }
    ],
    "annotations": [
        {"id": 70, "image_id": 154, "bbox": [1.0, 2.0, 20.0, 10.5]},
        {"id": 80, "image_id": 154, "bbox": [5.0, 5.0, 35.0, 25.0]},
    ],
}
REFCOCO_PICTURES = ("images/coco/train2014/COCO_train2014_000000000154.jpg",)


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


WINOGROUND_ROWS = [
    {
        "id": i,
        "caption_0": f"a square by circle {i}",
        "caption_1": f"a circle by square {i}",
        "image_0": f"ex_{i}_img_0",
        "image_1": f"ex_{i}_img_1",
        "tag": "Object",
        "secondary_tag": "",
        "collapsed_tag": "Object",
    }
    for i in (0, 1)
]
OVAD = {
    "images": [{"id": 139, "width": SIZE[0], "height": SIZE[1], "file_name": "000000000139.jpg"}],
    "categories": [{"id": 1, "name": "person"}],
    "attributes": [
        {"id": 1, "name": "color:red/crimson", "type": "color", "is_has_att": "is",
         "freq_set": "head"},
        {"id": 2, "name": "clothes pattern:striped", "type": "clothes pattern",
         "is_has_att": "has", "freq_set": "tail"},
    ],
    "annotations": [
        {"id": i, "image_id": 139, "category_id": 1, "bbox": [i, 2, 10, 10], "att_vec": [1, -1]}
        for i in (1, 2)
    ],
}  # fmt: skip
GQA = {
    str(key): {
        "question": f"Is there a dog {key}?",
        "imageId": "n100",
        "answer": "yes",
        "types": {"structural": "verify"},
    }
    for key in (201, 202)
}
MSRVTT_DATA = {
    "videos": [
        {"video_id": f"video{i}", "split": split}
        for i, split in ((1, "train"), (2, "validate"), (7020, "test"))
    ],
    "sentences": [
        {"video_id": f"video{i}", "caption": f"clip {i} said {k}"}
        for i in (1, 2, 7020)
        for k in (0, 1)
    ],
}
VIDEOS = tuple(f"images/msrvtt_frames/video{i}/frame_0.jpg" for i in (1, 2, 7020))
MAP = {"couch": 0, "music": 1}
QA_ROWS = [
    {"question": "what plays?", "answer": "music", "video_id": "video7020", "answer_type": "what"},
    {"question": "where is it?", "answer": "moon", "video_id": "video7020", "answer_type": "where"},
]
STAIR = {
    "images": [],
    "annotations": [
        {"id": 1, "image_id": 42, "caption": "赤い靴"},
        {"id": 2, "image_id": 73, "caption": "古いバイク"},
    ],
}
XVNLI_ROWS = [
    {"gold_label": label, "sentence1": "x", "sentence2": f"He reads {i}.",
     "pairID": f"1007129816.jpg#{i}", "Flikr30kID": "1007129816"}
    for i, label in enumerate(("entailment", "neutral", "-"))
]  # fmt: skip
MARVL_ROWS = [
    {"concept": "39-Panci", "language": "id", "caption": f"Panci {i}", "left_img": "39-0.jpg",
     "right_img": "39-1.jpg", "id": f"id-{i}", "label": label}
    for i, label in enumerate((True, False))
]  # fmt: skip
XFLICKR_ROWS = [
    {"sentences": ["ein Mann"], "id": "1007129816", "img_path": "1007129816.jpg"},
    {"sentences": ["ein Schuh"], "id": "COCO_val2014_000000000042", "img_path": COCO[0]},
]
WIT_ROWS = [
    {"image_url": f"https://upload.example.org/{i // 2}.png", "wit_ix": f"wit-test_{i // 2}",
     "caption_reference_description": f"caption {i}", "language": "en",
     "image_content": base64.b64encode(png()).decode()}
    for i in range(3)
]  # fmt: skip

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
