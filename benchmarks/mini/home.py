"""Where the embedded world lives on this machine: written once, then reused by every run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.metrics.stats import Measure
from benchmarks.mini.suite import WRITERS, code_hash, read_manifest, write_world
from benchmarks.plan import Plan
from x2vlm.cache import cache_folder
from x2vlm.errors import DataError

CHANCE: Mapping[str, Mapping[str, float]] = {
    "vqav2": {"accuracy": 22.0},
    "gqa": {"accuracy": 28.0},
    "xgqa": {"accuracy": 28.0},
    "msrvtt_qa": {"accuracy": 12.5},
    "msvd_qa": {"accuracy": 13.3},
    "coco_retrieval": {"text_r1": 0.5, "image_r1": 0.5},
    "flickr30k_retrieval": {"text_r1": 0.67, "image_r1": 0.67},
    "multi30k": {"mean_recall": 3.55},
    "coco_multilingual": {"mean_recall": 2.65},
    "msrvtt_retrieval": {"text_r1": 1.0, "image_r1": 1.0},
    "xflickrco": {"text_r1": 0.5, "image_r1": 0.5},
    "wit": {"text_r1": 1.0, "image_r1": 1.0},
    "ovad": {"map": 25.0},
}
"""Chance in percent where the embedded world differs from the real data: its galleries are smaller,
its attributes and answers fewer. Of questions: always the most frequent answer
(docs/mini-world.md)."""


def mini_root(*, corpus: bool = False) -> Path:
    """The folder of the embedded world, written on first use (about a minute).

    corpus: with the pre-training shards, which take three minutes more.
    """
    root = cache_folder() / "mini-world"
    parts = [part for part in WRITERS if corpus or part != "pretrain"]
    write_world(root, parts=parts, say=partial(print, file=sys.stderr, flush=True))
    return root


def data_root(plan: Plan, *, write: bool = True) -> Path:
    """The user's data folder, or the embedded world, written on first use.

    write: DataError instead when the embedded world is not here, or is that of other code.
    """
    if not plan.data.root:
        if write:
            return mini_root()
        root = cache_folder() / "mini-world"
        there = read_manifest(root)
        if there is None or there.code != code_hash():
            raise DataError("the embedded world is not here", source=str(root))
        return root
    root = Path(plan.data.root)
    if not root.is_dir():
        raise DataError(
            "no such folder", source=str(root), expected="the folder of the official files",
            fix="correct data=DIR; without data= the embedded mini world is used",
        )  # fmt: skip
    return root


def chance_levels(plan: Plan) -> dict[str, float]:
    """Chance by metric of the data a plan reads."""
    benchmark = plan.value()
    own = CHANCE.get(benchmark.name, {}) if plan.suite == "mini" else {}
    return {**benchmark.chance, **own}


def floor_of(plan: Plan, headline: Measure) -> dict[str, Any] | None:
    """{"value", "met"}: what a run is expected to reach, and whether it did; None: nothing.

    The plan's floor; in the embedded suite half-way from chance to perfect for a model that the
    run trained, and two standard errors above chance for one that it did not.
    """
    benchmark, floor = plan.value(), plan.floor
    chance, perfect = chance_levels(plan).get(benchmark.headline), benchmark.perfect
    if floor is None and plan.suite == "mini" and chance is not None:
        if plan.trains and perfect is not None:
            floor = (chance + perfect) / 2
        elif not plan.trains and headline.standard_error is not None:
            floor = chance + 2 * headline.standard_error
    if floor is None:
        return None
    return {"value": floor, "met": headline.value is not None and headline.value >= floor}
