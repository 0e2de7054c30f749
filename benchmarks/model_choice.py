"""Which model a run takes, and where its weights come from. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from x2vlm.config import MAX_TOKENS
from x2vlm.model.config import LARGEST_IMAGE, PRESETS, ModelConfig
from x2vlm.ranges import Problem, Setting
from x2vlm.settings import Settings

_DATA = re.compile(r"_(\d+[mb])(?=[_.]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelChoice(Settings):
    """Which model, and where its weights come from."""

    KEY: ClassVar[str] = "model."

    name: Annotated[str, Setting("preset (x2vlm list)", choices=tuple(PRESETS))] = "tiny"
    checkpoint: Annotated[
        str,
        Setting(
            "our .safetensors, a run folder, an official .th; empty: those shipped with the preset",
            form="path",
        ),
    ] = ""
    trained_on: Annotated[
        str,
        Setting(
            "what a checkpoint that is only evaluated was fine-tuned on, for the record: "
            '"vqav2:trainval", "train+val" (splits of the benchmark), or any text; empty: what the '
            "weights themselves say"
        ),
    ] = ""
    shipped: Annotated[
        str,
        Setting(
            "folder with NAME.safetensors of the presets that ship with weights; empty: in the "
            "package",
            form="path",
        ),
    ] = ""
    random: Annotated[bool, Setting("start from random weights, on purpose")] = False
    image_size: Annotated[
        int | None,
        Setting(
            "side of the square input, a multiple of the patch size; null: the checkpoint's own. "
            "Position tables are resized",
            "pixels",
            least=8,
            most=LARGEST_IMAGE,
        ),
    ] = None
    frames: Annotated[int, Setting("taken from a video", "frames", least=1, most=1024)] = 3
    temporal_positions: Annotated[
        bool, Setting("learned positions of the frames; off: their plain mean")
    ] = True
    tokenizer: Annotated[
        str, Setting("name or path; empty: the one inside the checkpoint", form="path")
    ] = ""
    max_tokens: Annotated[int, MAX_TOKENS] = 40
    pretraining: Annotated[
        str,
        Setting(
            'what the weights were pre-trained on ("4M", "1B"), for the table and to find the '
            "paper's number; empty: read off an official checkpoint's name (x2vlm_base_1b.th)"
        ),
    ] = ""

    label: Annotated[
        str,
        Setting("what tables call this model beside its name, to tell it from others of that name"),
    ] = ""
    seeded: Annotated[
        bool,
        Setting(
            "the weights were trained with this run's seed, too (as x2vlm reproduce does): runs "
            "whose weights were made in one way, by the note beside them, are seeds"
        ),
    ] = False

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another."""
        preset = PRESETS[self.name]
        patch = preset.vision.patch_size
        if self.image_size is not None and self.image_size % patch:
            yield Problem(
                "model.image_size",
                f"must be a multiple of the {patch} pixels of a patch of {self.name}, "
                f"got {self.image_size}",
            )
        yield from too_long(preset, "model.max_tokens", self.max_tokens)

    @property
    def pretrained_on(self) -> str:
        """`pretraining`, or what the name of the checkpoint says; "" when neither does."""
        found = _DATA.search(Path(self.checkpoint).name)
        return self.pretraining or (found[1].upper() if found else "")


def too_long(preset: ModelConfig, key: str, tokens: int) -> Iterator[Problem]:
    """The problem of texts for which a model has too few positions."""
    text = preset.text
    if tokens > text.positions - text.first_position:
        most = text.positions - text.first_position
        yield Problem(key, f"must be at most {most}, the positions of the model, got {tokens}")
