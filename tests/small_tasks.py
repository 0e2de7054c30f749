"""Every task on a small model, with records, a training batch and the predictions of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import small
import torch

from x2vlm.data.loader import evaluation_loader
from x2vlm.tasks import build
from x2vlm.tasks.base import Task
from x2vlm.types import Batch, Record

TOKENIZER = small.tokenizer()
COLOURS = tuple(small.COLOURS)
OPTIONS: dict[str, dict[str, Any]] = {
    "retrieval": {"k": 4},
    "grounding": {},
    "classification": {"labels": COLOURS, "text": "question"},
    "answering": {"candidates": COLOURS, "k": 3},
    "captioning": {"max_length": 6, "min_length": 1, "beams": 2},
    "matching": {},
    "attributes": {"labels": COLOURS, "templates": {"is": ["a {words} {noun}", "{words}"]}},
}
TRAINED = ("retrieval", "grounding", "classification", "answering", "captioning")


def make(name: str, **options: Any) -> Task:
    torch.manual_seed(0)
    return build(name, small.CONFIG, TOKENIZER, **{**OPTIONS[name], **options})


def records(name: str, count: int = 6) -> list[Record]:
    made = []
    for n in range(count):
        colour = COLOURS[n % len(COLOURS)]
        images, text = (small.picture(n, colour),), f"a {colour} square"
        target: dict[str, Any] = {
            "retrieval": {"text_ids": [f"t{n}a", f"t{n}b"]},
            "grounding": {"box": [4, 8, 24, 32], "size": [64, 48]},
            "classification": {"label": n % len(COLOURS)},
            "answering": {"answers": [colour, "left"], "weights": [0.7, 0.3]},
            "attributes": {"box": [4, 8, 24, 32], "labels": [0] * len(COLOURS)},
        }.get(name, {})
        texts: tuple[str, ...] = (text,)
        if name == "retrieval":
            texts = (text, f"the {colour} one")
        if name == "matching":
            texts = (text, "a picture of left")
            images = (*images, small.picture(n + 50, COLOURS[n - 1]))
        made.append(small.record(f"r{n}", *texts, images=images, **target))
    return made


def training_batch(task: Task, name: str) -> Batch:
    transform = task.transform(train=True)
    units = task.training_records(records(name))
    samples = []
    for n, record in enumerate(units):
        rng = np.random.default_rng(n)
        reader = evaluation_loader(task, [record], batch_size=1)._reader
        pixels = [reader._pixels(media, None)[0] for media in record.images]
        samples.append(transform(record, pixels, rng))
    return task.collate(samples, train=True)


def predictions(task: Task, rows: Sequence[Record], batch_size: int = 4) -> dict[str, Any]:
    made = list(task.predict(evaluation_loader(task, rows, batch_size=batch_size)))
    found = {row["id"]: row for row in made}
    assert len(found) == len(made), "an id came twice"
    return found


def expected_ids(name: str, rows: Sequence[Record]) -> set[str]:
    ids = {row.id for row in rows}
    return ids | {t for row in rows for t in row.target["text_ids"]} if name == "retrieval" else ids


def assert_close(one: Any, other: Any) -> None:
    """Equal but for rounding, at any depth."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_close(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-4)
    else:
        assert one == other
