"""Processes change nothing: gathers with gradients, and the loss curve of 1, 2 and 3 processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import pretraining_world as world_of
from tests import processes, toy
from x2vlm import distributed, losses
from x2vlm.config import TrainConfig
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.pretraining import Pretraining
from x2vlm.train.trainer import train

CONFIG = TrainConfig(steps=4, batch_size=6, lr=3e-3, warmup=0, drop_path=0.0, log_every=1)


def test_one_process_needs_no_group() -> None:
    assert (distributed.rank(), distributed.world(), distributed.is_main()) == (0, 1, True)
    assert distributed.all_gather_objects({"a": 1}) == [{"a": 1}]
    rows = torch.rand(3, 2)
    gathered, start = distributed.gather_with_gradient(rows)
    assert gathered is rows
    assert start == 0
    assert distributed.sum_across(rows) is rows
    distributed.barrier()


def contrastive_gradient(rows: torch.Tensor, texts: torch.Tensor, uneven: bool) -> Any:
    """The share of this process in the global loss, and in its gradient."""
    world, rank = distributed.world(), distributed.rank()
    cuts = [len(rows) * r // world for r in range(world + 1)]
    if uneven:
        cuts = [c + 1 if 0 < i < world else c for i, c in enumerate(cuts)]
    mine = slice(cuts[rank], cuts[rank + 1])
    share = (mine.stop - mine.start) / len(rows)
    ours = rows[mine].clone().requires_grad_()
    loss = losses.contrastive(ours, texts[mine], torch.tensor(0.1)) * share
    loss.backward()
    gathered = distributed.all_gather_objects((rank, ours.grad))
    return float(distributed.sum_across(loss.detach())), gathered


@pytest.mark.parametrize("uneven", [False, True])
def test_gathered_contrastive_loss_and_gradient_equal_one_process(
    tmp_path: Path, uneven: bool
) -> None:
    torch.manual_seed(0)
    rows, texts = torch.randn(7, 5), torch.randn(7, 5)
    ((expected, [(_, gradient)]),) = processes.run(
        contrastive_gradient, 1, tmp_path, rows, texts, False
    )
    for loss, gathered in processes.run(contrastive_gradient, 3, tmp_path, rows, texts, uneven):
        assert loss == pytest.approx(expected, abs=1e-5)
        assert [rank for rank, _ in gathered] == [0, 1, 2]
        together = torch.cat([grad for _, grad in gathered])
        torch.testing.assert_close(together, gradient, rtol=1e-4, atol=1e-5)


def curve(folder: Path, uneven: bool, micro: int) -> list[dict[str, float]]:
    """Losses of a toy run, both its losses, by step."""
    task = toy.task()
    if micro:
        task.names = ("mse",)  # a contrastive loss depends on who is in the micro-batch
    train(task, toy.Batches(size=9, micro=micro, uneven=uneven), CONFIG, folder, total_steps=4)
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("world", "uneven", "micro"), [(2, True, 0), (3, False, 0), (2, True, 2)])
def test_the_loss_curve_does_not_depend_on_processes(
    tmp_path: Path, world: int, uneven: bool, micro: int
) -> None:
    """To 1e-4: sums are taken in another order."""
    (one,) = processes.run(curve, 1, tmp_path, tmp_path / "one", False, micro)
    many, *_ = processes.run(curve, world, tmp_path, tmp_path / "many", uneven, micro)
    assert len(one) == len(many) == 4
    for ours, theirs in zip(many, one, strict=True):
        for name in set(theirs) & {"loss", "mse", "contrastive", "gradient_norm"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name


def pretraining_curve(shards: Path, folder: Path) -> list[dict[str, float]]:
    """Losses of all kinds but matching, whose negatives each process draws among its own rows."""
    torch.manual_seed(0)
    task = Pretraining(X2VLM(world_of.CONFIG), world_of.TOKENIZER)
    source = world_of.source(shards, batch_size=6, matching=False)
    train(task, source, CONFIG, folder, total_steps=3)
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_the_pretraining_curve_does_not_depend_on_processes(tmp_path: Path) -> None:
    shards = world_of.write_shards(tmp_path / "shards")
    (one,) = processes.run(pretraining_curve, 1, tmp_path, shards, tmp_path / "one")
    many, *_ = processes.run(pretraining_curve, 3, tmp_path, shards, tmp_path / "many")
    for ours, theirs in zip(many, one, strict=True):
        names = {name for name in theirs if name.split("_")[0] in world_of.KINDS}
        assert len(names) == 11
        for name in names:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3), name


def resumed(folder: Path) -> list[torch.Tensor]:
    """Two steps, then two more by a new trainer, with random drop path."""
    config = replace(CONFIG, drop_path=0.3, save_every=2)
    task = toy.task()
    train(task, toy.Batches(), config, folder, total_steps=2)
    task = toy.task(seed=4)
    train(task, toy.Batches(), config, folder, total_steps=4)
    return [p.detach() for p in task.model.parameters()]


def test_every_process_resumes_its_own_generators(tmp_path: Path) -> None:
    first, second = processes.run(resumed, 2, tmp_path, tmp_path / "run")
    for ours, theirs in zip(first, second, strict=True):
        assert torch.equal(ours, theirs)
