"""One run as plain values: which benchmark, which model, which data, how. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.registry import get
from x2vlm.config import DataConfig, PredictConfig, Settings, TrainConfig


@dataclass(frozen=True, slots=True)
class ModelChoice(Settings):
    """Which model, and where its weights come from."""

    name: str = "tiny"
    """preset: see `x2vlm list`"""
    checkpoint: str = ""
    """our .safetensors, a run folder, an official .th; empty: those shipped with the preset"""
    shipped: str = ""
    """folder with NAME.safetensors of the presets that ship with weights; empty: in the package"""
    random: bool = False
    """start from random weights, on purpose"""
    image_size: int | None = None
    """pixels; None: the checkpoint's own. Position tables are resized"""
    frames: int = 3
    """frames taken from a video"""
    tokenizer: str = ""
    """name or path; empty: the one inside the checkpoint"""
    max_tokens: int = 40
    """longest text, special tokens included"""
    pretraining: str = ""
    """what the weights were pre-trained on, for the table"""


@dataclass(frozen=True, slots=True)
class Plan(Settings):
    """Everything that decides a result, apart from code and data."""

    benchmark: str
    model: ModelChoice
    data: DataConfig
    train: TrainConfig
    predict: PredictConfig
    protocol: str = "auto"
    """auto, zero-shot, fine-tuned, evaluate (the checkpoint is fine-tuned already), or any of
    them with a note after a colon ("fine-tuned:en", "evaluate:few-shot-48")"""
    split: str = ""
    """evaluated split; empty: the first test split whose answers are public, else validation"""
    train_split: str = ""
    """empty: the first training split"""
    languages: tuple[str, ...] = ()
    """evaluated languages; empty: all"""
    train_languages: tuple[str, ...] = ()
    """empty: the first language of the benchmark"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """options of the task, over the benchmark's own"""
    floor: float | None = None
    """the headline this run is expected to reach; a table marks a miss"""
    seed: int = 42
    out: str = "runs"
    name: str = ""
    device: str = "auto"

    @property
    def suite(self) -> str:
        """ "mini" without a data folder, else "official"."""
        return "official" if self.data.root else "mini"

    def value(self) -> Benchmark:
        """The benchmark itself."""
        return get(self.benchmark)

    def test_split(self) -> str:
        """The split to evaluate."""
        benchmark = self.value()
        if self.split:
            benchmark.split(self.split)
            return self.split
        return benchmark.default_split()

    def folder(self) -> Path:
        """Where this run writes: out/name, the name made of benchmark, model, protocol and seed."""
        protocol = self.protocol.replace(":", "-")
        short = self.benchmark.rpartition(":")[2].lower()
        name = self.name or f"{short}-{self.model.name}-{protocol}-{self.suite}-s{self.seed}"
        return Path(self.out) / name

    def files(self, root: Path) -> Files:
        """The user's files below `root`, with layout and command line applied."""
        from benchmarks.layout import load_layout

        layout = load_layout(self.data.layout) if self.data.layout else {}
        given = {**layout.get(self.value().name, {}), **self.data.files}
        return Files(root, given, self.data.on_error)

    def task_options(self) -> dict[str, Any]:
        """The benchmark's options with this run's over them."""
        return {**self.value().options, **self.options}

    def with_protocol(self, protocol: str) -> Plan:
        """The same plan under a protocol that is no longer "auto"."""
        return replace(self, protocol=protocol)
