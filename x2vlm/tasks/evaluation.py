"""How predictions are computed: in evaluation mode, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

import torch

from x2vlm.model.products import products
from x2vlm.types import Batch, Prediction

if TYPE_CHECKING:
    from x2vlm.tasks.base import Task

SomeTask = TypeVar("SomeTask", bound="Task")
Predict = Callable[[SomeTask, Iterable[Batch]], Iterator[Prediction]]


def evaluation(predict: Predict[SomeTask]) -> Predict[SomeTask]:
    """Decorate `Task.predict`: the model is in evaluation mode until the last prediction, and in
    its former mode after it; gradients are off while the task works, but not for who iterates."""

    @wraps(predict)
    def wrapped(task: SomeTask, loader: Iterable[Batch]) -> Iterator[Prediction]:
        predictions = predict(task, loader)
        with task.evaluating():
            while True:
                with torch.inference_mode(), products():
                    row = next(predictions, None)
                if row is None:
                    return
                yield row

    return wrapped
