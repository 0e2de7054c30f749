"""VQA v2 (Goyal et al. 2017): open questions on COCO images, ten annotators each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from benchmarks.base import Benchmark, Split
from benchmarks.captions import last_two
from benchmarks.files import Files, under
from benchmarks.media import COCO, Images
from benchmarks.metrics import answers
from benchmarks.readers import read_json, read_rows
from benchmarks.rows import Row, each, index
from x2vlm.errors import DataError
from x2vlm.types import Media, Record

FOLDERS = ("vqav2", "vqa", "coco", "", "finetune", "data/finetune")
IMAGES = {"train": "train2014", "val": "val2014", "test-dev": "test2015", "test": "test2015"}
"""split -> folder of its COCO images"""
PARTS = {"trainval": ("train", "val"), "trainval_vg": ("train", "val", "vg")}
"""splits made of others; "vg" is Visual Genome QA, which papers add for the test server"""
CANDIDATES = 3128
"""answers a model may give: the size of the list that ALBEF, X-VLM and X²-VLM share"""
COMMON = Path(__file__).with_name("vqa_answers.json")
VG_WEIGHT = 0.5
"""training weight of the one answer of a Visual Genome question, as in ALBEF and X²-VLM"""


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Questions of one split, with the annotators' answers where they are public."""
    if split in PARTS:
        return chain.from_iterable(read(files, part, language) for part in PARTS[split])
    if split == "vg":
        return _visual_genome(files)
    path = files.find(split, _names(split))
    rows = read_rows(files, path, table="questions")
    images = Images(files, COCO)
    annotated = _annotations(files, split) if rows and _is_official(rows[0]) else {}
    scored = split in ("train", "val")

    def make(row: Row) -> Record:
        if scored and _is_official(row):
            id_ = row.id("question_id")
            if id_ not in annotated:
                raise row.error(f"question {id_} has no annotation", "one for each question")
            told = annotated[id_].values
            if told.get("image_id") != row.values.get("image_id", told.get("image_id")):
                raise annotated[id_].wrong("image_id", f"{row.values['image_id']}, as the question")
            row = Row({**told, **row.values}, row.source)
        return _record(row, images, IMAGES[split], scored)

    return each(files, rows, make)


def _names(split: str) -> list[str]:
    return under(
        FOLDERS,
        f"v2_OpenEnded_mscoco_{split}{IMAGES[split][-4:]}_questions.json",
        *(("avail*_questions.json", "smallval_questions.json") if split == "val" else ()),
        f"vqa_{split}.json",
        f"vqa_{split}_x2vlm.json",
        f"{split}/state.json",
        f"data/{'validation' if split == 'val' else split}-*.parquet",
    )


def _is_official(row: Row) -> bool:
    return not row.has("image") and not row.has("answers")


def _annotations(files: Files, split: str) -> dict[str, Row]:
    """Question id -> its annotation; none for the test splits, whose answers are not public."""
    if split not in ("train", "val"):
        return {}
    names = under(FOLDERS, f"v2_mscoco_{IMAGES[split]}_annotations.json")
    if split == "val":
        names += under(FOLDERS, "avail*_annotations.json", "smallval_annotations.json")
    path = files.find(f"{split}_annotations", names)
    return index(read_rows(files, path, table="annotations"), "question_id")


def _record(row: Row, images: Images, folder: str, scored: bool) -> Record:
    if row.values.get("dataset") == "vg":
        return _genome_record(row.id("question_id"), row, images(row.text("image")))
    media = row.picture("image")
    if media is None and row.has("image"):
        media = images(last_two(row.text("image")))
    elif media is None:
        media = images(f"{folder}/COCO_{folder}_{row.integer('image_id'):012d}.jpg")
    given = annotators(row) if scored else []
    tags = {name: row.text(name) for name in ("answer_type", "question_type") if row.has(name)}
    if scored and "answer_type" not in tags:
        tags["answer_type"] = _answer_type(given)
    target = target_of(given) if scored else {}
    return Record(
        row.id("question_id"), (media,), (row.text("question"),), target,
        group=media.path.rpartition("/")[2], tags=tags, source=row.source,
    )  # fmt: skip


def annotators(row: Row) -> list[str]:
    """The raw answers of a question, however the layout spells them; DataError when there is none.

    An annotator may have answered with an empty text; it is kept, it never matches.
    """
    name = "answers" if "answers" in row.values else "answer"
    value = row.values.get(name)
    items = value if isinstance(value, (list, tuple)) else []
    found = [item.get("answer") if isinstance(item, dict) else item for item in items]
    if not found or not all(isinstance(item, str) for item in found):
        raise row.wrong(name, "the annotators' answers, at least one")
    return [str(item) for item in found]


def target_of(given: Sequence[str]) -> dict[str, list[str] | list[float]]:
    """To train on: each answer once, weighed by the share of annotators who gave it."""
    shares = Counter(answer for answer in given if answer.strip())
    return {
        "answers": list(shares),
        "weights": [count / len(given) for count in shares.values()],
        "annotators": list(given),
    }


def _answer_type(given: Sequence[str]) -> str:
    """The official types, for layouts that drop them: by the most frequent answer."""
    answer = Counter(given).most_common(1)[0][0]
    if answer in ("yes", "no"):
        return "yes/no"
    return "number" if answer.isdecimal() else "other"


def _visual_genome(files: Files) -> Iterator[Record]:
    """Visual Genome QA: the official question_answers.json, or ALBEF's vg_qa.json."""
    folders = ("visual_genome", "vg", *FOLDERS)
    path = files.find("vg", under(folders, "question_answers.json", "vg_qa.json"))
    images = Images(
        files, ("images/visualgenome", "images/vg", "visual_genome", "vg", ""), "vg_images"
    )

    def make(row: Row) -> list[Record]:
        if not row.has("qas"):
            return [_genome_record(row.id("question_id"), row, images(row.text("image")))]
        return [
            _genome_record(qa.id("qa_id"), qa, images(f"VG_100K/{qa.id('image_id')}.jpg"))
            for qa in row.rows("qas")
        ]

    return each(files, read_rows(files, path), make)


def _genome_record(id_: str, row: Row, media: Media) -> Record:
    answer = row.text("answer")
    target = {"answers": [answer], "weights": [VG_WEIGHT], "annotators": [answer]}
    group = media.path.rpartition("/")[2]
    return Record(
        f"vg:{id_}", (media,), (row.text("question"),), target, group=group,
        tags={"answer_type": "visual genome"}, source=row.source,
    )  # fmt: skip


def labels(files: Files) -> list[str]:
    """The candidate answers: the user's answer list, else the most frequent training answers.

    The list of ALBEF and X²-VLM is `answer_list.json` (3 128 answers). Without it: the same number
    of most frequent majority answers of the training split, ties in alphabetical order. With
    neither, a short list of common answers that comes with this package, and a note that says so.
    """
    path = files.look(
        "answers", under(FOLDERS, "answer_list.json", "vqa_answer_list.json", "vqa_dict.json")
    )
    if path is not None:
        return answer_list(path)
    if files.look("train", _names("train")) is None:
        files.note(
            "vqav2: neither answer_list.json nor the training split is there; the candidates are "
            f"the few common answers of {COMMON.name}, far fewer than papers use"
        )
        return answer_list(COMMON)
    return frequent(read(files, "train", "en"))


def frequent(records: Iterable[Record]) -> list[str]:
    """The majority answers that occur most often, ties in alphabetical order."""
    majority = Counter(Counter(r.target["annotators"]).most_common(1)[0][0] for r in records)
    ranked = sorted(majority, key=lambda answer: (-majority[answer], answer))
    return [answer for answer in ranked if answer.strip()][:CANDIDATES]


def answer_list(path: Path) -> list[str]:
    """Answers in the order of their index: a JSON list, or an object answer -> index."""
    value = read_json(path)
    places = list(value.values()) if isinstance(value, dict) else [None]
    if all(type(place) is int for place in places) and set(places) == set(range(len(places))):
        value = sorted(value, key=lambda answer: int(value[answer]))
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(item, str) for item in value)
        or len(set(value)) < len(value)
    ):
        raise DataError(
            "is no answer list",
            source=str(path),
            expected="a JSON list of different texts, or an object answer -> index from 0",
            fix="name another file: file.answers=PATH",
        )
    return value


BENCHMARK = Benchmark(
    name="vqav2",
    task="answering",
    title="VQA v2",
    read=read,
    score=answers.score_vqa,
    headline="accuracy",
    splits={
        "train": Split("train"),
        "trainval": Split("train", note="train and val, as papers do for the test server"),
        "trainval_vg": Split("train", note="train, val and Visual Genome QA"),
        "val": Split("test", note="the largest split with public answers: scored offline"),
        "test-dev": Split("test", scored=False, note="answers on the server only: x2vlm submit"),
        "test": Split("test", scored=False, note="answers on the server only: x2vlm submit"),
    },
    chance={"accuracy": 0.0},
    labels=labels,
    public_training="vqav2:trainval_vg",
    paper="Goyal et al., CVPR 2017",
    url="https://visualqa.org/download.html",
    licence="annotations CC BY 4.0; images under their Flickr terms",
    access="open download",
)
