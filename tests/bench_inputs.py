"""What the paths of the bench share: size, device, weights, inputs, and a clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from tests.bench_table import Timed, peak_memory
from x2vlm.model.config import PRESETS
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.evaluation import predicting

CANDIDATES = 3128  # answers of VQAv2
ANSWER_TOKENS = ([1, 2, 3, 4, 5, 8], [60, 25, 8, 4, 2, 1])  # lengths and their shares


class Bench:
    """What all paths share: size, device, how much to do."""

    def __init__(self, size: str, quick: bool, device: str) -> None:
        self.config, self.quick, self.device = PRESETS[size], quick, device
        self.generator = torch.Generator().manual_seed(0)

    def model(self, pixels: int, *heads: str) -> X2VLM:
        """Random weights of this size; layers large enough that outputs depend on inputs."""
        torch.manual_seed(0)
        config = self.config.with_heads(heads=heads)
        if config.vision.patch_size == 16:
            config = config.with_image_size(pixels)
        return X2VLM(config).eval().to(self.device)

    def images(self, model: X2VLM, count: int) -> Tensor:
        """Visual tokens (count, V, D) as an encoder would give them."""
        vision = model.config.vision
        tokens = torch.randn(count, vision.tokens, vision.width, generator=self.generator)
        return tokens.to(self.device)

    def texts(self, count: int, mean: float = 13.0) -> tuple[Tensor, Tensor]:
        """Captions as long as those of COCO: 13 tokens on average, special ones included."""
        length_B = torch.normal(mean, 2.4, (count,), generator=self.generator).round().clamp(7, 30)
        mask_BL = torch.arange(int(length_B.max())) < length_B[:, None]
        words = self.config.text.vocabulary
        text_BL = torch.randint(5, words, mask_BL.shape, generator=self.generator) * mask_BL
        return text_BL.to(self.device), mask_BL.to(self.device)

    def time(
        self,
        work: Callable[[], Any],
        dtype: torch.dtype | None = None,
        context: Callable[[], AbstractContextManager[object]] = torch.inference_mode,
    ) -> Timed:
        """Run once (GPU: once more before), without gradients, in autocast if a dtype is given."""
        cast = torch.autocast(self.device, dtype) if dtype else nullcontext()
        with context(), cast, peak_memory(self.device) as peak:
            if self.device == "cuda":
                work()  # chooses kernels, which takes longer than most of what is timed here
                torch.cuda.synchronize()
            start = time.perf_counter()
            result = work()
            if self.device == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
        return Timed(seconds, peak[0], result)

    def fast(self, work: Callable[[], Any], dtype: torch.dtype | None = None) -> Timed:
        """`time` in the context in which tasks predict."""
        return self.time(work, dtype, lambda: predicting(self.device))


def answers(bench: Bench) -> tuple[Tensor, Tensor]:
    """A list shaped like VQAv2's 3,128 answers: most of one or two tokens, few long ones."""
    rng = random.Random(0)
    words = min(2800, bench.config.text.vocabulary - 10)
    rows = []
    for length in rng.choices(*ANSWER_TOKENS, k=CANDIDATES):
        rows.append([2, *(rng.randint(5, words) for _ in range(length)), 3])
    longest = max(map(len, rows))
    text_CA = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return text_CA.to(bench.device), (text_CA != 0).to(bench.device)
