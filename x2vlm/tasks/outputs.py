"""What a model puts out while it predicts must be finite: one check for all tasks.

A NaN among the scores of a batch would become an answer like any other: the first candidate, the
first class, an empty caption. Hooks on the heads see every output before anything is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from x2vlm.errors import OutputError
from x2vlm.types import Batch, Prediction

if TYPE_CHECKING:
    from x2vlm.model.x2vlm import X2VLM

_OUTPUTS = {
    "vision_proj": "image features",
    "text_proj": "text features",
    "matching_head": "matching logits",
    "box_head": "box coordinates",
    "classifier": "class logits",
    "mlm_head": "word logits",
    "decoder.head": "answer logits",
}
"""module of the model -> what it puts out"""


class Outputs:
    """Gathers whether the outputs of a model's heads are finite, without waiting for the device.

    ids: the records of the batch that the model is busy with; () while it compares all of them.
    """

    def __init__(self, model: X2VLM) -> None:
        self.model = model
        self.ids: Sequence[str] = ()
        self._total: dict[str, Tensor] = {}
        self._rows: dict[str, list[Tensor]] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Every output of the block is looked at; `check` says what was found."""
        modules = dict(self.model.named_modules())
        hooks = [
            modules[name].register_forward_hook(self._hook(what))
            for name, what in _OUTPUTS.items()
            if name in modules
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, what: str) -> Any:
        def look(_module: nn.Module, _given: object, output: Tensor) -> None:
            # Times 0: NaN of what is NaN or infinite, else 0, so that the sum cannot overflow.
            rows = output.detach().flatten(1).sum(1, dtype=torch.float32).mul_(0)
            total = rows.sum()
            self._total[what] = self._total[what] + total if what in self._total else total
            if len(rows) == len(self.ids):
                self._rows.setdefault(what, []).append(rows)

        return look

    def check(self) -> None:
        """OutputError when an output since the last check was not finite."""
        total, rows = self._total, self._rows
        self._total, self._rows = {}, {}
        if not total or not bool(torch.stack(list(total.values())).sum().isnan()):
            return
        what = next(name for name, value in total.items() if bool(value.isnan()))
        raise OutputError(_message(what, self._faulty(rows.get(what, ())), len(self.ids)))

    def _faulty(self, parts: Sequence[Tensor]) -> list[str]:
        """Ids of the records whose output is not finite, as far as rows are records."""
        bad = [False] * len(self.ids)
        for part in parts:
            bad = [old or new for old, new in zip(bad, part.isnan().tolist(), strict=True)]
        return [id_ for id_, is_bad in zip(self.ids, bad, strict=True) if is_bad] or list(self.ids)

    def batches(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the outputs of each are checked before the next is handed out."""
        for batch in batches:
            self.check()
            self.ids = batch.ids
            yield batch
        self.check()
        self.ids = ()

    def row(self, row: Prediction) -> Prediction:
        """The same prediction; OutputError when it, or what it was chosen by, is not finite."""
        for name, value in row.items():
            if not _finite(value):
                raise OutputError(_message(str(name), [str(row.get("id"))], 1))
        self.check()
        return row


@contextmanager
def finite_outputs(model: X2VLM) -> Iterator[None]:
    """OutputError at the end of the block when the model put out what is not finite."""
    outputs = Outputs(model)
    with outputs.watched():
        yield
    outputs.check()


def _finite(value: object) -> bool:
    """Whether all numbers in plain values are finite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, (list, tuple)) else True


def _message(what: str, ids: Sequence[str], batch: int) -> str:
    if ids:
        named = ", ".join(map(repr, ids[:5])) + (", …" if len(ids) > 5 else "")
        where = f"of {named}" + (f" ({len(ids)} of a batch of {batch})" if batch > 1 else "")
    else:
        where = "of the inputs compared"
    return (
        f"the model's output is not finite: {what} {where}\n"
        "  expected: numbers; NaN and infinity cannot be ranked\n"
        "  to do: predict in full precision (predict.precision=float32); if it stays, the weights "
        "are of a training that diverged"
    )
