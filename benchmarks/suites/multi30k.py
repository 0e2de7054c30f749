"""Multi30K (Elliott et al. 2016, 2017; Barrault et al. 2018): Flickr30K in four languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.base import Benchmark, Split
from benchmarks.captions import read_captions, retrieval_record, stem
from benchmarks.files import Files, under
from benchmarks.media import FLICKR, Images
from benchmarks.metrics import retrieval
from benchmarks.metrics.languages import by_language
from benchmarks.readers import read_lines, read_rows
from benchmarks.rows import Row, each
from benchmarks.suites.flickr30k_retrieval import IMAGES
from x2vlm.errors import DataError
from x2vlm.types import Record

LANGUAGES = ("en", "de", "fr", "cs")
TASK1 = {"train": "train", "val": "val", "test": "test_2016_flickr"}
TASK2 = {"train": "train", "val": "val", "test": "test_2016"}
CARRIERS = (".json", ".jsonl", ".parquet")
FIVE = ("en", "de")
"""languages with five independent captions per image (task 2); the others have one translation"""


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Images with the captions of one language.

    The splits without a suffix take five captions for English and German when the files of task 2
    are there; "…_task1" takes one everywhere. A JSON file may be given for a split as well: rows of
    images with captions, or, as on the hub, of one text per language ({"en", "de"}) in the order
    of the image list.
    """
    part, _, task = split.partition("_")
    if split in files.given or f"{split}_{language}" in files.given:
        path = files.find(split, (), language=language)
        if path.suffix in (".json", ".jsonl") and not _aligned(files, path, language):
            locate = Images(files, FLICKR)
            return read_captions(
                files, path, (part,), name=stem, language=language,
                locate=lambda name: locate(f"{IMAGES}/{stem(name)}.jpg"),
            )  # fmt: skip
    texts, images = _columns(files, part, task, language)
    return _records(files, images, texts, language, part)


def _columns(
    files: Files, part: str, task: str, language: str
) -> tuple[list[tuple[str, list[str]]], tuple[str, list[str]]]:
    """Caption columns [(file, lines)] of a part, and its image list (file, lines)."""
    if not task and language in FIVE:
        paths = [_task2(files, part, k, language, must=False) for k in range(1, 6)]
        if any(paths):  # then all five: fewer captions would be another benchmark
            found = [path or _task2(files, part, k, language) for k, path in enumerate(paths, 1)]
            names = [f"{TASK2[part]}_images.txt", f"task2_{TASK2[part]}_images.txt"]
            images = _image_list(files, f"{part}_images_task2", names, "task2/")
            return [(str(path), read_lines(path)) for path in found if path], images
        files.note(
            f"multi30k: one caption per image in {language!r}; papers use the five of task 2"
        )
    name = f"{TASK1[part]}.{{language}}"
    places = _places(name, "avail", "raw", "task1/raw", "data/task1/raw", "task1")
    path = files.find(part, [*places, f"multi30k/{part}.jsonl"], language=language)
    names = [f"{TASK1[part]}.txt", f"{TASK1[part]}_images.txt"]
    lines = _aligned(files, path, language) if path.suffix in CARRIERS else read_lines(path)
    return [(str(path), lines)], _image_list(files, f"{part}_images", names, "")


def _aligned(files: Files, path: Path, language: str) -> list[str]:
    """The texts of one language out of rows that hold one per language; none of other rows."""
    rows = read_rows(files, path)
    return [row.text(language) for row in rows] if rows and rows[0].has(language) else []


def _task2(files: Files, part: str, k: int, language: str, must: bool = True) -> Path | None:
    name = f"{TASK2[part]}.{k}.{{language}}"
    places = _places(name, "task2_raw", "task2/raw", "data/task2/raw", "task2")
    search = files.find if must else files.look
    return search(f"{part}_{k}", places, language=language)


def _places(name: str, *folders: str) -> list[str]:
    inside = tuple(f"multi30k/{folder}" for folder in folders)
    return under(("multi30k", *inside, *folders, ""), name, f"{name}.gz")


def _image_list(files: Files, role: str, names: Sequence[str], task: str) -> tuple[str, list[str]]:
    part = task or "task1/"
    folders = (
        f"{part}image_splits",
        "image_splits",
        f"data/{part}image_splits",
        "avail",
        part[:-1],
    )
    places = [place for name in names for place in _places(name, *folders)]
    if task:
        places = [place for place in places if not place.endswith(".gz") and "/avail/" not in place]
    path = files.find(role, places)
    return str(path), read_lines(path)


def _records(
    files: Files,
    images: tuple[str, list[str]],
    columns: Sequence[tuple[str, list[str]]],
    language: str,
    part: str,
) -> Iterator[Record]:
    list_path, names = images
    for path, lines in columns:
        if len(lines) != len(names):
            raise DataError(
                f"{len(lines)} lines, but {list_path} lists {len(names)} images",
                source=path,
                expected="one line per image, in the same order",
                fix="fetch both files again, or name matching ones",
            )
    only = _available(files, part)
    locate = Images(files, FLICKR)
    rows = (
        Row(
            {"image": name, "caption": [lines[i] for _, lines in columns]},
            f"{columns[0][0]}:{i + 1}",
        )
        for i, name in enumerate(names)
        if only is None or name in only
    )

    def make(row: Row) -> Record:
        id_ = stem(row.text("image"))
        media = locate(f"{IMAGES}/{row.text('image')}")
        return retrieval_record(id_, media, row.texts("caption"), row.source, language)

    return each(files, rows, make)


def _available(files: Files, part: str) -> frozenset[str] | None:
    """Names of the images at hand, when a list cut to them lies in multi30k/avail."""
    if files.prefer != "available":
        return None
    path = files.look(f"{part}_available", [f"multi30k/avail/{TASK1[part]}.txt"])
    return None if path is None else frozenset(read_lines(path))


BENCHMARK = Benchmark(
    name="multi30k",
    task="retrieval",
    title="Multi30K: Flickr30K in four languages",
    read=read,
    score=by_language(retrieval.score),
    headline="mean_recall",
    splits={
        "train": Split("train"),
        "val": Split("validation"),
        "test": Split("test", note="five captions per image in en and de, one in fr and cs"),
        "test_task1": Split("test", note="one caption per image in every language"),
    },
    chance={"mean_recall": 0.53},
    options={"k": 256},
    languages=LANGUAGES,
    paper="Elliott et al., 2016 and 2017; Barrault et al., 2018",
    url="https://github.com/multi30k/dataset",
    licence="texts CC BY-NC-SA 4.0; images as Flickr30K",
    access="texts open download; images as Flickr30K",
)
