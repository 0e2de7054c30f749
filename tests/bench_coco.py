"""The complete COCO 5K retrieval, extrapolated: 5,000 images, 25,010 texts, k = 256 both ways.

    python -m tests.bench --only coco

Two runs of different shape over at least 200 images give what an image and a pair cost; the whole
has 5,000 and at most 7.68 million of them (a pair on both lists is scored once). What bounds it:
the products and the attention of such a run are timed alone, at the same shapes; what they do not
explain is everything else (norms, activations, gathers, launches).

Axes: T tokens, N heads, U width of a head, V visual tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.bench_table import Timed
from x2vlm.tasks.features import encode_tokens, tokens_per_pass
from x2vlm.tasks.rerank import rerank

if TYPE_CHECKING:
    from tests.bench_inputs import Bench
    from x2vlm.model.config import ModelConfig
    from x2vlm.model.x2vlm import X2VLM

IMAGES, TEXTS, K = 5000, 25010, 256
PAIRS = (IMAGES + TEXTS) * K
TOKENS = 13
"""tokens of a caption, on average"""
COCO_HEAD = ["COCO 5K", "float32", "bfloat16"]
DTYPES = (None, torch.bfloat16)


@dataclass(frozen=True)
class Fact:
    """One line of the table: what, and its value in each precision."""

    what: str
    values: tuple[str, ...]

    def cells(self) -> list[str]:
        """The line."""
        return [self.what, *self.values]


@dataclass(frozen=True)
class Shape:
    """How many images, and texts of each, a run re-ranks."""

    images: int
    texts: int

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.images * self.texts


def image_flop(config: ModelConfig) -> int:
    """Keys and values of one image in every fusion layer. Multiplication and addition are two."""
    vision, width = config.vision, config.text.width
    return config.fusion_layers * 2 * 2 * vision.tokens * vision.width * width


def pair_flop(config: ModelConfig, length: int = TOKENS) -> tuple[int, int]:
    """Of one text beside its image: (linear layers, attention). Without the small matching head.

    The first layer's self-attention belongs to the text; the last layer computes the first token.
    """
    width, hidden, visual = config.text.width, config.text.hidden, config.vision.tokens
    products = attention = 0
    for number in range(config.fusion_layers):
        tokens = 1 if number == config.fusion_layers - 1 else length
        if number > 0:
            products += 4 * width**2 * (length + tokens)  # keys, values; queries, outputs
            attention += 4 * tokens * length * width
        products += 4 * width**2 * tokens + 4 * width * hidden * tokens  # cross; feed-forward
        attention += 4 * tokens * visual * width
    return products, attention


def costs(runs: list[tuple[Shape, float]]) -> tuple[float, float]:
    """Seconds of an image and of a pair, from two runs of different shape."""
    (one, first), (two, second) = runs
    determinant = one.images * two.pairs - two.images * one.pairs
    image = (first * two.pairs - second * one.pairs) / determinant
    return image, (one.images * second - two.images * first) / determinant


def bench_coco(bench: Bench) -> Iterator[Fact]:
    """The whole and its parts, in float32 and in bfloat16."""
    model = bench.model(384, "contrastive", "matching")
    columns = [_measure(bench, model, dtype) for dtype in DTYPES]
    for what in columns[0]:
        yield Fact(what, tuple(column[what] for column in columns))


def _shapes(bench: Bench) -> tuple[Shape, Shape]:
    if bench.quick:
        return Shape(8, 2), Shape(2, 16)
    if bench.device == "cuda":
        return Shape(200, 256), Shape(200, 1536)
    return Shape(200, 4), Shape(2, 256)


def _measure(bench: Bench, model: X2VLM, dtype: torch.dtype | None) -> dict[str, str]:
    runs = [(shape, _rerank(bench, model, shape, dtype)) for shape in _shapes(bench)]
    image, pair = costs([(shape, timed.seconds) for shape, timed in runs])
    picture, text = _encoding(bench, model, dtype)
    whole = [IMAGES * picture, TEXTS * text, IMAGES * image + PAIRS * pair]
    products, attention = pair_flop(model.config)
    shape, last = runs[1]
    linear = shape.pairs * products + shape.images * image_flop(model.config)
    rates = _rates(bench, model, min(tokens_per_pass(model.device), shape.texts * TOKENS), dtype)
    parts = {
        "products": linear / rates[0] / last.seconds,
        "attention": shape.pairs * attention / rates[1] / last.seconds,
    }
    parts["the rest"] = max(0.0, 1 - sum(parts.values()))
    peak = max((timed.peak or 0 for _, timed in runs), default=0)
    achieved = (linear + shape.pairs * attention) / last.seconds
    return {
        **{f"measured: {s.images} images × {s.texts} texts": duration(t.seconds) for s, t in runs},
        "so an image (keys and values) costs": f"{1e3 * image:.3g} ms",
        "so a pair costs": f"{1e3 * pair:.3g} ms",
        "encoding 5,000 images": duration(whole[0]),
        "encoding 25,010 texts": duration(whole[1]),
        f"re-ranking {PAIRS / 1e6:.2f} M pairs": duration(whole[2]),
        "complete, extrapolated": duration(sum(whole)),
        "needed per pair": f"{(products + attention) / 1e9:.3g} GFLOP",
        "achieved": f"{achieved / 1e12:.3g} TFLOP/s",
        "linear layers alone": f"{rates[0] / 1e12:.3g} TFLOP/s",
        "attention alone": f"{rates[1] / 1e12:.3g} TFLOP/s",
        "share of the time": ", ".join(f"{name} {share:.0%}" for name, share in parts.items()),
        "bound by": max(parts, key=lambda name: parts[name]),
        "memory beyond model and inputs": f"{peak / 2**20:.0f} MB",
    }


def _rerank(bench: Bench, model: X2VLM, shape: Shape, dtype: torch.dtype | None) -> Timed:
    """Images wait on the host in the precision of the run, as in an evaluation."""
    image_NVD = bench.images(model, 4).cpu().to(dtype or torch.float32)
    pairs = torch.cartesian_prod(torch.arange(shape.images), torch.arange(shape.texts))
    with torch.inference_mode():
        texts = encode_tokens(model, *bench.texts(shape.texts, TOKENS))
    shown = {n: image_NVD[n % len(image_NVD)] for n in range(shape.images)}
    return bench.fast(lambda: rerank(model, shown, texts, pairs), dtype)


def _encoding(bench: Bench, model: X2VLM, dtype: torch.dtype | None) -> tuple[float, float]:
    """Seconds of one image and of one text."""
    images, texts = (100, 4096) if bench.device == "cuda" and not bench.quick else (2, 64)
    side = model.config.vision.image_size
    image_BCHW = torch.randn(images, 3, side, side, generator=bench.generator).to(bench.device)
    given = bench.texts(texts, TOKENS)
    picture = bench.fast(lambda: model.image_feature(model.encode_image(image_BCHW)), dtype)
    text = bench.fast(lambda: encode_tokens(model, *given), dtype)
    return picture.seconds / images, text.seconds / texts


def _rates(
    bench: Bench, model: X2VLM, tokens: int, dtype: torch.dtype | None, repeats: int = 8
) -> tuple[float, float]:
    """FLOP/s of linear layers, and of attention to one image, each alone on `tokens` tokens."""
    text, visual = model.config.text, model.config.vision.tokens

    def made(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=bench.generator).to(bench.device, dtype)

    x_TD, wide, narrow = (
        made(tokens, text.width), made(text.hidden, text.width), made(text.width, text.hidden)
    )  # fmt: skip
    head = text.width // text.heads
    query_1NTU, key_1NVU = made(1, text.heads, tokens, head), made(1, text.heads, visual, head)

    def linear() -> None:
        for _ in range(repeats):
            F.linear(F.linear(x_TD, wide), narrow)

    def attend() -> None:
        for _ in range(repeats):
            F.scaled_dot_product_attention(query_1NTU, key_1NVU, key_1NVU)

    flop = repeats * tokens * 4 * text.width
    bench.fast(linear)
    bench.fast(attend)
    linears, attentions = bench.fast(linear).seconds, bench.fast(attend).seconds
    return flop * text.hidden / linears, flop * visual / attentions


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
