"""What goes wrong in training says where and what to do, and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests import toy
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError, TrainingError
from x2vlm.train import state
from x2vlm.train.step import OutOfMemoryError
from x2vlm.train.trainer import train

CONFIG = TrainConfig(steps=8, batch_size=6, lr=3e-3, drop_path=0.0, log_every=4, save_every=2)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    task = toy.task()
    task.broken = "20"  # in step 3: samples 18 to 23
    with pytest.raises(TrainingError) as caught:
        train(task, toy.Batches(), CONFIG, tmp_path, total_steps=8)
    message = str(caught.value)
    for what in ("step 3", "task toy", "mse=nan", "18, 19, 20, 21, 22, 23", "train.lr"):
        assert what in message
    assert all(bool(p.isfinite().all()) for p in task.model.parameters())
    found = state.Checkpoints(tmp_path, 2, print).latest()
    assert found is not None
    assert found.step == 2


class TooLarge(toy.Toy):
    """Runs out of memory on more than two images."""

    def loss(self, batch):  # type: ignore[no-untyped-def]
        if len(batch.ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return super().loss(batch)


def too_large() -> TooLarge:
    small = toy.task()
    task = TooLarge(small.model, small.tokenizer)
    task.names = ("mse",)
    return task


def test_out_of_memory_says_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemoryError) as caught:
        train(too_large(), toy.Batches(), CONFIG, tmp_path, total_steps=8)
    message = str(caught.value)
    for what in ("step 0", "6 samples", "(6, 3, 32, 32)", "train.micro_batch", "first id 0"):
        assert what in message


def test_auto_batch_keeps_the_global_batch(tmp_path: Path) -> None:
    config, lines = replace(CONFIG, auto_batch=True), list[str]()
    task, source = too_large(), toy.Batches(size=8)
    train(task, source, config, tmp_path / "auto", total_steps=4, log=lines.append)
    assert (source.micro, source.halved) == (2, 2)
    assert sum("micro-batches are halved" in line for line in lines) == 2
    whole = toy.task()
    whole.names = ("mse",)
    train(whole, toy.Batches(size=8), CONFIG, tmp_path / "whole", total_steps=4)
    for ours, theirs in zip(task.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


def test_auto_batch_gives_up_at_one_sample(tmp_path: Path) -> None:
    class Never(toy.Toy):
        def loss(self, batch):  # type: ignore[no-untyped-def]
            del batch
            raise torch.OutOfMemoryError("CUDA out of memory")

    task = Never(toy.task().model, toy.task().tokenizer)
    config = replace(CONFIG, auto_batch=True)
    with pytest.raises(OutOfMemoryError, match="1 samples"):
        train(task, toy.Batches(size=4), config, tmp_path, total_steps=2)


def test_other_errors_pass_through(tmp_path: Path) -> None:
    class Wrong(toy.Toy):
        def loss(self, batch):  # type: ignore[no-untyped-def]
            del batch
            raise RuntimeError("a bug")

    task = Wrong(toy.task().model, toy.task().tokenizer)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        train(task, toy.Batches(), CONFIG, tmp_path, total_steps=2)


def test_settings_that_clash_are_refused() -> None:
    with pytest.raises(ConfigError, match="exactly one"):
        TrainConfig(steps=1, epochs=1)
    with pytest.raises(ConfigError, match="did you mean 'warmup'"):
        TrainConfig.from_dict({"steps": 1, "warmupp": 1})


KILLED = """
import os, signal, sys
from pathlib import Path
from tests import test_training_faults as faults, toy
from x2vlm.train.trainer import train

class Killed(toy.Batches):
    def __iter__(self):
        for batches in super().__iter__():
            if self.step == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batches

train(toy.task(), Killed(), faults.CONFIG, Path(sys.argv[1]), total_steps=8)
"""


def test_kill_9_loses_only_the_steps_since_the_last_checkpoint(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "run")],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    task, lines = toy.task(seed=5), list[str]()
    result = train(task, toy.Batches(), CONFIG, tmp_path / "run", total_steps=8, log=lines.append)
    assert any("at step 4" in line for line in lines)
    assert result.finished
    whole = toy.task()
    train(whole, toy.Batches(), CONFIG, tmp_path / "whole", total_steps=8)
    for ours, theirs in zip(task.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_damaged_checkpoint_is_not_the_end(tmp_path: Path) -> None:
    whole = toy.task()
    train(whole, toy.Batches(), CONFIG, tmp_path, total_steps=8)
    (tmp_path / "checkpoints/step-00000008/state.pt").write_bytes(b"half")
    task, lines = toy.task(seed=7), list[str]()
    train(task, toy.Batches(), CONFIG, tmp_path, total_steps=8, log=lines.append)
    assert any("the checkpoint before is used" in line for line in lines)
    for ours, theirs in zip(task.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
