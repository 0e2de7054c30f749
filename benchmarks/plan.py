"""One run as plain values: which benchmark, which model, which data, how. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from benchmarks.base import Benchmark
from benchmarks.box_formats import box_format
from benchmarks.files import Files
from benchmarks.model_choice import ModelChoice
from benchmarks.registry import OWN_NAMES, is_own, look_up
from x2vlm.config import (
    DEVICE,
    NAME,
    OUT,
    SEED,
    DataConfig,
    PredictConfig,
    TrainConfig,
    wrong_device,
)
from x2vlm.errors import ConfigError, unknown
from x2vlm.ranges import Problem, Setting, is_name
from x2vlm.settings import Settings, SettingsError

PROTOCOLS = ("zero-shot", "fine-tuned", "few-shot", "translate-test", "transfer")
"""how a score can come about; a note may follow a colon ("fine-tuned:en"), a variant a plus"""
ZERO_SHOT = frozenset({"matching", "attributes"})
"""tasks that are never fine-tuned"""
VARIANTS = {
    ("options", "variant", "crops"): "crop",
    ("options", "score", "matching"): "matching-head",
    ("options", "rule", "chain"): "chain-rule",
    ("scoring", "variant", "x2vlm"): "scorer-x2vlm",
    ("scoring", "variant", "always"): "scorer-always",
}
"""settings that make another protocol, and what the record calls it: boards never mix two"""


@dataclass(frozen=True, slots=True)
class Plan(Settings):
    """Everything that decides a result, apart from code and data."""

    benchmark: Annotated[
        str, Setting("name (x2vlm list), FORMAT:NAME or FILE.py:NAME", required=True)
    ]
    model: Annotated[ModelChoice, Setting("which model")]
    data: Annotated[DataConfig, Setting("which data")]
    train: Annotated[TrainConfig, Setting("how it is trained")]
    predict: Annotated[PredictConfig, Setting("how predictions are made")]
    protocol: Annotated[
        str,
        Setting(
            'auto, or one of PROTOCOLS, of which fine-tuned and few-shot train first. "evaluate": '
            'the checkpoint is fine-tuned already, and the record says fine-tuned; "evaluate:'
            'few-shot:48": it was made under that protocol',
            required=True,
        ),
    ] = "auto"
    split: Annotated[
        str,
        Setting(
            "evaluated split; empty: the first test split whose answers are public, else validation"
        ),
    ] = ""
    train_split: Annotated[str, Setting("empty: the first training split")] = ""
    languages: Annotated[tuple[str, ...], Setting("evaluated languages; empty: all")] = ()
    train_languages: Annotated[
        tuple[str, ...], Setting("empty: the first language of the benchmark")
    ] = ()
    options: Annotated[
        Mapping[str, Any], Setting("options of the task, over the benchmark's own")
    ] = field(default_factory=dict)
    scoring: Annotated[
        Mapping[str, Any],
        Setting(
            "options of the metric, such as variant: x2vlm for VQA (benchmarks/metrics/answers.py)"
        ),
    ] = field(default_factory=dict)
    floor: Annotated[
        float | None,
        Setting(
            "the headline this run is expected to reach; a table marks a miss",
            "the headline's",
            least=0,
            most=1000,
        ),
    ] = None
    seed: Annotated[int, SEED] = 42
    out: Annotated[str, OUT] = "runs"
    name: Annotated[str, NAME] = ""
    device: Annotated[str, DEVICE] = "auto"

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another, and texts of more than one part."""
        yield from self._wrong_boxes()
        if self.benchmark.partition(":")[0] in OWN_NAMES and not self.data.root:
            yield Problem(
                "",
                f"benchmark={self.benchmark} is for data of your own: which?\n"
                "  to do: data=DIR, a folder with train.jsonl and test.jsonl "
                "(docs/your-own-data.md)",
            )
        yield from wrong_device(self.device)
        known: tuple[str, ...] = ("auto", "evaluate", *PROTOCOLS)
        name, _, note = self.protocol.partition(":")
        if name == "evaluate" and note:
            known, name = PROTOCOLS, note.partition(":")[0]
        if name.partition("+")[0] not in known:
            yield Problem("", unknown("protocol", name, known))
        elif not is_name(self.protocol):
            yield Problem(
                "protocol",
                f"becomes part of a folder's name: its note must be a plain name, got {note!r}",
            )

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

    def _wrong_boxes(self) -> Iterator[Problem]:
        if not self.data.box_format:
            return
        try:
            box_format(self.data.box_format)
        except ConfigError as error:
            yield Problem("", str(error))
            return
        if self.value().task != "grounding":
            yield Problem(
                "box_format",
                f"is for own_boxes and rows of RefCOCO, got {self.data.box_format}: "
                f"{self.benchmark} has no boxes to find",
            )

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

    def check_names(self) -> None:
        """SettingsError for splits and languages that the benchmark does not have."""
        benchmark = self.value()
        splits = ("split", self.split), ("train_split", self.train_split)
        problems = [
            Problem(key, f"must be a split of the benchmark: {unknown('split', name, known)}")
            for key, name in splits
            if name and name not in (known := benchmark.splits)
        ]
        if not problems:
            evaluated = benchmark.splits[self.test_split()].languages or benchmark.languages
            trained = benchmark.languages
            given = [("languages", name, evaluated) for name in self.languages]
            given += [("train_languages", name, trained) for name in self.train_languages]
            problems += [
                Problem(key, f"must be of {benchmark.name}: {unknown('language', name, known)}")
                for key, name, known in given
                if name not in known
            ]
        if problems:
            raise SettingsError(problems)

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
