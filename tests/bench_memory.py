"""Host memory of two-stage retrieval on COCO 5K, all but the model: random features and scores.

    python -m tests.bench_memory [--images 5000] [--texts 25010] [--k 256]

Candidates, pairs, rankings, the file and its scores are made by the code that evaluates; peaks are
of resident memory above that at the start of a stage. What encoders leave behind is not made but
reckoned: it is a product of sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from benchmarks.asking import Asking
from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.predictions import stream
from benchmarks.registry import get
from benchmarks.score import score_split
from tests.bench_table import peak_memory
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.model.config import PRESETS
from x2vlm.tasks import build
from x2vlm.tasks.features import Texts
from x2vlm.tasks.gallery import Gallery
from x2vlm.types import Record

TOKENS = 13
"""tokens of a COCO caption, on average"""


def gallery_of(records: Sequence[Record], embed: int) -> tuple[Gallery, Texts]:
    """Random features of images and texts, and no states."""
    text_ids = [name for record in records for name in record.target["text_ids"]]
    gallery = Gallery(
        [record.id for record in records], torch.randn(len(records), embed), [0] * len(records),
        list(text_ids), text_ids,
    )  # fmt: skip
    count = len(text_ids)
    return gallery, Texts(
        torch.empty(0), [TOKENS] * count, list(range(0, TOKENS * count, TOKENS)),
        torch.randn(count, embed),
    )  # fmt: skip


def coco(images: int, texts: int) -> list[Record]:
    """As many records, the texts shared out over them in turn."""
    return [
        Record(str(n), (), ("",) * len(range(n, texts, images)),
               {"text_ids": [f"{t % images}#{t // images}" for t in range(n, texts, images)]})
        for n in range(images)
    ]  # fmt: skip


def kept(size: str, images: int, texts: int, pixels: int = 384, width: int = 4) -> float:
    """GB on the host while pairs are scored: visual tokens, and the texts before and after the
    first layer. width: bytes of a number of the visual tokens; texts stay in float32."""
    config = PRESETS[size].with_image_size(pixels)
    visual = images * config.vision.tokens * config.vision.width
    return (visual * width + 2 * texts * TOKENS * config.text.width * 4) / 1e9


def main(arguments: Sequence[str]) -> None:
    """Print the peaks of both stages, and what comes on top of the first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name, value in (("images", 5000), ("texts", 25010), ("k", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args(arguments)
    torch.manual_seed(0)
    records = coco(given.images, given.texts)
    benchmark = get("coco_retrieval")
    plan = Plan(benchmark.name, ModelChoice(), DataConfig(), TrainConfig(steps=1), PredictConfig())
    words: Any = None
    task = build("retrieval", PRESETS["tiny"], words, k=given.k)
    gallery, encoded = gallery_of(records, 256)
    model: Any = SimpleNamespace(autocast=contextlib.nullcontext)

    def stage(name: str, work: Any) -> Any:
        start = time.perf_counter()
        with peak_memory("cpu") as peak:
            result = work()
        print(f"{name}: peak {(peak[0] or 0) / 1e9:.2f} GB, {time.perf_counter() - start:.0f} s")
        return result

    engine = "x2vlm.tasks.retrieval"
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch(f"{engine}.collect", return_value=gallery),
        mock.patch(f"{engine}.encode_texts", return_value=encoded),
        mock.patch(f"{engine}.rerank", lambda _, __, ___, pairs, **____: torch.randn(len(pairs))),
    ):
        out = Path(folder) / "predictions.jsonl"
        count, _ = stage(
            "pairs to rankings on disk",
            lambda: Asking(plan, benchmark, model).write(out, task, records),
        )
        print(f"  {count} rankings, {out.stat().st_size / 1e6:.0f} MB")
        scores = stage(
            "scores of the file",
            lambda: score_split(benchmark, records, stream(out, benchmark.task)),
        )
    print(f"  mean_recall {scores['mean_recall'].value:.2f}")
    for size, width in (("base", 4), ("large", 4), ("large", 2)):
        held = kept(size, given.images, given.texts, width=width)
        print(f"states of {size}, {8 * width} bits, while pairs are scored: {held:.1f} GB")


if __name__ == "__main__":
    main(sys.argv[1:])
