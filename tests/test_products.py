"""Quick products on a CPU: the same numbers, only where they are allowed."""

import os
import platform
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest
import small
import torch
import torch.nn.functional as F
from torch import nn

from x2vlm.model.products import products

LAYER = nn.Linear(24, 48)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every product that oneDNN was asked for."""
    from x2vlm.model import products as module

    made: list[int] = []
    real = module._product

    def counted(x: torch.Tensor, *rest: Any) -> torch.Tensor:
        made.append(x.shape[0])
        return real(x, *rest)

    monkeypatch.setattr(module, "_product", counted)
    return made


@pytest.mark.parametrize("shape", [(16, 24), (2, 8, 24), (2, 3, 4, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_equal(shape: tuple[int, ...], bias: bool, calls: list[int]) -> None:
    x = torch.randn(shape)
    with torch.inference_mode():
        plain = F.linear(x, LAYER.weight, LAYER.bias if bias else None)
        with products():
            quick = F.linear(x, LAYER.weight, LAYER.bias if bias else None)
    assert calls == [shape[0]]
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [16, 600])
@pytest.mark.parametrize("width", [48, 12])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_equal(rows: int, width: int, bias: bool, calls: list[int]) -> None:
    """Below and above the rows from which the weight's gradient changes sides, both orders."""
    torch.manual_seed(0)
    layer = nn.Linear(24, width, bias=bias)
    x = torch.randn(rows // 4, 4, 24, requires_grad=True)
    weight_RN = torch.randn(rows // 4, 4, width).transpose(0, 1).contiguous().transpose(0, 1)
    found = []
    for context in (nullcontext(), products()):
        with context:
            torch.autograd.backward((layer(x).sin() * weight_RN).sum())
        tensors = [x, *layer.parameters()]
        found.append([tensor.grad for tensor in tensors])
        for tensor in tensors:
            tensor.grad = None
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-4)
    assert len(calls) == (3 if rows == 600 else 2)


def test_what_needs_no_gradient_gets_none(calls: list[int]) -> None:
    x, layer = torch.randn(16, 24), nn.Linear(24, 48)
    layer.weight.requires_grad_(False)
    with products():
        torch.autograd.backward(layer(x).sum())
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert len(calls) == 1


def test_autocast_single_rows_and_other_types_go_the_usual_way(calls: list[int]) -> None:
    with products(), torch.inference_mode():
        LAYER(torch.randn(1, 24))
        LAYER.double()(torch.randn(16, 24, dtype=torch.float64))
        LAYER.float()
        with torch.autocast("cpu", torch.bfloat16):
            assert LAYER(torch.randn(16, 24)).dtype == torch.bfloat16
    assert calls == []


def test_a_model_computes_the_same() -> None:
    model = small.model("contrastive", "matching")
    text_BL, mask_BL = small.token_ids(6, 9)
    image_BCHW = torch.randn(6, 3, 32, 32)

    def scores() -> torch.Tensor:
        memory = model.memory(model.encode_image(image_BCHW))
        return model.match(model.fuse(model.encode_text(text_BL, mask_BL), mask_BL, memory))

    with torch.inference_mode():
        plain = scores()
        with products():
            quick = scores()
    torch.testing.assert_close(quick, plain, atol=1e-4, rtol=0)


GROWN = """
import ctypes
from pathlib import Path
import torch
from x2vlm.model.products import products

def held():
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free, but was not given back
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

torch.set_num_threads(1)
layer, x = torch.nn.Linear(192, 768), torch.randn(1200, 192)
with torch.inference_mode(), products():
    layer(x)
    before = held()
    for rows in range(600, 1200):
        layer(x[:rows])
print(held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_new_shapes_do_not_fill_the_memory() -> None:
    """Products are prepared per shape and kept: 330 MB for 600 shapes, were they not limited."""
    ran = subprocess.run(
        [sys.executable, "-c", GROWN], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert int(ran.stdout) < 100e6
