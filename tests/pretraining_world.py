"""A few pre-training shards of coloured squares, the parts that read them, the task they train."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests import small
from x2vlm import distributed
from x2vlm.data.augment import RandAugment
from x2vlm.data.concepts import (
    ImageText,
    ParallelText,
    Parser,
    QuestionText,
    RegionText,
    VideoText,
)
from x2vlm.data.image import TrainTransform
from x2vlm.data.streams import Stream
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.pretraining import Pretraining
from x2vlm.tasks.pretraining_data import Collate, Regions, Texts
from x2vlm.train.mixed import MixedSource, Part
from x2vlm.types import Batch

KINDS = ("image", "region", "video", "question", "parallel")
NAMES = list(small.COLOURS)
TOKENIZER = small.tokenizer()
CONFIG = replace(
    small.CONFIG,
    vision=replace(small.VISION, width=24),  # texts stand where images do in parallel batches
    heads=("contrastive", "matching", "box", "mlm"),
)


def _binary(seed: int, colour: str) -> str:
    return base64.b64encode(small.picture(seed, colour).inline[0]).decode()


def rows(kind: str, count: int) -> list[dict[str, Any]]:
    """Rows of a kind: which colour the square of the left half has."""
    found: list[dict[str, Any]] = []
    for i in range(count):
        colour, other = NAMES[i % 6], NAMES[(i + 1) % 6]
        text = f"a picture of the {colour} square"
        if kind == "image":
            found.append({"binary": _binary(i, colour), "caption": [text, f"the {colour} square"]})
        elif kind == "region":
            elems = [
                {"bb": [4, 8, 24, 32], "caption": "square", "attributes": [colour]},
                {"bb": [30, 0, 30, 48], "caption": "picture", "attributes": [other]},
            ]
            found.append({"binary": _binary(i, colour), "caption": text, "elems": elems})
        elif kind == "video":
            found.append({"video_frames": [_binary(i, colour), _binary(i, other)], "text": text})
        elif kind == "question":
            asked = [["what is in the picture?", "square"], ["what color is it?", colour]]
            found.append({"binary": _binary(i, colour), "questions": asked})
        else:
            found.append({"source_text": text, "target_text": f"what is {colour}"})
    return found


def write_shards(folder: Path, count: int = 12) -> Path:
    """One folder of two JSON-lines shards per kind; `count` rows, of six colours in turn."""
    for kind in KINDS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        half = count // 2 + 1
        for shard, part in enumerate((rows(kind, count)[:half], rows(kind, count)[half:])):
            lines = "".join(json.dumps(row) + "\n" for row in part)
            (folder / kind / f"{shard}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def parser(kind: str) -> Parser:
    """How rows of a kind are prepared, without colour changes."""
    plain = RandAugment(0, 0)
    transform = TrainTransform(small.SIZE, (0.5, 1.0), "careful", None)
    made: dict[str, Parser] = {
        "image": ImageText(transform),
        "region": RegionText(small.SIZE, augment=plain),
        "video": VideoText(transform, frames=2),
        "question": QuestionText(transform, frames=2),
        "parallel": ParallelText(),
    }
    return made[kind]


def task(**options: Any) -> Pretraining:
    """The task on a fresh model, the same every time."""
    torch.manual_seed(0)
    return Pretraining(X2VLM(CONFIG), TOKENIZER, **options)


def source(
    folder: Path,
    *,
    batch_size: int = 6,
    seed: int = 0,
    workers: int = 0,
    matching: bool = True,
    **options: Any,
) -> MixedSource:
    """All kinds that the folder holds, mixed; dealt by rows, so that ranks change nothing."""
    rank, world = distributed.rank(), distributed.world()
    parts = {
        kind: Part(
            Stream(folder / kind, seed=seed, rank=rank, world=world, split="rows"),
            parser(kind),
            Collate(kind, TOKENIZER, small.SIZE, small.VISION.patch_size, matching=matching),
            batch_size,
            workers=workers,
        )
        for kind in KINDS
        if (folder / kind).is_dir()
    }
    return MixedSource(parts, seed=seed, **options)


def first_batches(folder: Path, **options: Any) -> dict[str, Batch]:
    """The first batch of every kind."""
    first = next(iter(source(folder, **options)))
    return {str(batch.target["kind"]): batch for batch in first}


def parts_of(batch: Batch) -> tuple[Texts, Regions | None]:
    """What a batch says of its texts, and of its regions where it has some."""
    target = batch.target
    assert batch.text_BL is not None
    assert batch.mask_BL is not None
    hidden = target["hidden_BL"], target["positions_BM"], target["targets_BM"]
    texts = Texts(batch.text_BL, batch.mask_BL, *hidden)
    if "patches_BV" not in target:
        return texts, None
    names = ("rows_B", "patches_BV", "box_B4", "is_box_B")
    return texts, Regions(*(target[name] for name in names))
