"""A model, a tokenizer and records small enough for any test: 32 pixels, width 24, 97 words."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from x2vlm.data.text import Tokenizer, train_tokenizer
from x2vlm.model.config import ModelConfig, TextConfig, VisionConfig
from x2vlm.model.x2vlm import X2VLM
from x2vlm.types import Media, Record

SIZE = 32
VISION = VisionConfig(SIZE, 8, 32, 2, 4, 64, drop_path=0.0, layer_scale=1.0)
TEXT = TextConfig("bert", 97, 24, 2, 3, 48, 64, 0.0, 0.0)
CONFIG = ModelConfig(VISION, TEXT, fusion_layers=3, embed=16, frames=2, decoder_layers=2)
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220),
           "yellow": (230, 220, 40), "white": (240, 240, 240), "black": (10, 10, 10)}  # fmt: skip


def model(*heads: str, seed: int = 0, std: float = 0.4, **fields: Any) -> X2VLM:
    """Random weights, large enough that every token, position and pixel matters."""
    torch.manual_seed(seed)
    made = X2VLM(CONFIG.with_heads(heads=heads, **fields)).eval()
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=std)
    return made


def token_ids(rows: int, longest: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random texts of 2 to `longest` tokens: (text_BL, mask_BL)."""
    generator = torch.Generator().manual_seed(seed)
    length_B = torch.randint(2, longest + 1, (rows,), generator=generator)
    mask_BL = torch.arange(longest) < length_B[:, None]
    return torch.randint(5, 97, (rows, longest), generator=generator) * mask_BL, mask_BL


def tokenizer() -> Tokenizer:
    """Learned from the colours and a few words around them."""
    texts = [f"what colour is the {name} square a picture of left right" for name in COLOURS]
    return train_tokenizer(texts, "bert", 97)


def picture(seed: int, colour: str | None = None) -> Media:
    """A noisy image, inline; with a square of that colour in its left half."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 130, (48, 64, 3)).astype(np.uint8)
    if colour:
        pixels[8:40, 4:28] = COLOURS[colour]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return Media(f"picture-{seed}-{colour}.png", inline=(buffer.getvalue(),))


def record(id_: str, *texts: str, images: tuple[Media, ...] = (), **target: Any) -> Record:
    """A record; its picture is drawn from its id unless given."""
    drawn = images or (picture(sum(map(ord, id_))),)
    return Record(id_, drawn, texts, target, source=f"test:{id_}")
