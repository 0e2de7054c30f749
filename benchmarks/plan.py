"""One run as plain values: which benchmark, which model, which data, how. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.registry import OWN_NAMES, is_own, look_up
from x2vlm.config import DataConfig, PredictConfig, Settings, TrainConfig
from x2vlm.errors import ConfigError, unknown

PROTOCOLS = ("zero-shot", "fine-tuned", "few-shot", "translate-test", "transfer")
"""how a score can come about; a note may follow a colon ("fine-tuned:en"), a variant a plus"""
VARIANTS = {
    ("options", "variant", "crops"): "crop",
    ("options", "score", "matching"): "matching-head",
    ("options", "rule", "chain"): "chain-rule",
    ("scoring", "variant", "x2vlm"): "scorer-x2vlm",
    ("scoring", "variant", "always"): "scorer-always",
}
"""settings that make another protocol, and what the record calls it: boards never mix two"""
_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d+)?")
_DATA = re.compile(r"_(\d+[mb])(?=[_.]|$)", re.IGNORECASE)


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
    temporal_positions: bool = True
    """learned positions of the frames; off: their plain mean"""
    tokenizer: str = ""
    """name or path; empty: the one inside the checkpoint"""
    max_tokens: int = 40
    """longest text, special tokens included"""
    pretraining: str = ""
    """what the weights were pre-trained on ("4M", "1B"), for the table and to find the paper's
    number; empty: read off an official checkpoint's name (x2vlm_base_1b.th)"""
    label: str = ""
    """what tables call this model beside its name, to tell it from others of that name"""
    seeded: bool = False
    """the weights were trained with this run's seed, too (`x2vlm reproduce` and an ablation do so):
    runs whose weights were made in one way, by the note beside them, are seeds of one another"""

    @property
    def pretrained_on(self) -> str:
        """`pretraining`, or what the name of the checkpoint says; "" when neither does."""
        found = _DATA.search(Path(self.checkpoint).name)
        return self.pretraining or (found[1].upper() if found else "")


@dataclass(frozen=True, slots=True)
class Plan(Settings):
    """Everything that decides a result, apart from code and data."""

    benchmark: str
    model: ModelChoice
    data: DataConfig
    train: TrainConfig
    predict: PredictConfig
    protocol: str = "auto"
    """auto, or one of PROTOCOLS, of which fine-tuned and few-shot train first. "evaluate": the
    checkpoint is fine-tuned already, and the record says fine-tuned; "evaluate:few-shot:48": it
    was made under that protocol"""
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
    scoring: Mapping[str, Any] = field(default_factory=dict)
    """options of the metric, such as variant: x2vlm for VQA (metrics/answers.py)"""
    floor: float | None = None
    """the headline this run is expected to reach; a table marks a miss"""
    seed: int = 42
    out: str = "runs"
    name: str = ""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.data.box_format:
            from benchmarks.box_formats import box_format

            box_format(self.data.box_format)
            if self.value().task != "grounding":
                raise ConfigError(
                    f"box_format={self.data.box_format}: {self.benchmark} has no boxes to find\n"
                    "  to do: leave it out; it is for own_boxes and rows of RefCOCO"
                )
        if self.benchmark.partition(":")[0] in OWN_NAMES and not self.data.root:
            raise ConfigError(
                f"benchmark={self.benchmark} is for data of your own: which?\n"
                "  to do: data=DIR, a folder with train.jsonl and test.jsonl "
                "(docs/your-own-data.md)"
            )
        if not _DEVICE.fullmatch(self.device):
            raise ConfigError(
                unknown("device", self.device, ("auto", "cpu", "cuda", "cuda:1", "mps"))
            )
        known: tuple[str, ...] = ("auto", "evaluate", *PROTOCOLS)
        name, _, note = self.protocol.partition(":")
        if name == "evaluate" and note:
            known, name = PROTOCOLS, note.partition(":")[0]
        if name.partition("+")[0] not in known:
            raise ConfigError(unknown("protocol", name, known))

    @property
    def trains(self) -> bool:
        """Whether the run has a training stage."""
        return self.protocol.startswith(("fine-tuned", "few-shot"))

    @property
    def told_protocol(self) -> str:
        """What the record says: of a checkpoint that is only evaluated, how it was made; then the
        variants, as in "zero-shot+crop"."""
        told = self.protocol.removeprefix("evaluate:")
        if self.protocol in ("evaluate", "fine-tuned"):
            several = len(self.value().languages) > 1
            told = f"fine-tuned:{'+'.join(self.training_languages())}" if several else "fine-tuned"
        return "+".join([told, *self._variants(told)])

    def _variants(self, told: str) -> list[str]:
        """Names of the variants in use that the protocol does not name already."""
        groups = {"options": self.options, "scoring": self.scoring}
        found = [v for (group, name, value), v in VARIANTS.items()
                 if groups[group].get(name) == value]  # fmt: skip
        return [variant for variant in found if variant not in told.split("+")]

    @property
    def suite(self) -> str:
        """ "mini" without a data folder, "own" for data of the user's own, else "official"."""
        if not self.data.root:
            return "mini"
        return "own" if is_own(self.benchmark) else "official"

    def value(self) -> Benchmark:
        """The benchmark with the plan's options. A plan may come from a record, so code is looked
        up, not imported: the user names it first (`benchmarks.registry.get`)."""
        benchmark = look_up(self.benchmark)
        if not self.options:
            return benchmark
        return replace(benchmark, options={**benchmark.options, **self.options})

    def test_split(self) -> str:
        """The split to evaluate."""
        benchmark = self.value()
        if self.split:
            benchmark.split(self.split)
            return self.split
        return benchmark.default_split()

    def folder(self) -> Path:
        """Where this run writes: out/name, the name made of benchmark, model, protocol, seed and
        limit."""
        protocol = self.protocol.replace(":", "-")
        parts = [self.value().name, self.model.name, protocol, self.suite, f"s{self.seed}"]
        if self.data.limit is not None:
            parts.append(f"limit{self.data.limit}")
        return Path(self.out) / (self.name or "-".join(parts))

    def training_languages(self) -> tuple[str, ...]:
        """The languages to train on: those named, else the first of the benchmark."""
        return self.train_languages or self.value().languages[:1]

    def files(self, root: Path) -> Files:
        """The user's files below `root`, with layout and command line applied."""
        from benchmarks.layout import load_layout

        layout = load_layout(self.data.layout) if self.data.layout else {}
        named = {**layout.get(self.value().name, {}), **layout.get(self.benchmark, {})}
        given = {**named, **self.data.files}
        data = self.data
        return Files(
            root, given, data.on_error, box_format=data.box_format, box_pixels=data.box_pixels
        )

    def with_protocol(self, protocol: str) -> Plan:
        """The same plan under a protocol that is no longer "auto"."""
        return replace(self, protocol=protocol)
