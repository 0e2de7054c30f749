"""Settings as frozen dataclasses: plain values, checked once, with the unit beside each field.

`x2vlm.cli` makes them from the hydra tree; everything below takes them or plain arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self, get_args

from x2vlm.errors import ConfigError, unknown

Precision = Literal["float32", "bfloat16", "float16"]
KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "int": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "bool": ("true or false", (bool,)),
}
"""annotation of a field -> what its values are, in words and as types"""


class Settings:
    """Base of the dataclasses here: made from a mapping, with unknown names refused."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain values; ConfigError names an unknown field and its close matches."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        for name in values:
            if name not in known:
                raise ConfigError(unknown(f"setting of {cls.__name__}", name, known))
        for f in fields(cls):  # type: ignore[arg-type]
            if f.name in values:
                _check_kind(f.name, str(f.type), values[f.name])
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, JSON-ready."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


def _check_kind(name: str, annotation: str, value: Any) -> None:
    """ConfigError when a number, a switch or a precision is set to something else."""
    if annotation == "Precision" and value not in get_args(Precision):
        raise ConfigError(unknown("precision", str(value), get_args(Precision)))
    kind, _, optional = annotation.partition(" | ")
    if kind not in KINDS or (optional and optional != "None") or (value is None and optional):
        return
    words, types = KINDS[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        raise ConfigError(f"{name} is {words}{' or null' if optional else ''}, not {value!r}")


@dataclass(frozen=True, slots=True)
class TrainConfig(Settings):
    """How a task is trained. Exactly one of `epochs` and `steps` is set."""

    epochs: float | None = None
    """passes over the training records"""
    steps: int | None = None
    """optimiser steps"""
    batch_size: int = 32
    """samples per optimiser step over all processes (the global batch)"""
    micro_batch: int | None = None
    """samples per forward pass and process; None: batch_size / processes; smaller: accumulation"""
    lr: float = 1e-4
    """peak learning rate of heads and fusion"""
    lr_vision: float | None = None
    """peak rate of the vision encoder; None: lr"""
    lr_text: float | None = None
    """peak rate of text (and fusion) layers; None: lr"""
    lr_new: float = 2.0
    """factor on lr for parameters that start from scratch"""
    weight_decay: float = 0.01
    decay_head_norms: bool = False
    """weight decay of the LayerNorm weights inside MLP heads too (official)"""
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    clip: float | None = None
    """largest gradient norm; null: never clipped (0 in old settings means the same)"""
    warmup: float = 0.1
    """below 1: fraction of all steps; otherwise steps"""
    precision: Precision = "float32"
    """of autocast; weights stay float32"""
    checkpoint_gradients: bool = False
    compile: bool = False
    ema: float = 0.0
    """decay of the averaged weights; 0 is off"""
    drop_path: float = 0.1
    """of the vision encoder, at its last block (linear from 0)"""
    text_drop_path: float = 0.0
    """of text, fusion and decoder, at their last layers, instead of dropout; 0: the model's own"""
    seed: int = 42
    workers: int = 0
    """loader processes"""
    save_every: int = 0
    """optimiser steps between checkpoints; 0: at the end of each epoch of at least 200 steps, of
    shorter ones together; the end of training is always saved"""
    keep_last: int = 2
    eval_every: int = 0
    """optimiser steps between validations, by which the best weights are kept; 0: none, the last
    weights are taken"""
    log_every: int = 20
    """optimiser steps between log lines"""
    trackers: tuple[str, ...] = ()
    """further places for the curves: "wandb", "mlflow" (extras of those names)"""
    deterministic: bool = True
    auto_batch: bool = False
    """on out of memory halve the micro-batch and keep the global batch"""
    shard: bool = False
    """cut weights, gradients and optimiser state over the processes (FSDP2); no effect on one"""

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError(
                "set exactly one of train.epochs and train.steps\n"
                "  to do: train.steps=N, or train.epochs=N; the other is null"
            )
        if self.batch_size < 1:
            raise ConfigError(f"train.batch_size must be at least 1, got {self.batch_size}")
        if self.micro_batch is not None and not 1 <= self.micro_batch <= self.batch_size:
            raise ConfigError("train.micro_batch must be between 1 and train.batch_size")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"train.ema must be in [0, 1), got {self.ema}")
        if self.shard:
            self._check_shard()

    def _check_shard(self) -> None:
        for name in ("ema", "compile", "auto_batch"):
            if getattr(self, name):
                raise ConfigError(
                    f"train.shard=true does not go with train.{name}={getattr(self, name)}\n"
                    f"  to do: switch one of them off"
                )
        if self.precision == "float16":
            raise ConfigError("train.shard=true needs train.precision=bfloat16 or float32")


@dataclass(frozen=True, slots=True)
class PredictConfig(Settings):
    """How predictions are made."""

    batch_size: int | Literal["auto"] = 32
    """samples per forward pass; auto: the largest that fits"""
    precision: Precision = "float32"
    workers: int = 0
    cache: str = ""
    """folder that keeps features between runs; empty: off"""

    def __post_init__(self) -> None:
        size = self.batch_size
        if size != "auto" and (not isinstance(size, int) or size < 1):
            raise ConfigError(f"predict.batch_size is auto or a number from 1, not {size!r}")


@dataclass(frozen=True, slots=True)
class DataConfig(Settings):
    """Where the data is and how much of it to use."""

    root: str = ""
    """folder of the official files; empty: the embedded mini world"""
    layout: str = ""
    """YAML file that says where files are"""
    files: Mapping[str, str] = field(default_factory=dict)
    """role -> path, stronger than the layout"""
    on_error: Literal["raise", "skip"] = "raise"
    limit: int | None = None
    """use the first n records only; the result is marked as limited"""
    box_format: str = ""
    """what the numbers of boxes mean: xywh, xyxy, cxcywh, in pixels, fractions or thousandths
    ("xyxy-fractions"); empty: as the benchmark has them, xywh in data of your own"""
    box_pixels: Literal["stored", "upright"] = "stored"
    """pixels that boxes count when EXIF turns an image: those of the file, or as people see it"""

    def __post_init__(self) -> None:
        if self.limit is not None and (not isinstance(self.limit, int) or self.limit < 1):
            raise ConfigError(f"limit is a whole number from 1, or null for all: {self.limit!r}")
        if self.on_error not in ("raise", "skip"):
            raise ConfigError(unknown("on_error", str(self.on_error), ("raise", "skip")))
        if self.box_pixels not in ("stored", "upright"):
            raise ConfigError(unknown("box_pixels", str(self.box_pixels), ("stored", "upright")))
