"""COCO and Flickr30k as the world sees them: Karpathy's captions, and VQA v2 on COCO's images."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.mini.language import Message, language
from benchmarks.mini.planner import Question, captions, questions
from benchmarks.mini.store import Store
from benchmarks.mini.world import Scene, Split, scenes

SPLITS: tuple[Split, ...] = ("train", "val", "test")
COCO_SIZES = {"train": 1500, "val": 150, "test": 200}
FLICKR_SIZES = {"train": 1000, "val": 100, "test": 150}
_ANSWERS = {"big": ("large", "big"), "small": ("tiny", "small"), "purple": ("violet", "purple")}
"""words that an annotator may use instead"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a data set. number: its official id; name: its file name; captions: messages."""

    split: Split
    number: int
    name: str
    scene: Scene
    captions: tuple[Message, ...]


def coco_folder(split: Split) -> str:
    """Karpathy's val and test images come from val2014."""
    return "train2014" if split == "train" else "val2014"


def coco(store: Store) -> list[Picture]:
    """COCO's images of all splits; the same for every benchmark that uses them."""
    found: list[Picture] = []
    for split in SPLITS:
        drawn = scenes(store.name("coco"), split, store.number(COCO_SIZES[split]))
        first = {"train": 1, "val": 200001, "test": 300001}[split]
        said = _captions(drawn, store.name("coco"), split)
        for i, (scene, messages) in enumerate(zip(drawn, said, strict=True)):
            number = first + 3 * i
            folder = coco_folder(split)
            name = f"{folder}/COCO_{folder}_{number:012d}.jpg"
            found.append(Picture(split, number, name, scene, messages))
    return found


def flickr(store: Store) -> list[Picture]:
    """Flickr30k's images of all splits; Multi30K, XVNLI and xFlickr&CO use them too."""
    found: list[Picture] = []
    for split in SPLITS:
        drawn = scenes(store.name("flickr30k"), split, store.number(FLICKR_SIZES[split]))
        first = {"train": 1000092795, "val": 2000092795, "test": 3000092795}[split]
        said = _captions(drawn, store.name("flickr30k"), split)
        for i, (scene, messages) in enumerate(zip(drawn, said, strict=True)):
            number = first + 7919 * i
            found.append(Picture(split, number, f"{number}.jpg", scene, messages))
    return found


def _captions(drawn: Sequence[Scene], name: str, split: Split) -> list[tuple[Message, ...]]:
    """Five messages per scene; outside training none is true of another scene of the split."""
    gallery = drawn if split != "train" else ()
    rngs = [random.Random(f"{name}/{split}/captions/{i}") for i in range(len(drawn))]
    return [tuple(captions(s, rng, 5, gallery)) for s, rng in zip(drawn, rngs, strict=True)]


def sentences(picture: Picture, code: str) -> list[str]:
    """The five captions of a picture in one language."""
    rng = random.Random(f"{picture.scene.seed}/{code}")
    return [language(code).say(message, rng) for message in picture.captions]


def _karpathy(pictures: Sequence[Picture], dataset: str) -> dict[str, Any]:
    images = []
    for index, picture in enumerate(pictures):
        ids = [5 * index + k for k in range(5)]
        said = [
            {"tokens": text.lower().strip(".").replace(",", "").split(), "raw": text}
            | {"imgid": index, "sentid": ids[k]}
            for k, text in enumerate(sentences(picture, "en"))
        ]
        image = {"sentids": ids, "imgid": index, "sentences": said, "split": picture.split}
        image["filename"] = picture.name.rpartition("/")[2]
        if dataset == "coco":
            image |= {"filepath": coco_folder(picture.split), "cocoid": picture.number}
        images.append(image)
    return {"images": images, "dataset": dataset}


def write_coco(store: Store) -> None:
    """`coco/dataset_coco.json` and the images of train2014 and val2014."""
    pictures = coco(store)
    store.json("coco/dataset_coco.json", _karpathy(pictures, "coco"))
    store.images("coco", ((f"images/coco/{p.name}", p.scene) for p in pictures))
    store.counts["coco"] = Counter(picture.split for picture in pictures)


def write_flickr30k(store: Store) -> None:
    """`flickr30k/dataset_flickr30k.json` and `images/flickr30k-images`."""
    pictures = flickr(store)
    store.json("flickr30k/dataset_flickr30k.json", _karpathy(pictures, "flickr30k"))
    store.images("flickr30k", ((f"images/flickr30k-images/{p.name}", p.scene) for p in pictures))
    store.counts["flickr30k"] = Counter(picture.split for picture in pictures)


def annotators(question: Question, rng: random.Random) -> list[dict[str, Any]]:
    """Ten answers; some annotators use another word, and a few are wrong."""
    wrong = {"yes": "no", "no": "yes"}.get(question.answer, "blue")
    if question.answer.isdecimal():
        wrong = str(max(0, int(question.answer) + rng.choice((-1, 1))))
    rows = []
    for number in range(1, 11):
        chance = rng.random()
        answer, sure = question.answer, "yes"
        if chance < 0.06:
            answer, sure = wrong, "maybe"
        elif chance < 0.16 and answer in _ANSWERS:
            answer = _ANSWERS[answer][0]
        rows.append({"answer": answer, "answer_confidence": sure, "answer_id": number})
    return rows


def write_vqav2(store: Store) -> None:
    """Questions and annotations of train2014 and val2014, questions alone of test2015."""
    pictures = coco(store)
    parts = {"train": ("train2014", 2.9), "val": ("val2014", 2.0)}
    for split, (subtype, each) in parts.items():
        chosen = [p for p in pictures if coco_folder(p.split) == subtype]
        asked, annotated = _vqa_rows(chosen, round(each * len(chosen)))
        _vqa_files(store, split, subtype, asked, annotated)
    name = store.name("vqav2-test")
    drawn = scenes(name, "test", store.number(80))
    numbered = [(500001 + i, scene) for i, scene in enumerate(drawn)]
    path = "images/coco/test2015/COCO_test2015_{:012d}.jpg"
    store.images("vqav2", ((path.format(number), scene) for number, scene in numbered))
    extra = [Picture("test", number, "", scene, ()) for number, scene in numbered]
    asked, _ = _vqa_rows(extra, 3 * len(extra))
    _vqa_files(store, "test", "test2015", asked, None)
    _vqa_files(store, "test-dev", "test2015", asked[::2], None)


def _vqa_rows(
    pictures: Sequence[Picture], number: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []
    annotated: list[dict[str, Any]] = []
    for i, picture in enumerate(pictures):
        rng = random.Random(f"{picture.scene.seed}/vqa")
        many = (i + 1) * number // len(pictures) - i * number // len(pictures)
        for k, question in enumerate(questions(picture.scene, rng, many)):
            ids = {"image_id": picture.number, "question_id": 1000 * picture.number + k}
            text = language("en").say(question.message, rng)
            given = annotators(question, rng)
            usual = Counter(row["answer"] for row in given).most_common(1)[0][0]
            asked.append({"image_id": ids["image_id"], "question": text} | ids)
            annotated.append(
                {
                    "question_type": " ".join(text.lower().split()[:2]),
                    "multiple_choice_answer": usual,
                    "answers": given,
                    "answer_type": question.answer_type(),
                }
                | ids
            )
    return asked, annotated


def _vqa_files(
    store: Store,
    split: str,
    subtype: str,
    asked: list[dict[str, Any]],
    annotated: list[dict[str, Any]] | None,
) -> None:
    data_subtype = "test-dev2015" if split == "test-dev" else subtype
    head = {
        "info": {"description": "The mini world in the layout of VQA v2.0.", "version": "2.0"},
        "license": {"url": "", "name": "CC0"},
        "data_type": "mscoco",
        "data_subtype": data_subtype,
    }
    body = head | {"task_type": "Open-Ended", "questions": asked}
    store.json(f"vqav2/v2_OpenEnded_mscoco_{data_subtype}_questions.json", body)
    if annotated is not None:
        path = f"vqav2/v2_mscoco_{subtype}_annotations.json"
        store.json(path, head | {"annotations": annotated})
    store.counts.setdefault("vqav2", {})[split] = len(asked)
