"""What a run keeps between steps: optimiser, averaged weights, checkpoints, the best so far."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from x2vlm import distributed
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError
from x2vlm.model.x2vlm import X2VLM
from x2vlm.provenance import revision
from x2vlm.tasks.base import Task
from x2vlm.train import state
from x2vlm.train.shard import Shards
from x2vlm.train.source import Source
from x2vlm.train.step import OutOfMemoryError, Step

OPERATIONAL = frozenset({
    "workers", "save_every", "keep_last", "eval_every", "log_every", "auto_batch", "micro_batch",
    "checkpoint_gradients", "compile", "trackers", "shard",
})  # fmt: skip
"""settings that may differ when a run is resumed"""


class Session:
    """The state of one run in one folder. `step` takes optimiser steps.

    best, best_step: best validation value so far and its step; None without validation. about:
    see `train`.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        config: TrainConfig,
        folder: Path,
        log: Callable[[str], None],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        state.seed_everything(config.seed + distributed.rank(), config.deterministic)
        self.shards = Shards(task) if config.shard and distributed.world() > 1 else None
        prepare(task.model, config)
        self.task, self.source, self.config, self.log = task, source, config, log
        self.step = Step(task, config, log, self.shards)
        self.average = _average(task.model, config.ema)
        self.checkpoints = state.Checkpoints(folder, config.keep_last, log)
        self.best: float | None = None
        self.best_step: int | None = None
        self._about = json.loads(json.dumps(about or {}))
        self._evaluated = -1
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on the run so far; what ran before is counted up to the checkpoint gone on from."""
        return time.monotonic() - self._begun

    def resume(self) -> int:
        """Go to the last whole checkpoint, if there is one; the step to go on from."""
        if (best := self.checkpoints.best()) is not None:
            self.best, self.best_step = best.value, best.step
        found = self.checkpoints.latest()
        if found is None:
            return 0
        self._same_settings(found)
        if self.shards is None:
            load_model(self.task.model, found.weights)
            self.step.optimiser.load_state_dict(found.state["optimiser"])
        else:
            with self.shards.together():
                load_model(self.task.model, found.weights)
                self.shards.take_weights()
            self.shards.load_state(self.step.optimiser, found.state["optimiser"])
        self.step.scaler.load_state_dict(found.state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(found.state["average"])
        processes = found.state["processes"]
        if len(processes) == distributed.world():
            ours = processes[distributed.rank()]
            state.set_random_state(ours["random"])
        else:
            ours = processes[0]
            self.log(f"saved by {len(processes)} processes, resumed by {distributed.world()}: "
                     "the data go on as they were, dropout is drawn anew")  # fmt: skip
        self.source.load_state_dict(ours["source"])
        self._evaluated = int(found.state["evaluated"])
        self._begun -= float(found.state.get("seconds", 0.0))
        self.log(f"resumed from {found.folder} at step {found.step}")
        return found.step

    def _same_settings(self, found: state.Checkpoint) -> None:
        old = TrainConfig.from_dict(found.state["config"]).to_dict()
        then = _flat(old, leave_out=OPERATIONAL) | _flat(found.state.get("about", {}))
        now = _flat(self.config.to_dict()) | _flat(self._about)
        # Settings that came later than the checkpoint have values that change nothing.
        changed = [
            f"{name}: {value!r} then, {now.get(name)!r} now"
            for name, value in then.items()
            if now.get(name) != value
        ]
        if changed:
            raise ConfigError(
                f"{found.folder} was made with other settings ({'; '.join(changed)})\n"
                "  to do: use the old settings to resume it, or a new run folder"
            )

    def save(self, step: int) -> bool:
        """Write a checkpoint; every process hands over its generators and data position.

        False, and a message, when it could not be written.
        """
        ours = {"random": state.random_state(), "source": self.source.state_dict()}
        processes = distributed.all_gather_objects(ours)
        optimiser = self.step.optimiser
        moments = self.shards.whole_state(optimiser) if self.shards else optimiser.state_dict()
        row = {
            "step": step,
            "optimiser": moments,
            "scaler": self.step.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "processes": processes,
            "evaluated": self._evaluated,
            "seconds": self.seconds,
            "config": self.config.to_dict(),
            "about": self._about,
            "revision": revision()["commit"] or "unknown",
            "torch": str(torch.__version__),
        }
        with self.whole():
            return self._on_main(
                lambda: self.checkpoints.save(step, partial(write_weights, self.task.model), row)
            )

    def _on_main(self, write: Callable[[], bool]) -> bool:
        """What `write` says, called by the main process alone; every process waits for it."""
        return distributed.all_gather_objects(distributed.is_main() and write())[0]

    def whole(self) -> AbstractContextManager[None]:
        """The whole model in the task for the block; every process must enter."""
        return self.shards.together() if self.shards else nullcontext()

    def evaluate(self, step: int, validate: Callable[[], float], higher_is_better: bool) -> None:
        """Validate once per step, and keep the weights when they are the best so far."""
        if self._evaluated == step:
            return
        with self.whole(), self.averaged(), self.task.evaluating():
            value = validate()
            value = distributed.all_gather_objects(value)[0]
            sign = 1 if higher_is_better else -1
            better = self.best is None or sign * value > sign * self.best
            self.log(f"step {step}: validation {value:.4f}{', the best so far' if better else ''}")
            write = partial(write_weights, self.task.model)
            # Weights that could not be written are not the best: nobody could have them.
            if better and not math.isnan(value):
                kept = self._on_main(lambda: self.checkpoints.save_best(step, value, write))
                self.best, self.best_step = (value, step) if kept else (self.best, self.best_step)
        self._evaluated = step

    def smaller_batches(self, error: OutOfMemoryError, position: Mapping[str, Any]) -> None:
        """After a batch that did not fit: halve the micro-batch and take the step once more.

        position: of the source before the step. Raises `error` when that is not asked for, not
        possible, or the error is not of all processes, so that the others wait inside the step.
        """
        if not self.config.auto_batch or not error.everywhere:
            raise error
        self.source.load_state_dict(position)
        if not self.source.halve():
            raise error
        self.log(f"{error}\n  train.auto_batch: micro-batches are halved, the global batch stays; "
                 "losses over pairs now see fewer negatives")  # fmt: skip
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def leave(self, finished: bool) -> None:
        """Leave the task with its whole model, ready for evaluation.

        finished: with the best weights, else the averaged, else the last ones.
        """
        if self.shards is not None:
            self.shards.join()
        if finished:
            self._take_best()
        self.task.model.eval()

    def _take_best(self) -> None:
        best = self.checkpoints.best()
        if self.best is not None and best is not None:
            load_model(self.task.model, best.weights)
        elif self.average is not None:
            self.task.model.load_state_dict(self.average.module.state_dict())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in the model for the block."""
        if self.average is None:
            yield
            return
        swap(self.task.model, self.average.module)
        try:
            yield
        finally:
            swap(self.task.model, self.average.module)


def _flat(
    values: Mapping[str, Any], path: str = "", leave_out: Collection[str] = ()
) -> dict[str, Any]:
    """Values of nested mappings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}{name}.")
        elif name not in leave_out:
            found[path + name] = value
    return found


def prepare(model: X2VLM, config: TrainConfig) -> None:
    """Put the model in training mode with the config's switches."""
    model.train()
    model.set_drop_path(vision=config.drop_path, text=config.text_drop_path or None)
    model.set_training(gradient_checkpointing=config.checkpoint_gradients, compiled=config.compile)


def _average(model: nn.Module, decay: float) -> AveragedModel | None:
    if not decay:
        return None

    def average(averages: Sequence[Tensor], currents: Sequence[Tensor], _: object) -> None:
        for mean, now in zip(averages, currents, strict=True):
            mean.lerp_(now, 1 - decay)

    return AveragedModel(model, multi_avg_fn=torch.no_grad()(average))


@torch.no_grad()
def swap(one: nn.Module, other: nn.Module) -> None:
    """Exchange the parameters of two models of one shape, in place."""
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        kept = ours.clone()
        ours.copy_(theirs)
        theirs.copy_(kept)


def write_weights(model: nn.Module, path: Path) -> None:
    """Safetensors of every tensor, those that are shared once."""
    save_model(model, str(path))
