"""Small predictions of every kind of task, written to a file and scored: what tests spoil."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files
from benchmarks.metrics import answers, attributes, boxes, labels, retrieval, winoground
from benchmarks.metrics.stats import Measure, Scores
from benchmarks.score import ScoredFile, score_file
from x2vlm.types import Media, Record

Row = dict[str, Any]
COUNT = 8
WORDS = ("red", "blue", "green")
IDS = [str(1000 + 37 * i) for i in range(COUNT)]
TEXTS = [f"{name}#{k}" for name in IDS for k in (0, 1)]
SIZE = [640, 480]


def caption_stand_in(records: Any, rows: Any, **_: Any) -> Scores:
    """Java takes seconds; the mutations are about reading."""
    share = sum(row["caption"] in record.texts for record, row in zip(records, rows, strict=True))
    return {"cider": Measure(share / len(records), len(records))}


def box_of(i: int) -> list[float]:
    return [300 + 20 * i, 210.5 + 15 * i, 60 + 7 * i, 50 + 5 * i]


def target_of(task: str, i: int) -> dict[str, Any]:
    targets: dict[str, dict[str, Any]] = {
        "answering": {"annotators": [WORDS[i % 3]]},
        "classification": {"label": i % 3},
        "grounding": {"box": box_of(i), "size": SIZE},
        "retrieval": {"text_ids": TEXTS[2 * i : 2 * i + 2]},
        "attributes": {"labels": [1, 0, i % 2], "box": box_of(i)},
    }
    return targets.get(task, {})


def records_of(task: str) -> list[Record]:
    return [
        Record(
            name,
            (Media(f"/data/val2014/COCO_val2014_{int(name):012d}.jpg"),),
            (f"a {WORDS[i % 3]} thing, {i}", "it"),
            target_of(task, i),
        )
        for i, name in enumerate(IDS)
    ]


def values_of(task: str, i: int) -> Row:
    made: dict[str, Row] = {
        "answering": {"answer": WORDS[i % 3] if i else "blue"},
        "classification": {"label": WORDS[i % 3] if i else "blue"},
        "grounding": {"box": [*(v + (0 if i else 90) for v in box_of(i)[:2]), *box_of(i)[2:]]},
        "captioning": {"caption": f"a {WORDS[i % 3]} thing, {i}" if i else "nothing"},
        "matching": dict(zip(winoground.PAIRS, [2.0 + i, 0.5, 0.25, 2.0], strict=True)),
        "attributes": {"scores": [0.5 + i / 10, 0.25, i % 2 - 0.125 * i]},
    }
    return made[task]


def rows_of(task: str) -> list[Row]:
    if task != "retrieval":
        return [{"id": name, **values_of(task, i)} for i, name in enumerate(IDS)]
    rng = random.Random(0)
    images = [[[text, rng.random()] for text in TEXTS] for _ in IDS]
    texts = [[[name, rng.random()] for name in IDS] for _ in TEXTS]
    return [
        *({"id": name, "ranking": {"text": r}} for name, r in zip(IDS, images, strict=True)),
        *({"id": name, "ranking": {"image": r}} for name, r in zip(TEXTS, texts, strict=True)),
    ]


SCORERS: dict[str, tuple[Any, str]] = {
    "answering": (answers.score_exact, "accuracy"),
    "classification": (labels.score, "accuracy"),
    "grounding": (boxes.score, "accuracy"),
    "captioning": (caption_stand_in, "cider"),
    "matching": (winoground.score, "group"),
    "attributes": (attributes.score, "map"),
    "retrieval": (retrieval.score, "mean_recall"),
}
TASKS = tuple(SCORERS)
ALONE = tuple(task for task in TASKS if task != "retrieval")
IMAGES = ("captioning", "retrieval")


def scored(task: str, content: str | bytes, name: str = "results.json") -> ScoredFile:
    """The score of a file, and its notes."""
    score, headline = SCORERS[task]
    benchmark = Benchmark(
        "given",
        task,
        "",
        lambda *_: records_of(task),
        score,
        headline,
        {"test": Split("test")},
        labels=lambda _: WORDS,
    )
    with tempfile.TemporaryDirectory() as folder:
        path, files = Path(folder) / name, Files(Path(folder))
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        found = score_file(benchmark, "test", path, files)
        NOTES[:] = [*files.notes, *(m.note for m in found.scores.values() if m.note)]
        return found


NOTES: list[str] = []
"""of the last `scored`"""


def values(found: ScoredFile) -> dict[str, float | None]:
    return {name: measure.value for name, measure in found.scores.items()}


def lines(rows: list[Row], end: str = "\n") -> str:
    return "".join(json.dumps(row) + end for row in rows)


ALIASES = [
    ("answering", "question_id", "prediction"),
    ("answering", "qid", "pred_ans"),
    ("answering", "questionId", "text"),
    ("answering", "id", "prediction"),
    ("classification", "question_id", "pred"),
    ("classification", "identifier", "prediction"),
    ("captioning", "image_id", "pred_caption"),
    ("captioning", "img_id", "caption"),
    ("captioning", "file_name", "caption"),
    ("captioning", "image", "text"),
    ("grounding", "sent_id", "bbox"),
    ("grounding", "id", "pred_box"),
    ("attributes", "ann_id", "logits"),
]
"""(task, name of the id, name of the value), as neighbours have them"""
