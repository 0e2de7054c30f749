"""The small data row by row: a few good ones of every benchmark, in the official fields."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

SIZE = (40, 30)
"""width and height of every image here"""


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


VQA_QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "questions": [
        {"image_id": 42, "question": "What color is the shoe?", "question_id": 42000},
        {"image_id": 73, "question": "Is it new?", "question_id": 73000},
    ]
}
VQA_ANNOTATIONS: dict[str, list[dict[str, Any]]] = {
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
NLVR2_ROWS: list[dict[str, Any]] = [
    {"identifier": "dev-850-0-0", "sentence": "Both show glass.", "label": "False"},
    {"identifier": "dev-850-0-1", "sentence": "One is empty.", "label": "True"},
]
NLVR2_PICTURES = tuple(f"images/nlvr2/dev/dev-850-0-img{i}.png" for i in (0, 1))
REFS: list[dict[str, Any]] = [
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
INSTANCES: dict[str, list[dict[str, Any]]] = {
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
QA_ROWS: list[dict[str, Any]] = [
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
