"""Transformer layers shared by text, fusion and decoder, and what attention reads.

Axes: see `x2vlm.types`; here also S keys attended to, U width of one attention head, I images of a
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def additive_mask(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """What attention adds to its scores: 0 where `mask` is true, else the least value of the dtype.

    mask: (B, S) or (B, L, S), boolean or 0/1. Returns (B, 1, 1 or L, S) in the dtype in which
    attention will run. The least finite value, not -inf: a row that sees nothing stays finite
    (it averages over all keys, as the official model does).
    """
    if mask is None:
        return None
    device = like.device.type
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else like.dtype
    hidden = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    hidden.masked_fill_(~mask.bool(), torch.finfo(dtype).min)
    return hidden[:, None, None] if mask.dim() == 2 else hidden[:, None]


def drop_path(rate: float, layers: int, branches: int, units: int, device: torch.device) -> Tensor:
    """What the residual branches of all layers are multiplied by, (layers, branches, units).

    0 with a probability that rises linearly from 0 at the first layer to `rate` at the last, else
    1 / (1 - probability). Drawn at once, outside of the layers: these are then alike, and one
    compilation serves all of them.
    """
    rate_K11 = torch.linspace(0, rate, layers, device=device)[:, None, None]
    return (torch.rand(layers, branches, units, device=device) >= rate_K11) / (1 - rate_K11)


class Tower(nn.Module):
    """Layers that run one after the other, and how they do in training.

    gradient_checkpointing: what a layer computes is computed anew in the backward pass, to save
    memory. compiled: layers are compiled by torch, one compilation for all of a kind. drop_path:
    how often the last layer's residual branches are left out; linear from 0 at the first layer.
    """

    gradient_checkpointing = False
    compiled = False
    drop_path = 0.0

    def kept(
        self, layers: int, branches: int, units: int, device: torch.device
    ) -> Sequence[Tensor | None]:
        """For each layer what its branches are multiplied by, (branches, units); None: by 1."""
        if not (self.training and self.drop_path):
            return [None] * layers
        return list(drop_path(self.drop_path, layers, branches, units, device))

    def run(self, layer: nn.Module, *given: object) -> Tensor:
        """layer(*given), plainly when the model is evaluated."""
        forward: Callable[..., Tensor] = layer
        if self.training and self.compiled:
            forward = partial(_compiled(type(layer).forward), layer)
        if self.training and self.gradient_checkpointing:
            recomputed: Tensor = checkpoint(forward, *given, use_reentrant=False)
            return recomputed
        return forward(*given)


@cache
def _compiled(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(forward)


class Cache:
    """Keys and values of the tokens read so far, one pair per layer of one tower.

    Start with an empty one, hand it to each call of the tower: every call appends its tokens.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]] = ()) -> None:
        self.layers = list(layers)

    def __len__(self) -> int:
        """Tokens held."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def extend(self, layer: int, key_BNSU: Tensor, value_BNSU: Tensor) -> tuple[Tensor, Tensor]:
        """Append the tokens of `layer`; returns keys and values of all tokens so far."""
        if layer == len(self.layers):
            self.layers.append((key_BNSU, value_BNSU))
        else:
            key, value = self.layers[layer]
            self.layers[layer] = (torch.cat([key, key_BNSU], 2), torch.cat([value, value_BNSU], 2))
        return self.layers[layer]

    def select(self, rows_B: Tensor) -> Cache:
        """A cache of other rows, e.g. of the beams that live on."""
        return Cache([(key[rows_B], value[rows_B]) for key, value in self.layers])

    def cut(self, tokens: int) -> Cache:
        """A cache of the first `tokens` tokens."""
        return Cache([(key[:, :, :tokens], value[:, :, :tokens]) for key, value in self.layers])


@dataclass(frozen=True, slots=True)
class Memory:
    """What cross-attention reads: keys and values of every layer, projected once per image.

    layers: (key_INSU, value_INSU) per fusion (or decoder) layer. mask_IS: which tokens are seen;
    None: all of them.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask_IS: Tensor | None = None

    def __len__(self) -> int:
        """I: images (or texts) in this memory."""
        return self.layers[0][0].shape[0]

    def select(self, rows: Tensor | Sequence[int]) -> Memory:
        """A memory of the images `rows`, in that order; an image may appear several times."""
        rows = torch.as_tensor(rows, device=self.layers[0][0].device)
        mask = None if self.mask_IS is None else self.mask_IS[rows]
        return Memory(tuple((key[rows], value[rows]) for key, value in self.layers), mask)

    def to(self, device: torch.device | str) -> Memory:
        """A memory on another device."""
        mask = None if self.mask_IS is None else self.mask_IS.to(device)
        return Memory(tuple((key.to(device), value.to(device)) for key, value in self.layers), mask)

    @classmethod
    def cat(cls, memories: Sequence[Self]) -> Self:
        """One memory of all images; the memories agree in having a mask or none."""
        layers = tuple(
            (torch.cat([k for k, _ in pairs]), torch.cat([v for _, v in pairs]))
            for pairs in zip(*(m.layers for m in memories), strict=True)
        )
        masks = [m.mask_IS for m in memories if m.mask_IS is not None]
        return cls(layers, torch.cat(masks) if masks else None)


class Packing:
    """Which image each text reads, arranged so that keys and values are not repeated per text.

    Texts of one image become one long row of queries: (I, N, T*L, U) for at most T texts an image.
    rows_B: image of each text; None: each of the I images serves B/I consecutive texts.
    When the texts are spread so unevenly that padding to T would more than double the work,
    `gather` is set and keys and values are selected per text instead.
    """

    def __init__(
        self,
        texts: int,
        images: int,
        rows_B: Tensor | Sequence[int] | None,
        device: torch.device,
    ) -> None:
        self.images, self.slot_B, self.gather = images, None, None
        if rows_B is None:
            if images == 0 or texts % images:
                raise ValueError(f"{texts} texts cannot be shared evenly by {images} images")
            self.share = texts // images
            return
        rows = torch.as_tensor(rows_B).cpu()
        if rows.shape != (texts,):
            raise ValueError(f"rows_B has shape {tuple(rows.shape)}, expected ({texts},)")
        count_I = torch.bincount(rows, minlength=images)
        self.share = int(count_I.max())
        if self.share * images > 2 * texts:
            self.gather = rows.to(device)
        elif self.share > 1 or not torch.equal(rows, torch.arange(images)):
            order_B = torch.argsort(rows, stable=True)
            start_I = torch.cumsum(count_I, 0) - count_I
            sorted_B = rows[order_B]
            slot_B = torch.empty_like(order_B)
            slot_B[order_B] = sorted_B * self.share + torch.arange(texts) - start_I[sorted_B]
            self.slot_B = slot_B.to(device)

    def attend(
        self, query_BND: Tensor, key_INSU: Tensor, value_INSU: Tensor, mask: Tensor | None, p: float
    ) -> Tensor:
        """Attention of the queries (B, L, N, U) to their images -> (B, L, N, U)."""
        if self.gather is not None:
            rows = self.gather
            mask = mask if mask is None else mask[rows]
            query = query_BND.transpose(1, 2)
            out = F.scaled_dot_product_attention(
                query, key_INSU[rows], value_INSU[rows], attn_mask=mask, dropout_p=p
            )
            return out.transpose(1, 2)
        packed = query_BND
        if self.slot_B is not None:
            packed = query_BND.new_zeros(self.images * self.share, *query_BND.shape[1:])
            packed = packed.index_copy(0, self.slot_B, query_BND)
        length, heads, width = packed.shape[1:]
        query = packed.reshape(self.images, self.share * length, heads, width).transpose(1, 2)
        out = F.scaled_dot_product_attention(
            query, key_INSU, value_INSU, attn_mask=mask, dropout_p=p
        )
        out = out.transpose(1, 2).reshape(self.images * self.share, length, heads, width)
        return out if self.slot_B is None else out[self.slot_B]


@dataclass(frozen=True, slots=True)
class Seen:
    """One layer's part of a memory, with the additive mask and the packing of this call."""

    key_INSU: Tensor
    value_INSU: Tensor
    mask: Tensor | None
    packing: Packing


class Attention(nn.Module):
    """Multi-head attention with BERT's output layer, residual and LayerNorm behind it.

    source: width of what keys and values are projected from; drop: dropout of the output.
    """

    def __init__(
        self, width: int, heads: int, source: int, eps: float, dropout: float, attention: float
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, attention
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source, width)
        self.value = nn.Linear(source, width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.drop = nn.Dropout(dropout)

    def split(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, N, U)."""
        return x_BLD.unflatten(-1, (self.heads, -1))

    def project(self, source_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, N, S, U) of `source_BSD`."""
        key = self.split(self.key(source_BSD)).transpose(1, 2)
        return key, self.split(self.value(source_BSD)).transpose(1, 2)

    def finish(
        self, context_BLNU: Tensor, residual_BLD: Tensor, kept_L: Tensor | None = None
    ) -> Tensor:
        """Output layer, dropout, residual, LayerNorm. kept_L: see `Layer.forward`."""
        out_BLD = self.drop(self.out(context_BLNU.flatten(2)))
        return self.norm(_kept(out_BLD, kept_L) + residual_BLD)

    def forward(
        self,
        text_BLD: Tensor,
        mask: Tensor | None,
        cache: Cache | None,
        layer: int,
        kept_L: Tensor | None = None,
    ) -> Tensor:
        """Self-attention; with a cache the tokens also see all earlier ones."""
        query = self.split(self.query(text_BLD)).transpose(1, 2)
        key, value = self.project(text_BLD)
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        p = self.dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=p)
        return self.finish(context.transpose(1, 2), text_BLD, kept_L)

    def read(self, text_BLD: Tensor, seen: Seen, kept_L: Tensor | None = None) -> Tensor:
        """Cross-attention to a memory."""
        p = self.dropout if self.training else 0.0
        query_BLNU = self.split(self.query(text_BLD))
        context = seen.packing.attend(query_BLNU, seen.key_INSU, seen.value_INSU, seen.mask, p)
        return self.finish(context, text_BLD, kept_L)


def _kept(branch_BLD: Tensor, kept_L: Tensor | None) -> Tensor:
    return branch_BLD if kept_L is None else branch_BLD * kept_L[:, None].to(branch_BLD.dtype)


class Layer(nn.Module):
    """A post-norm Transformer layer; with `source` cross-attention before its FFN.

    source: width of what cross-attention reads; None: no cross-attention.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        eps: float,
        dropout: float,
        attention_dropout: float,
        source: int | None = None,
    ) -> None:
        super().__init__()
        drops = (eps, dropout, attention_dropout)
        self.attention = Attention(width, heads, width, *drops)
        self.cross = None if source is None else Attention(width, heads, source, *drops)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        text_BLD: Tensor,
        mask: Tensor | None = None,
        seen: Seen | None = None,
        cache: Cache | None = None,
        layer: int = 0,
        kept_3L: Tensor | None = None,
    ) -> Tensor:
        """mask: additive, (B, 1, 1 or L, S); seen: the memory's part for this layer.

        kept_3L: what attention, cross-attention and FFN are multiplied by at each position, the
        same for the whole batch as in the official code (`drop_path`); None: nothing is dropped.
        """
        attended, read, fed = (None, None, None) if kept_3L is None else kept_3L
        text_BLD = self.attention(text_BLD, mask, cache, layer, attended)
        if self.cross is not None and seen is not None:
            text_BLD = self.cross.read(text_BLD, seen, read)
        hidden = self.drop(self.fc2(F.gelu(self.fc1(text_BLD))))
        return self.norm(_kept(hidden, fed) + text_BLD)


class MLP(nn.Sequential):
    """A head: Linear(d, 2d), LayerNorm, GELU, Linear(2d, out)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(
            nn.Linear(width, 2 * width),
            nn.LayerNorm(2 * width),
            nn.GELU(),
            nn.Linear(2 * width, out),
        )
