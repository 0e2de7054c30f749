"""A stream of a pre-training mixture: what reads its rows, and how they become batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.mini.home import mini_root
from x2vlm import distributed
from x2vlm.data.augment import COLOUR, RandAugment
from x2vlm.data.concepts import ImageText, ParallelText, Parser, QuestionText, RegionText, VideoText
from x2vlm.data.image import AUGMENT, TrainTransform
from x2vlm.data.streams import Stream
from x2vlm.errors import ConfigError
from x2vlm.tasks.pretraining_data import Collate
from x2vlm.train.mixed import Part

if TYPE_CHECKING:
    from benchmarks.pretrain import PretrainPlan, StreamConfig
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.config import ModelConfig


def part_of(
    plan: PretrainPlan, stream: StreamConfig, config: ModelConfig, tokenizer: Tokenizer
) -> Part:
    """A stream of `plan` with what reads and collates its rows, for a model of `config`.

    Raises ConfigError for a kind that does not exist.
    """
    root = Path(plan.data) if plan.data else mini_root(corpus=True)
    parsers = _parsers(plan, stream, config.vision.image_size, root)
    if stream.kind not in parsers:
        raise ConfigError(f"no kind of stream {stream.kind!r}; kinds are {', '.join(parsers)}")
    collate = Collate(
        stream.kind,
        tokenizer,
        config.vision.image_size,
        config.vision.patch_size,
        max_tokens=stream.max_tokens or plan.max_tokens,
        mask_probability=plan.mask_probability,
        max_masks=stream.max_masks or plan.max_masks,
        whole_words=plan.whole_words,
        max_concepts=stream.max_concepts,
        matching=stream.matching,
        align=stream.align,
        fuse=stream.fuse,
    )
    shards = Stream(
        root / stream.path,
        seed=plan.train.seed,
        rank=distributed.rank(),
        world=distributed.world(),
    )
    return Part(
        shards,
        parsers[stream.kind](),
        collate,
        stream.batch_size,
        stream.choice,
        stream.share,
        stream.workers,
        stream.max_bad,
        stream.start,
    )


def _parsers(
    plan: PretrainPlan, stream: StreamConfig, size: int, root: Path
) -> dict[str, Callable[[], Parser]]:
    """What reads the rows of each kind of stream."""
    transform = TrainTransform(
        size,
        (plan.crop, 1.0),
        "careful" if plan.flip else "never",
        augment=AUGMENT if plan.augment else None,
    )
    rows: dict[str, Any] = {"language": stream.language, "root": root}
    return {
        "image": lambda: ImageText(transform, **rows),
        "video": lambda: VideoText(transform, plan.frames, **rows),
        "region": lambda: RegionText(
            size,
            plan.max_regions,
            augment=RandAugment(operations=COLOUR) if plan.augment else None,
            cropped=plan.cropped_regions,
            flip=plan.flip,
            **rows,
        ),
        "question": lambda: QuestionText(transform, plan.frames, **rows),
        "parallel": ParallelText,
    }
