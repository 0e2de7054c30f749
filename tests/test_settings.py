"""Every field of every class of settings has a range and a meaning, and refuses what has none."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

import benchmarks
import leaderboards
import x2vlm
from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.pretrain_plan import PretrainPlan, StreamConfig
from x2vlm.cli.ablation import AblationPlan, Variant
from x2vlm.cli.commands import ConvertArguments
from x2vlm.cli.scoring import ScoreArguments
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.model.config import PRESETS
from x2vlm.ranges import Setting, SettingField, is_name, shown
from x2vlm.settings import Settings, SettingsError, described

TRAIN = TrainConfig(steps=100)
STREAM = StreamConfig("image", "images/*", batch_size=4)
NEEDED: dict[type[Settings], dict[str, Any]] = {
    TrainConfig: {"steps": 100},
    Plan: {
        "benchmark": "vqav2",
        "model": ModelChoice(),
        "data": DataConfig(),
        "train": TRAIN,
        "predict": PredictConfig(),
    },
    StreamConfig: {"kind": "image", "path": "images/*", "batch_size": 4},
    PretrainPlan: {"model": "tiny", "train": TRAIN, "streams": {"images": STREAM}},
    AblationPlan: {
        "variants": {"full": Variant()},
        "pretrain": "pretrain_mini_ablation",
        "benchmarks": ("nlvr2",),
        "seeds": (1,),
    },
    ScoreArguments: {"benchmark": "vqav2", "predictions": "a.json", "data": "DIR"},
    ConvertArguments: {"to": "official"},
}
"""values of the fields that have no default"""
BAD_NAMES = (
    "../x",
    "a/b",
    "/abs",
    "..",
    ".",
    ".hidden",
    "a\nb",
    " ",
    "a ",
    "a\\b",
    "~",
    "x" * 300,
    "\u202e",
    "a\tb",
    "\x1b[31m",
)


def classes() -> list[type[Settings]]:
    """Every dataclass of settings in the packages."""
    for package in (x2vlm, benchmarks, leaderboards):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found, waiting = [], list(Settings.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if is_dataclass(kind) and "__slots__" in vars(kind):  # not what the decorator made it of
            found.append(kind)
    return sorted(found, key=lambda kind: kind.__name__)


CLASSES = classes()
FIELDS = [(kind, field) for kind in CLASSES for field in described(kind)]
IDS = [f"{kind.__name__}.{field.name}" for kind, field in FIELDS]


def meaningless(field: SettingField) -> Iterator[Any]:
    """Values that a field must refuse, made of its type and its range."""
    if not field.optional and field.kind is not Any:
        yield None
    yield from _meaningless(field.kind, field.setting)


def _meaningless(kind: Any, setting: Setting) -> Iterator[Any]:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return
    yield from (object(), b"bytes", 1j)
    if kind in (int, float):
        yield from (True, False, "abc", "1", [1], {}, float("nan"), float("inf"), -float("inf"))
        yield from [1.5] if kind is int else []
        yield from outside(setting, 1 if kind is int else 1e-3)
    elif kind is bool:
        yield from (0, 1, "true", [], 1.0)
    elif kind is str or origin is Literal:
        yield from (5, True, ["a"], ("a",), {"a": 1}, 1.5, "a\0b")
        yield from ["nosuch"] if setting.choices or origin is Literal else []
        yield from [""] if setting.required else []
        yield from BAD_NAMES if setting.form == "name" else []
    elif origin is tuple:
        yield from ("text", 5, {"a": 1}, True)
        yield from [()] if setting.required or parts[-1] is not Ellipsis else []
        count = 1 if parts[-1] is Ellipsis else len(parts)
        yield from ((value,) * count for value in _meaningless(parts[0], setting))
    elif origin is Mapping:
        yield from ("text", 5, ["a"], {5: "a"})
        yield from [{}] if setting.required else []
        yield from ({"a": value} for value in _meaningless(parts[1], setting))
    elif origin is not None:  # a union
        for part in parts:
            yield from (
                value
                for value in _meaningless(part, setting)
                if not any(_held(other, setting, value) for other in parts)
            )
    else:
        yield from (5, "text", [])


def _held(kind: Any, setting: Setting, value: Any) -> bool:
    field = SettingField("", "", kind, False, setting, None)
    return field.fits(value)


def outside(setting: Setting, step: float) -> Iterator[float]:
    """Numbers just outside of the limits."""
    if setting.least is not None:
        yield setting.least - step
    if setting.above is not None:
        yield from (setting.above, setting.above - step)
    if setting.most is not None:
        yield setting.most + (step if step == 1 else 0.001 * setting.most)
    if setting.below is not None:
        yield from (setting.below, setting.below + step)


def holds_numbers(kind: Any) -> bool:
    """Whether a number is among the values of a type."""
    return kind in (int, float) or any(map(holds_numbers, get_args(kind)))


def test_the_classes_are_found() -> None:
    names = {kind.__name__ for kind in CLASSES}
    assert {"Plan", "PretrainPlan", "VisionConfig", "ModelConfig", "BoardArguments"} <= names
    assert len(FIELDS) > 150


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=IDS)
def test_a_field_says_its_range_and_what_it_means(
    kind: type[Settings], field: SettingField
) -> None:
    setting = field.setting
    assert len(setting.meaning) > 2
    assert "\n" not in setting.meaning
    if holds_numbers(field.kind):
        assert (setting.least, setting.above) != (None, None), "a number needs a smallest value"
        assert (setting.most, setting.below) != (None, None), "a number needs a largest value"
    assert field.expected()
    assert kind.KEY == "" or field.key.startswith(kind.KEY) or setting.key


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=IDS)
def test_values_without_a_meaning_are_refused(kind: type[Settings], field: SettingField) -> None:
    good = kind(**NEEDED.get(kind, {}))
    tried = 0
    for value in meaningless(field):
        tried += 1
        with pytest.raises(SettingsError) as caught:
            replace(good, **{field.name: value})  # type: ignore[type-var]
        (problem,) = caught.value.problems
        assert problem.key == field.key
        assert field.expected() in str(caught.value)
        got = list(value) if isinstance(value, tuple) else value
        assert shown(got) in str(caught.value)
        if isinstance(value, (str, int, float, dict)) and not isinstance(
            field.kind, type(Settings)
        ):
            with pytest.raises(SettingsError):
                kind.from_dict({**NEEDED.get(kind, {}), field.name: value})
    assert tried > 2 or field.kind is Any


@pytest.mark.parametrize("kind", CLASSES)
def test_defaults_are_accepted_and_survive_plain_values(kind: type[Settings]) -> None:
    made = kind(**NEEDED.get(kind, {}))
    assert kind.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert kind.from_dict(made.to_dict(), recorded=True) == made


def test_presets_are_accepted() -> None:
    for name, config in PRESETS.items():
        assert ModelChoice(name, image_size=config.vision.image_size).name == name


def test_all_problems_are_named_at_once_with_their_full_keys() -> None:
    rows = {"images": {"kind": "imge", "path": "a", "batch_size": 0}, "texts": 5}
    with pytest.raises(SettingsError) as caught:
        PretrainPlan.from_dict({"model": "tny", "train": {"lr": -1, "stps": 5}, "streams": rows})
    text = str(caught.value)
    for words in (
        "model.name must be tiny, base",
        "train.lr must be a number above 0 to 1, got -1",
        "unknown setting 'train.stps'; did you mean 'train.steps'",
        "pretrain.streams.images.kind must be image, region, video, question or parallel, got",
        "did you mean 'image'",
        "pretrain.streams.images.batch_size must be a whole number from 1",
        "pretrain.streams.texts must be a mapping, got 5",
    ):
        assert words in text
    with pytest.raises(SettingsError, match="benchmark=… is missing"):
        Plan.from_dict({})
    with pytest.raises(SettingsError, match="train must be a mapping, got 'x'"):
        TrainConfig.from_dict("x")  # type: ignore[arg-type]


CONTRADICTIONS: list[tuple[type[Settings], dict[str, Any], str]] = [
    (TrainConfig, {"epochs": 1}, "exactly one of train.epochs and train.steps"),
    (TrainConfig, {"steps": None}, "exactly one"),
    (TrainConfig, {"micro_batch": 64}, "train.micro_batch must be at most train.batch_size=32"),
    (TrainConfig, {"warmup": 100}, "train.warmup must be below train.steps=100, got 100"),
    (TrainConfig, {"shard": True, "ema": 0.9}, "train.shard=true does not go with train.ema=0.9"),
    (ModelChoice, {"image_size": 100}, "model.image_size must be a multiple of the 8 pixels"),
    (ModelChoice, {"max_tokens": 97}, "model.max_tokens must be at most 96"),
    (ModelChoice, {"max_tokens": 2}, "model.max_tokens must be a whole number from 3"),
    (Plan, {"protocol": "zeroshot"}, "unknown protocol 'zeroshot'; did you mean 'zero-shot'"),
    (Plan, {"protocol": "few-shot:../../x"}, "protocol becomes part of a folder's name"),
    (Plan, {"device": "gpu"}, "unknown device 'gpu'"),
    (Plan, {"benchmark": "own_vqa"}, "is for data of your own"),
    (PretrainPlan, {"train": TrainConfig(epochs=1)}, "train.steps must be given"),
    (PretrainPlan, {"init": "a", "directional": True}, "all fill the vision encoder"),
    (StreamConfig, {"max_tokens": 1}, "stream.max_tokens must be 0 or from 3"),
    (AblationPlan, {"places_first": 5}, "about places alone"),
    (AblationPlan, {"variants": {"../x": Variant()}}, "must be names of folders, got '../x'"),
    (AblationPlan, {"variants": {"a": Variant(benchmarks=("nlvr",))}}, "did you mean 'nlvr2'"),
]


@pytest.mark.parametrize(("kind", "values", "message"), CONTRADICTIONS)
def test_settings_that_contradict_one_another_are_refused(
    kind: type[Settings], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        kind(**{**NEEDED.get(kind, {}), **values})
    assert message in str(caught.value)


def test_values_of_old_records_are_read_whatever_their_range() -> None:
    """Ranges were narrower or absent when a record was written; its types still count."""
    tried = 0
    for kind, field in FIELDS:
        if field.kind in (int, float):
            for value in outside(field.setting, 1 if field.kind is int else 1e-3):
                made = kind.from_dict({**NEEDED.get(kind, {}), field.name: value}, recorded=True)
                assert getattr(made, field.name) == value
                tried += 1
            with pytest.raises(SettingsError):
                kind.from_dict({**NEEDED.get(kind, {}), field.name: "x"}, recorded=True)
    assert tried > 50
    with pytest.raises(SettingsError, match="unknown setting"):
        Plan.from_dict({**NEEDED[Plan], "nothing": 1}, recorded=True)


def test_the_plans_of_the_shipped_weights_are_accepted() -> None:
    for path in sorted((Path(x2vlm.__file__).parent / "assets").glob("tiny*.json")):
        if "tokenizer" not in path.name:
            plan = json.loads(path.read_text(encoding="utf-8"))["plan"]
            assert PretrainPlan.from_dict(plan).model == "tiny"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_one_part_of_a_path(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["a", "a=b", "ü 日本 (v2)", "run#1,$x", "-x", "x.y", "x" * 200])
def test_other_names_are_free(name: str) -> None:
    assert is_name(name)
    assert Plan(**{**NEEDED[Plan], "name": name}).folder() == Path("runs") / name
