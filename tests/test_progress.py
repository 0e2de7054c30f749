"""What people see of a run: rows, lines, events, trackers, a plot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests import toy
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError
from x2vlm.train import progress
from x2vlm.train.step import Outcome
from x2vlm.train.trainer import train


class Kept:
    """A logger that keeps what it gets."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.closed = False

    def scalars(self, step: int, values: Any) -> None:
        self.rows.append({"step": step, **values})

    def close(self) -> None:
        self.closed = True


def test_the_meter_reports_means_since_the_last_line() -> None:
    kept, lines = Kept(), list[str]()
    meter = progress.Meter([kept], 5, 2, lines.append)
    for step, loss in enumerate((1.0, 3.0, 4.0, 8.0, 5.0), start=1):
        losses = {"loss": loss} | ({"rare": 7.0} if step == 2 else {})
        meter.update(step, Outcome(losses, 0.5, 6, False), 1e-3, 0.0)
    meter.close()
    assert [(row["step"], row["loss"]) for row in kept.rows] == [(2, 2.0), (4, 6.0), (5, 5.0)]
    assert kept.rows[0]["rare"] == 7.0  # a mean over the steps that had it
    assert kept.closed
    assert meter.last == {"loss": 5.0}
    assert "0:00:00 left" in lines[-1]


def test_rows_of_lost_steps_are_dropped_on_resume(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"step": step, "loss": step}) + "\n" for step in (2, 4, 6))
    (tmp_path / "train.jsonl").write_text(rows + '{"step": 8, "lo')
    logger = progress.JsonLines(tmp_path, 4)
    logger.scalars(6, {"loss": 60})
    logger.close()
    assert [row["loss"] for row in progress.read_metrics(tmp_path)] == [2, 4, 60]


def test_a_plot_of_nothing_is_still_a_picture(tmp_path: Path) -> None:
    progress.draw_losses(tmp_path)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_events_are_written_for_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = progress.TensorBoard(tmp_path, 0)
    logger.scalars(3, {"loss": 0.25})
    logger.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(3, 0.25)]


def test_trackers_get_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, list[Any]] = {"wandb": [], "mlflow": []}
    wandb, mlflow = ModuleType("wandb"), ModuleType("mlflow")
    begun: list[Any] = []
    run = SimpleNamespace(
        log=lambda values, step: kept["wandb"].append((step, values)),
        finish=lambda: kept["wandb"].append("end"),
    )
    wandb.__dict__["init"] = lambda **given: (begun.append(given["id"]), run)[1]

    def start_run(run_id: str | None, run_name: str | None) -> SimpleNamespace:
        kept["mlflow"].append(run_name)
        begun.append(run_id)
        return SimpleNamespace(info=SimpleNamespace(run_id="seven"))

    mlflow.__dict__.update(
        start_run=start_run,
        log_params=lambda params: kept["mlflow"].append(params["batch_size"]),
        log_metrics=lambda values, step: kept["mlflow"].append((step, values)),
        end_run=lambda: kept["mlflow"].append("end"),
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    config = TrainConfig(steps=2, batch_size=6, log_every=1, trackers=("wandb", "mlflow"))
    train(toy.task(), toy.Batches(), config, tmp_path / "run", total_steps=2)
    rows = progress.read_metrics(tmp_path / "run")
    assert [step for step, _ in kept["wandb"][:2]] == [1, 2]
    assert kept["wandb"][0][1]["loss"] == rows[0]["loss"]
    assert kept["wandb"][-1] == kept["mlflow"][-1] == "end"
    assert kept["mlflow"][:2] == ["run", "6"]
    train(toy.task(), toy.Batches(), config, tmp_path / "run", total_steps=3)
    assert begun[0] == begun[2]
    assert begun[1::2] == [None, "seven"]  # both go on with the run of the folder
    assert kept["mlflow"][-3] is None
    assert kept["mlflow"][-2][0] == 3


def test_a_missing_tracker_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'x2vlm\[wandb\]'"):
        progress.tracker("wandb", tmp_path, {})
    with pytest.raises(ConfigError, match="did you mean 'wandb'"):
        progress.tracker("wandbs", tmp_path, {})
