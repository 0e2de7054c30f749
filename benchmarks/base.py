"""What a benchmark is: data and a metric. A value, not a class to inherit from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

from benchmarks.files import Files
from benchmarks.metrics.stats import Scores
from x2vlm.errors import ConfigError, unknown
from x2vlm.ranges import is_name
from x2vlm.types import Prediction, Record

Role = Literal["train", "validation", "test"]
TaskName = Literal[
    "retrieval",
    "answering",
    "classification",
    "grounding",
    "captioning",
    "matching",
    "attributes",
]


class Reader(Protocol):
    """Official files -> records, lazily, in file order. `language` is "en" unless multilingual."""

    def __call__(self, files: Files, split: str, language: str) -> Iterable[Record]:
        """Yield the records of one split in one language."""
        ...


class Scorer(Protocol):
    """Records and their predictions (same order, joined by id) -> measures. No torch."""

    def __call__(
        self, records: Sequence[Record], predictions: Sequence[Prediction], **options: Any
    ) -> Scores:
        """Score one split; `options` are the scorer's own."""
        ...


@dataclass(frozen=True, slots=True)
class Split:
    """role: what it may be used for. scored: False when the labels are not public (server only).
    languages: those this split exists in, when not those of the benchmark."""

    role: Role
    scored: bool = True
    languages: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Benchmark:
    """One row of the paper's evaluation.

    name: id used everywhere. task: how a model is questioned. read, score: data and metric.
    headline: the metric a table shows first; chance: metric -> level of a blind guess, in the
    metric's own unit (percent for accuracies); perfect: the best possible headline (100; None when
    unbounded). higher_is_better per metric name when not True. options: defaults of the task, such
    as {"k": 256}. languages: all languages of the test split, English first if present.
    labels: function of the files -> names of the classes or candidate answers; None when the task
    has none. public_training: what the public weights fine-tuned for it were trained on, as
    `model.trained_on` has it; "" when there are none. file_options: options of the task that
    come from the files (OVAD's prompts).
    version: raised whenever records or scores of equal input change.
    """

    name: str
    task: TaskName
    title: str
    read: Reader
    score: Scorer
    headline: str
    splits: Mapping[str, Split]
    chance: Mapping[str, float] = field(default_factory=dict)
    perfect: float | None = 100.0
    lower_is_better: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)
    languages: tuple[str, ...] = ("en",)
    labels: Callable[[Files], Sequence[str]] | None = None
    file_options: Callable[[Files], Mapping[str, Any]] | None = None
    media: Literal["image", "video"] = "image"
    version: int = 1
    public_training: str = ""
    paper: str = ""
    url: str = ""
    licence: str = ""
    access: str = ""

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise ConfigError(f"a benchmark's name becomes part of a folder's, got {self.name!r}")
        for name in ("splits", "chance", "options"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def split(self, name: str) -> Split:
        """The split called `name`, or a ConfigError that names the close ones."""
        if name not in self.splits:
            raise ConfigError(unknown(f"split of {self.name}", name, self.splits))
        return self.splits[name]

    def default_split(self) -> str:
        """The split to evaluate: the first test split with public answers, else validation."""
        for role in ("test", "validation"):
            for name, split in self.splits.items():
                if split.role == role and split.scored:
                    return name
        raise ConfigError(f"{self.name} has no split to evaluate")

    def first(self, role: Role) -> str | None:
        """The first split that has this role."""
        return next((name for name, split in self.splits.items() if split.role == role), None)
