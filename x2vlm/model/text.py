"""The text encoder: BERT or XLM-R by configuration, and the stack that fusion and decoder share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from x2vlm.errors import ConfigError
from x2vlm.model.config import TextConfig
from x2vlm.model.layers import Cache, Layer, Memory, Packing, Seen, Tower, additive_mask


class Embeddings(nn.Module):
    """Word, position and type embeddings, summed and normalised.

    positions, types: rows of the two tables; first: position of the first token; with `first` > 0
    positions skip padding (XLM-R). Segments are not used: every token has type 0.
    """

    def __init__(
        self, config: TextConfig, *, positions: int, types: int, first: int, eps: float
    ) -> None:
        super().__init__()
        self.first, self.padding = first, config.padding
        self.word = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Embedding(positions, config.width)
        self.token_type = nn.Embedding(types, config.width)
        self.norm = nn.LayerNorm(config.width, eps=eps)
        self.drop = nn.Dropout(config.dropout)

    def positions(self, text_BL: Tensor) -> Tensor:
        """Position ids (B, L): 0, 1, … for BERT; from 2 on, padding staying at 1, for XLM-R."""
        if self.first == 0:
            return torch.arange(text_BL.shape[1], device=text_BL.device).expand_as(text_BL)
        token_BL = (text_BL != self.padding).long()
        return token_BL.cumsum(1) * token_BL + self.padding

    def forward(self, text_BL: Tensor, position_BL: Tensor | None = None) -> Tensor:
        """Token ids -> (B, L, D); ConfigError when a text is longer than the position table."""
        if position_BL is None:
            longest = self.position.num_embeddings - self.first
            if text_BL.shape[1] > longest:
                raise ConfigError(f"a text has {text_BL.shape[1]} tokens, the model {longest}")
            position_BL = self.positions(text_BL)
        x_BLD = self.word(text_BL) + self.position(position_BL) + self.token_type.weight[0]
        return self.drop(self.norm(x_BLD))


class Stack(Tower):
    """Transformer layers over text, with or without cross-attention to a memory.

    source: width of what the memory is projected from; None: text alone.
    """

    def __init__(
        self, config: TextConfig, layers: int, eps: float, source: int | None = None
    ) -> None:
        super().__init__()
        stack = nn.ModuleList(
            Layer(
                config.width,
                config.heads,
                config.hidden,
                eps=eps,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                source=source,
            )
            for _ in range(layers)
        )
        self.layers = cast(Sequence[Layer], stack)
        if config.drop_path:
            self.set_drop_path(config.drop_path)

    def set_drop_path(self, rate: float) -> None:
        """Drop path of the last layer's residual branches, linear from 0 at the first layer.

        Above 0 it replaces the layers' dropout, but not that of attention weights and embeddings,
        as in official runs.
        """
        self.drop_path = rate
        for layer in self.layers:
            for module in layer.modules():
                if isinstance(module, nn.Dropout) and rate > 0:
                    module.p = 0.0

    def project(self, source_ISD: Tensor, mask_IS: Tensor | None = None) -> Memory:
        """Keys and values of every layer's cross-attention, projected once."""
        cross = [layer.cross for layer in self.layers if layer.cross is not None]
        return Memory(tuple(attention.project(source_ISD) for attention in cross), mask_IS)

    def forward(
        self,
        text_BLD: Tensor,
        mask: Tensor | None = None,
        memory: Memory | None = None,
        rows_B: Tensor | Sequence[int] | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Run all layers.

        mask: visible tokens, (B, S) or (B, L, S) with S = tokens in the cache + L; None: all.
        rows_B: the image of the memory that each text reads (see `X2VLM.fuse`).
        """
        bias = additive_mask(mask, text_BLD)
        packing = None
        if memory is not None:
            packing = Packing(len(text_BLD), len(memory), rows_B, text_BLD.device)
        seen_bias = None if memory is None else additive_mask(memory.mask_IS, text_BLD)
        kept = self.kept(len(self.layers), 3, text_BLD.shape[1], text_BLD.device)
        for i, layer in enumerate(self.layers):
            seen = None
            if memory is not None and packing is not None:
                seen = Seen(*memory.layers[i], seen_bias, packing)
            text_BLD = self.run(layer, text_BLD, bias, seen, cache, i, kept[i])
        return text_BLD


class TextEncoder(Stack):
    """Token ids -> contextual states, on text alone."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config, config.layers, config.eps)
        self.embeddings = Embeddings(
            config,
            positions=config.positions,
            types=config.types,
            first=config.first_position,
            eps=config.eps,
        )

    def encode(
        self,
        text_BL: Tensor,
        mask: Tensor | None,
        position_BL: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """text_BL -> text_BLD; with a cache, `position_BL` says where the new tokens stand."""
        return self(self.embeddings(text_BL, position_BL), mask, cache=cache)
