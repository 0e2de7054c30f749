"""Pre-training: streams of shards in, weights and the record of their making out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.mini.home import mini_root
from benchmarks.record import hardware, json_ready, packages, revision, sha256, write_atomically
from x2vlm import distributed
from x2vlm.config import Settings, TrainConfig
from x2vlm.data.augment import COLOUR, RandAugment
from x2vlm.data.concepts import ImageText, ParallelText, Parser, RegionText, VideoText
from x2vlm.data.image import TrainTransform
from x2vlm.data.streams import Stream
from x2vlm.data.text import Tokenizer, load_tokenizer
from x2vlm.errors import ConfigError
from x2vlm.model import checkpoint
from x2vlm.model.config import PRESETS, ModelConfig
from x2vlm.model.initialise import directional_positions
from x2vlm.model.x2vlm import X2VLM, count_parameters
from x2vlm.tasks import build
from x2vlm.tasks.pretraining_data import Collate
from x2vlm.train.mixed import MixedSource, Part
from x2vlm.train.trainer import train
from x2vlm.weights import ASSETS

log = logging.getLogger("x2vlm")


@dataclass(frozen=True, slots=True)
class StreamConfig(Settings):
    """One stream of a pre-training mixture."""

    kind: str
    """image, region, video or parallel"""
    path: str
    """glob of its shards below the data folder"""
    batch_size: int
    """rows (images, not concepts) per step over all processes"""
    weight: float = 1.0
    """factor of its kind's losses"""
    choice: str = ""
    """streams that name the same one take turns, in the ratio of their shares"""
    share: float = 1.0
    matching: bool = True
    """off for noisy data"""
    align: bool = True
    """off for regions that are located only, a fraction of the work"""
    max_concepts: int = 0
    """most concepts of a region batch; 0: no limit"""
    language: str | None = None
    """of captions by language; None draws one"""
    workers: int = 1
    max_bad: float = 0.01
    """share of unusable rows above which training stops"""


@dataclass(frozen=True, slots=True)
class PretrainPlan(Settings):
    """One pre-training run."""

    model: str
    train: TrainConfig
    streams: Mapping[str, StreamConfig]
    tokenizer: str = ""
    """name or path; empty: the preset's own, which ships with the package"""
    data: str = ""
    """folder of the shards; empty: the embedded world"""
    max_tokens: int = 40
    mask_probability: float = 0.5
    max_masks: int = 12
    max_regions: int = 5
    """concepts of one image, its caption included"""
    crop: float = 0.2
    """smallest share of an image's area that a random crop keeps"""
    cropped_regions: float = 1.0
    """share of the images of region streams that are cropped around one of their regions"""
    augment: bool = True
    """RandAugment; off where colours are what the texts are about"""
    matching_until: int = 0
    """step from which matching is left out; 0: never"""
    localise: bool = True
    align_regions: bool = True
    directional: bool = False
    """start the first block's position table with a direction per head (from scratch only)"""
    frames: int = 3
    temporal_positions: bool = True
    out: str = "runs"
    name: str = ""


def pretrain(plan: PretrainPlan) -> Path:
    """Train, then write OUT/NAME.safetensors and OUT/NAME.json; resumes in OUT/NAME/.

    Returns the weights file. Raises ConfigError for settings that make no sense, DataError for
    missing shards.
    """
    if plan.model not in PRESETS or plan.train.steps is None:
        raise ConfigError("pre-training needs a preset as model and train.steps (not train.epochs)")
    name = plan.name or plan.model
    folder, out = Path(plan.out) / name, Path(plan.out) / f"{name}.safetensors"
    tokenizer = load_tokenizer(plan.tokenizer or ASSETS / f"{plan.model}-tokenizer.json")
    preset = PRESETS[plan.model]
    config = replace(
        preset, frames=plan.frames if plan.temporal_positions else 0,
        text=replace(preset.text, vocabulary=max(preset.text.vocabulary, tokenizer.vocabulary)),
    )  # fmt: skip
    torch.manual_seed(plan.train.seed)
    task = build(
        "pretraining", config, tokenizer, localise=plan.localise, align_regions=plan.align_regions,
        kind_weights={stream.kind: stream.weight for stream in plan.streams.values()},
    )  # fmt: skip
    if plan.directional:
        first = task.model.vision.blocks[0].attention.position_table
        directional_positions(first, config.vision.grid)
    task.model.to(distributed.local_device())
    source = MixedSource(
        {key: _part(plan, stream, config, tokenizer) for key, stream in plan.streams.items()},
        seed=plan.train.seed, micro_batch=plan.train.micro_batch or 0,
        matching_until=plan.matching_until,
    )  # fmt: skip
    started = time.monotonic()
    result = train(task, source, plan.train, folder, total_steps=plan.train.steps, log=log.info)
    if not result.finished:
        raise KeyboardInterrupt
    if distributed.is_main():
        _write(plan, task.model, tokenizer, out, time.monotonic() - started, result.losses)
    distributed.barrier()
    return out


def _part(
    plan: PretrainPlan, stream: StreamConfig, config: ModelConfig, tokenizer: Tokenizer
) -> Part:
    """A stream with what reads and collates its rows."""
    root = Path(plan.data) if plan.data else mini_root(corpus=True)
    size = config.vision.image_size
    transform = TrainTransform(size, (plan.crop, 1.0), "careful")
    if not plan.augment:
        transform = TrainTransform(size, (plan.crop, 1.0), "careful", None)
    parsers: dict[str, Callable[[], Parser]] = {
        "image": lambda: ImageText(transform, language=stream.language, root=root),
        "video": lambda: VideoText(transform, plan.frames, language=stream.language, root=root),
        "region": lambda: RegionText(
            size, plan.max_regions, language=stream.language, root=root,
            augment=RandAugment(operations=COLOUR) if plan.augment else None,
            cropped=plan.cropped_regions,
        ),
        "parallel": ParallelText,
    }  # fmt: skip
    if stream.kind not in parsers:
        raise ConfigError(f"no kind of stream {stream.kind!r}; kinds are {', '.join(parsers)}")
    collate = Collate(
        stream.kind, tokenizer, size, config.vision.patch_size, plan.max_tokens,
        plan.mask_probability, plan.max_masks, stream.max_concepts, stream.matching,
        stream.align,
    )  # fmt: skip
    shards = Stream(
        root / stream.path, seed=plan.train.seed, rank=distributed.rank(),
        world=distributed.world(),
    )  # fmt: skip
    return Part(
        shards, parsers[stream.kind](), collate, stream.batch_size, stream.choice, stream.share,
        stream.workers, stream.max_bad,
    )  # fmt: skip


def _write(
    plan: PretrainPlan, model: X2VLM, tokenizer: Tokenizer, out: Path, seconds: float,
    losses: Mapping[str, float],
) -> None:  # fmt: skip
    """The weights in half precision, and beside them how they were made."""
    checkpoint.save(model, out, tokenizer=tokenizer.to_json(), dtype=torch.float16)
    made: dict[str, Any] = {
        "weights": out.name, "sha256": sha256(out), "parameters": count_parameters(model),
        "plan": plan.to_dict(), "losses": dict(losses), "seconds": round(seconds),
        "revision": revision(), "packages": packages(), "hardware": hardware(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    text = json.dumps(json_ready(made), indent=1, allow_nan=False)
    write_atomically(out.with_suffix(".json"), text + "\n")
