"""What a whole training step of the trainer costs on a GPU: samples per second, how much of the
card's peak the model's own arithmetic reaches (MFU), peak memory, and the largest batch that fits.

    python -m tests.bench_steps [--sizes base large] [--peak 989] [--out FILE]

Steps are the trainer's (bfloat16 autocast, clipping, AdamW) on random inputs that wait on the
device, so reading and decoding are left out. The arithmetic is counted by torch's FlopCounterMode
over one forward and backward pass. Texts have 13 tokens on average.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.bench_inputs import Bench
from tests.bench_training import regions_of, texts_of
from x2vlm.config import TrainConfig
from x2vlm.errors import TrainingError
from x2vlm.tasks.base import Task
from x2vlm.tasks.pretraining import Pretraining
from x2vlm.tasks.retrieval import Retrieval
from x2vlm.train.step import Step
from x2vlm.types import Batch

HEAD = ["step", "batch", "samples/s", "TFLOP a step", "MFU", "peak GB", "largest batch"]
H100 = 989.0
"""TFLOP/s, dense bfloat16, as NVIDIA states for H100 and H200 (SXM)"""


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


def measure(
    bench: Bench, name: str, task: Task, batch_of: Callable[[Bench, Task, int], Batch],
    count: int, peak: float,
) -> list[str]:  # fmt: skip
    """One line of the table."""
    config = TrainConfig(steps=1, batch_size=count, precision="bfloat16", deterministic=False)
    step = Step(task, config, lambda _: None)
    task.model.train()
    batch = batch_of(bench, task, count)

    def seconds(given: Batch, times: int) -> float:
        step(0, 1.0, [given])
        torch.cuda.synchronize()
        started = time.perf_counter()
        for number in range(times):
            step(number + 1, 1.0, [given])
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / times

    torch.cuda.reset_peak_memory_stats()
    each = seconds(batch, 8)
    memory = torch.cuda.max_memory_allocated() / 2**30
    with FlopCounterMode(display=False) as counter:
        step(0, 1.0, [batch])
    work = counter.get_total_flops() / 1e12
    largest = count
    try:
        while largest < 64 * count:
            seconds(batch_of(bench, task, 2 * largest), 1)
            largest *= 2
    except (TrainingError, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
    return [name, str(count), f"{count / each:.0f}", f"{work:.1f}", f"{work / each / peak:.0%}",
            f"{memory:.1f}", f"{largest}"]  # fmt: skip


def main(arguments: list[str]) -> None:
    """Print the table line by line, and write it to --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["base", "large"])
    parser.add_argument("--peak", type=float, default=H100, help="TFLOP/s of the card")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("bench_steps measures a GPU, and there is none; on a CPU: python -m tests.bench")
    lines = []
    for size in given.sizes:
        bench, count = Bench(size, False, "cuda"), 128 if size == "base" else 64
        heads = "contrastive", "matching", "box", "mlm"
        pretraining = Pretraining(bench.model(224, *heads), None)  # type: ignore[arg-type]
        retrieval = Retrieval(bench.model(384, *heads[:2]), None)  # type: ignore[arg-type]
        for what, task, batch_of, size_of in (
            ("pre-training, images, 224 px", pretraining, image_batch, count),
            ("pre-training, regions, 224 px", pretraining, region_batch, count),
            ("retrieval, 384 px", retrieval, image_batch, count // 2),
        ):
            line = measure(bench, f"{size}: {what}", task, batch_of, size_of, given.peak)
            lines.append(line)
            print(line, flush=True)
    cells = [HEAD, ["---"] * len(HEAD), *lines]
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    if given.out:
        where = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
        given.out.write_text(f"{where}\n\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
