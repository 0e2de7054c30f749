"""The shape of a model as plain values: sizes, heads, presets; no torch, so listing is fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from x2vlm.errors import ConfigError, unknown
from x2vlm.plain import FLAG, TEXT, Kind, conform, listed, number, whole

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


LARGEST_GRID = 96
"""patches along a side: the index of their pairs takes 0.7 GB"""
WIDTH = whole(1, 2**16)
SHARE = number(0, 1)
KINDS: dict[str, Kind] = {
    "image_size": whole(1, 2**14),
    "patch_size": whole(1, 2**10),
    "width": WIDTH,
    "depth": whole(1, 128),
    "hidden": whole(1, 2**18),
    "drop_path": SHARE,
    "layer_scale": number(0, 1e3),
    "vocabulary": whole(8, 2**22),
    "layers": whole(0, 128),
    "positions": whole(3, 2**16),
    "dropout": SHARE,
    "attention_dropout": SHARE,
    "fusion_layers": whole(1, 128),
    "separate_fusion": FLAG,
    "embed": whole(0, 2**16),
    "frames": whole(0, 2**12),
    "labels": whole(0, 2**20),
    "decoder_layers": whole(0, 48),
}
"""What the fields of the dataclasses below may be, wherever they come from: far beyond any model,
and small enough that no file can ask for the memory or hours of a giant one."""
ATTENTION_HEADS = whole(1, 2**10)


class _Shape:
    """Base of the dataclasses here: a JSON round trip that refuses unknown fields."""

    def _check_fields(self, above: str = "", **more: Kind) -> None:
        """ConfigError for a field that is not of its kind. above: what the fields are called in."""
        for name, kind in {**KINDS, **more}.items():
            if hasattr(self, name):
                conform(getattr(self, name), kind, "model", ConfigError, above + name)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config that `to_dict` wrote; ConfigError names an unknown field."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        for name in values:
            if name not in known:
                raise ConfigError(unknown(f"field of {cls.__name__}", name, known))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, JSON-ready."""
        return asdict(self)  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True)
class VisionConfig(_Shape):
    """The vision encoder (BEiT-v2)."""

    image_size: int = 224
    """pixels of each side of the square input"""
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    """width inside the feed-forward part"""
    drop_path: float = 0.1
    """at the last block, linear from 0 at the first; training only"""
    layer_scale: float = 0.1
    """initial value of gamma_1 and gamma_2"""

    def __post_init__(self) -> None:
        self._check_fields("vision.", heads=ATTENTION_HEADS)
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"vision.image_size {self.image_size} is not a multiple of "
                f"vision.patch_size {self.patch_size}"
            )
        if self.width % self.heads:
            raise ConfigError(f"vision.width {self.width} is not a multiple of {self.heads} heads")
        if self.grid > LARGEST_GRID:
            raise ConfigError(
                f"vision.image_size {self.image_size} makes {self.grid} patches of "
                f"{self.patch_size} pixels along a side; at most {LARGEST_GRID} are possible"
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
class TextConfig(_Shape):
    """The text encoder: BERT or XLM-R, which differ by these values only."""

    kind: TextKind = "bert"
    vocabulary: int = 30522
    width: int = 768
    layers: int = 12
    """layers that run on text alone, below the fusion layers"""
    heads: int = 12
    hidden: int = 3072
    positions: int = 512
    """rows of the position table (XLM-R: two more than the longest text)"""
    dropout: float = 0.1
    attention_dropout: float = 0.1
    drop_path: float = 0.0
    """at the last layer of text, fusion and decoder, linear from 0; above 0 it replaces dropout"""

    def __post_init__(self) -> None:
        if self.kind not in ("bert", "xlm-roberta"):
            raise ConfigError(unknown("text.kind", str(self.kind), ("bert", "xlm-roberta")))
        self._check_fields("text.", heads=ATTENTION_HEADS)
        if self.width % self.heads:
            raise ConfigError(f"text.width {self.width} is not a multiple of {self.heads} heads")

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
class ModelConfig(_Shape):
    """A whole model: the towers and the heads composed on them."""

    vision: VisionConfig = VisionConfig()
    text: TextConfig = TextConfig()
    fusion_layers: int = 6
    separate_fusion: bool = False
    """multilingual: text and fusion are two modules, and the MLM output layer is not tied"""
    embed: int = 256
    """E: width of the contrastive features"""
    frames: int = 0
    """learned temporal positions; 0: none"""
    heads: tuple[str, ...] = ("contrastive", "matching", "box", "mlm")
    labels: int = 2
    """classes of `classifier` or `pair_classifier`"""
    decoder_layers: int = 6
    """of `decoder`, when it is among the heads"""

    def __post_init__(self) -> None:
        self._check_fields(
            vision=Kind("the settings of vision", lambda value: isinstance(value, VisionConfig)),
            text=Kind("the settings of text", lambda value: isinstance(value, TextConfig)),
            heads=listed(TEXT),
        )
        for head in self.heads:
            if head not in HEADS:
                raise ConfigError(unknown("head", head, HEADS))
        if len(set(self.heads)) < len(self.heads):
            raise ConfigError(f"a head is named twice: {self.heads}")
        if {"classifier", "pair_classifier"} <= set(self.heads):
            raise ConfigError("a model has either `classifier` or `pair_classifier`, not both")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config that `to_dict` wrote (as read back from JSON)."""
        plain = dict(values)
        if isinstance(plain.get("vision"), Mapping):
            plain["vision"] = VisionConfig.from_dict(plain["vision"])
        if isinstance(plain.get("text"), Mapping):
            plain["text"] = TextConfig.from_dict(plain["text"])
        if isinstance(plain.get("heads"), list):
            plain["heads"] = tuple(plain["heads"])
        known = {f.name for f in fields(cls)}
        for name in plain:
            if name not in known:
                raise ConfigError(unknown("field of ModelConfig", name, known))
        return cls(**plain)

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
