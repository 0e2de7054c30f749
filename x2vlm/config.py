"""Settings of training, predicting and data as frozen dataclasses: plain values, checked once.

`x2vlm.cli` makes them from the hydra tree; everything below takes them or plain arguments. Meaning,
unit and range of each field stand beside it (`x2vlm.settings`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from x2vlm.errors import unknown
from x2vlm.model.config import MOST_TOKENS
from x2vlm.ranges import Problem, Setting
from x2vlm.settings import Settings

Precision = Literal["float32", "bfloat16", "float16"]
MOST_STEPS = 10**9
LARGEST_SEED = 2**32 - 1
"""numpy's generators take no larger one"""
SEED = Setting("seed of everything that is drawn at random", least=0, most=LARGEST_SEED, key="seed")
OUT = Setting("folder below which everything is written", form="path", required=True, key="out")
NAME = Setting(
    "of the folder below out; empty: made of the other settings", form="name", key="name"
)
DEVICE = Setting("auto, cpu, cuda, cuda:1, xpu, mps", required=True, key="device")
MAX_TOKENS = Setting(
    "longest text, its two special tokens included", "tokens", least=3, most=MOST_TOKENS
)
_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d{1,3})?")


def wrong_device(device: str) -> Iterator[Problem]:
    """The problem of a name that no device has."""
    if not _DEVICE.fullmatch(device):
        names = ("auto", "cpu", "cuda", "cuda:1", "mps")
        yield Problem("", unknown("device", device, names))


@dataclass(frozen=True, slots=True)
class TrainConfig(Settings):
    """How a task is trained. Exactly one of `epochs` and `steps` is set."""

    KEY: ClassVar[str] = "train."

    epochs: Annotated[
        float | None, Setting("passes over the training records", "epochs", above=0, most=10**6)
    ] = None
    steps: Annotated[int | None, Setting("optimiser steps", "steps", least=1, most=MOST_STEPS)] = (
        None
    )
    batch_size: Annotated[
        int,
        Setting(
            "samples per optimiser step over all processes (the global batch)",
            "samples",
            least=1,
            most=10**6,
        ),
    ] = 32
    micro_batch: Annotated[
        int | None,
        Setting(
            "samples per forward pass and process; null: batch_size / processes; "
            "smaller: accumulation",
            "samples",
            least=1,
            most=10**6,
        ),
    ] = None
    lr: Annotated[float, Setting("peak learning rate of heads and fusion", above=0, most=1)] = 1e-4
    lr_vision: Annotated[
        float | None,
        Setting("peak learning rate of the vision encoder; null: lr", least=0, most=1),
    ] = None
    lr_text: Annotated[
        float | None,
        Setting("peak learning rate of text (and fusion) layers; null: lr", least=0, most=1),
    ] = None
    lr_new: Annotated[
        float,
        Setting("factor on lr for parameters that start from scratch", above=0, most=1000),
    ] = 2.0
    weight_decay: Annotated[
        float, Setting("decoupled decay, of all but biases and norms", least=0, most=10)
    ] = 0.01
    decay_head_norms: Annotated[
        bool, Setting("weight decay of the LayerNorm weights inside MLP heads too (official)")
    ] = False
    betas: Annotated[tuple[float, float], Setting("of AdamW", least=0, below=1)] = (0.9, 0.98)
    eps: Annotated[float, Setting("of AdamW", above=0, most=1)] = 1e-8
    clip: Annotated[
        float | None,
        Setting(
            "largest gradient norm; null: never clipped (0 in old settings means the same)",
            least=0,
            most=1e9,
        ),
    ] = None
    warmup: Annotated[
        float,
        Setting(
            "rise of the rate: below 1 a fraction of all steps, otherwise steps",
            "fraction or steps",
            least=0,
            most=MOST_STEPS,
        ),
    ] = 0.1
    precision: Annotated[Precision, Setting("of autocast; weights stay float32")] = "float32"
    checkpoint_gradients: Annotated[
        bool, Setting("compute activations twice instead of keeping them")
    ] = False
    compile: Annotated[bool, Setting("compile the model with torch.compile")] = False
    ema: Annotated[
        float, Setting("decay of the averaged weights; 0 is off", "per step", least=0, below=1)
    ] = 0.0
    drop_path: Annotated[
        float,
        Setting(
            "rate of dropped branches of the vision encoder at its last block (linear from 0)",
            "probability",
            least=0,
            below=1,
        ),
    ] = 0.1
    text_drop_path: Annotated[
        float,
        Setting(
            "the same of text, fusion and decoder, at their last layers, instead of dropout; "
            "0: the model's own",
            "probability",
            least=0,
            below=1,
        ),
    ] = 0.0
    seed: Annotated[int, SEED] = 42
    workers: Annotated[int, Setting("loader processes", "processes", least=0, most=1024)] = 0
    save_every: Annotated[
        int,
        Setting(
            "optimiser steps between checkpoints; 0: at the end of each epoch of at least 200 "
            "steps, of shorter ones together; the end of training is always saved",
            "steps",
            least=0,
            most=MOST_STEPS,
        ),
    ] = 0
    keep_last: Annotated[
        int, Setting("checkpoints that are kept, the newest", "checkpoints", least=1, most=10**6)
    ] = 2
    eval_every: Annotated[
        int,
        Setting(
            "optimiser steps between validations, by which the best weights are kept; 0: none, "
            "the last weights are taken",
            "steps",
            least=0,
            most=MOST_STEPS,
        ),
    ] = 0
    log_every: Annotated[
        int, Setting("optimiser steps between log lines", "steps", least=1, most=MOST_STEPS)
    ] = 20
    trackers: Annotated[
        tuple[Literal["wandb", "mlflow"], ...],
        Setting("further places for the curves (extras of those names)"),
    ] = ()
    deterministic: Annotated[bool, Setting("the same numbers each time, where torch can")] = True
    auto_batch: Annotated[
        bool, Setting("on out of memory halve the micro-batch and keep the global batch")
    ] = False
    shard: Annotated[
        bool,
        Setting(
            "cut weights, gradients and optimiser state over the processes (FSDP2); no effect on "
            "one"
        ),
    ] = False

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another."""
        if (self.epochs is None) == (self.steps is None):
            yield Problem(
                "",
                "set exactly one of train.epochs and train.steps\n"
                "  to do: train.steps=N, or train.epochs=N; the other is null",
            )
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            yield Problem(
                "train.micro_batch",
                f"must be at most train.batch_size={self.batch_size}, got {self.micro_batch}",
            )
        if self.steps is not None and self.warmup >= max(1, self.steps):
            yield Problem(
                "train.warmup",
                f"must be below train.steps={self.steps}, got {self.warmup}: the rate would never "
                "reach its peak\n  to do: train.warmup=0.1 is a tenth of the steps",
            )
        if self.shard:
            yield from self._against_shard()

    def _against_shard(self) -> Iterator[Problem]:
        for name in ("ema", "compile", "auto_batch"):
            if getattr(self, name):
                yield Problem(
                    "",
                    f"train.shard=true does not go with train.{name}={getattr(self, name)}\n"
                    f"  to do: switch one of them off",
                )
        if self.precision == "float16":
            yield Problem("", "train.shard=true needs train.precision=bfloat16 or float32")


@dataclass(frozen=True, slots=True)
class PredictConfig(Settings):
    """How predictions are made."""

    KEY: ClassVar[str] = "predict."

    batch_size: Annotated[
        int | Literal["auto"],
        Setting(
            "samples per forward pass; auto: the largest that fits", "samples", least=1, most=10**6
        ),
    ] = 32
    precision: Annotated[Precision, Setting("of autocast; weights stay float32")] = "float32"
    workers: Annotated[int, Setting("loader processes", "processes", least=0, most=1024)] = 0
    cache: Annotated[
        str, Setting("folder that keeps features between runs; empty: off", form="path")
    ] = ""


@dataclass(frozen=True, slots=True)
class DataConfig(Settings):
    """Where the data is and how much of it to use."""

    root: Annotated[
        str,
        Setting(
            "folder of the official files; empty: the embedded mini world", form="path", key="data"
        ),
    ] = ""
    layout: Annotated[str, Setting("YAML file that says where files are", form="path")] = ""
    files: Annotated[
        Mapping[str, str],
        Setting("role -> path, stronger than the layout", form="path", key="file"),
    ] = field(default_factory=dict)
    on_error: Annotated[
        Literal["raise", "skip"],
        Setting("what to do about a bad row: stop, or count, name and leave it out"),
    ] = "raise"
    limit: Annotated[
        int | None,
        Setting(
            "use the first n records only; the result is marked as limited",
            "records",
            least=1,
            most=10**12,
        ),
    ] = None
    box_format: Annotated[
        str,
        Setting(
            "what the numbers of boxes mean: xywh, xyxy, cxcywh, in pixels, fractions or "
            'thousandths ("xyxy-fractions"); empty: as the benchmark has them, xywh in own data'
        ),
    ] = ""
    box_pixels: Annotated[
        Literal["stored", "upright"],
        Setting(
            "pixels that boxes count when EXIF turns an image: as the file stores it, or as seen"
        ),
    ] = "stored"
