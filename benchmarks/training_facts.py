"""What a run and its record say of the training behind a result."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.records import load_records
from benchmarks.stages import Stage
from benchmarks.training_overlap import SEEN, of_checkpoint, of_training, warning, was_seen
from x2vlm.errors import ConfigError
from x2vlm.types import Record

if TYPE_CHECKING:
    from benchmarks.run import Run

log = logging.getLogger("x2vlm")
_NO_STEP = (
    "a training without a step leaves the weights as they were, and is not fine-tuning\n"
    "  expected: at least one step\n  to do: protocol=zero-shot, or protocol=evaluate for weights "
    "that are fine-tuned"
)


class TrainingFacts:
    """The training of one run: its split, and what of it is in the evaluated one."""

    def __init__(self, run: Run) -> None:
        self.plan, self.benchmark, self.root = run.plan, run.benchmark, run.root
        self.folder, self.model = run.folder, run.model

    def split(self) -> str:
        """The split to train on; ConfigError when the benchmark has none."""
        split = self.plan.train_split or self.benchmark.first("train")
        if not split:
            raise ConfigError(
                f"{self.benchmark.name} has no training split; use protocol=zero-shot"
            )
        return split

    def check_steps(self) -> None:
        """ConfigError for a training without a step: nothing would be fine-tuned."""
        for name in ("steps", "epochs") if self.plan.trains else ():
            value = getattr(self.plan.train, name)
            if value is not None and not value > 0:
                raise ConfigError(f"train.{name}={value}: {_NO_STEP}")

    def of_training(self, trained: Sequence[Record], evaluated: Sequence[Record]) -> dict[str, Any]:
        """What the record says of this run's training; an overlap is logged."""
        split, languages = self.split(), self.plan.training_languages()
        whole = self._read(None) if self.plan.data.limit is not None else ()
        return _logged(of_training(split, languages, trained, evaluated, whole))

    def _read(self, limit: int | None) -> list[Record]:
        """The training split, of which the messages were given before."""
        languages, files = self.plan.training_languages(), self.plan.files(self.root)
        return load_records(self.benchmark, files, self.split(), languages, limit)

    @staticmethod
    def mark(training: Mapping[str, Any] | None) -> str:
        """What the protocol gets when the evaluated split was trained on: "+seen", else ""."""
        return f"+{SEEN}" if was_seen(training) else ""

    def behind(self, evaluated: Sequence[Record]) -> dict[str, Any] | None:
        """What the record says of the training behind the result; None of zero-shot results.

        Raises ConfigError when the training in the run folder took no step.
        """
        if self.plan.trains:
            noted = Stage(self.folder, "train", {}).note()
            if noted.get("steps", 1) < 1:
                raise ConfigError(f"{self.folder}: {_NO_STEP}")
            if "training" in noted:
                return dict(noted["training"])
            # The folder is of a version that did not note it.
            return self.of_training(self._read(self.plan.data.limit), evaluated)
        if not self.plan.protocol.startswith("evaluate"):
            return None
        told, source = self.model.told_training()
        files, split = self.plan.files(self.root), self.plan.test_split()
        return _logged(of_checkpoint(told, source, self.benchmark, files, split, evaluated))


def _logged(training: dict[str, Any]) -> dict[str, Any]:
    if note := warning(training):
        log.warning("%s", note)
    return training
