"""What every task promises: heads, batches, named losses that train, one prediction per id."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import pytest
import small
import torch
from small_tasks import (
    OPTIONS,
    TOKENIZER,
    TRAINED,
    assert_close,
    expected_ids,
    make,
    predictions,
    records,
    training_batch,
)

from benchmarks.registry import NAMES, get
from x2vlm.data.image import Sample
from x2vlm.data.loader import evaluation_loader
from x2vlm.errors import ConfigError
from x2vlm.settings import described
from x2vlm.tasks import TASKS, build, build_on, task_class
from x2vlm.tasks.options import OPTIONS as TASK_OPTIONS
from x2vlm.types import Batch


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
        (
            "classification",
            {"flip": "often"},
            "free, careful or never, got",
        ),
        ("retrieval", {"k": 0}, "options.k must be a whole number from 1"),
        ("classification", {"images": 3}, "from 1 to 2"),
        ("answering", {"rule": "both"}, "official"),
        ("captioning", {"min_length": 9}, "min_length"),
        ("attributes", {"templates": {"has": ["a"]}}, "templates"),
        ("attributes", {"variant": "boxes"}, "variant"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_benchmark_is_one_of_its_task(name: str) -> None:
    benchmark = get(name)
    assert set(benchmark.options) <= set(inspect.signature(task_class(benchmark.task)).parameters)


@pytest.mark.parametrize(
    ("names", "option", "value"),
    [
        (("nlvr2", "marvl"), "images", 2),
        (("msrvtt_qa", "msvd_qa"), "text", "question"),
        (("xvnli", "xflickrco", "wit"), "max_words", 80),
        (("marvl",), "max_words", 30),
        (("nlvr2", "marvl", "xvnli"), "flip", "free"),
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
    with pytest.raises(ConfigError, match="must be caption or question, got 'prose'"):
        make("classification", text="prose")


@pytest.mark.parametrize("name", TASK_OPTIONS)
def test_the_options_of_a_task_are_those_of_its_constructor(name: str) -> None:
    taken = inspect.signature(task_class(name).__init__).parameters
    options = {option.name: option.default for option in described(TASK_OPTIONS[name])}
    assert set(options) == set(taken) - {"self", "model", "tokenizer"}
    for option, default in options.items():
        if taken[option].default is not inspect.Parameter.empty and option != "templates":
            assert default == taken[option].default
