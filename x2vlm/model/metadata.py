"""What a weights file of ours says beside its tensors, checked before a model is built of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from x2vlm.errors import CheckpointError, ConfigError
from x2vlm.model.config import ModelConfig
from x2vlm.model.positions import EXTRA
from x2vlm.plain import parse, shown

FORMAT = "x2vlm-1"
"""of our weights files"""


@dataclass(frozen=True, slots=True)
class Metadata:
    """config: of the model. tokenizer: its JSON or its name; empty: none. extra: further JSON."""

    config: ModelConfig
    tokenizer: str
    extra: Mapping[str, Any]


def read_metadata(
    metadata: Mapping[str, str], shapes: Mapping[str, Sequence[int]], where: str
) -> Metadata:
    """The metadata of one of our files. shapes: of its tensors, which the config must fit: it may
    not ask for a model of other size. CheckpointError names the field at fault."""
    if metadata.get("format") != FORMAT:
        official = "vision_encoder.cls_token" in shapes
        raise CheckpointError(
            f"{where} is not one of our weights files (format {metadata.get('format')!r}, expected "
            f"{FORMAT!r})\n  to do: "
            + ("use load_official: its names are official" if official else "give another file")
        )
    values = parse(metadata.get("config", ""), where, CheckpointError, "config in its metadata")
    extra = parse(metadata.get("extra", "{}"), where, CheckpointError, "extra in its metadata")
    try:
        config = ModelConfig.from_dict(values)
    except ConfigError as error:
        raise CheckpointError(
            f"{where}: config in its metadata: {error}\n  to do: get the file again"
        ) from error
    for name, (field, expected) in _implied(config).items():
        found = tuple(shapes[name]) if name in shapes else None
        if found != expected:
            raise CheckpointError(
                f"{where}: config in its metadata says {field}, so {name} must be {expected}, but "
                f"it is {found or 'not there'}\n  to do: get the file again"
            )
    return Metadata(config, metadata.get("tokenizer", ""), extra)


def _implied(config: ModelConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Tensor -> (the fields that decide its shape, in words; its shape): the last of each stack and
    every table, which decide how much memory and time building the model takes."""
    vision, text = config.vision, config.text
    table = (2 * vision.grid - 1) ** 2 + EXTRA
    sides = f"vision.image_size {vision.image_size}, patch_size {vision.patch_size}"
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "vision.patch_embed.weight": (
            f"vision.width {vision.width}, patch_size {vision.patch_size}",
            (vision.width, 3, vision.patch_size, vision.patch_size),
        ),
        f"vision.blocks.{vision.depth - 1}.attention.position_table": (
            f"vision.depth {vision.depth}, heads {vision.heads}, {sides}",
            (table, vision.heads),
        ),
        f"vision.blocks.{vision.depth - 1}.fc1.weight": (
            f"vision.hidden {vision.hidden}, width {vision.width}",
            (vision.hidden, vision.width),
        ),
        "text.embeddings.word.weight": (
            f"text.vocabulary {text.vocabulary}, width {text.width}",
            (text.vocabulary, text.width),
        ),
        "text.embeddings.position.weight": (
            f"text.positions {text.positions}, width {text.width}",
            (text.positions, text.width),
        ),
    }
    stacks = {"text.layers": text.layers, "fusion.layers": config.fusion_layers}
    if "decoder" in config.heads:
        stacks["decoder.layers"] = config.decoder_layers
    for stack, depth in stacks.items():
        if depth:
            found[f"{stack}.{depth - 1}.fc1.weight"] = (
                f"{stack} {depth}, text.hidden {text.hidden}, width {text.width}",
                (text.hidden, text.width),
            )
    if config.frames:
        shape = (1, config.frames, 1, vision.width)
        found["frame_positions"] = (f"frames {config.frames}", shape)
    return found


def embedded_tokenizer(text: str, where: str, names: Mapping[str, str]) -> str:
    """What `load_tokenizer` may be given of a file's tokenizer: its own JSON, or what one of the
    known `names` stands for. Another name could lead to any path or to the network: it is not
    followed, and CheckpointError says what to do."""
    if text.lstrip().startswith("{"):
        return text
    if text in names:
        return names[text]
    raise CheckpointError(
        f"{where}: its metadata names the tokenizer {shown(text)}, which is not one of "
        f"{', '.join(names)}; other names in a file are not followed\n"
        "  to do: if you trust it, name it yourself: model.tokenizer=NAME or PATH "
        "(x2vlm explain and x2vlm convert: tokenizer=…)"
    )
