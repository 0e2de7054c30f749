"""Official parameter names and ours: one table, used in both directions, and what shapes tell.

Official checkpoints also hold tensors that follow from others (`derived`): position ids, position
indices, copies of tied weights, the smoothing buffer of captioning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from x2vlm.errors import CheckpointError
from x2vlm.model.config import ModelConfig, TextConfig, VisionConfig
from x2vlm.model.positions import grid_of
from x2vlm.model.vision import relative_position_index

SMOOTHING = "crit_mask_lm_smoothed.one_hot"

TOWERS = {
    "vision": "vision_encoder",
    "vision.patch_embed": "vision_encoder.patch_embed.proj",
    "vision.norm": "vision_encoder.fc_norm",
    "decoder.embeddings": "text_decoder.bert.embeddings",
    "decoder.layers": "text_decoder.bert.encoder.layer",
    "decoder.head": "text_decoder.cls.predictions",
    "matching_head": "itm_head",
    "box_head": "bbox_head",
    "classifier": "cls_head",
    "temperature": "temp",
    "frame_positions": "absolute_frame_pos_embed",
    "vision_proj": "vision_proj",
    "text_proj": "text_proj",
}
PARTS = {
    "vision.blocks": {
        "attention.position_table": "attn.relative_position_bias_table",
        "attention": "attn",
        "fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
    },
    "layers": {
        "attention.out": "attention.output.dense",
        "attention.norm": "attention.output.LayerNorm",
        "attention": "attention.self",
        "cross.out": "crossattention.output.dense",
        "cross.norm": "crossattention.output.LayerNorm",
        "cross": "crossattention.self",
        "fc1": "intermediate.dense",
        "fc2": "output.dense",
        "norm": "output.LayerNorm",
    },
    "embeddings": {
        "word": "word_embeddings",
        "position": "position_embeddings",
        "token_type": "token_type_embeddings",
        "norm": "LayerNorm",
    },
    "head": {
        "dense": "transform.dense",
        "norm": "transform.LayerNorm",
        "weight": "decoder.weight",
    },
}


def _swap(name: str, table: Mapping[str, str]) -> str:
    """Replace the longest run of leading parts of `name` that the table knows."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        head = ".".join(parts[:cut])
        if head in table:
            return ".".join([table[head], *parts[cut:]])
    return name


def _towers(config: ModelConfig) -> dict[str, str]:
    """The table of towers, with the text encoder where this kind of model keeps it."""
    one_stack_lm = "mlm" in config.heads and not config.separate_fusion
    text = "text_encoder.bert" if one_stack_lm else "text_encoder"
    head = "mlm_head.predictions" if config.separate_fusion else "text_encoder.cls.predictions"
    fusion = "cross_encoder" if config.separate_fusion else text
    return TOWERS | {
        "text.embeddings": f"{text}.embeddings",
        "text.layers": f"{text}.encoder.layer",
        "fusion.layers": f"{fusion}.encoder.layer",
        "mlm_head": head,
    }


def official_name(ours: str, config: ModelConfig) -> str:
    """The official name of a parameter of `X2VLM(config)`."""
    found = re.fullmatch(r"(vision\.blocks|(?:\w+\.)?layers)\.(\d+)\.(.+)", ours)
    if found:
        stack, number, rest = found[1], int(found[2]), found[3]
        if stack == "fusion.layers" and not config.separate_fusion:
            number += config.text.layers
        rest = _swap(rest, PARTS["vision.blocks" if stack == "vision.blocks" else "layers"])
        return f"{_swap(stack, _towers(config))}.{number}.{rest}"
    for kind in ("embeddings", "head"):
        found = re.fullmatch(rf"((?:\w+\.)?(?:mlm_)?{kind})\.(dense|norm|weight|bias|word|position|"
                             r"token_type)(.*)", ours)  # fmt: skip
        if found and found[1] not in ("matching_head", "box_head"):
            return f"{_swap(found[1], _towers(config))}.{_swap(found[2], PARTS[kind])}{found[3]}"
    return _swap(ours, _towers(config))


def derived(config: ModelConfig, smoothing: float) -> dict[str, Tensor | str]:
    """Official tensors that are no parameters: their value, or the official name they copy."""
    towers = _towers(config)
    found: dict[str, Tensor | str] = {}
    texts = [(towers["text.embeddings"], config.text.positions)]
    heads = []
    if "mlm" in config.heads:
        tied = None if config.separate_fusion else towers["text.embeddings"]
        heads.append((towers["mlm_head"], tied))
    if "decoder" in config.heads:
        embeddings = towers["decoder.embeddings"]
        texts.append((embeddings, config.text.positions - config.text.first_position))
        heads.append((towers["decoder.head"], embeddings))
    for embeddings, positions in texts:
        found[f"{embeddings}.position_ids"] = torch.arange(positions, device="cpu")[None]
    for head, tied in heads:
        found[f"{head}.decoder.bias"] = f"{head}.bias"
        if tied:
            found[f"{head}.decoder.weight"] = f"{tied}.word_embeddings.weight"
    index = relative_position_index(config.vision.grid)
    for block in range(config.vision.depth):
        found[f"vision_encoder.blocks.{block}.attn.relative_position_index"] = index
    if config.heads == ("mlm",) and not config.separate_fusion:
        words = config.text.vocabulary
        found[SMOOTHING] = torch.full((1, words), smoothing / (words - 2), device="cpu")
    return found


@dataclass(frozen=True, slots=True)
class _Shapes:
    """Shapes of a state dict, asked by name; what is missing is said in one way."""

    shapes: Mapping[str, torch.Size]

    def of(self, name: str, axes: int = 2) -> torch.Size:
        """The shape of a tensor that must be there and have so many axes."""
        if name not in self.shapes:
            raise CheckpointError(
                f"not a checkpoint of X²-VLM: it has no {name}\n"
                f"  found: {', '.join(sorted(self.shapes)[:4])}, …\n  to do: {_guess(self.shapes)}"
            )
        shape = self.shapes[name]
        if len(shape) != axes:
            raise CheckpointError(f"{name} has the shape {tuple(shape)}, expected {axes} axes")
        return shape

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def layers(self, stack: str, part: str = "") -> set[int]:
        """Numbers of the layers below `stack` that have `part`."""
        pattern = re.compile(re.escape(stack) + r"\.(\d+)\." + re.escape(part))
        return {int(m[1]) for name in self.shapes if (m := pattern.match(name))}


def _guess(names: Iterable[str]) -> str:
    """The likely cause when a file is something else, and the way out."""
    names = list(names)
    signs = {
        "vision_encoder.layers.": "this is X-VLM with a Swin encoder; X²-VLM weights are needed",
        "vision_encoder.encoder.": "a CLIP vision encoder; weights with BEiT-v2 are needed",
        "blocks.": "these are vision weights alone; use init_towers(model, beit=FILE)",
        "bert.": "these are BERT weights alone; use init_towers(model, bert=FILE)",
        "roberta.": "these are XLM-R weights alone; use init_towers(model, xlmr=FILE)",
        "visual": "these look like ALBEF, BLIP or CLIP weights; X²-VLM weights are needed",
        "vision.patch_embed.": "these are our names; load them with x2vlm.model.checkpoint.load",
    }
    for start, cause in signs.items():
        if any(name.startswith(start) for name in names):
            return cause
    return "give an official X²-VLM .th file (a dict with `model`, or the bare state dict)"


def infer_config(shapes: Mapping[str, torch.Size], text_heads: int | None = None) -> ModelConfig:
    """The config of an official checkpoint, from names and shapes.

    text_heads: attention heads of text, fusion and decoder, which no shape tells; None: one per 64
    of width, as in every published model. CheckpointError when it is no such checkpoint.
    """
    found = _Shapes(shapes)
    patch = found.of("vision_encoder.patch_embed.proj.weight", axes=4)
    table = found.of("vision_encoder.blocks.0.attn.relative_position_bias_table")
    vision = VisionConfig(
        image_size=patch[2] * grid_of(torch.empty(table, device="meta")),
        patch_size=patch[2],
        width=patch[0],
        depth=len(found.layers("vision_encoder.blocks")),
        heads=table[1],
        hidden=found.of("vision_encoder.blocks.0.mlp.fc1.weight")[0],
    )
    root = (
        "text_encoder.bert" if found.layers("text_encoder.bert.encoder.layer") else "text_encoder"
    )
    separate = bool(found.layers("cross_encoder.encoder.layer"))
    stack = f"{root}.encoder.layer"
    words = found.of(f"{root}.embeddings.word_embeddings.weight")
    crossing = found.layers("cross_encoder.encoder.layer" if separate else stack, "crossattention")
    types = found.of(f"{root}.embeddings.token_type_embeddings.weight")[0]
    text = TextConfig(
        kind="xlm-roberta" if types == 1 else "bert",
        vocabulary=words[0],
        width=words[1],
        layers=len(found.layers(stack)) - (0 if separate else len(crossing)),
        heads=text_heads or max(1, words[1] // 64),
        hidden=found.of(f"{stack}.0.intermediate.dense.weight")[0],
        positions=found.of(f"{root}.embeddings.position_embeddings.weight")[0],
    )
    heads, labels = _heads(found, text.width)
    return ModelConfig(
        vision,
        text,
        fusion_layers=len(crossing),
        separate_fusion=separate,
        embed=found.of("text_proj.weight")[0] if "contrastive" in heads else 256,
        frames=found.of(name, axes=4)[1] if (name := "absolute_frame_pos_embed") in shapes else 0,
        heads=heads,
        labels=labels,
        decoder_layers=len(found.layers("text_decoder.bert.encoder.layer")) or len(crossing),
    )


def _heads(found: _Shapes, width: int) -> tuple[tuple[str, ...], int]:
    """Which heads a checkpoint has, and the number of classes of its classifier."""
    signs = {
        "contrastive": "vision_proj.weight",
        "matching": "itm_head.0.weight",
        "box": "bbox_head.0.weight",
    }
    heads = [head for head, sign in signs.items() if sign in found]
    if any(f"{lm}.predictions.bias" in found for lm in ("text_encoder.cls", "mlm_head")):
        heads.append("mlm")
    labels = 2
    if "cls_head.0.weight" in found:
        pair = found.of("cls_head.0.weight")[1] == 2 * width
        heads.append("pair_classifier" if pair else "classifier")
        labels = found.of("cls_head.3.weight")[0]
    if "text_decoder.cls.predictions.bias" in found:
        heads.append("decoder")
    return tuple(heads), labels
