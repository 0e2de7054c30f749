"""GQA (Hudson and Manning 2019): compositional questions; one right answer, to the letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files, under
from benchmarks.media import Images
from benchmarks.metrics import answers
from benchmarks.readers import read_rows
from benchmarks.rows import Row, each
from benchmarks.suites.vqav2 import answer_list
from x2vlm.types import Media, Record

FOLDERS = ("gqa", "gqa/questions", "questions", "", "finetune", "data/finetune")
IMAGES = ("images/gqa", "gqa/images", "gqa", "images", "")
OFFICIAL = {"train": "train_balanced", "val": "val_balanced", "testdev": "testdev_balanced"}


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """The balanced questions of one split."""
    names = under(
        FOLDERS,
        f"{OFFICIAL[split]}_questions.json",
        f"{split}.lxmert.json",
        f"gqa_{split}.json",
        f"{split}/state.json",
        f"data/{split}-*.parquet",
        f"{OFFICIAL[split]}_instructions/{split}-*.parquet",
    )
    names += [f"gqa/{split}.json"]
    path = files.find(split, names)
    make = record_of(Images(files, IMAGES), language)
    if path.parent.name.endswith("_instructions"):
        make = _with_pictures(make, _pictures(files, path, split))
    return each(files, read_rows(files, path), make)


def _pictures(files: Files, path: Path, split: str) -> dict[str, Media]:
    """The hub keeps questions and pictures apart: image id -> picture, of the folder beside."""
    folder = path.parent.name.replace("_instructions", "_images")
    names = [str(path.parent.resolve().with_name(folder) / f"{split}-*.parquet")]
    rows = read_rows(files, files.find("image_rows", names))
    return {row.id("id"): media for row in rows if (media := row.picture("image")) is not None}


def _with_pictures(
    make: Callable[[Row], Record], pictures: Mapping[str, Media]
) -> Callable[[Row], Record]:
    def found(row: Row) -> Record:
        record = make(row)
        if record.group not in pictures:
            raise row.error(f"image {record.group} is not among the pictures beside the questions")
        return replace(record, images=(pictures[record.group],))

    return found


def record_of(images: Images, language: str) -> Callable[[Row], Record]:
    """Row -> Record, for official rows, LXMERT's {"img_id", "sent", "label"} and hub rows."""

    def make(row: Row) -> Record:
        if row.has("sent"):
            image, question = row.id("img_id"), row.text("sent")
        else:
            image, question = row.id("imageId", "image_id"), row.text("question")
        id_ = row.key or row.id("question_id", "id")
        found = answers_of(row)
        target = {"answers": found, "weights": [1.0 / len(found)] * len(found), "annotators": found}
        media = row.picture("image") or images(f"{image.removesuffix('.jpg')}.jpg")
        types = row.values.get("types")
        kinds = Row(types, row.source) if isinstance(types, Mapping) else None
        tags = {"type": kinds.text("structural")} if kinds and kinds.has("structural") else {}
        return Record(
            id_, (media,), (question,), target, language, group=image, tags=tags, source=row.source
        )

    return make


def answers_of(row: Row) -> list[str]:
    """The right answer; LXMERT's layout may list several, each with a score above 0."""
    if "label" in row.values:
        value = row.values["label"]
        found = list(value) if isinstance(value, Mapping) else [value]
        if not found or not all(isinstance(item, str) and item for item in found):
            raise row.wrong("label", "an object answer -> score, with at least one answer")
        return found
    return [row.text("answer")]


def labels(files: Files) -> list[str]:
    """The candidate answers: the user's list, else the training answers, most frequent first."""
    path = files.look(
        "answers",
        under(
            FOLDERS, "trainval_label2ans.json", "gqa_answer_list.json", "trainval_ans2label.json"
        ),
    )
    if path is not None:
        return answer_list(path)
    counts = Counter(a for r in read(files, "train", "en") for a in r.target["answers"])
    return sorted(counts, key=lambda answer: (-counts[answer], answer))


BENCHMARK = Benchmark(
    name="gqa",
    task="answering",
    title="GQA testdev-balanced",
    read=read,
    score=answers.score_exact,
    headline="accuracy",
    splits={"train": Split("train"), "val": Split("validation"), "testdev": Split("test")},
    chance={"accuracy": 0.0},
    labels=labels,
    paper="Hudson and Manning, CVPR 2019",
    url="https://cs.stanford.edu/people/dorarad/gqa/download.html",
    licence="annotations CC BY 4.0; images of Visual Genome (CC BY 4.0) and Flickr",
    access="open download",
)
