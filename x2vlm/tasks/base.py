"""The Task interface: heads, a loss and a prediction over a model of towers. Nothing else.

A task turns samples into a batch (`collate`), a batch into named losses (`loss`) and a loader into
predictions (`predict`). Loops, devices, precision, checkpoints and metrics live elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from x2vlm.types import Batch, Prediction, Record

if TYPE_CHECKING:
    from torch import Tensor
    from x2vlm.data.image import Transform
    from x2vlm.data.loader import Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM


class Task(ABC):
    """One way to train and to question a model.

    name: the key in `x2vlm.tasks.TASKS`. model: towers plus the heads this task composes.
    A task is built by `x2vlm.tasks.build` and is used by one loop or one predictor at a time.
    """

    name: ClassVar[str]

    def __init__(self, model: X2VLM, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @classmethod
    @abstractmethod
    def heads(cls, **options: object) -> dict[str, object]:
        """Fields of `ModelConfig` that this task needs, e.g. {"heads": ("matching",), "labels": 3}."""

    @abstractmethod
    def transform(self, train: bool) -> Transform:
        """How this task's pixels are prepared (box tasks may only crop around their box)."""

    @abstractmethod
    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """Samples with decoded pixels -> one batch; runs in loader workers, on the CPU."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses, each a mean over what it is defined on; the loop sums and logs them."""

    @abstractmethod
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """Predictions of every sample of the loader, in any order, joined by id.

        Takes a loader, not a batch, so that two-stage retrieval is no special case.
        """

    def training_records(self, records: Sequence[Record]) -> Sequence[Record]:
        """The units one epoch walks over; e.g. retrieval trains on (image, one caption) pairs."""
        return records
