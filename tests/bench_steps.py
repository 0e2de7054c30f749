"""What a whole training step of the trainer costs on a GPU: samples per second, how much of the
card's peak the model's own arithmetic reaches (MFU), what the rest is spent on, peak memory, and
the largest batch that fits.

    python -m tests.bench_steps [--sizes base large] [--compile] [--batches 128 512] [--peak 989]

Steps are the trainer's (bfloat16 autocast, clipping, AdamW) on random inputs that wait on the
device, so reading and decoding are left out. The arithmetic is counted by torch's FlopCounterMode
over one forward and backward pass. Texts have 13 tokens on average. "GPU busy" and what it is busy
with are from torch's profiler: the rest of a step the GPU waits for the host, which sends it the
operators of the column of that name one by one (compiled layers count as one each way).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from tests.bench_inputs import Bench
from tests.bench_training import regions_of, texts_of
from x2vlm.config import TrainConfig
from x2vlm.errors import TrainingError
from x2vlm.tasks.base import Task
from x2vlm.tasks.pretraining import Pretraining
from x2vlm.tasks.retrieval import Retrieval
from x2vlm.train.session import prepare
from x2vlm.train.step import Step
from x2vlm.types import Batch

HEAD = ["step", "batch", "samples/s", "TFLOP a step", "MFU", "operators", "GPU busy", "products",
        "attention", "peak GB", "largest batch"]  # fmt: skip
H100 = 989.0
"""TFLOP/s, dense bfloat16, as NVIDIA states for H100 and H200 (SXM)"""
BATCHES = {"base": (128, 512), "large": (64, 256)}
"""what is measured by default; halves of it at 384 px"""
KERNELS = {
    "products": ("gemm", "nvjet", "cutlass", "xmma", "splitk"),
    "attention": ("attention", "fmha", "flash"),
}
"""what the names of CUDA kernels hold; attention is looked for first"""


def image_batch(bench: Bench, task: Task, count: int) -> Batch:
    """Images with a text each, of pre-training or retrieval."""
    side = task.model.config.vision.image_size
    texts = texts_of(bench, count)
    target = {"kind": "image", "image_B": torch.arange(count), "hidden_BL": texts.hidden_BL,
              "positions_BM": texts.positions_BM, "targets_BM": texts.targets_BM}  # fmt: skip
    pixels = torch.randn(count, 3, side, side)
    ids = tuple(map(str, range(count)))
    return Batch(ids, pixels, texts.text_BL, texts.mask_BL, target).to(bench.device)


def region_batch(bench: Bench, task: Task, count: int) -> Batch:
    """`count` concepts of 0.4 times as many images, as in the paper."""
    images = -(-2 * count // 5)
    batch = image_batch(bench, task, count)
    regions = regions_of(bench, images, count, task.model.config.vision.grid)
    target = {**batch.target, "kind": "region", "rows_B": regions.rows_B,
              "patches_BV": regions.patches_BV, "box_B4": regions.box_B4,
              "is_box_B": regions.is_box_B, "kind_B": torch.zeros(count)}  # fmt: skip
    assert batch.image is not None
    made = Batch(batch.ids, batch.image[:images], batch.text_BL, batch.mask_BL, target)
    return made.to(bench.device)


def steps(bench: Bench, counts: Sequence[int]) -> Sequence[Case]:
    """What is measured."""
    heads = "contrastive", "matching", "box", "mlm"
    pretraining = Pretraining(bench.model(224, *heads), None)  # type: ignore[arg-type]
    retrieval = Retrieval(bench.model(384, *heads[:2]), None)  # type: ignore[arg-type]
    return [
        ("pre-training, images, 224 px", pretraining, image_batch, counts),
        ("pre-training, regions, 224 px", pretraining, region_batch, counts),
        ("retrieval, 384 px", retrieval, image_batch, [max(count // 2, 1) for count in counts]),
    ]


Case = tuple[str, Task, Callable[..., Batch], Sequence[int]]
"""name, task, what makes its batches, their sizes"""


class Operators(TorchDispatchMode):
    """Counts what is handed to the device: every operator that makes or changes numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """A view is none; what else has a name in torch is one."""
        del types
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


class Measured:
    """The trainer's step of a task, on batches that `batch_of` makes in any size."""

    def __init__(
        self, bench: Bench, task: Task, batch_of: Callable[..., Batch], compiled: bool
    ) -> None:
        config = TrainConfig(
            steps=1, precision="bfloat16", deterministic=False, compile=compiled, warmup=0
        )
        prepare(task.model, config)
        self.step, self.compiled = Step(task, config, lambda _: None), compiled
        self.cuda = bench.device == "cuda"
        self.batch_of = partial(batch_of, bench, task)

    def run(self, batch: Batch, times: int) -> float:
        """Take steps, to their end on the device; the seconds of all."""
        started = time.perf_counter()
        for number in range(times):
            self.step(number, 1.0, [batch])
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def work(self, batch: Batch) -> tuple[float, str]:
        """TFLOP and operators of a step; compiled layers cannot be watched."""
        with FlopCounterMode(display=False) as counter:
            self.run(batch, 1)
        with Operators() as operators:
            self.run(batch, 1)
        return counter.get_total_flops() / 1e12, "—" if self.compiled else str(operators.count)

    def busy(self, batch: Batch, each: float) -> list[str]:
        """Which part of `each` seconds a step keeps the GPU busy, in all and by kind of kernel."""
        if not self.cuda:
            return ["—"] * (1 + len(KERNELS))
        with profile(activities=[ProfilerActivity.CUDA]) as told:
            self.run(batch, 3)
        found = dict.fromkeys(("all", *KERNELS), 0.0)
        for event in told.events() or ():
            if event.device_type != torch.autograd.DeviceType.CUDA or event.is_user_annotation:
                continue
            spent, name = event.self_device_time_total / 1e6 / 3, event.name.lower()
            found["all"] += spent
            for kind in reversed(KERNELS):
                if any(part in name for part in KERNELS[kind]):
                    found[kind] += spent
                    break
        return [f"{spent / each:.0%}" for spent in found.values()]

    def largest(self, fits: int) -> str:
        """The largest batch in memory, found by doubling one that fits."""
        most = 64 * fits
        try:
            while fits < most:
                self.run(self.batch_of(2 * fits), 1)
                fits *= 2
        except (TrainingError, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        return str(fits)

    def line(self, name: str, count: int, peak: float, last: bool) -> list[str]:
        """One line of the table; last: find the largest batch as well."""
        batch, times = self.batch_of(count), 8 if self.cuda else 1
        try:
            self.run(batch, 2)
            if self.cuda:
                torch.cuda.reset_peak_memory_stats()
            each = self.run(batch, times) / times
        except TrainingError:
            return [name, str(count), "does not fit", *["—"] * (len(HEAD) - 3)]
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if self.cuda else "—"
        work, operators = self.work(batch)
        return [
            name, str(count), f"{count / each:.0f}", f"{work:.2f}", f"{work / each / peak:.0%}",
            operators, *self.busy(batch, each), memory,
            self.largest(count) if last and self.cuda else "—",
        ]  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Print the table line by line, and write it to --out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["base", "large"])
    parser.add_argument("--compile", action="store_true", help="with train.compile=true as well")
    parser.add_argument("--batches", nargs="+", type=int, help="halves of them at 384 px")
    parser.add_argument("--peak", type=float, default=H100, help="TFLOP/s of the device")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lines = [HEAD]
    print(" | ".join(HEAD))
    for size in given.sizes:
        bench = Bench(size, False, device)
        for what, task, batch_of, counts in steps(bench, given.batches or BATCHES[size]):
            for compiled in (False, True) if given.compile else (False,):
                measured = Measured(bench, task, batch_of, compiled)
                name = f"{size}: {what}{', compiled' * compiled}"
                for count in counts:
                    lines.append(measured.line(name, count, given.peak, count == counts[-1]))
                    print(" | ".join(lines[-1]), flush=True)
    if given.out:
        where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
        head, *rows = (f"| {' | '.join(row)} |" for row in lines)
        table = "\n".join([head, "|---" * len(HEAD) + "|", *rows])
        told = f"{where}, torch {torch.__version__}\n\n{table}\n"
        given.out.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
