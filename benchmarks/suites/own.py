"""Data of one's own in plain rows, one file per split: docs/your-own-data.md describes them.

No code is needed for any of these: `x2vlm run benchmark=own_retrieval:birds data=DIR`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.base import Benchmark, Reader, Scorer, Split, TaskName
from benchmarks.box_formats import Located, box_format, box_in_pixels, check_file, located
from benchmarks.captions import read_captions
from benchmarks.files import Files, under
from benchmarks.media import VIDEO_SUFFIXES
from benchmarks.metrics import answers, boxes, captions, labels, retrieval
from benchmarks.readers import read_json, read_rows
from benchmarks.row_aliases import renamed
from benchmarks.rows import Row, each
from benchmarks.suites.vqav2 import annotators, answer_list, frequent, target_of
from x2vlm.errors import DataError, NoFileError
from x2vlm.types import Media, Record

SPLITS = {"train": Split("train"), "val": Split("validation"), "test": Split("test")}
OTHERS = {"image": ("images",), "answer": ("answers",)}
"""our field -> another of ours that takes its place"""
SPELLINGS: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "val": ("val", "validation", "dev"),
    "test": ("test",),
}
"""our split -> what its file, or a row's "split", may call it"""
WORDS = [spelling for spellings in SPELLINGS.values() for spelling in spellings]


def _rows(files: Files, split: str, *fields: str) -> list[Row]:
    """The rows of a split: those that name it, and those that name none. fields: those needed,
    which may have another name in the file."""
    path = _annotations(files, split)
    rows = renamed(files, read_rows(files, path), {name: OTHERS.get(name, ()) for name in fields})
    found = []
    for row in _of_folder(files, path, rows):
        try:
            if not row.has("split") or row.word("split", WORDS) in SPELLINGS[split]:
                found.append(row)
        except DataError as error:
            files.skip(error)
    return found


def _annotations(files: Files, split: str) -> Path:
    """The file with the rows of a split; NoFileError says which files are there instead."""
    try:
        return files.find(split, _names(split))
    except NoFileError as error:
        there = sorted(
            path.name
            for path in files.root.glob("*")
            if path.is_file() and path.name.split(".")[0] in SPELLINGS[split]
        )
        if not there:
            raise
        raise NoFileError(
            f"{error.what}, but {', '.join(there)}",
            source=error.source,
            expected=error.expected,
            fix=f"file.{split}={there[0]}",
        ) from error


def _names(split: str) -> list[str]:
    """Where the rows of a split may be; the hub's image folders call them metadata."""
    endings = (".jsonl", ".json", ".csv", ".parquet")
    names = [spelling + ending for spelling in SPELLINGS[split] for ending in endings]
    names += [f"data/{spelling}-*.parquet" for spelling in SPELLINGS[split]]
    folders = (*SPELLINGS[split], "")
    return names + under(folders, "metadata.jsonl", "metadata.csv", "metadata.parquet")


def _of_folder(files: Files, path: Path, rows: list[Row]) -> list[Row]:
    """The rows of a whole image folder with their split: by the folder of the image, else train."""
    if path.stem != "metadata" or path.parent != files.root:
        return rows
    of = {spelling: ours for ours, names in SPELLINGS.items() for spelling in names}

    def part(row: Row) -> str:
        name = row.values.get("image") or row.values.get("file_name")
        return of.get(str(name).split("/", 1)[0], "train")

    return [
        row if row.has("split") else Row({**row.values, "split": part(row)}, row.source)
        for row in rows
    ]


def _places(files: Files, split: str) -> Callable[[str], Media]:
    """Name in a row -> the file: absolute, or below file.images=DIR, the data folder, images/, the
    folder of the rows."""
    given = files.look("images", (), kind="folder") if "images" in files.given else None
    beside = _annotations(files, split).parent
    places = [given] if given else [files.root, files.root / "images", beside]

    def locate(name: str) -> Media:
        paths = [place / name for place in places]
        path = next((path for path in paths if path.exists()), paths[0])
        kind = PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES
        return Media(str(path), kind="video" if kind else "image")

    return locate


def _id(row: Row) -> str:
    """The row's own id, else its number in the file."""
    return row.id("id") if row.has("id") else row.source.rpartition(":")[2]


def _record(
    row: Row, images: Sequence[Media], text: str, target: Mapping[str, Any], language: str
) -> Record:
    group = " ".join(media.path for media in images)
    return Record(
        _id(row), tuple(images), (text,), target, language, group=group, source=row.source
    )


def _image(row: Row, locate: Callable[[str], Media]) -> Media:
    return row.picture("image") or locate(row.text("image"))


# -- images with texts -----------------------------------------------------------------------


def read_pairs(files: Files, split: str, language: str) -> Iterator[Record]:
    """{"image", "caption": a text or a list of them}; rows of one image are put together."""
    path = _annotations(files, split)
    return read_captions(
        files, path, SPELLINGS[split], locate=_places(files, split), name=str, language=language,
        prepare=lambda rows: _of_folder(files, path, rows),
    )  # fmt: skip


def read_captioned(files: Files, split: str, language: str) -> Iterator[Record]:
    """The same rows, to be described instead of found."""
    return (replace(record, target={}) for record in read_pairs(files, split, language))


# -- questions -------------------------------------------------------------------------------


def read_questions(files: Files, split: str, language: str) -> Iterator[Record]:
    """{"image", "question", "answer": one text} or "answers": one per annotator; "id" if any."""
    locate = _places(files, split)

    def make(row: Row) -> Record:
        given = [row.text("answer")] if isinstance(row.values.get("answer"), str) else []
        if not given and not row.has("answers"):
            raise row.wrong("answer", 'the right answer, or "answers": one per annotator')
        given = given or annotators(row)
        image = _image(row, locate)
        return _record(row, [image], row.text("question"), target_of(given), language)

    return each(files, _rows(files, split, "image", "question", "answer"), make)


def candidates(files: Files) -> list[str]:
    """The answers to choose from: `answers.json` (role `answers`), else the most frequent ones of
    the training file, ties in alphabetical order."""
    path = files.look("answers", ("answers.json", "answer_list.json"))
    if path is not None:
        return answer_list(path)
    return frequent(read_questions(files, "train", "en"))


# -- labels ----------------------------------------------------------------------------------


def read_labelled(files: Files, split: str, language: str) -> Iterator[Record]:
    """{"image", "text", "label"}; with two images "images": [left, right]."""
    locate = _places(files, split)
    numbers = {name: number for number, name in enumerate(classes(files))}

    def make(row: Row) -> Record:
        several = row.texts("images") if row.has("images") else ()
        images = [locate(name) for name in several] or [_image(row, locate)]
        text = row.text("text") if row.has("text") else "what is this?"
        target = {"label": numbers.get(row.id("label"))}
        return _record(row, images, text, target, language)

    return each(files, _rows(files, split, "image", "text", "label"), make)


def classes(files: Files) -> list[str]:
    """`labels.json` (role `labels`), a list of names, else the labels of the training file."""
    path = files.look("labels", ("labels.json",))
    if path is None:
        found = set()
        for row in _rows(files, "train", "label"):
            try:
                found.add(row.id("label"))
            except DataError as error:
                files.skip(error)
        return sorted(found)
    names = read_json(path)
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise DataError(
            "is no list of labels", source=str(path), expected="a JSON list of different names"
        )
    return [str(name) for name in names]


# -- boxes -----------------------------------------------------------------------------------


def read_boxes(files: Files, split: str, language: str) -> Iterator[Record]:
    """{"image", "text", "box"}: four numbers, as box_format= and box_pixels= say (docs). The
    record's box is [x, y, width, height] in pixels, stored ones unless it says upright."""
    locate, stated = _places(files, split), box_format(files.box_format or "xywh")
    found: dict[str, Located] = {}
    for row in _rows(files, split, "image", "text", "box"):
        try:
            one = located(row, "box", _image(row, locate), stated, files.box_pixels)
            found[row.source] = one
        except DataError as error:
            files.skip(error)
    path = str(_annotations(files, split))
    check_file(list(found.values()), stated, files.box_pixels, path)

    def make(row: Row) -> Record:
        one = found[row.source]
        target: dict[str, Any] = {"box": box_in_pixels(one, "box", stated), "size": one.size}
        if files.box_pixels == "upright":
            target["pixels"] = "upright"
        return _record(row, [one.media], row.text("text"), target, language)

    return each(files, [one.row for one in found.values()], make)


def _own(
    name: str, task: TaskName, title: str, read: Reader, score: Scorer, headline: str, **more: Any
) -> Benchmark:
    return Benchmark(
        name=name, task=task, title=title, read=read, score=score, headline=headline,
        splits=SPLITS, access="files of your own: docs/your-own-data.md", **more,
    )  # fmt: skip


BENCHMARKS = (
    _own(
        "own_retrieval", "retrieval", "images and their texts", read_pairs, retrieval.score,
        "text_r1", options={"k": 256},
    ),
    _own(
        "own_captioning", "captioning", "images and their captions", read_captioned,
        captions.score, "cider", chance={"cider": 0.0}, perfect=None,
    ),
    _own(
        "own_answering", "answering", "questions with one right answer", read_questions,
        answers.score_exact, "accuracy", labels=candidates,
    ),
    _own(
        "own_vqa", "answering", "questions with the answers of several annotators",
        read_questions, answers.score_vqa, "accuracy", labels=candidates,
    ),
    _own(
        "own_labels", "classification", "a label for an image and a text", read_labelled,
        labels.score, "accuracy", labels=classes,
    ),
    _own(
        "own_pair_labels", "classification", "a label for two images and a text", read_labelled,
        labels.score, "accuracy", labels=classes, options={"images": 2},
    ),
    _own(
        "own_boxes", "grounding", "the box that a phrase names", read_boxes, boxes.score,
        "accuracy", chance={"accuracy": 0.0},
    ),
)  # fmt: skip
