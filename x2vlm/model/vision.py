"""The vision encoder: BEiT-v2 with a position bias table per block, and region features.

Axes: see `x2vlm.types`; T rows of a position bias table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from x2vlm.errors import ConfigError
from x2vlm.model.config import VisionConfig
from x2vlm.model.layers import Tower


def relative_position_index(grid: int) -> Tensor:
    """Row of the bias table for every pair of tokens (class token first) of a grid x grid image.

    The table has (2 grid - 1)^2 rows for patch pairs by their offset, then three more: class to
    patch, patch to class, class to class. Shape (1 + grid^2, 1 + grid^2), int64.
    """
    span = 2 * grid - 1
    place_P = torch.arange(grid**2, device="cpu")
    row_P, column_P = place_P // grid, place_P % grid
    rows_PP = row_P[:, None] - row_P[None, :] + grid - 1
    columns_PP = column_P[:, None] - column_P[None, :] + grid - 1
    index = torch.empty(grid**2 + 1, grid**2 + 1, dtype=torch.int64, device="cpu")
    index[1:, 1:] = rows_PP * span + columns_PP
    index[0, :] = span**2
    index[:, 0] = span**2 + 1
    index[0, 0] = span**2 + 2
    return index


class _Biases(torch.autograd.Function):
    """table_TN, index_VS -> bias_NVS. Its gradient sums the diagonals of a pair of axes at a time:
    adding up by index would do so atomically on a GPU, many pairs at one row of the table."""

    @staticmethod
    def forward(_: Any, table_TN: Tensor, index_VS: Tensor) -> Tensor:
        return table_TN.t().index_select(1, index_VS.flatten()).unflatten(1, index_VS.shape)

    @staticmethod
    def backward(_: Any, gradient_NVS: Tensor) -> tuple[Tensor, None]:
        tokens = gradient_NVS.shape[1]
        grid = math.isqrt(tokens - 1)
        inner = gradient_NVS[:, 1:, 1:tokens].unflatten(2, (grid, grid)).unflatten(1, (grid, grid))
        by_row = _diagonals(inner.permute(0, 2, 4, 1, 3))
        by_offset = _diagonals(by_row.permute(0, 3, 1, 2)).flatten(1)
        first = gradient_NVS[:, 0, 1:tokens].sum(1), gradient_NVS[:, 1:, 0].sum(1)
        others = torch.stack([*first, gradient_NVS[:, 0, 0]], 1)
        return torch.cat([by_offset, others], 1).t(), None


def _diagonals(x: Tensor) -> Tensor:
    """(..., g, g) -> (..., 2 g - 1): sums of the elements i, j with one i - j, the least first."""
    size = x.shape[-1]
    padded = F.pad(x.flip(-1), (0, size)).flatten(-2)[..., :-size]
    return padded.unflatten(-1, (size, 2 * size - 1)).sum(-2)  # each row one further to the right


class VisionAttention(nn.Module):
    """Self-attention with a fused projection, biases on q and v only, and a position bias."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width))
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.position_table = nn.Parameter(
            torch.zeros((2 * config.grid - 1) ** 2 + 3, config.heads)
        )
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x_BVD: Tensor, index_VS: Tensor) -> Tensor:
        """index_VS: rows of the table, last axis padded to a multiple of 8 (see encoder)."""
        tokens = x_BVD.shape[1]
        bias_D3 = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x_BVD, self.qkv.weight, bias_D3).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        bias_NVS = _Biases.apply(self.position_table, index_VS).to(query.dtype)
        out = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=bias_NVS[None, :, :, :tokens].expand(len(query), -1, -1, -1),
        )
        return self.proj(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm block with layer scale and drop path."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attention = VisionAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.fc1 = nn.Linear(config.width, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.width)
        self.gamma_1 = nn.Parameter(torch.full((config.width,), config.layer_scale))
        self.gamma_2 = nn.Parameter(torch.full((config.width,), config.layer_scale))

    def forward(self, x_BVD: Tensor, index_VS: Tensor, kept_2B: Tensor | None = None) -> Tensor:
        """(B, V, D) -> (B, V, D). kept_2B: what the branches of each image are multiplied by."""
        one: Tensor = self.gamma_1
        two: Tensor = self.gamma_2
        if kept_2B is not None:
            one, two = kept_2B[0, :, None, None] * one, kept_2B[1, :, None, None] * two
        x_BVD = x_BVD + one * self.attention(self.norm1(x_BVD), index_VS)
        return x_BVD + two * self.fc2(F.gelu(self.fc1(self.norm2(x_BVD))))


class VisionEncoder(Tower):
    """Pixels -> [mean of the normed patches, normed patches]."""

    index_VS: Tensor

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.blocks = cast(Sequence[Block], blocks)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.drop_path = config.drop_path
        # Kernels want rows of the bias that start at multiples of 8: pad the index, slice the bias.
        index = relative_position_index(config.grid)
        self.register_buffer("index_VS", F.pad(index, (0, -len(index) % 8)), persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Normalised pixels of square images -> image_BVD; ConfigError on another size."""
        side = self.config.image_size
        if image_BCHW.shape[1:] != (3, side, side):
            raise ConfigError(
                f"images of shape {tuple(image_BCHW.shape[1:])}, but the model is made for "
                f"(3, {side}, {side}); load it with this image size, or resize the images"
            )
        patches_BPD = self.patch_embed(image_BCHW).flatten(2).transpose(1, 2)
        first_B1D = self.cls_token.expand(len(patches_BPD), -1, -1)
        # In autocast the products alone are in half: what the blocks add to stays in float32.
        x_BVD = torch.cat([first_B1D, patches_BPD.to(first_B1D.dtype)], 1)
        kept = self.kept(len(self.blocks), 2, len(x_BVD), x_BVD.device)
        for block, branches in zip(self.blocks, kept, strict=True):
            x_BVD = self.run(block, x_BVD, self.index_VS, branches)
        patches_BPD = self.norm(x_BVD[:, 1:])
        return torch.cat([patches_BPD.mean(1, keepdim=True), patches_BPD], 1)


def region_means(image_GVD: Tensor, patches_BV: Tensor, rows_B: Tensor | Sequence[int]) -> Tensor:
    """The mean of image rows_B[b]'s patch outputs inside patches_BV[b] -> (B, 1, D).

    patches_BV: boolean or 0/1, its first column (the mean token) is not read; at least one patch
    per row is set. Images are not repeated per region: one product with (B, G*P) weights.
    """
    images, tokens, width = image_GVD.shape
    rows = torch.as_tensor(rows_B, device=image_GVD.device)
    weight_BP = patches_BV[:, 1:].to(image_GVD.dtype)
    weight_BP = weight_BP / weight_BP.sum(1, keepdim=True)
    weight_BGP = weight_BP.new_zeros(len(rows), images, tokens - 1)
    weight_BGP[torch.arange(len(rows), device=rows.device), rows] = weight_BP
    flat_XD = image_GVD[:, 1:].reshape(images * (tokens - 1), width)
    return (weight_BGP.flatten(1) @ flat_XD)[:, None]
