"""What goes wrong in training says where and what to do, and loses nothing."""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import processes, toy
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError, TrainingError
from x2vlm.train import state
from x2vlm.train.progress import JsonLines, read_metrics
from x2vlm.train.session import Session
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
    assert (tmp_path / "loss.png").is_file()


class Steep(toy.Toy):
    """A finite loss whose gradient is not: the root of nothing."""

    def loss(self, batch):  # type: ignore[no-untyped-def]
        found = super().loss(batch)
        if "20" in batch.ids:
            found["mse"] = found["mse"] + (found["mse"] * 0).sqrt()
        return found


def test_a_gradient_that_is_not_finite_stops_before_the_weights(tmp_path: Path) -> None:
    made = toy.task()
    task = Steep(made.model, made.tokenizer)
    config = replace(CONFIG, save_every=1)
    with pytest.raises(TrainingError, match=r"step 3, task toy: the gradient is not finite") as got:
        train(task, toy.Batches(), config, tmp_path, total_steps=8)
    assert "18, 19, 20, 21, 22, 23" in str(got.value)
    assert all(bool(p.isfinite().all()) for p in task.model.parameters())
    found = state.Checkpoints(tmp_path, 2, print).latest()
    assert found is not None
    assert found.step == 3


def test_float16_leaves_such_a_step_out(tmp_path: Path) -> None:
    made = toy.task()
    task = Steep(made.model, made.tokenizer)
    config = replace(CONFIG, precision="float16", log_every=1)
    assert train(task, toy.Batches(), config, tmp_path, total_steps=24).finished
    assert all(bool(p.isfinite().all()) for p in task.model.parameters())
    rows = read_metrics(tmp_path)
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert {4, 8, 20, 24} <= {row["step"] for row in rows if "gradient_norm" not in row}
    assert rows[20]["loss"] < rows[0]["loss"]  # the same six samples


def test_a_full_disk_costs_checkpoints_and_curves_but_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state, "_write_manifest", full)
    monkeypatch.setattr(JsonLines, "scalars", full)
    task, lines = toy.task(), list[str]()
    config = replace(CONFIG, eval_every=4)
    result = train(
        task, toy.Batches(), config, tmp_path, total_steps=8, validate=lambda: 0.5,
        log=lines.append,
    )  # fmt: skip
    assert result.finished
    assert (result.best, result.best_step) == (None, None)  # nobody could have those weights
    assert sum("could not be written" in line for line in lines) == 4 + 2 + 2


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


class TooLargeInOne(TooLarge):
    """The same in the second process alone, with both losses, so that processes wait in each."""

    def loss(self, batch):  # type: ignore[no-untyped-def]
        fits = os.environ["RANK"] != "1"
        return toy.Toy.loss(self, batch) if fits else super().loss(batch)


def in_one(folder: Path, config: TrainConfig, micro: int) -> tuple[int, list[str], Any]:
    """Micro-batches at the end, what was logged, the weights."""
    fits, lines = toy.task(), list[str]()
    task = TooLargeInOne(fits.model, fits.tokenizer)
    source = toy.Batches(size=8, micro=micro)
    train(task, source, config, folder, total_steps=3, log=lines.append)
    return source.micro, lines, [p.detach() for p in task.model.parameters()]


def test_processes_halve_together(tmp_path: Path) -> None:
    """What the rehearsals draw and leave changes nothing: bit-equal to small batches at once."""
    config = replace(CONFIG, auto_batch=True, drop_path=0.3)
    found = processes.run(in_one, 2, tmp_path, tmp_path / "auto", config, 0)
    assert [micro for micro, *_ in found] == [2, 2]
    halved = [line for line in found[0][1] if "micro-batches are halved" in line]
    assert len(halved) == 2  # from 8 to 4, which is the process's share, to 2
    for what in ("step 0", "in process 1", "4 samples", "train.micro_batch"):
        assert all(what in line for line in halved)
    plain = replace(config, auto_batch=False)
    for (*_, theirs), (*_, ours) in zip(
        processes.run(in_one, 2, tmp_path, tmp_path / "small", plain, 2), found, strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def refused(folder: Path) -> tuple[str, bool]:
    """The error of a process when nothing can be halved."""
    config, task = replace(CONFIG, auto_batch=True), too_large()
    with pytest.raises(OutOfMemoryError) as caught:
        train(task, Whole(size=6), config, folder, total_steps=3)
    return str(caught.value), caught.value.everywhere


class Whole(toy.Batches):
    """Batches that cannot be cut."""

    def halve(self) -> bool:
        return False


def test_all_processes_stop_when_no_batch_can_be_halved(tmp_path: Path) -> None:
    found = processes.run(refused, 2, tmp_path, tmp_path / "run")
    assert all(everywhere for _, everywhere in found)
    assert found[0] == found[1]
    assert "in process 0" in found[0][0]
    assert "train.auto_batch" not in found[0][0]  # it is set already


def test_a_process_that_fails_alone_does_not_halve(tmp_path: Path) -> None:
    """The others wait for it inside the step: going back would hang all."""
    task = toy.task()
    config = replace(CONFIG, auto_batch=True)
    session = Session(task, toy.Batches(), config, tmp_path, print)
    alone = OutOfMemoryError("step 3: out of memory", everywhere=False)
    with pytest.raises(OutOfMemoryError, match="step 3"):
        session.smaller_batches(alone, {"step": 0})


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
    with pytest.raises(ConfigError, match="did you mean 'train\\.warmup'"):
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
