"""xGQA (Pfeiffer et al. 2022): the GQA test questions in eight languages; answers stay English."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files, under
from benchmarks.media import Images
from benchmarks.metrics import answers
from benchmarks.metrics.languages import by_language
from benchmarks.readers import read_json, read_rows
from benchmarks.rows import Row, each
from benchmarks.suites import gqa
from x2vlm.errors import DataError
from x2vlm.types import Record

FOLDERS = ("xgqa", "xgqa/data", "xGQA/data", "xGQA", "")
LANGUAGES = ("en", "bn", "de", "id", "ko", "pt", "ru", "zh")
SHOTS = (1, 5, 10, 20, 25, 48)
"""sizes, in images, of the few-shot training sets"""


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Questions of one split in one language; "train" and "val" are English GQA."""
    if split in ("train", "val"):
        return gqa.read(files, split, language)
    make = gqa.record_of(Images(files, gqa.IMAGES), language)
    if split.startswith(("few_shot", "dev")):
        name = split.replace("few_shot", "train")
        names = under(FOLDERS, f"few_shot/{{language}}/{name}.json")
        path = files.find(split, names, language=language)
        return each(files, read_rows(files, path), make)
    names = under(
        FOLDERS,
        *(("few_shot/{language}/test.json",) if split == "test" else ()),
        "zero_shot/testdev_balanced_questions_{language}.json",
        "testdev_balanced_questions_{language}.json",
    )
    if language == "en" or files.scoring:  # ids and (English) answers are GQA's in every language
        names += under(gqa.FOLDERS, "testdev_balanced_questions.json", "testdev.lxmert.json")
    path = files.find(split, names, language=language)
    left_out = frozenset[str]()
    if split == "test" and path.name != "test.json":
        left_out = _few_shot_ids(files)

    def keep(row: Row) -> Record | None:
        record = make(row)
        return None if record.id in left_out else record

    return each(files, read_rows(files, path), keep)


def _few_shot_ids(files: Files) -> frozenset[str]:
    """Ids of the questions used for few-shot training and its validation: not in the test set."""
    path = files.look(
        "excluded",
        under(FOLDERS, "excluded_question_ids.json", "published/excluded_question_ids.json"),
    )
    if path is not None:
        value = read_json(path)
        if not isinstance(value, list):
            raise DataError("is no list of question ids", source=str(path), expected="a JSON list")
        return frozenset(map(str, value))
    found: set[str] = set()
    for name in ("dev", "train_48"):
        path = files.find(f"excluded_{name}", under(FOLDERS, f"few_shot/en/{name}.json"))
        found.update(row.key or row.id("question_id") for row in read_rows(files, path))
    return frozenset(found)


BENCHMARK = Benchmark(
    name="xgqa",
    task="answering",
    title="xGQA: GQA in eight languages",
    read=read,
    score=by_language(answers.score_exact),
    headline="accuracy",
    splits={
        "train": Split("train", languages=("en",), note="English GQA"),
        **{f"few_shot_{n}": Split("train", note=f"questions on {n} images") for n in SHOTS},
        "val": Split("validation", languages=("en",), note="English GQA"),
        "dev": Split("validation", note="validation of the few-shot setting"),
        "test": Split("test", note="testdev without the few-shot questions, as in IGLUE"),
        "testdev": Split("test", note="all testdev-balanced questions, as in the xGQA paper"),
    },
    chance={"accuracy": 0.0},
    languages=LANGUAGES,
    labels=gqa.labels,
    paper="Pfeiffer et al., Findings of ACL 2022",
    url="https://github.com/adapter-hub/xGQA",
    licence="CC BY 4.0",
    access="open download; images are GQA's",
)
