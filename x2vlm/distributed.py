"""What one process needs to know of the others. With one process every function is a no-op.

Processes are started by torchrun (or `torch.multiprocessing` in the tests); `start` reads its
environment. Collectives must be called by all processes in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

_apart = False
"""whether this process works by itself for now (see `apart`)"""


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _joined() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _joined() else 1


def _joined() -> bool:
    return not _apart and dist.is_available() and dist.is_initialized()


@contextmanager
def apart() -> Iterator[None]:
    """Every function here works as with one process for the block, so that nobody waits."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


def is_main() -> bool:
    """Whether this process writes the files and the log."""
    return rank() == 0


def barrier() -> None:
    """Wait for all processes."""
    if world() > 1:
        dist.barrier()


def local_device() -> torch.device:
    """This process's GPU (by torchrun's LOCAL_RANK), or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def processes() -> Iterator[None]:
    """Join torchrun's process group for the block: NCCL with GPUs, gloo without. Else nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    device = local_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def all_gather_objects(value: T) -> list[T]:
    """The plain value of every process, in the order of their ranks."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def sum_across(values: Tensor) -> Tensor:
    """Sum of a tensor over all processes, without gradient; the argument is not changed."""
    if world() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


class _Gather(torch.autograd.Function):
    """Rows of all processes; backward sums the gradients that all of them have for our rows."""

    @staticmethod
    def forward(ctx: Any, rows_BE: Tensor, counts: list[int]) -> Tensor:
        padded = rows_BE.new_zeros((max(counts), *rows_BE.shape[1:]))
        padded[: len(rows_BE)] = rows_BE
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded)
        ctx.start, ctx.rows = sum(counts[: rank()]), len(rows_BE)
        return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.rows], None


def all_gather_counts(count: int, device: torch.device) -> list[int]:
    """One whole number of every process."""
    if world() == 1:
        return [count]
    counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(world())]
    dist.all_gather(counts, torch.tensor([count], device=device))
    return [int(n) for n in counts]


def gather_with_gradient(rows_BE: Tensor) -> tuple[Tensor, int]:
    """Rows of every process, by rank, and the place of our first row among them.

    Processes may have different numbers of rows. The gradient of every process's loss reaches the
    rows, so that a mean over the global batch has the gradient that one process would compute.
    """
    if world() == 1:
        return rows_BE, 0
    counts = all_gather_counts(len(rows_BE), rows_BE.device)
    gathered: Tensor = _Gather.apply(rows_BE, counts)  # type: ignore[no-untyped-call]
    return gathered, sum(counts[: rank()])
