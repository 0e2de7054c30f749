"""The loop for pre-training and all fine-tuning: evaluate, save, stop, step, log; in that order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from x2vlm import distributed
from x2vlm.config import TrainConfig
from x2vlm.errors import Stopped
from x2vlm.stopping import Request, asked_to_stop
from x2vlm.tasks.base import Task
from x2vlm.train import optim, progress
from x2vlm.train.session import Session
from x2vlm.train.source import Source
from x2vlm.train.step import OutOfMemoryError
from x2vlm.types import Batch

__all__ = ["Source", "TrainResult", "train"]

LOG = logging.getLogger("x2vlm")


@dataclass(frozen=True)
class TrainResult:
    """step: where training stands; finished: whether that is the end. stop: the request to stop
    that ended training, or came with its end; for the caller to raise.

    best: the best validation value and best_step its step; None without validation. losses: the
    last means logged. seconds: on the run, with earlier calls up to the checkpoint gone on from;
    samples: of this call, over all processes.
    """

    step: int
    finished: bool
    best: float | None
    best_step: int | None
    losses: Mapping[str, float]
    seconds: float
    samples: int
    stop: Stopped | None = None


def train(
    task: Task,
    source: Source,
    config: TrainConfig,
    folder: Path,
    *,
    total_steps: int,
    validate: Callable[[], float] | None = None,
    higher_is_better: bool = True,
    about: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = LOG.info,
) -> TrainResult:
    """Train `task.model` for `total_steps` optimiser steps; resume when `folder` has a checkpoint.

    The model is left with the best weights by `validate` (called by every process), else with the
    averaged ones when config.ema is set, else with the last. On SIGTERM or Ctrl-C the state is
    saved and the result says finished=False; a second Ctrl-C raises Stopped at once. Writes
    checkpoints/, train.jsonl, tensorboard/ and loss.png below `folder`, and to config.trackers.
    about: what else decides what is learned, as JSON values.

    Raises TrainingError when a loss is not finite or a batch does not fit in memory, ConfigError
    when the folder holds a run with another `config` or `about`.
    """
    samples, stopping = 0, False
    log = log if distributed.is_main() else _say_nothing
    session = Session(task, source, config, folder, log, about)
    start = step = saved = session.resume()
    batches = iter(source)
    save_every = config.save_every or _whole_epochs(source.steps_per_epoch)
    saying = _saying_what_is_saved(lambda: saved, total_steps)
    meters = _meter(folder, start, total_steps, config, log)
    with saying, asked_to_stop() as asked, meters as meter:
        while True:
            end = step >= total_steps
            due = step > start and config.eval_every and step % config.eval_every == 0
            if validate and (due or end):
                session.evaluate(step, validate, higher_is_better)
            if step > start and (end or stopping or (save_every and step % save_every == 0)):
                saved = step if session.save(step) else saved
            if end or stopping:
                break
            position = source.state_dict() if config.auto_batch else {}
            micro_batches, waited = _next(batches)
            rate = optim.linear_schedule(step, total_steps, config.warmup)
            try:
                outcome = session.step(step, rate, micro_batches, stop=bool(asked))
            except OutOfMemoryError as error:
                session.smaller_batches(error, position)
                batches = iter(source)
                continue
            if session.average is not None:
                session.average.update_parameters(task.model)
            step, samples, stopping = step + 1, samples + outcome.samples, outcome.asked_to_stop
            meter.update(step, outcome, config.lr * rate, waited)
        stop = _stop(asked, step, saved, total_steps)
    session.leave(end)
    if stop is not None:
        log(f"asked to stop: {stop}")
    best = session.best, session.best_step
    return TrainResult(step, end, *best, meter.last, session.seconds, samples, stop)


def _whole_epochs(steps: int) -> int:
    """Steps of as many epochs as make up 200 steps: short epochs do not write all the time."""
    return steps * -(-200 // steps) if steps else 0


def _next(batches: Iterator[Sequence[Batch]]) -> tuple[Sequence[Batch], float]:
    """The micro-batches of a step, and the seconds they were waited for."""
    waiting = time.perf_counter()
    # A loader that starts draws a seed: not from the generator that dropout draws from.
    with torch.random.fork_rng(devices=[]):
        return next(batches), time.perf_counter() - waiting


def _stop(asked: Request, step: int, saved: int, total: int) -> Stopped | None:
    """What to say of a request to stop, which any process may have had; None without one."""
    number = max(distributed.all_gather_objects(asked.number))
    if not number:
        return None
    if step >= total:
        return Stopped("training is finished and kept", number)
    if saved == step:
        return Stopped(f"saved at step {step} of {total}", number)
    return Stopped(f"could not save step {step} of {total}; step {saved} is kept", number)


@contextmanager
def _saying_what_is_saved(saved: Callable[[], int], total: int) -> Iterator[None]:
    """Stopped at once in the block: with the step of the last checkpoint."""
    try:
        yield
    except Stopped as stop:
        kept = f"step {saved()} of {total} is the last one saved" if saved() else "nothing is saved"
        raise Stopped(f"{stop}: {kept}", stop.number) from None


@contextmanager
def _meter(
    folder: Path,
    start: int,
    total_steps: int,
    config: TrainConfig,
    log: Callable[[str], None],
) -> Iterator[progress.Meter]:
    """The meter of this run; only the main process writes files."""
    every: list[progress.Logger] = []
    if distributed.is_main() and start < total_steps:
        folder.mkdir(parents=True, exist_ok=True)
        every = [progress.JsonLines(folder, start), progress.TensorBoard(folder, start)]
        every += [progress.tracker(name, folder, config.to_dict()) for name in config.trackers]
    meter = progress.Meter(every, total_steps, config.log_every, log)
    try:
        yield meter
    finally:
        meter.close()
        if distributed.is_main():  # whatever ended the run: the curve may tell why
            progress.plot_losses(folder, log)


def _say_nothing(_: str) -> None:
    """The log of the processes that are not the main one."""
