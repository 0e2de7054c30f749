"""One pre-training as plain values: which model, which streams of shards, how. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from benchmarks.model_choice import too_long
from x2vlm.config import DEVICE, MAX_TOKENS, MOST_STEPS, NAME, OUT, TrainConfig, wrong_device
from x2vlm.model.config import MOST_TOKENS, PRESETS, ModelConfig
from x2vlm.ranges import Problem, Setting
from x2vlm.settings import Settings

if TYPE_CHECKING:
    from x2vlm.data.text import Tokenizer


@dataclass(frozen=True, slots=True)
class StreamConfig(Settings):
    """One stream of a pre-training mixture."""

    KEY: ClassVar[str] = "stream."

    kind: Annotated[
        Literal["image", "region", "video", "question", "parallel"], Setting("what its rows are")
    ]
    path: Annotated[
        str, Setting("glob of its shards below the data folder", form="path", required=True)
    ]
    batch_size: Annotated[
        int,
        Setting(
            "rows (images, not concepts) per step over all processes", "rows", least=1, most=10**6
        ),
    ]
    weight: Annotated[float, Setting("factor of its kind's losses", least=0, most=10**6)] = 1.0
    choice: Annotated[
        str,
        Setting("streams that name the same one take turns, in the ratio of their shares"),
    ] = ""
    share: Annotated[
        float,
        Setting(
            "of a choice's turns; where all add up to less than 1, the other steps have none of "
            "them",
            above=0,
            most=10**6,
        ),
    ] = 1.0
    start: Annotated[
        int,
        Setting(
            "step from which the stream takes part; until then its rivals have its turns",
            "steps",
            least=0,
            most=MOST_STEPS,
        ),
    ] = 0
    matching: Annotated[bool, Setting("off for noisy data")] = True
    align: Annotated[
        bool, Setting("off for regions that are located only, a fraction of the work")
    ] = True
    fuse: Annotated[
        bool,
        Setting("off for what only the contrastive loss compares, a fraction of the work"),
    ] = True
    max_concepts: Annotated[
        int,
        Setting("most concepts of a region batch; 0: no limit", "concepts", least=0, most=10**6),
    ] = 0
    language: Annotated[
        str | None, Setting("of captions by language; null draws one", required=True)
    ] = None
    max_tokens: Annotated[
        int,
        Setting("longest text of this stream; 0: the plan's", "tokens", least=0, most=MOST_TOKENS),
    ] = 0
    max_masks: Annotated[
        int,
        Setting(
            "most masked tokens of a text of this stream; 0: the plan's",
            "tokens",
            least=0,
            most=MOST_TOKENS,
        ),
    ] = 0
    workers: Annotated[int, Setting("reader processes", "processes", least=0, most=1024)] = 1
    max_bad: Annotated[
        float,
        Setting("share of unusable rows above which training stops", "fraction", least=0, most=1),
    ] = 0.01

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another."""
        if 0 < self.max_tokens < (MAX_TOKENS.least or 0):
            yield Problem(
                "stream.max_tokens", f"must be 0 or{MAX_TOKENS.limits()}, got {self.max_tokens}"
            )


@dataclass(frozen=True, slots=True)
class PretrainPlan(Settings):
    """One pre-training run."""

    KEY: ClassVar[str] = "pretrain."

    model: Annotated[str, Setting("preset (x2vlm list)", choices=tuple(PRESETS), key="model.name")]
    train: Annotated[TrainConfig, Setting("how it is trained; steps, not epochs", key="train")]
    streams: Annotated[
        Mapping[str, StreamConfig], Setting("what it is trained on, by name", required=True)
    ]
    tokenizer: Annotated[
        str,
        Setting(
            "name or path; empty: the preset's own, which ships with the package",
            form="path",
            key="model.tokenizer",
        ),
    ] = ""
    data: Annotated[
        str,
        Setting("folder of the shards; empty: the embedded world", form="path", key="data"),
    ] = ""
    max_tokens: Annotated[int, replace(MAX_TOKENS, key="model.max_tokens")] = 40
    mask_probability: Annotated[float, Setting("of a token", "probability", above=0, most=1)] = 0.5
    max_masks: Annotated[int, Setting("of a text", "tokens", least=1, most=MOST_TOKENS)] = 12
    whole_words: Annotated[
        bool,
        Setting("mask all tokens of a word together; official CCLM masks single tokens"),
    ] = True
    max_regions: Annotated[
        int,
        Setting("concepts of one image, its caption included", "concepts", least=1, most=10**6),
    ] = 5
    crop: Annotated[
        float,
        Setting(
            "smallest share of an image's area that a random crop keeps",
            "fraction",
            above=0,
            most=1,
        ),
    ] = 0.2
    cropped_regions: Annotated[
        float,
        Setting(
            "share of the images of region streams that are cropped around one of their regions",
            "fraction",
            least=0,
            most=1,
        ),
    ] = 1.0
    augment: Annotated[
        bool, Setting("RandAugment; off where colours are what the texts are about")
    ] = True
    flip: Annotated[
        bool,
        Setting(
            "mirror images at random unless their text says left or right, in English: off for "
            "texts in other languages that say where things are"
        ),
    ] = True
    matching_until: Annotated[
        int,
        Setting(
            "step from which matching is left out; 0: never", "steps", least=0, most=MOST_STEPS
        ),
    ] = 0
    loss_weights: Annotated[
        Mapping[str, float],
        Setting(
            'factors of single losses, such as {"region_box": 5}; the others weigh 1',
            least=0,
            most=10**6,
        ),
    ] = field(default_factory=dict)
    localise: Annotated[bool, Setting("learn the boxes of regions")] = True
    align_regions: Annotated[bool, Setting("learn which text belongs to which region")] = True
    init: Annotated[
        str,
        Setting(
            "checkpoint to go on from (ours or official), strictly; for a multilingual model it "
            "may be a monolingual one, which gives all but the text encoder",
            form="path",
        ),
    ] = ""
    init_vision: Annotated[str, Setting("BEiT-v2, official .pth", form="path")] = ""
    init_text: Annotated[
        str,
        Setting(
            "BERT, or for a multilingual model XLM-R: a state dict of Hugging Face (.bin, "
            ".safetensors)",
            form="path",
        ),
    ] = ""
    directional: Annotated[
        bool,
        Setting(
            "start the first block's position table with a direction per head (from scratch only)"
        ),
    ] = False
    frames: Annotated[
        int, Setting("taken from a video", "frames", least=1, most=1024, key="model.frames")
    ] = 3
    temporal_positions: Annotated[bool, Setting("learned ones, in models that see videos")] = True
    device: Annotated[str, DEVICE] = "auto"
    out: Annotated[str, OUT] = "runs"
    name: Annotated[str, NAME] = ""

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another."""
        yield from wrong_device(self.device)
        yield from too_long(PRESETS[self.model], "model.max_tokens", self.max_tokens)
        if self.train.steps is None:
            yield Problem("train.steps", "must be given for a pre-training, which has no epochs")
        if bool(self.init) + bool(self.init_vision) + self.directional > 1:
            yield Problem(
                "",
                "pretrain.init, pretrain.init_vision and pretrain.directional all fill the vision "
                "encoder: keep one",
            )

    def used_streams(self) -> dict[str, StreamConfig]:
        """The streams that give a loss: regions neither aligned nor located are left out. The
        others do not wait for steps that the streams left out would have had alone."""
        used = {
            name: stream
            for name, stream in self.streams.items()
            if stream.kind != "region"
            or (self.localise and stream.fuse)
            or (self.align_regions and stream.align)
        }
        first = min((stream.start for stream in used.values()), default=0)
        return {name: replace(stream, start=stream.start - first) for name, stream in used.items()}

    def shape(self, tokenizer: Tokenizer) -> ModelConfig:
        """The model to train: the preset, for this tokenizer and these streams."""
        preset = PRESETS[self.model]
        words = max(preset.text.vocabulary, tokenizer.vocabulary)
        videos = any(stream.kind == "video" for stream in self.streams.values())
        frames = self.frames if videos and self.temporal_positions else 0
        return replace(preset, frames=frames, text=replace(preset.text, vocabulary=words))
