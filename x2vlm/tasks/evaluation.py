"""How predictions are computed: evaluation mode, no gradients, and quick products on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from x2vlm.types import Batch, Prediction

if TYPE_CHECKING:
    from x2vlm.tasks.base import Task

SomeTask = TypeVar("SomeTask", bound="Task")
Predict = Callable[[SomeTask, Iterable[Batch]], Iterator[Prediction]]

ROWS = 4
"""products with fewer rows are bound by reading the weights, and left to the default"""


class OneDNN(TorchFunctionMode):
    """Inside the block float32 linear layers on a CPU without gradients run in oneDNN.

    The default is MKL, which on other than Intel's processors reaches less than half the speed:
    92 against 209 GFLOP/s on one core of an EPYC 9005 (2048 x 768 by 768 x 3072). Same sums in
    another order: equal to rounding. Nothing changes on other devices, dtypes, or in autocast.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """F.linear goes to oneDNN where that holds; everything else as it was."""
        del types
        if func is F.linear and not kwargs and _suits(*args):
            x, weight, bias = (*args, None)[:3]
            return _onednn_linear(x, weight, bias, "none", [], "")
        return func(*args, **(kwargs or {}))


def _suits(x: torch.Tensor, weight: torch.Tensor, *_: torch.Tensor | None) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and x.numel() >= ROWS * x.shape[-1]
    )


def _onednn_linear(*args: Any) -> Any:
    # The operator behind torch.compile's own CPU code; torch offers no public name for it.
    return torch.ops.mkldnn._linear_pointwise(*args)


def products() -> AbstractContextManager[object]:
    """The context in which linear layers are quick: `with products(): …`. Needs no gradients."""
    return OneDNN() if hasattr(torch.ops.mkldnn, "_linear_pointwise") else nullcontext()


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
