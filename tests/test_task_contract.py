"""What every task promises: heads, batches, named losses that train, one prediction per id."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import small
import torch

from benchmarks.registry import NAMES, get
from x2vlm.data.image import Sample
from x2vlm.data.loader import evaluation_loader
from x2vlm.errors import ConfigError
from x2vlm.tasks import TASKS, build, build_on, task_class
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
        pixels = [reader._pixels(media, None, None) for media in record.images]
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


def test_every_task_is_covered_here() -> None:
    assert set(OPTIONS) == set(TASKS) - {"pretraining"}
    for name in OPTIONS:
        assert task_class(name).name == name


@pytest.mark.parametrize("name", TRAINED)
def test_losses_are_finite_scalars_with_gradients(name: str) -> None:
    task = make(name)
    task.model.train()
    batch = training_batch(task, name)
    losses = task.loss(batch)
    assert losses
    for loss in losses.values():
        assert loss.shape == ()
        assert torch.isfinite(loss)
    torch.stack(list(losses.values())).sum().backward()
    without = [n for n, p in task.model.named_parameters() if p.grad is None or not p.grad.any()]
    # Keys get no gradient of their bias (softmax ignores it), unused position rows none at all.
    allowed = ("frame_positions", "key.bias", "text_proj", "vision_proj", "temperature")
    assert [name for name in without if not name.endswith(allowed)] == []
    counts = task.counts(batch)
    assert all(count > 0 for count in counts.values())


@pytest.mark.parametrize("name", OPTIONS)
def test_one_prediction_per_id_whatever_the_batch(name: str) -> None:
    task, rows = make(name), records(name, 7)
    whole = predictions(task, rows, 7)
    assert set(whole) == expected_ids(name, rows)
    for batch_size in (1, 3):
        assert_close(predictions(task, rows, batch_size), whole)


@pytest.mark.parametrize("name", OPTIONS)
def test_predicting_leaves_the_mode_of_the_model_alone(name: str) -> None:
    task = make(name)
    task.model.train()
    stream = task.predict(evaluation_loader(task, records(name, 2), batch_size=2))
    next(stream)
    assert torch.is_grad_enabled()
    stream.close()
    assert task.model.training


@pytest.mark.parametrize("name", ["matching", "attributes"])
def test_zero_shot_tasks_refuse_to_train(name: str) -> None:
    task = make(name)
    with pytest.raises(ConfigError, match="zero-shot"):
        task.transform(train=True)
    with pytest.raises(ConfigError, match="zero-shot"):
        task.collate([], train=True)
    with pytest.raises(ConfigError, match="zero-shot"):
        task.loss(Batch(()))


def test_unknown_names_get_close_matches() -> None:
    with pytest.raises(ConfigError, match="did you mean 'retrieval'"):
        build("retreival", small.CONFIG, TOKENIZER)
    with pytest.raises(ConfigError, match="did you mean 'beams'"):
        build("captioning", small.CONFIG, TOKENIZER, beam=3)


def test_a_model_without_the_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs the head 'box'"):
        build_on("grounding", small.model("matching"), TOKENIZER)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("retrieval", {"k": 0}, "at least 1"),
        ("classification", {"images": 3}, "1 or 2 images"),
        ("answering", {"rule": "both"}, "official"),
        ("captioning", {"min_length": 9}, "min_length"),
        ("attributes", {"templates": {"has": ["a"]}}, "templates"),
        ("attributes", {"variant": "boxes"}, "variant"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(name, **options)


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


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_benchmark_is_one_of_its_task(name: str) -> None:
    benchmark = get(name)
    assert set(benchmark.options) <= set(inspect.signature(task_class(benchmark.task)).parameters)


@pytest.mark.parametrize(
    ("names", "option", "value"),
    [
        (("nlvr2", "marvl"), "images", 2),
        (("msrvtt_qa", "msvd_qa"), "text", "question"),
        (("marvl", "xvnli", "xflickrco", "wit"), "max_words", 80),
    ],
)
def test_benchmarks_ask_what_the_paper_asks(
    names: Sequence[str], option: str, value: object
) -> None:
    assert [get(name).options[option] for name in names] == [value] * len(names)


@pytest.mark.parametrize(
    ("text", "words", "trained", "tested"),
    [("question", 30, 30, 50), ("caption", 30, 30, 30), ("caption", 40, 40, 40)],
)
def test_classification_cuts_texts_as_officially(
    text: str, words: int, trained: int, tested: int
) -> None:
    task = make("classification", text=text, max_words=words, max_tokens=100)
    sample = Sample(small.record("x", "what " * 60, label=0), (torch.zeros(3, 32, 32),))
    lengths = [task.collate([sample], train).text_BL.shape[1] - 2 for train in (True, False)]
    assert lengths == [trained, tested]


def test_an_unknown_kind_of_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="not 'prose'"):
        make("classification", text="prose")
