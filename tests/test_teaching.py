"""Training that can teach nothing is refused before it starts, or said once where it happens."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import make, records, training_batch

from tests import pretraining_world as world_of
from x2vlm import losses
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError, DataError, TrainingError
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.base import Task
from x2vlm.tasks.pretraining import Pretraining
from x2vlm.train.source import RecordSource
from x2vlm.train.trainer import train
from x2vlm.types import Record

CONFIG = TrainConfig(steps=2, batch_size=4, lr=1e-3, drop_path=0.0, log_every=1)


def source(task: Task, rows: list[Record], **changes: Any) -> RecordSource:
    return RecordSource(task, rows, replace(CONFIG, **changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch_size": 1}, "train.batch_size=1"),
        ({"micro_batch": 1}, "train.micro_batch=1"),
        ({"batch_size": 1, "micro_batch": 1}, "train.batch_size=1, train.micro_batch=1"),
    ],
)
def test_one_sample_at_a_time_has_no_negatives(changes: dict[str, int], named: str) -> None:
    with pytest.raises(ConfigError, match="no negatives") as caught:
        source(make("retrieval"), records("retrieval"), **changes)
    assert named in str(caught.value)
    assert source(make("grounding"), records("grounding"), **changes).micro_batch == 1


def test_one_image_has_no_negatives() -> None:
    rows = [replace(row, images=records("retrieval")[0].images) for row in records("retrieval")]
    with pytest.raises(DataError, match="are of one image") as caught:
        source(make("retrieval"), rows)
    assert rows[0].source in str(caught.value)


def test_answers_outside_the_list() -> None:
    task, rows = make("classification"), records("classification")
    outside = [replace(row, target={**row.target, "label": None}) for row in rows]
    with pytest.raises(DataError, match="outside the list of 6 labels"):
        source(task, outside)
    with pytest.raises(DataError, match="one label to choose from"):
        source(make("classification", labels=("red",)), rows)


def said(task: Task, rows: list[Record], caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "x2vlm"):
        source(task, rows)
    return caplog.text


def test_what_may_be_wrong_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def with_target(name: str, **target: Any) -> list[Record]:
        return [replace(row, target={**row.target, **target}) for row in records(name)]

    for name in ("retrieval", "classification", "answering", "captioning"):
        assert said(make(name), records(name), caplog) == ""
    rows = [replace(row, texts=("the same",)) for row in records("retrieval")]
    assert "captions to train on are equal: 'the same'" in said(make("retrieval"), rows, caplog)
    task = make("classification")
    assert "have the label 'green'" in said(task, with_target("classification", label=1), caplog)
    rows = [*with_target("classification", label=None)[:2], *records("classification")]
    assert "of 2 of 8 training samples are outside" in said(task, rows, caplog)
    boxes = records("grounding")  # all in one place
    assert "all 6 boxes to train on are equal" in said(make("grounding"), boxes, caplog)
    boxes[3] = replace(boxes[3], target={"box": [1, 1, 5, 5], "size": [64, 48]})
    assert said(make("grounding"), boxes, caplog) == ""
    task = make("answering")
    told = said(task, with_target("answering", answers=["mauve"], weights=[1.0]), caplog)
    assert "all of 6 training questions are not among the 6 candidate answers" in told
    assert "have the same answer" in told
    told = said(task, with_target("answering", answers=[" Red "], weights=[1.0]), caplog)
    assert "candidate" not in told


def test_a_step_without_negatives_is_said_once(tmp_path: Path) -> None:
    """Two captions of each image: in some micro-batches of two, both are of one image."""
    rows = [replace(row, texts=row.texts * 4) for row in records("retrieval", 2)]
    lines: list[str] = []
    data = source(make("retrieval"), rows, micro_batch=2)
    train(data.task, data, replace(CONFIG, micro_batch=2), tmp_path, total_steps=4,
          log=lines.append)  # fmt: skip
    (line,) = [line for line in lines if "warning" in line]
    for what in ("task retrieval", "of one image, so it has no negatives", "said once"):
        assert what in line


def test_a_step_whose_targets_do_not_count_is_said(tmp_path: Path) -> None:
    rows = records("classification")
    first = RecordSource(make("classification"), rows, CONFIG)
    ids = {id_ for batch in next(iter(first)) for id_ in batch.ids}
    rows = [
        replace(row, target={**row.target, "label": None}) if row.id in ids else row for row in rows
    ]
    data, lines = source(make("classification"), rows), list[str]()
    train(data.task, data, CONFIG, tmp_path, total_steps=1, log=lines.append)
    assert sum("none of its samples has a target that counts" in line for line in lines) == 1


def test_streams_of_one_row_per_pass_are_refused(tmp_path: Path) -> None:
    shards = world_of.write_shards(tmp_path)
    with pytest.raises(ConfigError, match=r"no negatives") as caught:
        world_of.source(shards, batch_size=1)
    assert ".batch_size or train.micro_batch" in str(caught.value)


def test_a_stream_batch_of_one_text_is_named() -> None:
    task = Pretraining(X2VLM(world_of.CONFIG), world_of.TOKENIZER)
    for kind in ("image", "region", "video"):
        batch = training_batch(make("retrieval"), "retrieval")
        batch.target = {"kind": kind, "targets_BM": torch.tensor([[5]]),
                        "is_box_B": torch.tensor([True])}  # fmt: skip
        assert task.nothing_to_learn(batch) == ""
        assert batch.text_BL is not None
        batch.text_BL = batch.text_BL[:1]
        assert "no negatives" in task.nothing_to_learn(batch)


# -- what is not finite ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_can_be_sampled_from(value: float) -> None:
    """So that the step can say which samples they are of: multinomial would end it, or the GPU."""
    image_BE, text_BE = torch.rand(4, 3), torch.rand(4, 3)
    text_BE[1] = value
    image_B, text_B = losses.hard_negatives(image_BE, text_BE, torch.tensor(0.07))
    own = torch.arange(4)
    assert bool((image_B != own).all())
    assert bool((text_B != own).all())


def test_finite_features_are_sampled_as_before() -> None:
    torch.manual_seed(0)
    image_BE, text_BE, own = torch.rand(5, 3), torch.rand(5, 3), torch.eye(5, dtype=torch.bool)
    rows = (text_BE @ image_BE.t() / 0.07).softmax(1)
    torch.manual_seed(3)
    expected = torch.multinomial((rows + 1e-5).masked_fill(own, 0), 1)[:, 0]
    torch.manual_seed(3)
    found, _ = losses.hard_negatives(image_BE, text_BE, torch.tensor(0.07))
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "name", ["retrieval", "grounding", "classification", "answering", "captioning"]
)
def test_weights_that_are_not_finite_are_named_alike_in_every_task(
    name: str, tmp_path: Path
) -> None:
    task = make(name)
    next(task.model.vision.parameters()).data.fill_(math.nan)
    data = source(task, records(name))
    with pytest.raises(TrainingError, match=r"loss .* is not finite \(.*nan") as caught:
        train(task, data, CONFIG, tmp_path, total_steps=2)
    assert f"step 0, task {name}: " in str(caught.value)
    assert "samples of this step: " in str(caught.value)


def test_in_pretraining_too(tmp_path: Path) -> None:
    shards = world_of.write_shards(tmp_path / "shards")
    task = Pretraining(X2VLM(world_of.CONFIG), world_of.TOKENIZER)
    next(task.model.text.parameters()).data.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"loss .*image_contrastive.* is not finite"):
        train(task, world_of.source(shards, batch_size=6), CONFIG, tmp_path / "run", total_steps=1)
