"""Records as a run of today writes them, one setting or fact changed."""

from __future__ import annotations

from typing import Any

from benchmarks.deciding import SECTIONS, SETTINGS
from benchmarks.plan import ModelChoice, Plan
from benchmarks.record import ResultRecord
from leaderboards.aggregate import long_table, over_seeds
from tests.synthetic_runs import make_record
from x2vlm.config import DataConfig, PredictConfig, TrainConfig

PLAN = Plan(
    benchmark="a/file.py:NLVR2",
    model=ModelChoice(checkpoint="weights/a.th"),
    data=DataConfig(root="data"),
    train=TrainConfig(steps=100),
    predict=PredictConfig(),
    protocol="fine-tuned",
)
MODEL = {
    "weights_sha256": "f" * 64, "source_sha256": "a" * 64, "checkpoint": "weights/a.th",
    "pretraining": "", "label": "",
}  # fmt: skip
DATA = {"fingerprint": "d" * 64, "train_split": "train", "train_fingerprint": "e" * 64}
OTHER: dict[str, Any] = {
    "train.precision": "bfloat16", "predict.precision": "float16", "train.steps": 200,
    "train.epochs": 2.0, "train.trackers": ["wandb"], "train.betas": [0.9, 0.95],
    "data.files": {"dev": "x.json"}, "data.on_error": "skip", "data.limit": 8, "languages": ["en"],
    "train_languages": ["de"], "options": {"k": 3}, "scoring": {"variant": "x2vlm"}, "floor": 70.0,
    "model.image_size": 384, "device": "cuda", "seed": 43, "train.seed": 43,
    "benchmark": "b/file.py:NLVR2",
    "protocol": "few-shot:48",
}  # fmt: skip
"""setting -> another value, where the kind of the value does not give one"""


def record_of(plan: dict[str, Any] | None = None, **changes: Any) -> ResultRecord:
    """A record as a run of today writes it."""
    model, data = changes.pop("model", {}), changes.pop("data", {})
    return make_record(
        config=plan or config_with(), model={**MODEL, **model}, data={**DATA, **data}, **changes
    )


def config_with(name: str = "", value: Any = None) -> dict[str, Any]:
    """The settings of PLAN as a record holds them, one of them changed."""
    config = PLAN.to_dict()
    if name:
        section, _, key = name.rpartition(".")
        (config[section] if section else config)[key or section] = value
    return config


def all_settings() -> list[tuple[str, str]]:
    """(full name, part) of every setting that has a value."""
    found = [(name, part) for name, part in SETTINGS[Plan].items() if part != "section"]
    for name, section in SECTIONS.items():
        found += [(f"{name}.{key}", part) for key, part in SETTINGS[section].items()]
    return found


def other_value(name: str) -> Any:
    if name in OTHER:
        return OTHER[name]
    section, _, key = name.rpartition(".")
    value = (config_with()[section] if section else config_with())[key]
    if isinstance(value, bool):
        return not value
    return {int: 7, float: 0.123, str: "other", type(None): 5}[type(value)]


def cells_of(*records: ResultRecord) -> list[tuple[str, tuple[int, ...]]]:
    """(name, seeds) of the rows of a board."""
    cells = over_seeds(long_table(records, ("limited", "partial")).rows)
    return sorted(zip(cells["model"], cells["seeds"], strict=True))
