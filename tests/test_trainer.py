"""The loop: it learns, accumulates, stops, resumes bit-equal, selects by validation, reports."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests import toy
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError
from x2vlm.tasks.base import Task
from x2vlm.train import session
from x2vlm.train.trainer import TrainResult, train

CONFIG = TrainConfig(steps=8, batch_size=6, lr=3e-3, drop_path=0.2, log_every=2, warmup=2)


def fit(
    folder: Path, task: Task | None = None, source: toy.Batches | None = None, steps: int = 8,
    **changes: object,
) -> tuple[TrainResult, Task]:  # fmt: skip
    task = task or toy.task()
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    return train(task, source or toy.Batches(), config, folder, total_steps=steps), task


def weights(task: Task) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in task.model.state_dict().items()}


def assert_equal(one: Task, other: Task) -> None:
    for (name, ours), theirs in zip(weights(one).items(), weights(other).values(), strict=True):
        assert torch.equal(ours, theirs), name


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_one_batch_is_learned_by_heart(tmp_path: Path) -> None:
    task = toy.task()
    task.names = ("mse",)
    config = TrainConfig(steps=150, batch_size=4, lr=1e-2, drop_path=0.0, log_every=50)
    one = toy.Batches(size=toy.COUNT)
    result = train(task, one, config, tmp_path, total_steps=150)
    assert result.finished
    assert result.step == 150
    assert result.samples == 150 * toy.COUNT
    assert rows(tmp_path)[-1]["mse"] < 0.002


def test_same_seed_same_weights(tmp_path: Path) -> None:
    _, one = fit(tmp_path / "one")
    _, two = fit(tmp_path / "two")
    assert_equal(one, two)


class Stopping(toy.Batches):
    """Asks to stop in the fifth step."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        for batches in super().__iter__():
            if self.step == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batches


def test_stopped_and_resumed_is_bit_equal(tmp_path: Path) -> None:
    """Drop path draws random numbers, so generators must be restored too."""
    _, whole = fit(tmp_path / "whole", ema=0.5)

    first, _ = fit(tmp_path / "cut", source=Stopping(), ema=0.5)
    assert not first.finished
    assert first.step == 5
    second, resumed = fit(tmp_path / "cut", task=toy.task(seed=9), ema=0.5)
    assert second.finished
    assert_equal(whole, resumed)
    steps = [row["step"] for row in rows(tmp_path / "cut")]
    assert steps == sorted(set(steps))


def test_seconds_are_those_of_all_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    first, _ = fit(tmp_path, steps=4)
    second, _ = fit(tmp_path, steps=8)
    whole, _ = fit(tmp_path / "whole", steps=8)
    # A run reads the clock when it begins, at each checkpoint and at its end.
    assert (first.seconds, whole.seconds) == (20, 20)
    assert second.seconds == 10 + 20


def test_what_else_decides_a_run_is_kept_with_its_state(tmp_path: Path) -> None:
    def go_on(**about: object) -> TrainResult:
        return train(toy.task(), toy.Batches(), CONFIG, tmp_path, total_steps=8, about=about)

    go_on(data={"a": [1, 2]}, crop=0.5)
    assert go_on(crop=0.5, data={"a": (1, 2)}, later=None).finished
    with pytest.raises(ConfigError, match=r"data\.a: \[1, 2\] then, \[1\] now"):
        go_on(data={"a": [1]}, crop=0.5)
    assert fit(tmp_path / "none")[0].finished
    assert train(toy.task(), toy.Batches(), CONFIG, tmp_path / "none", total_steps=8,
                 about={"crop": 1}).finished  # fmt: skip


def test_a_stop_that_could_not_be_saved_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.state.Checkpoints, "save", lambda *_: False)
    lines: list[str] = []
    result = train(toy.task(), Stopping(), CONFIG, tmp_path, total_steps=8, log=lines.append)
    assert (result.step, result.finished) == (5, False)
    assert "could not save step 5 of 8" in lines[-1]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    _, one = fit(tmp_path)
    again, other = fit(tmp_path, task=toy.task(seed=3))
    assert again.finished
    assert again.samples == 0
    assert_equal(one, other)


def test_other_settings_refuse_to_resume(tmp_path: Path) -> None:
    fit(tmp_path)
    with pytest.raises(ConfigError, match=r"lr: 0\.003 then, 0\.1 now"):
        fit(tmp_path, lr=0.1)
    fit(tmp_path, log_every=5)  # how it is reported may change


@pytest.mark.parametrize("uneven", [False, True])
def test_accumulation_changes_nothing(tmp_path: Path, uneven: bool) -> None:
    results = []
    for micro in (0, 2):
        task = toy.task()
        task.names = ("mse",)  # a contrastive loss depends on who is in the micro-batch
        fit(tmp_path / str(micro), task, toy.Batches(micro=micro, uneven=uneven), drop_path=0.0)
        results.append(weights(task))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=2e-5, msg=name)


def test_the_best_weights_by_validation_are_kept(tmp_path: Path) -> None:
    task, seen = toy.task(), []
    values = iter([0.2, 0.9, 0.5, 0.7])

    def validate() -> float:
        assert not task.model.training
        seen.append(weights(task))
        return next(values)

    config = replace(CONFIG, eval_every=2)
    result = train(task, toy.Batches(), config, tmp_path, total_steps=8, validate=validate)
    assert (result.best, result.best_step, len(seen)) == (0.9, 4, 4)
    for name, value in weights(task).items():
        assert torch.equal(value, seen[1][name])


def test_lower_may_be_better(tmp_path: Path) -> None:
    values = iter([0.2, 0.9, 0.1, 0.7])
    config = replace(CONFIG, eval_every=2)
    result = train(
        toy.task(), toy.Batches(), config, tmp_path, total_steps=8,
        validate=lambda: next(values), higher_is_better=False,
    )  # fmt: skip
    assert (result.best, result.best_step) == (0.1, 6)


def test_averaged_weights_lag_behind(tmp_path: Path) -> None:
    start = weights(toy.task())
    _, plain = fit(tmp_path / "plain", drop_path=0.0)
    _, lagging = fit(tmp_path / "ema", drop_path=0.0, ema=0.9)
    name = "vision_proj.weight"
    moved = (weights(plain)[name] - start[name]).norm()
    assert 0 < (weights(lagging)[name] - start[name]).norm() < moved


def test_loss_weights_are_applied_once(tmp_path: Path) -> None:
    task = toy.task()
    task.weights = {"contrastive": 0.25}
    fit(tmp_path, task)
    for row in rows(tmp_path):
        assert row["loss"] == pytest.approx(row["mse"] + 0.25 * row["contrastive"], abs=1e-5)


def test_bfloat16_and_checkpointing_still_learn(tmp_path: Path) -> None:
    changes = {"precision": "bfloat16", "checkpoint_gradients": True, "drop_path": 0.0}
    _, task = fit(tmp_path, steps=30, **changes)
    losses = [row["loss"] for row in rows(tmp_path)]
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in task.model.parameters())


def test_checkpointing_gradients_changes_no_number(tmp_path: Path) -> None:
    _, plain = fit(tmp_path / "plain")
    _, saved = fit(tmp_path / "saved", checkpoint_gradients=True)
    assert_equal(plain, saved)


def test_the_temperature_is_clamped(tmp_path: Path) -> None:
    task = toy.task()
    task.model.temperature.data.fill_(3.0)
    fit(tmp_path, task, steps=1)
    assert float(task.model.temperature.detach()) <= 0.5


def test_files_of_a_run(tmp_path: Path) -> None:
    lines: list[str] = []
    train(toy.task(), toy.Batches(), CONFIG, tmp_path, total_steps=8, log=lines.append)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoints", "loss.png", "tensorboard", "train.jsonl"}
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert any("parameters to train" in line for line in lines)
    report = next(line for line in lines if line.startswith("step 4/8"))
    for what in ("loss", "mse", "contrastive", "lr", "samples/s", "data wait", "GB", "left"):
        assert what in report
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6, 8]


def test_drop_path_of_text_is_the_models_own_unless_set(tmp_path: Path) -> None:
    task = toy.task()
    task.model.set_drop_path(text=0.3)
    fit(tmp_path / "own", task, steps=1)
    assert task.model.fusion.drop_path == 0.3
    fit(tmp_path / "set", task, steps=1, text_drop_path=0.1)
    assert task.model.fusion.drop_path == 0.1
