"""The MLM head and the answer decoder: BERT-like language models over states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from x2vlm.model.config import ModelConfig
from x2vlm.model.layers import Cache, Memory
from x2vlm.model.text import Embeddings, Stack


class LMHead(nn.Module):
    """BERT's language modelling head: transform, then an output layer over the vocabulary.

    tied: the output layer is the word embeddings, handed to `forward`; otherwise its own.
    """

    def __init__(self, width: int, vocabulary: int, *, tied: bool, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.weight = None if tied else nn.Parameter(torch.empty(vocabulary, width))

    def forward(self, states: Tensor, words: nn.Embedding) -> Tensor:
        """States (…, D) -> logits (…, vocabulary)."""
        states = self.norm(F.gelu(self.dense(states)))
        return F.linear(states, words.weight if self.weight is None else self.weight, self.bias)


def causal(mask_BL: Tensor) -> Tensor:
    """Mask (B, L, L): each token sees itself and the earlier ones that are not padding."""
    length = mask_BL.shape[1]
    below_LL = torch.ones(length, length, dtype=torch.bool, device=mask_BL.device).tril()
    return below_LL & mask_BL.bool()[:, None]


class AnswerDecoder(Stack):
    """A causal decoder over the fused states of a question; BERT-like for every text encoder."""

    def __init__(self, config: ModelConfig) -> None:
        text = config.text
        super().__init__(text, config.decoder_layers, eps=1e-12, source=text.width)
        self.embeddings = Embeddings(
            text, positions=text.positions - text.first_position, types=2, first=0, eps=1e-12
        )
        self.head = LMHead(text.width, text.vocabulary, tied=True, eps=1e-12)

    def memory(self, states_IJD: Tensor, mask_IJ: Tensor) -> Memory:
        """What the decoder reads of questions: fused states and their mask."""
        return self.project(states_IJD, mask_IJ)

    def states(
        self,
        text_BL: Tensor,
        mask: Tensor,
        memory: Memory,
        rows_B: Tensor | Sequence[int] | None = None,
        *,
        position_BL: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Answers -> (B, L, D).

        mask: (B, L) of tokens, made causal here, or (B, L, S) used as it is (needed with a cache,
        where S counts the cached tokens too). rows_B as in `X2VLM.fuse`.
        """
        seen = causal(mask) if mask.dim() == 2 else mask
        return self(self.embeddings(text_BL, position_BL), seen, memory, rows_B, cache)

    def logits(self, states: Tensor) -> Tensor:
        """Next-token logits of states (…, D)."""
        return self.head(states, self.embeddings.word)
