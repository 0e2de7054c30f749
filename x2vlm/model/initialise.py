"""Initial values of parameters, and towers from public BEiT-v2, BERT and XLM-R weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from x2vlm.model.x2vlm import X2VLM


@torch.no_grad()
def initialise(model: X2VLM) -> None:
    """Fill every parameter with its initial value, from torch's global generator.

    Matrices: normal, std 0.02 at width 768 (BERT, BEiT-v2), wider for narrower models; the last
    matrix of each vision branch is divided by sqrt(2 * its block's number), as in BEiT. Biases and
    position tables 0, norms 1. On the meta device nothing happens.
    """
    if model.device.type == "meta":
        return
    std = max(0.02, 0.02 * math.sqrt(768 / model.config.text.width))
    for name, parameter in model.named_parameters():
        if parameter.dim() >= 2 and not name.endswith("position_table"):
            nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for number, block in enumerate(model.vision.blocks, start=1):
        block.attention.proj.weight.div_(math.sqrt(2 * number))
        block.fc2.weight.div_(math.sqrt(2 * number))
