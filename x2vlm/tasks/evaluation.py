"""How predictions are computed: in evaluation mode, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

import torch

from x2vlm.model.products import products
from x2vlm.tasks.outputs import Outputs
from x2vlm.types import Batch, Prediction

if TYPE_CHECKING:
    from x2vlm.tasks.base import Task

SomeTask = TypeVar("SomeTask", bound="Task")
Predict = Callable[[SomeTask, Iterable[Batch]], Iterator[Prediction]]


@contextmanager
def predicting(device: torch.device | str) -> Iterator[None]:
    """How a task computes on `device`: without gradients, on a CPU with quick products.

    Not `inference_mode`: in it autocast converts every weight anew at every use, an eighth of
    re-ranking in bfloat16.
    """
    with torch.inference_mode(False), torch.no_grad(), products(device):
        yield


def evaluation(predict: Predict[SomeTask]) -> Predict[SomeTask]:
    """Decorate `Task.predict`: the model is in evaluation mode until the last prediction, and in
    its former mode after it; gradients are off while the task works, but not for who iterates.
    OutputError when what the model puts out is not finite, before anything chosen by it is given.
    """

    @wraps(predict)
    def wrapped(task: SomeTask, loader: Iterable[Batch]) -> Iterator[Prediction]:
        outputs = task.outputs = Outputs(task.model)
        predictions = predict(task, loader)
        with task.evaluating(), outputs.watched():
            while True:
                with predicting(task.device):
                    row = next(predictions, None)
                if row is None:
                    return
                yield outputs.row(row)

    return wrapped
