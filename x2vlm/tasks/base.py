"""The Task interface: heads, a loss and a prediction over a model of towers. Nothing else.

A task turns samples into a batch (`collate`), a batch into named losses (`loss`) and a loader into
predictions (`predict`). Loops, devices, precision, checkpoints and metrics live elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from x2vlm.errors import ConfigError
from x2vlm.types import Batch, Prediction, Record

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from x2vlm.config import TrainConfig
    from x2vlm.data.image import Sample, Transform
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM

T = TypeVar("T")


class Progress(Protocol):
    """Watches a long stage: hands the items through and may report what, how many and how fast."""

    def __call__(
        self, items: Iterable[T], what: str, total: int | None, unit: str, /
    ) -> Iterable[T]:
        """The same items in the same order."""
        ...


def silent(items: Iterable[T], *_: object) -> Iterable[T]:
    """The `Progress` that reports nothing."""
    return items


class Task(ABC):
    """One way to train and to question a model.

    name: the key in `x2vlm.tasks.TASKS`. model: towers plus the heads this task composes.
    A task is built by `x2vlm.tasks.build` and is used by one loop or one predictor at a time.
    """

    name: ClassVar[str]
    weights: Mapping[str, float] = MappingProxyType({})
    """factor of each named loss in the sum; 1 where not named"""

    def __init__(self, model: X2VLM, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.progress: Progress = silent
        """how long stages report; the runner sets it"""
        self.cache = ""
        """folder that keeps features between runs; empty: none are kept. The runner sets it"""

    @property
    def device(self) -> torch.device:
        """Where the model is, and batches must go."""
        return next(self.model.parameters()).device

    def batches(self, loader: Iterable[Batch], what: str) -> Iterable[Batch]:
        """The batches of a loader, with progress reported."""
        total = len(loader) if isinstance(loader, Sized) else None
        return self.progress(loader, what, total, "batches")

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The model in evaluation mode for the block, and in its former mode after it."""
        training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(training)

    @classmethod
    @abstractmethod
    def heads(cls, **options: object) -> dict[str, object]:
        """Fields of `ModelConfig` that this task needs: {"heads": ("matching",), "labels": 3}."""

    @abstractmethod
    def transform(self, train: bool) -> Transform:
        """How this task's pixels are prepared (box tasks may only crop around their box)."""

    @abstractmethod
    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """Samples with decoded pixels -> one batch; runs in loader workers, on the CPU."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses, each a mean over what `counts` says; the loop sums and logs them."""

    @abstractmethod
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """Predictions of every sample of the loader, in any order, joined by id.

        Takes a loader, not a batch, so that two-stage retrieval is no special case.
        """

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """What each loss of `loss(batch)` is a mean over, for losses that are not a mean over ids.

        The loop weighs micro-batches by it, so that accumulation and processes change no mean.
        """
        return {"": len(batch.ids)}

    def training_records(self, records: Sequence[Record]) -> Sequence[Record]:
        """The units one epoch walks over; e.g. retrieval trains on (image, one caption) pairs."""
        return records

    def check_training(
        self, units: Sequence[Record], settings: TrainConfig, micro_batch: int
    ) -> list[str]:
        """Raise what makes every step teach nothing; what may be wrong comes back in words.

        units: of `training_records`. micro_batch: samples that a process compares with each other.
        Raises ConfigError naming the setting, DataError naming the data.
        """
        del units, settings, micro_batch
        return []

    def nothing_to_learn(self, batch: Batch) -> str:
        """Why a micro-batch teaches nothing about some of its losses; empty when it does."""
        del batch
        return ""


def no_negatives(settings: TrainConfig, micro_batch: int) -> ConfigError:
    """The error of losses over pairs when a forward pass sees one sample."""
    given = f"train.batch_size={settings.batch_size}"
    if settings.micro_batch is not None:
        given += f", train.micro_batch={settings.micro_batch}"
    if micro_batch < settings.batch_size and settings.micro_batch is None:
        given += f" over {settings.batch_size // micro_batch} processes"
    return ConfigError(
        f"{given}: every forward pass of a process sees {micro_batch} sample, which has no "
        "negatives: matching would see right pairs only, and nothing would be learned\n"
        "  to do: at least 2 samples per process and micro-batch, better 16 or more; "
        "train.checkpoint_gradients=true saves memory"
    )
