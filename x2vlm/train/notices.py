"""Single steps that teach nothing: said once for each reason, as most runs have some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from x2vlm.tasks.base import Task
from x2vlm.types import Batch


class Notices:
    """What one run has said so far. log: takes each line."""

    def __init__(self, task: Task, log: Callable[[str], None]) -> None:
        self.task, self.log = task, log
        self._said: set[str] = set()

    def __call__(self, step: int, batches: Sequence[Batch], counts: Mapping[str, float]) -> None:
        """Say what is wrong with the micro-batches of a step.

        counts: what each loss is a mean over in the global batch (`Task.counts`).
        """
        reasons = [self.task.nothing_to_learn(batch) for batch in batches]
        if counts and not any(counts.values()):
            reasons.append("none of its samples has a target that counts")
        for reason in dict.fromkeys(reasons):
            if reason and reason not in self._said:
                self._said.add(reason)
                self.log(
                    f"warning: step {step}, task {self.task.name}: a micro-batch teaches little or "
                    f"nothing: {reason}; said once"
                )
