"""Quick products on a CPU: float32 linear layers in oneDNN instead of MKL, gradients included."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Products are prepared per shape and kept, and texts make new shapes in every step: the 1 024 that
# oneDNN and torch above it keep by themselves grew to 4.5 GB. Read at the first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")

ROWS = 4
"""products with fewer rows are bound by reading the weights, and left to the default"""

MANY = 512
"""rows from which gradients of weights are quicker in oneDNN"""

PLAIN = (Tensor, torch.nn.Parameter)
"""types whose memory an operator may read; weights cut over processes are none of them"""


def products(device: torch.device | str = "cpu") -> AbstractContextManager[object]:
    """The context in which linear layers are quick: `with products(): …`, backward included.

    On a GPU it does nothing: watching every call of torch takes time that a GPU waits for.
    """
    here = torch.device(device).type == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return OneDNN() if here else nullcontext()


class OneDNN(TorchFunctionMode):
    """Inside the block float32 linear layers on a CPU run in oneDNN.

    The default is MKL, which on other than Intel's processors reaches less than half the speed:
    92 against 209 GFLOP/s on one core of an EPYC 9005 (2048 x 768 by 768 x 3072). Same sums in
    another order: equal to rounding. Nothing changes on other devices, dtypes, in autocast or in
    compiled code.
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
            quick = _Linear.apply if torch.is_grad_enabled() else _product
            return quick(x, weight, bias)
        return func(*args, **(kwargs or {}))


class _Linear(torch.autograd.Function):
    """x (..., K), weight (N, K), bias (N) -> (..., N)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        x_RK, gradient_RN = x.flatten(0, -2), gradient.flatten(0, -2)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight.t(), None) if needs_x else None,
            _weight_gradient(x_RK, gradient_RN) if needs_weight else None,
            gradient_RN.sum(0) if needs_bias else None,
        )


def _weight_gradient(x_RK: Tensor, gradient_RN: Tensor) -> Tensor:
    """(N, K). Its sums run over rows, and differ in length from batch to batch: below MANY rows
    oneDNN's preparation for a new length costs more than it gains."""
    if len(x_RK) < MANY:
        return gradient_RN.t() @ x_RK
    if x_RK.shape[1] < gradient_RN.shape[1]:  # the first factor is copied: let it be the smaller
        return _product(x_RK.t(), gradient_RN.t(), None).t()
    return _product(gradient_RN.t(), x_RK.t(), None)


def _suits(x: Tensor, weight: Tensor, *_: Tensor | None) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and type(x) in PLAIN
        and type(weight) in PLAIN
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and x.numel() >= ROWS * x.shape[-1]
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # The operator behind torch.compile's own CPU code; torch offers no public name for it.
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
