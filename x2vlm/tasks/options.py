"""The options of each task: type, range and meaning. No torch, so that settings are checked early.

The defaults are those of the tasks' constructors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from x2vlm.config import MAX_TOKENS
from x2vlm.model.config import MOST_TOKENS
from x2vlm.ranges import Problem, Setting
from x2vlm.settings import Settings

_WORDS = Setting("longest text; the rest is cut", "words", least=1, most=MOST_TOKENS)


@dataclass(frozen=True, slots=True)
class TextOptions(Settings):
    """Of tasks that compare one text with one image: grounding, matching."""

    KEY: ClassVar[str] = "options."

    max_tokens: Annotated[int, MAX_TOKENS] = 40


@dataclass(frozen=True, slots=True)
class RetrievalOptions(Settings):
    """Of retrieval."""

    KEY: ClassVar[str] = "options."

    k: Annotated[
        int, Setting("candidates of each query that are ranked again", least=1, most=10**7)
    ] = 128
    max_words: Annotated[int, _WORDS] = 30
    bare: Annotated[
        Literal["refuse", "keep"],
        Setting("captions without a word after cleaning: bad rows, or kept as official IGLUE does"),
    ] = "refuse"
    max_tokens: Annotated[int, MAX_TOKENS] = 40


@dataclass(frozen=True, slots=True)
class AnsweringOptions(Settings):
    """Of answering."""

    KEY: ClassVar[str] = "options."

    candidates: Annotated[tuple[str, ...], Setting("the answers that may be given")] = ()
    k: Annotated[
        int | None,
        Setting("candidates that are scored in full; null: all", least=1, most=10**7),
    ] = 128
    rule: Annotated[
        Literal["official", "chain"],
        Setting("official counts the first token twice, chain does not"),
    ] = "official"
    max_tokens: Annotated[int, MAX_TOKENS] = 40


@dataclass(frozen=True, slots=True)
class ClassificationOptions(Settings):
    """Of classification."""

    KEY: ClassVar[str] = "options."

    labels: Annotated[tuple[str, ...], Setting("names of the classes")] = ()
    images: Annotated[int, Setting("images of a sample", "images", least=1, most=2)] = 1
    text: Annotated[Literal["caption", "question"], Setting("how the text is cleaned")] = "caption"
    flip: Annotated[
        Literal["free", "careful", "never"],
        Setting("mirrored images in training; careful: not when text or label name a side"),
    ] = "careful"
    max_words: Annotated[int, _WORDS] = 30
    max_tokens: Annotated[int, MAX_TOKENS] = 40


@dataclass(frozen=True, slots=True)
class CaptioningOptions(Settings):
    """Of captioning."""

    KEY: ClassVar[str] = "options."

    prompt: Annotated[str, Setting("beginning of every caption, not part of the result")] = (
        "a picture of "
    )
    beams: Annotated[int, Setting("of the search; 1 is greedy", "beams", least=1, most=1000)] = 3
    min_length: Annotated[int, Setting("of a caption", "tokens", least=0, most=MOST_TOKENS)] = 5
    max_length: Annotated[int, Setting("of a caption", "tokens", least=1, most=MOST_TOKENS)] = 50
    ngram: Annotated[
        int, Setting("no run of so many tokens twice; 0 is off", "tokens", least=0, most=1000)
    ] = 3
    smoothing: Annotated[float, Setting("of the labels", "probability", least=0, below=1)] = 0.1
    mask_probability: Annotated[
        float, Setting("share of tokens to predict in training", "probability", above=0, most=1)
    ] = 0.6
    max_masks: Annotated[
        int, Setting("most tokens to predict in training", "tokens", least=1, most=MOST_TOKENS)
    ] = 18
    max_tokens: Annotated[int, MAX_TOKENS] = 40

    def contradictions(self) -> Iterator[Problem]:
        """Lengths that leave nothing between them."""
        if self.min_length >= self.max_length:
            yield Problem(
                "options.min_length",
                f"must be below options.max_length={self.max_length}, got {self.min_length}",
            )


@dataclass(frozen=True, slots=True)
class AttributesOptions(Settings):
    """Of attributes."""

    KEY: ClassVar[str] = "options."

    labels: Annotated[tuple[str, ...], Setting("names of the attributes")] = ()
    templates: Annotated[
        Mapping[str, tuple[str, ...]], Setting("prompts by kind of attribute; empty: the task's")
    ] = field(default_factory=dict)
    variant: Annotated[
        Literal["regions", "crops"], Setting("one image for all boxes, or an image for each")
    ] = "regions"
    score: Annotated[
        Literal["features", "matching"], Setting("cosine of features, or the matching head")
    ] = "features"
    max_tokens: Annotated[int, MAX_TOKENS] = 40


@dataclass(frozen=True, slots=True)
class PretrainingOptions(Settings):
    """Of pre-training."""

    KEY: ClassVar[str] = "options."

    localise: Annotated[bool, Setting("learn the boxes of regions")] = True
    align_regions: Annotated[bool, Setting("learn which text belongs to which region")] = True
    weights: Annotated[
        Mapping[str, float] | None, Setting("factors of single losses", least=0, most=10**6)
    ] = None


OPTIONS: dict[str, type[Settings]] = {
    "retrieval": RetrievalOptions,
    "grounding": TextOptions,
    "classification": ClassificationOptions,
    "answering": AnsweringOptions,
    "captioning": CaptioningOptions,
    "matching": TextOptions,
    "attributes": AttributesOptions,
    "pretraining": PretrainingOptions,
}
"""name of a task -> its options"""
