"""The shape of a model as plain values: sizes, heads, presets; no torch, so listing is fast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from x2vlm.errors import ConfigError, unknown
from x2vlm.ranges import Problem, Setting
from x2vlm.settings import Settings

TASK_HEADS: dict[str, tuple[str, ...]] = {
    "pretraining": ("contrastive", "matching", "box", "mlm"),
    "retrieval": ("contrastive", "matching"),
    "matching": ("contrastive", "matching"),
    "attributes": ("contrastive", "matching"),
    "grounding": ("box",),
    "classification": ("classifier",),
    "pair_classification": ("pair_classifier",),
    "answering": ("decoder",),
    "captioning": ("mlm",),
}
"""What each task composes on the towers; two-image classification under a name of its own."""

TextKind = Literal["bert", "xlm-roberta"]

HEADS = ("contrastive", "matching", "box", "mlm", "classifier", "pair_classifier", "decoder")


LARGEST_IMAGE = 4096
"""pixels of a side"""
LARGEST_GRID = 96
"""patches along a side: the index of their pairs takes 0.7 GB"""
MOST_TOKENS = 65536
_WIDTH = 65536
_LAYERS = 512


@dataclass(frozen=True, slots=True)
class VisionConfig(Settings):
    """The vision encoder (BEiT-v2)."""

    KEY: ClassVar[str] = "vision."

    image_size: Annotated[
        int, Setting("side of the square input", "pixels", least=1, most=LARGEST_IMAGE)
    ] = 224
    patch_size: Annotated[
        int, Setting("side of a patch", "pixels", least=1, most=LARGEST_IMAGE)
    ] = 16
    width: Annotated[int, Setting("of the states", least=1, most=_WIDTH)] = 768
    depth: Annotated[int, Setting("blocks", least=1, most=_LAYERS)] = 12
    heads: Annotated[int, Setting("of attention", least=1, most=_WIDTH)] = 12
    hidden: Annotated[int, Setting("width inside the feed-forward part", least=1, most=_WIDTH)] = (
        3072
    )
    drop_path: Annotated[
        float,
        Setting(
            "at the last block, linear from 0 at the first; training only",
            "probability",
            least=0,
            below=1,
        ),
    ] = 0.1
    layer_scale: Annotated[
        float, Setting("initial value of gamma_1 and gamma_2", least=0, most=1000)
    ] = 0.1

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another."""
        if self.image_size % self.patch_size:
            yield Problem(
                "vision.image_size",
                f"{self.image_size} is not a multiple of vision.patch_size {self.patch_size}",
            )
        if self.width % self.heads:
            yield Problem("vision.width", f"{self.width} is not a multiple of {self.heads} heads")
        if self.grid > LARGEST_GRID:
            yield Problem(
                "vision.image_size",
                f"{self.image_size} makes {self.grid} patches of {self.patch_size} pixels along a "
                f"side; at most {LARGEST_GRID} are possible",
            )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """V: the mean token and the patches."""
        return self.grid**2 + 1


@dataclass(frozen=True, slots=True)
class TextConfig(Settings):
    """The text encoder: BERT or XLM-R, which differ by these values only."""

    KEY: ClassVar[str] = "text."

    kind: Annotated[TextKind, Setting("family of the encoder")] = "bert"
    vocabulary: Annotated[int, Setting("rows of the token table", least=1, most=10**7)] = 30522
    width: Annotated[int, Setting("of the states", least=1, most=_WIDTH)] = 768
    layers: Annotated[
        int,
        Setting("layers that run on text alone, below the fusion layers", least=0, most=_LAYERS),
    ] = 12
    heads: Annotated[int, Setting("of attention", least=1, most=_WIDTH)] = 12
    hidden: Annotated[int, Setting("width inside the feed-forward part", least=1, most=_WIDTH)] = (
        3072
    )
    positions: Annotated[
        int,
        Setting(
            "rows of the position table (XLM-R: two more than the longest text)",
            least=1,
            most=MOST_TOKENS,
        ),
    ] = 512
    dropout: Annotated[
        float, Setting("of states; training only", "probability", least=0, below=1)
    ] = 0.1
    attention_dropout: Annotated[
        float, Setting("of attention weights; training only", "probability", least=0, below=1)
    ] = 0.1
    drop_path: Annotated[
        float,
        Setting(
            "at the last layer of text, fusion and decoder, linear from 0; above 0 it replaces "
            "dropout",
            "probability",
            least=0,
            below=1,
        ),
    ] = 0.0

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another."""
        if self.width % self.heads:
            yield Problem("text.width", f"{self.width} is not a multiple of {self.heads} heads")

    @property
    def padding(self) -> int:
        """Token id of padding."""
        return 0 if self.kind == "bert" else 1

    @property
    def first_position(self) -> int:
        """Row of the position table that the first token gets."""
        return 0 if self.kind == "bert" else self.padding + 1

    @property
    def types(self) -> int:
        """Rows of the token type table."""
        return 2 if self.kind == "bert" else 1

    @property
    def eps(self) -> float:
        """Of the text encoder's LayerNorms."""
        return 1e-12 if self.kind == "bert" else 1e-5


@dataclass(frozen=True, slots=True)
class ModelConfig(Settings):
    """A whole model: the towers and the heads composed on them."""

    vision: Annotated[VisionConfig, Setting("the vision encoder")] = VisionConfig()
    text: Annotated[TextConfig, Setting("the text encoder")] = TextConfig()
    fusion_layers: Annotated[
        int, Setting("layers of text that also look at the image", least=1, most=_LAYERS)
    ] = 6
    separate_fusion: Annotated[
        bool,
        Setting(
            "multilingual: text and fusion are two modules, and the MLM output layer is not tied"
        ),
    ] = False
    embed: Annotated[
        int, Setting("E: width of the contrastive features; 0: none", least=0, most=_WIDTH)
    ] = 256
    frames: Annotated[
        int, Setting("learned temporal positions; 0: none", "frames", least=0, most=1024)
    ] = 0
    heads: Annotated[tuple[str, ...], Setting("what is composed on the towers", choices=HEADS)] = (
        "contrastive",
        "matching",
        "box",
        "mlm",
    )
    labels: Annotated[
        int, Setting("classes of `classifier` or `pair_classifier`", least=0, most=10**7)
    ] = 2
    decoder_layers: Annotated[
        int, Setting("of `decoder`, when it is among the heads", least=0, most=_LAYERS)
    ] = 6

    def contradictions(self) -> Iterator[Problem]:
        """Problems of heads with one another."""
        if len(set(self.heads)) < len(self.heads):
            yield Problem("heads", f"must name a head once, got {', '.join(self.heads)}")
        if {"classifier", "pair_classifier"} <= set(self.heads):
            yield Problem("heads", "have either `classifier` or `pair_classifier`, not both")

    @property
    def multilingual(self) -> bool:
        """Whether the text encoder reads many languages."""
        return self.text.kind == "xlm-roberta"

    def with_heads(self, **values: Any) -> Self:
        """The same towers with other heads, e.g. `with_heads(heads=("classifier",), labels=3)`."""
        if "heads" in values:
            values["heads"] = tuple(values["heads"])
        known = {f.name for f in fields(self)}
        for name in values:
            if name not in known:
                raise ConfigError(unknown("field of ModelConfig", name, known))
        return replace(self, **values)

    def with_image_size(self, pixels: int) -> Self:
        """The same model for square images of `pixels` a side."""
        return replace(self, vision=replace(self.vision, image_size=pixels))


_TINY_VISION = VisionConfig(64, 8, 128, 4, 4, 256, drop_path=0.0, layer_scale=1.0)
_TINY_TEXT = TextConfig("bert", 1024, 128, 3, 4, 192, 96, 0.0, 0.0)
_LARGE_VISION = VisionConfig(width=1024, depth=24, heads=16, hidden=4096)
_XLMR_BASE = TextConfig("xlm-roberta", 250002, positions=514)

PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(_TINY_VISION, _TINY_TEXT, fusion_layers=3, embed=64, decoder_layers=3),
    "base": ModelConfig(),
    "large": ModelConfig(_LARGE_VISION, TextConfig(width=1024, heads=16, hidden=4096)),
    "multilingual-tiny": ModelConfig(
        _TINY_VISION,
        replace(_TINY_TEXT, kind="xlm-roberta", vocabulary=2048, positions=98),
        fusion_layers=3,
        separate_fusion=True,
        embed=64,
        decoder_layers=3,
    ),
    "multilingual-base": ModelConfig(text=_XLMR_BASE, separate_fusion=True),
    "multilingual-large": ModelConfig(
        _LARGE_VISION,
        replace(_XLMR_BASE, width=1024, layers=24, heads=16, hidden=4096),
        separate_fusion=True,
    ),
}
"""Pre-training models by name; `with_heads` makes a task's model of one."""
