"""Every setting of runs, pre-trainings and ablations by its full key, such as train.lr."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.pretrain_plan import PretrainPlan
from x2vlm.cli.arguments import member
from x2vlm.cli.launcher import LAUNCHERS
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.ranges import Setting, SettingField
from x2vlm.settings import Settings, described
from x2vlm.tasks.options import OPTIONS

GROUPS = ("benchmark", "experiment", "model", "debug", "train", "predict")
"""folders of the tree, chosen from by GROUP=NAME"""
OF_BENCHMARK = ("protocol", "split", "train_split", "languages", "train_languages", "options")
"""settings that a benchmark's file may hold"""
_INNER = ("model", "data", "train", "predict")
"""fields of plans that are settings themselves"""


@dataclass(frozen=True, slots=True)
class Place(Settings):
    """Where a command runs."""

    launcher: Annotated[
        str,
        Setting(
            "submitit: queue the command on a cluster; empty: run it here",
            choices=("", *LAUNCHERS),
        ),
    ] = ""
    cluster: Annotated[
        Mapping[str, Any], Setting("parameters of launcher=submitit (x2vlm/train/launch.py)")
    ] = field(default_factory=dict)


@functools.cache
def table() -> dict[str, SettingField]:
    """Every setting of runs and pre-trainings by its full key."""
    found = {one.key: one for one in described(PretrainPlan) if one.name != "train"}
    found |= {one.key: one for one in described(Plan) if one.name not in _INNER}
    for kind in (Place, DataConfig, ModelChoice, TrainConfig, PredictConfig):
        found |= {one.key: one for one in described(kind)}
    found |= {name: found[f"model.{name}"] for name in ("checkpoint", "shipped")}
    found["benchmark.name"] = found.pop("benchmark")
    return found | {f"benchmark.{name}": found[name] for name in OF_BENCHMARK}


def all_names() -> list[str]:
    """The keys to choose from, for messages about one that does not exist."""
    inner = [key for key in table() if not key.startswith("benchmark.")]
    return [*GROUPS, *inner, *_options()]


def setting_of(key: str) -> SettingField | None:
    """The setting that a key names, or the entry of an open mapping such as file.ROLE; None when
    there is none."""
    if key.startswith("options."):
        return _options().get(key)
    if key.startswith("ablation."):
        return _of_rows(key, _ablation(), "ablation.variants.")
    return _of_rows(key, table(), "pretrain.streams.")


@functools.cache
def _options() -> dict[str, SettingField]:
    """The options of all tasks; one that may be null in some task is read so in all."""
    found = [option for kind in OPTIONS.values() for option in described(kind)]
    return {option.key: option for option in sorted(found, key=lambda option: option.optional)}


def _ablation() -> dict[str, SettingField]:
    from x2vlm.cli.ablation import AblationPlan

    return {one.key: one for one in described(AblationPlan)}


def _of_rows(key: str, known: Mapping[str, SettingField], rows: str) -> SettingField | None:
    """One of `known`, an entry of one, or a setting of a row ("pretrain.streams.NAME.X")."""
    if key in known:
        return known[key]
    if key.startswith(rows):
        name, _, last = key.removeprefix(rows).rpartition(".")
        kind = member(known[rows.removesuffix(".")]).kind
        return {one.name: one for one in described(kind)}.get(last) if name else None
    for name in (key[: place.start()] for place in re.finditer(r"\.", key)):
        if name in known and isinstance(known[name].default, Mapping):
            return member(known[name])._replace(key=key)
    return None
