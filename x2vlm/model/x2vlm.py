"""X²-VLM: the towers joined, and the heads a task composes on them.

Axes: see `x2vlm.types`; I images of a memory, S tokens attended to.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from x2vlm.errors import ConfigError
from x2vlm.model.config import ModelConfig
from x2vlm.model.decoder import AnswerDecoder, LMHead
from x2vlm.model.initialise import initialise
from x2vlm.model.layers import MLP, Memory, Tower
from x2vlm.model.text import Stack, TextEncoder
from x2vlm.model.vision import VisionEncoder, region_means

TEMPERATURE = (0.001, 0.5)
"""Bounds of the contrastive temperature."""


class X2VLM(nn.Module):
    """The model of arXiv 2211.12402 (and of CCLM, arXiv 2206.00621, when multilingual).

    Masks are boolean or 0/1, true where a token is seen. Every method is differentiable.
    new_parameters: names that no checkpoint gave; the trainer may give them a larger rate.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.new_parameters: frozenset[str] = frozenset()
        vision, text = config.vision.width, config.text.width
        self.vision = VisionEncoder(config.vision)
        self.text = TextEncoder(config.text)
        self.fusion = Stack(config.text, config.fusion_layers, eps=1e-12, source=vision)
        if config.frames:
            self.frame_positions = nn.Parameter(torch.zeros(1, config.frames, 1, vision))
        if "contrastive" in config.heads:
            self.vision_proj = nn.Linear(vision, config.embed)
            self.text_proj = nn.Linear(text, config.embed)
            self.temperature = nn.Parameter(torch.tensor(0.07))
        if "matching" in config.heads:
            self.matching_head = MLP(text, 2)
        if "box" in config.heads:
            self.box_head = MLP(text, 4)
        if "mlm" in config.heads:
            tied, words = not config.separate_fusion, config.text.vocabulary
            self.mlm_head = LMHead(text, words, tied=tied, eps=config.text.eps)
        if "classifier" in config.heads:
            self.classifier = MLP(text, config.labels)
        if "pair_classifier" in config.heads:
            self.classifier = MLP(2 * text, config.labels)
        self.decoder = AnswerDecoder(config) if "decoder" in config.heads else None
        initialise(self, config)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.vision.cls_token.device

    def set_training(self, *, gradient_checkpointing: bool = False, compiled: bool = False) -> None:
        """How the layers of all towers run in training; see `Tower`."""
        for module in self.modules():
            if isinstance(module, Tower):
                module.gradient_checkpointing = gradient_checkpointing
                module.compiled = compiled

    def set_drop_path(self, *, vision: float | None = None, text: float | None = None) -> None:
        """Drop path of vision and of text, fusion and decoder, at their last layers."""
        if vision is not None:
            self.vision.drop_path = vision
        if text is not None:
            for tower in (self.text, self.fusion, self.decoder):
                if tower is not None:
                    tower.set_drop_path(text)

    def encode_image(self, image_BCHW: Tensor) -> Tensor:
        """Normalised pixels -> image_BVD; token 0 is the mean of the normed patches."""
        return self.vision(image_BCHW)

    def encode_video(self, frames_BFCHW: Tensor) -> Tensor:
        """Frames -> (B, V, D): temporal positions are added, then every token is averaged."""
        frames = frames_BFCHW.shape[1]
        tokens = self.vision(frames_BFCHW.flatten(0, 1)).unflatten(0, (-1, frames))
        if self.config.frames:
            if frames > self.config.frames:
                raise ConfigError(
                    f"a video of {frames} frames, but the model has {self.config.frames} temporal "
                    f"positions; set model.frames={frames} when loading it"
                )
            tokens = tokens + self.frame_positions[:, :frames]
        return tokens.mean(1)

    def encode_visual(self, image: Tensor) -> Tensor:
        """image_BCHW or frames_BFCHW -> (B, V, D)."""
        return self.encode_image(image) if image.dim() == 4 else self.encode_video(image)

    def regions(
        self, image_GVD: Tensor, patches_BV: Tensor, rows_B: Tensor | Sequence[int]
    ) -> Tensor:
        """Concepts seen in boxes -> region_BVD.

        Token 0: the mean of image rows_B[b]'s own patches inside patches_BV[b]; then its patches.
        """
        rows = torch.as_tensor(rows_B, device=image_GVD.device)
        return torch.cat([region_means(image_GVD, patches_BV, rows), image_GVD[rows, 1:]], 1)

    def encode_text(
        self, text_BL: Tensor, mask: Tensor | None, position_BL: Tensor | None = None
    ) -> Tensor:
        """Token ids -> text_BLD. mask: (B, L), (B, L, L) for causal use, or None: no padding."""
        return self.text.encode(text_BL, mask, position_BL)

    def image_feature(self, image_BVD: Tensor) -> Tensor:
        """Token 0, projected and L2-normalised -> (B, E)."""
        return F.normalize(self.vision_proj(image_BVD[:, 0]), dim=-1)

    def text_feature(self, text_BLD: Tensor) -> Tensor:
        """Token 0, projected and L2-normalised -> (B, E)."""
        return F.normalize(self.text_proj(text_BLD[:, 0]), dim=-1)

    @torch.no_grad()
    def clamp_temperature_(self) -> None:
        """Keep the contrastive temperature in its bounds; called before each step."""
        self.temperature.clamp_(*TEMPERATURE)

    def memory(self, image_ISD: Tensor, mask_IS: Tensor | None = None) -> Memory:
        """Keys and values of every fusion layer, projected once per image.

        Also for text seen by text (parallel pre-training), whose width must be vision's.
        """
        return self.fusion.project(image_ISD, mask_IS)

    def region_memory(
        self, memory: Memory, region_BVD: Tensor, patches_BV: Tensor, rows_B: Tensor | Sequence[int]
    ) -> Memory:
        """The memory of concepts, equal to `memory(region_BVD, patches_BV)`.

        Only their first tokens are projected; the patches come from the memory of their images.
        """
        rows = torch.as_tensor(rows_B, device=region_BVD.device)
        first = self.fusion.project(region_BVD[:, :1])
        layers = tuple(
            (torch.cat([k, key[rows, :, 1:]], 2), torch.cat([v, value[rows, :, 1:]], 2))
            for (k, v), (key, value) in zip(first.layers, memory.layers, strict=True)
        )
        return Memory(layers, patches_BV.bool())

    def fuse(
        self,
        text_BLD: Tensor,
        mask: Tensor | None,
        memory: Memory,
        rows_B: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Texts that look at images -> fused_BLD.

        rows_B[b]: the image in the memory that text b reads; None: B is a multiple of the I images
        and each serves B/I consecutive texts. Keys and values are not repeated per text.
        mask: of the texts, (B, L), (B, L, L), or None: no padding.
        """
        return self.fusion(text_BLD, mask, memory, rows_B)

    def match(self, fused_BLD: Tensor) -> Tensor:
        """Matching logits (B, 2); class 1: text and image belong together."""
        return self.matching_head(fused_BLD[:, 0])

    def box(self, fused_BLD: Tensor) -> Tensor:
        """Box of the text's concept (B, 4): cx, cy, w, h as fractions of the image."""
        return self.box_head(fused_BLD[:, 0]).sigmoid()

    def classify(self, fused_BLD: Tensor) -> Tensor:
        """Class logits (B, K). `pair_classifier`: 2B rows, all left images, then right."""
        first = fused_BLD[:, 0]
        if "pair_classifier" in self.config.heads:
            first = torch.cat(first.chunk(2), -1)
        return self.classifier(first)

    def mlm(self, states: Tensor) -> Tensor:
        """Vocabulary logits of fused states (…, D)."""
        return self.mlm_head(states, self.text.embeddings.word)


def count_parameters(model: nn.Module) -> int:
    """Number of weights, each counted once."""
    return sum(p.numel() for p in model.parameters())
