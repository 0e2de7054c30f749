"""Where the model looks and what it locates: a map per word, a box per text, regions against texts.

Axes: see `x2vlm.types`; here also S tokens of an image, G patches along a side of it (so P = G*G),
W words of one text, T texts, R regions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from x2vlm.data.cleaning import clean_caption
from x2vlm.data.image import EvalTransform, patch_mask
from x2vlm.data.text import Tokenizer
from x2vlm.errors import ConfigError
from x2vlm.model.layers import Attention, Memory, additive_mask
from x2vlm.types import Record

if TYPE_CHECKING:
    from PIL import Image

    from x2vlm.model.text import Stack
    from x2vlm.model.x2vlm import X2VLM

Box = tuple[float, float, float, float]
Floats = NDArray[np.float32]
MAX_TOKENS = 40


@dataclass(frozen=True, slots=True)
class TextView:
    """What the model sees of one text.

    words: as the tokenizer reads them. map_WGG: per word and patch, not negative, comparable within
    a text. similarity_GG: cosine of text and patch; None without contrastive head. match:
    probability that text and image belong together; None without matching head. box: (x, y, width,
    height) in pixels of the original image; None without box head.
    """

    text: str
    words: tuple[str, ...]
    map_WGG: Floats
    similarity_GG: Floats | None
    match: float | None
    box: Box | None

    def mean_map(self) -> Floats:
        """The map of the whole text (G, G): the mean over its words."""
        found: Floats = self.map_WGG.mean(0)
        return found

    def weights(self) -> list[float] | None:
        """Share of each word in the sum of all maps; None when every map is zero."""
        total = float(self.map_WGG.sum())
        return [float(m.sum()) / total for m in self.map_WGG] if total > 0 else None


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the image. box: (x, y, width, height) in pixels of the original image; given: by
    the caller, not found by the model."""

    name: str
    box: Box
    given: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """One image under some texts.

    size: (width, height) of the original image in pixels. layer: fusion layer whose attention is
    shown, from 0. weighted: whether the maps are weighted by gradients (see `explain`). regions:
    the whole image, the box of each text, then those asked for. similarity_RT: cosine of region and
    text; match_RT: matching probability when the text sees that region alone; None without the
    head.
    """

    size: tuple[int, int]
    layer: int
    weighted: bool
    texts: tuple[TextView, ...]
    regions: tuple[Region, ...]
    similarity_RT: Floats | None
    match_RT: Floats | None


@contextmanager
def cross_attention(stack: Stack, memory: Memory) -> Iterator[dict[int, Tensor]]:
    """Within the block, a forward pass of `stack` leaves its cross-attention here: layer -> (B, N,
    L, S), every row summing to 1.

    memory: that of the pass, of one image or of as many as there are texts, in their order. The
    fused kernel gives no probabilities, so hooks compute them from the layer's own queries and
    keys, and put their product with the values in place of the kernel's (equal) result: gradients
    then flow through the probabilities. The model outside the block is as it was.
    """
    found: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for place, layer in enumerate(stack.layers):
            if layer.cross is not None:
                tap = _Tap(layer.cross, memory, place, found)
                hooks.enter_context(layer.cross.query.register_forward_hook(tap.query))
                hooks.enter_context(layer.cross.out.register_forward_pre_hook(tap.context))
        yield found


class _Tap:
    def __init__(
        self, attention: Attention, memory: Memory, place: int, found: dict[int, Tensor]
    ) -> None:
        self.attention, self.memory, self.place, self.found = attention, memory, place, found
        self.query_BNLU = torch.empty(0)

    def query(self, _module: Any, _inputs: Any, output_BLD: Tensor) -> None:
        self.query_BNLU = self.attention.split(output_BLD).transpose(1, 2)

    def context(self, _module: Any, _inputs: Any) -> tuple[Tensor]:
        key_INSU, value_INSU = self.memory.layers[self.place]
        score_BNLS = self.query_BNLU @ key_INSU.transpose(-1, -2) / key_INSU.shape[-1] ** 0.5
        bias = additive_mask(self.memory.mask_IS, score_BNLS)
        prob_BNLS = (score_BNLS if bias is None else score_BNLS + bias).softmax(-1)
        self.found[self.place] = prob_BNLS
        return ((prob_BNLS @ value_INSU).transpose(1, 2).flatten(2),)


def default_layer(fusion_layers: int) -> int:
    """The fusion layer to show: the last of the lower half (the third of six, as ALBEF shows)."""
    return max(fusion_layers // 2 - 1, 0)


def explain(
    model: X2VLM,
    tokenizer: Tokenizer,
    image: Image.Image,
    texts: Sequence[str],
    *,
    layer: int | None = None,
    regions: Sequence[Box] = (),
) -> Explanation:
    """Explain one RGB image under some texts; `model` is in evaluation mode.

    Maps are Grad-CAM on cross-attention (Li et al. 2021, ALBEF, appendix): attention of a word to a
    patch times the positive part of the gradient of the matching logit by it, the mean over heads
    and over the pieces of a word. Without a matching head they are the attention itself.
    layer: from 0; None: `default_layer`. Gradients of words vanish in the last layer, where the
    matching head reads the first token alone. regions: more boxes (x, y, width, height) in pixels.
    Raises ConfigError for a layer or a region outside, DataError for a text without words.
    """
    if not texts:
        raise ConfigError("no text to explain the image by; give one or more")
    count = model.config.fusion_layers
    chosen = default_layer(count) if layer is None else layer
    if not 0 <= chosen < count:
        raise ConfigError(f"layer={chosen}, but the model has fusion layers 0 to {count - 1}")
    for box in regions:
        _check(box, image.size)
    cleaned = [clean_caption(text) for text in texts]
    text_BL, mask_BL = (t.to(model.device) for t in tokenizer.encode(cleaned, MAX_TOKENS))
    with torch.no_grad():
        sample = EvalTransform(model.config.vision.image_size)(
            Record("asked", (), ()), [image], np.random.default_rng(0)
        )
        image_1VD = model.encode_image(sample.images[0][None].to(model.device))
        text_BLD = model.encode_text(text_BL, mask_BL)
    map_BLP, fused_BLD = _maps(model, text_BLD, mask_BL, image_1VD, chosen)
    with torch.no_grad():
        match = _match(model, fused_BLD)
        boxes = _boxes(model, fused_BLD, image.size)
        patch_PT = _similarity(model, image_1VD[0, 1:], text_BLD)
        named = [Region("whole image", (0.0, 0.0, float(image.width), float(image.height)))]
        for text, box in zip(cleaned, boxes or (), strict=boxes is not None):
            named.append(Region(f"box of “{text}”", box))
        named += [Region(f"region {n}", box, True) for n, box in enumerate(regions, 1)]
        similarity_RT, match_RT = _regions(model, named, image.size, image_1VD, text_BLD, mask_BL)
    views = []
    for b, text in enumerate(cleaned):
        words, map_WGG = _words(tokenizer, text_BL[b][mask_BL[b]].tolist(), map_BLP[b])
        views.append(TextView(
            text, words, map_WGG,
            None if patch_PT is None else _square(patch_PT[:, b]),
            None if match is None else match[b],
            None if boxes is None else boxes[b],
        ))  # fmt: skip
    weighted = "matching" in model.config.heads
    return Explanation(
        image.size, chosen, weighted, tuple(views), tuple(named), similarity_RT, match_RT
    )


def _check(box: Box, size: tuple[int, int]) -> None:
    x, y, w, h = box
    if w <= 0 or h <= 0 or x < 0 or y < 0 or x + w > size[0] or y + h > size[1]:
        raise ConfigError(
            f"region {box} has no area or leaves the image\n  expected: x, y, width, height in "
            f"pixels inside {size[0]} x {size[1]}"
        )


def _maps(
    model: X2VLM, text_BLD: Tensor, mask_BL: Tensor, image_1VD: Tensor, layer: int
) -> tuple[Tensor, Tensor]:
    """(map_BLP, fused_BLD). The texts share no gradient, so one backward pass serves them all."""
    with torch.enable_grad():
        memory = model.memory(image_1VD)
        with cross_attention(model.fusion, memory) as attention:
            fused_BLD = model.fuse(text_BLD.requires_grad_(), mask_BL, memory)
        map_BNLS = attention[layer]
        if "matching" in model.config.heads:
            logit = model.match(fused_BLD)[:, 1].sum()
            (gradient_BNLS,) = torch.autograd.grad(logit, [map_BNLS])
            map_BNLS = map_BNLS * gradient_BNLS.clamp(min=0)
    return map_BNLS.detach().mean(1)[..., 1:], fused_BLD.detach()


def _match(model: X2VLM, fused_BLD: Tensor) -> list[float] | None:
    if "matching" not in model.config.heads:
        return None
    found: list[float] = model.match(fused_BLD).softmax(-1)[:, 1].tolist()
    return found


def _boxes(model: X2VLM, fused_BLD: Tensor, size: tuple[int, int]) -> list[Box] | None:
    if "box" not in model.config.heads:
        return None
    width, height = size
    return [
        ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
        for cx, cy, w, h in model.box(fused_BLD).tolist()
    ]


def _similarity(model: X2VLM, states_RD: Tensor, text_BLD: Tensor) -> Tensor | None:
    """Cosine of vision states and texts, (R, B); None without a contrastive head."""
    if "contrastive" not in model.config.heads:
        return None
    return model.image_feature(states_RD[:, None]) @ model.text_feature(text_BLD).T


def _regions(
    model: X2VLM, regions: Sequence[Region], size: tuple[int, int], image_1VD: Tensor,
    text_BLD: Tensor, mask_BL: Tensor,
) -> tuple[Floats | None, Floats | None]:  # fmt: skip
    """similarity_RT and match_RT. A region is what pre-training makes of one: the mean of its
    patches, then its patches, the others hidden."""
    vision = model.config.vision
    across, down = vision.image_size / size[0], vision.image_size / size[1]
    patches_RV = torch.from_numpy(np.stack([
        patch_mask((x * across, y * down, w * across, h * down), vision.image_size,
                   vision.patch_size)
        for x, y, w, h in (region.box for region in regions)
    ])).to(model.device)  # fmt: skip
    count, texts = len(regions), len(text_BLD)
    region_RVD = model.regions(image_1VD, patches_RV, [0] * count)
    similarity = _similarity(model, region_RVD[:, 0], text_BLD)
    match = None
    if "matching" in model.config.heads:
        fused = model.fuse(
            text_BLD.repeat(count, 1, 1), mask_BL.repeat(count, 1),
            model.memory(region_RVD, patches_RV),
        )  # fmt: skip
        match = model.match(fused).softmax(-1)[:, 1].view(count, texts)
    return _numpy(similarity), _numpy(match)


def _words(
    tokenizer: Tokenizer, ids: Sequence[int], map_LP: Tensor
) -> tuple[tuple[str, ...], Floats]:
    """Words and their maps (W, G, G); special tokens have none."""
    starts = tokenizer.starts_word(ids)
    groups: list[list[int]] = []
    for place in range(1, len(ids) - 1):
        if starts[place] or not groups:
            groups.append([])
        groups[-1].append(place)
    words = [tokenizer.decode([ids[place] for place in group]) or "�" for group in groups]
    maps = [_square(map_LP[group].mean(0)) for group in groups]
    return tuple(words), np.stack(maps)


def _square(patches_P: Tensor) -> Floats:
    side = round(len(patches_P) ** 0.5)
    found: Floats = patches_P.view(side, side).float().cpu().numpy()
    return found


def _numpy(values: Tensor | None) -> Floats | None:
    return None if values is None else values.float().cpu().numpy()
