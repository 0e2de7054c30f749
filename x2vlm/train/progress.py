"""What people see of a run: log lines, a bar, train.jsonl, TensorBoard, trackers, a loss plot."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from x2vlm import plain
from x2vlm.errors import ConfigError, TrainingError, WritingError, unknown
from x2vlm.train.step import Outcome
from x2vlm.writing import write_atomically

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

METRICS = "train.jsonl"
METRICS_ROW = plain.shaped({"step": plain.number()})


class Logger(Protocol):
    """Takes scalars of a run; `close` flushes."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Values after optimiser step `step`."""
        ...

    def close(self) -> None:
        """No more values follow."""
        ...


class JsonLines:
    """Appends a JSON line per call to train.jsonl; drops the lines of lost steps after `step`."""

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / METRICS
        kept = [row for row in read_metrics(folder) if row["step"] <= step]
        # A kill in between leaves the history as it was.
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", encoding="utf-8")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write and flush, so that a killed run keeps its history."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Event files below folder/tensorboard."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar chart per name."""
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def close(self) -> None:
        """Flush the events."""
        self._writer.close()


class WeightsAndBiases:
    """A run of wandb (extra `wandb`); the folder keeps its identity, so resuming continues it."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        identity = _noted(folder / "wandb-run") or uuid.uuid4().hex
        (folder / "wandb-run").write_text(identity, encoding="utf-8")
        self._run: Any = wandb.init(
            project="x2vlm", name=folder.name, id=identity, resume="allow", dir=str(folder),
            config=dict(config),
        )  # fmt: skip

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One chart per name."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def _noted(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


class MLflow:
    """A run of MLflow (extra `mlflow`), at the tracking server its environment names; continued
    when resumed."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        before = _noted(folder / "mlflow-run")
        run = mlflow.start_run(run_id=before, run_name=None if before else folder.name)
        if before is None:  # what it was begun with; parameters of a run cannot change
            mlflow.log_params({name: str(value) for name, value in config.items()})
            (folder / "mlflow-run").write_text(run.info.run_id, encoding="utf-8")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One metric per name."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Logger]] = {
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def tracker(name: str, folder: Path, config: Mapping[str, Any]) -> Logger:
    """The tracker of that name; ConfigError when there is none, or its extra is missing."""
    if name not in TRACKERS:
        raise ConfigError(unknown("tracker", name, TRACKERS))
    try:
        return TRACKERS[name](folder, config)
    except ImportError as error:
        raise ConfigError(f"train.trackers={name} needs: pip install 'x2vlm[{name}]'") from error


class Meter:
    """Sums steps between log lines and reports their means, the rate, and the time left.

    log: takes each line. On a terminal a bar shows every step as well.
    """

    def __init__(
        self, loggers: Sequence[Logger], total_steps: int, every: int, log: Callable[[str], None]
    ) -> None:
        self.loggers, self.total, self.every, self.log = loggers, total_steps, every, log
        self.last: dict[str, float] = {}
        self._bar = _bar() if loggers and sys.stderr.isatty() else None
        self._line = (
            self._bar.add_task("training", total=total_steps, loss=math.nan) if self._bar else None
        )
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._steps = self._samples = 0
        self._waited = 0.0
        self._mark = time.perf_counter()

    def update(self, step: int, outcome: Outcome, lr: float, waited: float) -> None:
        """Count the step that ended at `step`; report when `every` steps have come together.

        lr: rate of groups without a rate of their own; waited: seconds spent waiting for data.
        """
        for name, value in outcome.losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._seen[name] = self._seen.get(name, 0) + 1
        self._steps += 1
        self._samples += outcome.samples
        self._waited += waited
        if self._bar is not None and self._line is not None:
            self._bar.update(self._line, completed=step, loss=outcome.losses["loss"])
        if step % self.every == 0 or step == self.total:
            self._report(step, outcome.gradient_norm, lr)

    def _report(self, step: int, norm: float, lr: float) -> None:
        seconds = max(time.perf_counter() - self._mark, 1e-9)
        self.last = {name: value / self._seen[name] for name, value in self._sums.items()}
        values = {
            **self.last,
            # In float16 the scaler leaves steps out whose gradient is not finite: no JSON number.
            **({"gradient_norm": norm} if math.isfinite(norm) else {}),
            "lr": lr,
            "samples_per_second": self._samples / seconds,
            "data_wait": self._waited / seconds,
            "memory_gb": memory_gb(),
        }
        for logger in self.loggers:
            with full_disk_is_no_end(self.log):
                logger.scalars(step, values)
        losses = "  ".join(f"{name} {value:.4f}" for name, value in self.last.items())
        left = (self.total - step) * seconds / self._steps
        self.log(
            f"step {step}/{self.total}  {losses}  lr {lr:.2e}  norm {norm:.2f}  "
            f"{values['samples_per_second']:.0f} samples/s  data wait {values['data_wait']:.0%}  "
            f"{values['memory_gb']:.1f} GB  {clock(left)} left"
        )
        self._reset()

    def close(self) -> None:
        """Close every logger and the bar."""
        if self._bar is not None:
            self._bar.stop()
        for logger in self.loggers:
            with full_disk_is_no_end(self.log):
                logger.close()


@contextmanager
def full_disk_is_no_end(log: Callable[[str], None]) -> Iterator[None]:
    """Curves that cannot be written, or sent, cost a message instead of the training."""
    try:
        yield
    except (OSError, WritingError) as error:
        reason = str(error).partition("\n")[0]
        log(f"curves could not be written ({reason}); training continues")


def _bar() -> RichProgress:
    """A bar on the terminal's stderr with steps, loss and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.start()
    return bar


def memory_gb() -> float:
    """Peak memory so far in GB (1e9 bytes): of the GPU when there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of train.jsonl; a line that a kill or a full disk cut short is left out."""
    path = folder / METRICS
    if not path.exists():
        return []
    return list(plain.rows(path, METRICS_ROW, TrainingError))


def plot_losses(folder: Path, log: Callable[[str], None]) -> None:
    """`draw_losses`; when that fails, for a full disk or a broken matplotlib, a message is all."""
    try:
        draw_losses(folder)
    except Exception as error:
        log(f"loss.png could not be drawn ({type(error).__name__}: {error}); training is not lost")


def draw_losses(folder: Path) -> None:
    """Draw every loss of train.jsonl over the steps to loss.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(folder)
    other = {"step", "gradient_norm", "lr", "samples_per_second", "data_wait", "memory_gb"}
    names = sorted({name for row in rows for name in row} - other)
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="optimiser step", ylabel="loss")
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), label=name, linewidth=2 if name == "loss" else 1)
    if names:
        axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(folder / "loss.png", dpi=120)
