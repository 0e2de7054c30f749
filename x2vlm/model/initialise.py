"""Initial values of parameters that no checkpoint gives."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from x2vlm.model.config import ModelConfig

_LAST_IN_BRANCH = re.compile(r"vision\.blocks\.(\d+)\.(attention\.proj|fc2)\.weight")


def initial_value(name: str, shape: torch.Size, config: ModelConfig) -> Tensor:
    """The initial value of one parameter of `X2VLM`, from torch's global generator, on the CPU.

    Matrices: normal, std 0.02 at width 768 (BERT, BEiT-v2), wider for narrower models; the last
    matrix of each vision branch is divided by sqrt(2 * number of its block), as in BEiT. Biases and
    position tables 0, norms 1, layer scale and temperature as configured.
    """
    if name == "temperature":
        return torch.tensor(0.07)
    if "gamma_" in name:
        return torch.full(shape, config.vision.layer_scale)
    if len(shape) < 2 or name.endswith("position_table"):
        return torch.ones(shape) if name.endswith(".weight") else torch.zeros(shape)
    std = max(0.02, 0.02 * math.sqrt(768 / config.text.width))
    value = torch.empty(shape).normal_(std=std)
    if found := _LAST_IN_BRANCH.fullmatch(name):
        value /= math.sqrt(2 * (int(found[1]) + 1))
    return value


@torch.no_grad()
def initialise(model: nn.Module, config: ModelConfig) -> None:
    """Fill every parameter with its initial value; on the meta device nothing happens."""
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            return
        parameter.copy_(initial_value(name, parameter.shape, config))


@torch.no_grad()
def directional_positions(table_RN: Tensor, grid: int) -> None:
    """Start one relative position table so that absolute places can be read off at once.

    table_RN: ((2 grid - 1)^2 + 3, heads), changed in place. Head n looks left, right, up or down
    (n modulo 4). All patches of a full side together weigh as much as the class token, so its share
    falls evenly from 1 to 1/2 along the image; patches of other sides hardly count. BEiT learns
    places in its masked-image pre-training; a model that starts from nothing has none to give.
    """
    span = 2 * grid - 1
    offset_S = torch.arange(span) - (grid - 1)  # query minus key
    seen = torch.stack([
        (offset_S > 0)[None, :].expand(span, span), (offset_S < 0)[None, :].expand(span, span),
        (offset_S > 0)[:, None].expand(span, span), (offset_S < 0)[:, None].expand(span, span),
    ])  # fmt: skip
    near = -math.log(grid * (grid - 1))
    for head in range(table_RN.shape[1]):
        table_RN[:-3, head] = torch.where(seen[head % 4].flatten(), near, near - 4)
