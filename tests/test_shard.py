"""Weights cut over processes: the same curves and files as without, and exact resuming."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from tests import pretraining_world as world_of
from tests import processes, small, toy
from x2vlm import distributed
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.answering import Answering
from x2vlm.tasks.pretraining import Pretraining
from x2vlm.train import optim
from x2vlm.train.session import Session
from x2vlm.train.trainer import train
from x2vlm.types import Batch

CONFIG = TrainConfig(
    steps=4, batch_size=6, lr=3e-3, lr_vision=1e-3, warmup=0, drop_path=0.0, log_every=1, shard=True
)
PLAIN = replace(CONFIG, shard=False)

LOSSES = ("loss", "mse", "contrastive", "answering", *world_of.KINDS)

Row = Mapping[str, float]


def rows(folder: Path) -> list[Row]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def trained(folder: Path, config: TrainConfig, micro: int = 0) -> dict[str, Tensor]:
    """The weights of a toy run of both losses (accumulated: of one)."""
    task = toy.task()
    if micro:
        task.names = ("mse",)  # a contrastive loss depends on who is in the micro-batch
    train(task, toy.Batches(micro=micro), config, folder, total_steps=4)
    return {name: value.clone() for name, value in task.model.state_dict().items()}


def assert_close(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=2e-5, msg=name)


def assert_same_curve(ours: Path, theirs: Path, rel: float) -> None:
    assert len(rows(ours)) == len(rows(theirs)) > 0
    for one, other in zip(rows(ours), rows(theirs), strict=True):
        losses = {name for name in other if name.partition("_")[0] in LOSSES}
        assert losses
        for name in ("gradient_norm", "lr", *losses):
            assert one[name] == pytest.approx(other[name], rel=rel), name


@pytest.mark.parametrize(("world", "micro"), [(3, 0), (2, 2)])
def test_the_curve_and_the_weights_are_those_of_one_process(
    tmp_path: Path, world: int, micro: int
) -> None:
    """Losses and gradient norms to 1e-4, clipped at 1 (the norms are around 60)."""
    (one,) = processes.run(trained, 1, tmp_path, tmp_path / "one", CONFIG, micro)
    many = processes.run(trained, world, tmp_path, tmp_path / "many", CONFIG, micro)
    assert_same_curve(tmp_path / "many", tmp_path / "one", rel=1e-4)
    for weights in many:
        assert_close(one, weights)


def pretrained(shards: Path, folder: Path, config: TrainConfig) -> None:
    """All kinds of batch but matching, whose negatives each process draws among its own rows."""
    torch.manual_seed(0)
    task = Pretraining(X2VLM(world_of.CONFIG), world_of.TOKENIZER)
    source = world_of.source(shards, batch_size=6, matching=False)
    train(task, source, config, folder, total_steps=3)


def test_pretraining_with_recomputed_activations_is_that_of_one_process(tmp_path: Path) -> None:
    """Towers, fusion and heads; to 1e-3, as for processes without shards."""
    shards = world_of.write_shards(tmp_path / "shards")
    pretrained(shards, tmp_path / "one", PLAIN)
    config = replace(CONFIG, checkpoint_gradients=True)
    processes.run(pretrained, 2, tmp_path, shards, tmp_path / "many", config)
    assert_same_curve(tmp_path / "many", tmp_path / "one", rel=1e-3)


class Questions(toy.Batches):
    """Steps of six questions with one answer each, dealt to the processes."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        text_BL, mask_BL = small.token_ids(6, 5)
        answer_BA, seen_BA = small.token_ids(6, 4, seed=1)
        image = toy.batch(range(6)).image
        while True:
            self.step += 1
            mine = slice(distributed.rank(), None, distributed.world())
            count = len(text_BL[mine])
            target = {
                "rows": torch.arange(count), "question_X": torch.arange(count),
                "answer_XA": answer_BA[mine], "seen_XA": seen_BA[mine],
                "weight_X": torch.ones(count),
            }  # fmt: skip
            ids = tuple(map(str, range(count)))
            yield [Batch(ids, image[mine], text_BL[mine], mask_BL[mine], target)]


def answering(folder: Path, config: TrainConfig) -> None:
    task = Answering(small.model("decoder"), small.tokenizer())
    train(task, Questions(), config, folder, total_steps=2)


def test_the_decoder_is_cut_too(tmp_path: Path) -> None:
    answering(tmp_path / "one", PLAIN)
    processes.run(answering, 2, tmp_path, tmp_path / "many", CONFIG)
    assert_same_curve(tmp_path / "many", tmp_path / "one", rel=1e-4)


def held(folder: Path) -> tuple[int, int, int, list[tuple[str, float, float, int]]]:
    """Numbers this process holds of weights and of AdamW's state, of all; groups by name."""
    task = toy.task()
    session = Session(task, toy.Batches(), CONFIG, folder, print)
    session.step(0, 1.0, next(iter(toy.Batches())))
    state = session.step.optimiser.state.values()
    moments = [row[name] for row in state for name in ("exp_avg", "exp_avg_sq")]
    assert all(isinstance(p, DTensor) for p in (*task.model.parameters(), *moments))
    ours = sum(p.to_local().numel() for p in task.model.parameters())
    whole = sum(p.numel() for p in task.model.parameters())
    groups = [
        (group["name"], group["lr"], group["weight_decay"], len(group["params"]))
        for group in session.step.optimiser.param_groups
    ]
    return ours, sum(m.to_local().numel() for m in moments), whole, groups


def test_each_process_holds_its_part_and_groups_stay(tmp_path: Path) -> None:
    found = processes.run(held, 2, tmp_path, tmp_path / "run")
    whole = found[0][2]
    assert sum(ours for ours, *_ in found) == whole
    for ours, moments, _, groups in found:
        assert ours < 0.52 * whole
        assert moments <= 2 * ours
        task = toy.task()
        plain = optim.named_groups(task.model, PLAIN, task.model.new_parameters)
        assert groups == [(g.name, g.lr, g.weight_decay, len(g.parameters)) for g in plain]
        assert {group[1] for group in groups} == {3e-3, 1e-3}


class Stopping(toy.Batches):
    """Asks the second process to stop in its second step."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        for batches in super().__iter__():
            if self.step == 2 and distributed.rank() == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batches


def stopped(folder: Path) -> Any:
    """Four steps at once; and two, then two more by a new trainer. Drop path draws numbers."""
    config = replace(CONFIG, drop_path=0.3)
    whole, task = trained(folder / "whole", config), toy.task()
    cut = train(task, Stopping(), config, folder / "cut", total_steps=4)
    finite = all(bool(p.isfinite().all()) for p in task.model.parameters())
    return cut, finite, whole, trained(folder / "cut", config)


def test_stopped_and_resumed_is_bit_equal(tmp_path: Path) -> None:
    for result, finite, whole, cut in processes.run(stopped, 2, tmp_path, tmp_path):
        assert (result.step, result.finished) == (2, False)
        assert finite  # the whole model is left in the task
        assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert rows(tmp_path / "whole")[-1]["loss"] == rows(tmp_path / "cut")[-1]["loss"]


def test_the_files_are_those_of_a_run_without_shards(tmp_path: Path) -> None:
    """So that either goes on where the other stopped, with another number of processes."""
    saving = {"save_every": 2}
    plain = trained(tmp_path / "one", replace(PLAIN, **saving))
    processes.run(trained, 2, tmp_path, tmp_path / "two", replace(CONFIG, **saving))
    one, two = (tmp_path / name / "checkpoints/step-00000002" for name in ("one", "two"))
    assert_close(load_file(one / "model.safetensors"), load_file(two / "model.safetensors"))
    states = [torch.load(path / "state.pt", weights_only=True) for path in (one, two)]
    theirs, ours = (state["optimiser"] for state in states)
    assert ours["param_groups"] == theirs["param_groups"]
    assert ours["state"].keys() == theirs["state"].keys()
    for index, row in theirs["state"].items():
        for name, value in row.items():
            torch.testing.assert_close(ours["state"][index][name], value, rtol=1e-3, atol=1e-5)
    for name in ("one", "two"):
        shutil.rmtree(tmp_path / name / "checkpoints/step-00000004")
    assert_close(plain, trained(tmp_path / "two", PLAIN))
    for weights in processes.run(trained, 2, tmp_path, tmp_path / "one", CONFIG):
        assert_close(plain, weights)


def validated(folder: Path) -> tuple[float | None, bool, list[dict[str, Tensor]]]:
    """A run whose second validation is the best, looked at by one process more often."""
    task, seen, values = toy.task(), list[dict[str, Tensor]](), iter([0.2, 0.9])

    def validate() -> float:
        for _ in range(1 + distributed.rank()):  # predictors need not take equally many batches
            task.model.encode_image(toy.batch([0, 1]).image)
        seen.append({n: p.detach().clone() for n, p in task.model.named_parameters()})
        return next(values)

    config = replace(CONFIG, eval_every=2)
    result = train(task, toy.Batches(), config, folder, total_steps=4, validate=validate)
    left = dict(task.model.named_parameters())
    return result.best, all(torch.equal(left[name], seen[1][name]) for name in left), seen


def test_validation_sees_the_whole_model_and_the_best_is_left(tmp_path: Path) -> None:
    (best, kept, ours), (_, others, theirs) = processes.run(
        validated, 2, tmp_path, tmp_path / "run"
    )
    assert best == 0.9
    assert kept
    assert others
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(ours[0]["vision_proj.weight"], ours[1]["vision_proj.weight"])


def halved(folder: Path) -> list[float]:
    trained(folder, replace(CONFIG, precision="bfloat16"))
    return [row["loss"] for row in rows(folder)] if distributed.is_main() else []


def test_bfloat16_still_learns(tmp_path: Path) -> None:
    losses, _ = processes.run(halved, 2, tmp_path, tmp_path / "run")
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "values",
    [{"ema": 0.9}, {"compile": True}, {"auto_batch": True}, {"precision": "float16"}],
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        replace(CONFIG, **values)
