"""One optimiser step: micro-batches in, parameters updated, named losses out.

Every loss of a task is a mean over something it can count (`Task.counts`). The step weighs each
micro-batch of each process by its share of that count in the global batch, so that the gradient is
the one of the mean over the global batch, however it is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from x2vlm import distributed
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError, TrainingError
from x2vlm.model.products import products
from x2vlm.tasks.base import Task
from x2vlm.train import optim
from x2vlm.train.notices import Notices
from x2vlm.train.shard import Shards
from x2vlm.types import Batch


class OutOfMemoryError(TrainingError):
    """A micro-batch does not fit; the message says which and what to lower.

    everywhere: whether all processes raise it, and may therefore take the step once more.
    """

    def __init__(self, message: str, *, everywhere: bool) -> None:
        super().__init__(message)
        self.everywhere = everywhere


@dataclass(frozen=True)
class Outcome:
    """What a step reports. losses: means over the global batch, and "loss", their weighted sum."""

    losses: Mapping[str, float]
    gradient_norm: float
    samples: int
    asked_to_stop: bool


class _TaskLoss(nn.Module):
    """The loss as a module, so that DistributedDataParallel sees one forward."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self._loss: Callable[[Batch], dict[str, Tensor]] = task.loss

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named losses of one micro-batch."""
        return self._loss(batch)


class Step:
    """Forward, backward, clip (where set) and update for a task under one config.

    optimiser: AdamW over named groups; scaler: active for float16 only. Both belong to the
    training state.
    """

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        log: Callable[[str], None],
        shards: Shards | None = None,
    ) -> None:
        self.task, self.config = task, config
        self.device = next(task.model.parameters()).device
        self.precision = _precision(config, self.device, log)
        self.module: nn.Module = _TaskLoss(task)
        if shards is not None:
            shards.cut(self.module)  # before the optimiser: parameters become others
        groups = optim.named_groups(task.model, config, task.model.new_parameters)
        log("parameters to train:\n" + optim.table(groups))
        self.optimiser = optim.adamw(groups, config)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.precision == torch.float16
        )
        self.trained = [p for group in groups for _, p in group.parameters]
        if distributed.world() > 1 and shards is None:
            self.module = DistributedDataParallel(self.module, find_unused_parameters=True)
        self.notices = Notices(task, log)
        self._largest: dict[tuple[object, ...], tuple[int, ...]] = {}

    def __call__(
        self, step: int, rate: float, batches: Sequence[Batch], stop: bool = False
    ) -> Outcome:
        """Take optimiser step `step` at `rate` times the peak rates.

        stop: this process was asked to stop; every process learns of it in the outcome.
        Raises TrainingError when a loss is not finite, OutOfMemoryError when a batch does not fit.
        """
        if "contrastive" in self.task.model.config.heads:
            self.task.model.clamp_temperature_()
        optim.set_rates(self.optimiser, rate)
        if self.config.auto_batch and distributed.world() > 1:
            self._rehearse(step, batches)
        shares = self._shares(step, batches)
        sums: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            try:
                losses = self._backward(batch, shares[index], last=index == len(batches) - 1)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                self.optimiser.zero_grad(set_to_none=True)
                raise OutOfMemoryError(
                    _what_to_lower(step, batch, self.config), everywhere=distributed.world() == 1
                ) from error
            for name, loss in losses.items():
                sums[name] = sums[name] + loss if name in sums else loss
        values, samples, asked = self._reduce(step, sums, batches, stop)
        norm = self._update(step, batches)
        total = sum(self.task.weights.get(name, 1.0) * value for name, value in values.items())
        return Outcome({"loss": total, **values}, norm, samples, asked)

    def _backward(self, batch: Batch, shares: Mapping[str, float], last: bool) -> dict[str, Tensor]:
        """Accumulate the gradient of one micro-batch; its losses times their shares, detached."""
        world = distributed.world()
        waiting: AbstractContextManager[Any] = (
            self.module.no_sync()
            if isinstance(self.module, DistributedDataParallel) and not last
            else nullcontext()
        )
        with waiting:
            losses = self._forward(self.module, batch)
            parts = {n: loss * shares[n if n in shares else ""] for n, loss in losses.items()}
            weighted = [self.task.weights.get(n, 1.0) * part for n, part in parts.items()]
            # DistributedDataParallel averages gradients over processes; the shares already sum to 1
            total = torch.stack([part.float() for part in weighted]).sum() * world
            torch.autograd.backward(self.scaler.scale(total))
        return {name: part.detach().float() for name, part in parts.items()}

    def _forward(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        # What is computed anew in the backward pass, or on cut weights, goes the usual way.
        usual = self.config.checkpoint_gradients or self.config.shard or self.config.compile
        quick = nullcontext() if usual else products(self.device)
        # Weights that are cut are gathered block by block: their copies in half must not stay.
        with (
            quick,
            torch.autocast(
                self.device.type,
                self.precision,
                enabled=self.precision != torch.float32,
                cache_enabled=not self.config.shard,
            ),
        ):
            losses: dict[str, Tensor] = module(batch.to(self.device))
        return losses

    def _rehearse(self, step: int, batches: Sequence[Batch]) -> None:
        """Whether micro-batches larger than any before fit; if not, all processes raise.

        Within a step processes wait for each other: one without memory could not tell the others
        to halve theirs. So each goes forward and backward by itself first, on gradients of zero,
        keeps nothing, and draws no random number that counts. Memory for the features of others in
        contrastive losses is not rehearsed. The first steps are repeated until AdamW has its state.
        """
        module, failed = self.module, None
        assert isinstance(module, DistributedDataParallel)
        devices = [self.device] if self.device.type == "cuda" else []
        with distributed.apart(), torch.random.fork_rng(devices=devices):
            for batch in batches:
                kind, size = _size(batch)
                largest = self._largest.get(kind, (0,) * len(size))
                if all(now <= most for now, most in zip(size, largest, strict=True)):
                    continue
                try:
                    for parameter in self.trained:
                        parameter.grad = torch.zeros_like(parameter)
                    losses = self._forward(module.module, batch)
                    torch.autograd.backward(torch.stack(list(losses.values())).sum())
                except RuntimeError as error:
                    if not _out_of_memory(error):
                        raise
                    failed = batch
                    break
                if self.optimiser.state:
                    self._largest[kind] = tuple(map(max, size, largest))
        self.optimiser.zero_grad(set_to_none=True)
        fault = "" if failed is None else _what_to_lower(step, failed, self.config)
        for told in distributed.all_gather_objects(fault):
            if told:
                raise OutOfMemoryError(told, everywhere=True)

    def _shares(self, step: int, batches: Sequence[Batch]) -> list[dict[str, float]]:
        """Per micro-batch and loss: its part of what the loss counts in the global batch.

        The key "" serves the losses that the task does not count by name: they count samples.
        """
        counts = [{n: float(c) for n, c in self.task.counts(b).items()} for b in batches]
        names = sorted({name for row in counts for name in row})
        totals = [sum(row.get(name, 0.0) for row in counts) for name in names]
        if distributed.world() > 1:
            table = distributed.all_gather_objects(dict(zip(names, totals, strict=True)))
            total = {n: sum(row.get(n, 0.0) for row in table) for n in names}
        else:
            total = dict(zip(names, totals, strict=True))
        self.notices(step, batches, total)
        return [{n: count / total[n] if total[n] else 0.0 for n, count in row.items()}
                for row in counts]  # fmt: skip

    def _reduce(
        self, step: int, sums: Mapping[str, Tensor], batches: Sequence[Batch], stop: bool
    ) -> tuple[dict[str, float], int, bool]:
        """Losses of the global batch, its number of samples, whether anyone was asked to stop."""
        names = sorted(sums)
        samples = float(sum(len(batch.ids) for batch in batches))
        ours = torch.stack([sums[name] for name in names])
        flags = torch.tensor([samples, float(stop)], device=self.device)
        row: list[float] = distributed.sum_across(torch.cat([ours, flags])).tolist()
        values = dict(zip(names, row[:-2], strict=True))
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            here = any(not math.isfinite(float(sums[name])) for name in broken)
            what = f"loss {', '.join(broken)} is not finite "
            what += f"({', '.join(f'{n}={values[n]}' for n in broken)})"
            raise self._not_finite(step, what, batches if here else ())
        return values, int(row[-2]), row[-1] > 0

    def _not_finite(self, step: int, what: str, batches: Sequence[Batch]) -> TrainingError:
        ids = ", ".join(str(i) for batch in batches for i in batch.ids)
        where = f"samples of this step: {ids}" if ids else "it arose on another process"
        return TrainingError(
            f"step {step}, task {self.task.name}: {what}; {where}. Look at these samples, lower "
            "train.lr or lengthen train.warmup; the last checkpoint is untouched"
        )

    def _update(self, step: int, batches: Sequence[Batch]) -> float:
        """Clip where set, and step; the gradient norm before clipping. A gradient that is not
        finite stops the run before it reaches the weights; in float16 the scaler leaves such a step
        out."""
        self.scaler.unscale_(self.optimiser)
        limit = self.config.clip or math.inf
        found = nn.utils.clip_grad_norm_(self.trained, limit)
        norm = float(found.full_tensor() if isinstance(found, DTensor) else found)
        if not (math.isfinite(norm) or self.scaler.is_enabled()):
            raise self._not_finite(step, f"the gradient is not finite (norm {norm})", batches)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        return norm


def _precision(
    config: TrainConfig, device: torch.device, log: Callable[[str], None]
) -> torch.dtype:
    """The autocast type: float16 with a scaler stands in where the GPU has no bfloat16."""
    precision: torch.dtype = getattr(torch, config.precision)
    if precision == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        if config.shard:
            raise ConfigError("this GPU has no bfloat16; train.shard=true needs precision=float32")
        log("this GPU has no bfloat16; float16 with a gradient scaler is used")
        return torch.float16
    return precision


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the CPU's allocator, has run out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _size(batch: Batch) -> tuple[tuple[object, ...], tuple[int, ...]]:
    """What kind of batch it is, and how many numbers its image, text and targets have."""
    tensors = [value for value in batch.target.values() if isinstance(value, Tensor)]
    parts = ([batch.image], [batch.text_BL], tensors)
    size = tuple(sum(t.numel() for t in part if t is not None) for part in parts)
    return tuple(v for v in batch.target.values() if isinstance(v, (str, bool))), size


def _what_to_lower(step: int, batch: Batch, config: TrainConfig) -> str:
    image = "no image" if batch.image is None else f"image {tuple(batch.image.shape)}"
    tokens = "no text" if batch.text_BL is None else f"text {tuple(batch.text_BL.shape)}"
    several = distributed.world() > 1
    ways = [
        "train.auto_batch=true" * (not config.auto_batch and not config.shard),
        "train.checkpoint_gradients=true" * (not config.checkpoint_gradients),
        "train.precision=bfloat16" * (config.precision == "float32"),
        "train.shard=true" * (several and not config.shard and not config.auto_batch),
    ]
    here = f" in process {distributed.rank()}" if several else ""
    return (
        f"step {step}: out of memory{here} on a micro-batch of {len(batch.ids)} samples ({image}, "
        f"{tokens}; first id {batch.ids[0]}). Lower train.micro_batch (the global batch stays), or "
        f"set one of: {', '.join(filter(None, ways)) or 'nothing is left to set'}"
    )
