"""From the hydra tree to frozen dataclasses, once. The only file that imports hydra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.plan import ModelChoice, Plan
from benchmarks.registry import OWN_NAMES, get, is_own
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.errors import ConfigError, unknown

if TYPE_CHECKING:
    from benchmarks.pretrain import PretrainPlan

OPEN = ("file.", "options.", "scoring.", "cluster.", "pretrain.")
"""below these the tree takes any name; it is checked where it is used"""
CONF = Path(__file__).resolve().parents[2] / "benchmarks" / "conf"
GROUPS = ("benchmark", "experiment", "model", "debug", "train", "predict")
"""folders of the tree, chosen from by GROUP=NAME"""
_MISSING = re.compile(r"Missing mandatory value: .*?full_key: ([\w.]+)", re.DOTALL)
_UNKNOWN = re.compile(r"Could not override '([\w.]+)'")


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The composed tree as plain values; ConfigError says which word of the command is off."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for word in overrides:
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"{word!r} is no setting; settings are key=value (x2vlm show)")
        _check_choice(word)
    words = [_extended(word) for word in (*_one_length(overrides), *overrides)]
    try:
        return _composed([word for group in words for word in group])
    except (HydraException, OmegaConfBaseException) as error:
        if missing := _MISSING.search(str(error)):
            raise ConfigError(f"{missing[1]}=… is missing (docs/training.md)") from error
        if name := _UNKNOWN.search(str(error)):
            raise ConfigError(unknown("setting", name[1], _names(_composed([])))) from error
        raise ConfigError(
            f"{error}\n  to do: x2vlm list and x2vlm show name what there is"
        ) from error


def _composed(words: Sequence[str]) -> dict[str, Any]:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        tree = hydra_compose("config", overrides=list(words))
    plain = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}


def _one_length(words: Sequence[str]) -> list[str]:
    """`train.steps=N` alone takes the place of the epochs of the settings, and the reverse."""
    given = dict(word.partition("=")[::2] for word in words)
    pairs = (("train.steps", "train.epochs"), ("train.epochs", "train.steps"))
    return [
        f"{other}=null"
        for name, other in pairs
        if other not in given and given.get(name, "null") != "null"
    ]


def _check_choice(word: str) -> None:
    """ConfigError for a GROUP=NAME that has no file. (Of an optional group hydra would take no
    notice, and a misspelt experiment would be a run of something else.)"""
    group, _, name = word.partition("=")
    if group in GROUPS and re.fullmatch(r"[\w.+-]+", name) and name != "null":
        known = [path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "outside"]
        known += OWN_NAMES if group == "benchmark" else ()
        if name.removesuffix(".yaml") not in known:
            raise ConfigError(unknown(group, name, known))


def _names(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The full names of all settings of a tree."""
    for name, value in tree.items():
        yield f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _names(value, f"{above}{name}.")


def named(overrides: Sequence[str]) -> Sequence[str]:
    """The words, when they say what to do; else ConfigError, for nothing is run by default."""
    if not any(word.startswith(("benchmark=", "experiment=")) for word in overrides):
        raise ConfigError(
            "say what to run: benchmark=NAME or experiment=NAME\n  to do: x2vlm list names them"
        )
    return overrides


def _extended(word: str) -> list[str]:
    """What the tree does not know by itself: names below OPEN, and benchmark=FILE.py:NAME, a
    user's own benchmark, which has no file in the tree."""
    name, _, value = word.partition("=")
    if name.startswith(OPEN):
        return [f"++{word}"]
    if name == "benchmark" and is_own(value):
        return ["benchmark=outside", f"benchmark.name='{value}'"]
    return [word]


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """`seed=1,2,3 model=tiny` -> one list of overrides per combination, in order."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise ConfigError(str(error)) from error
    return [list(words) for batch in batches for words in batch]


def plan(tree: dict[str, Any]) -> Plan:
    """The plan of one run out of the composed tree; its benchmark is the user's word, so a Python
    file that it names is imported."""
    benchmark = dict(tree["benchmark"])
    get(benchmark["name"])
    own = {"protocol", "split", "train_split", "languages", "train_languages", "options"}
    values: dict[str, Any] = {k: benchmark[k] for k in own if benchmark.get(k) is not None}
    values.update({k: tree[k] for k in own - {"options"} if tree.get(k)})
    values["options"] = {**values.get("options", {}), **(tree.get("options") or {})}
    model = {**tree["model"], **{k: tree[k] for k in ("checkpoint", "shipped") if tree.get(k)}}
    data = DataConfig(
        root=tree["data"] or "",
        layout=tree["layout"] or "",
        files=tree["file"] or {},
        on_error=tree["on_error"],
        limit=tree["limit"],
        box_format=tree["box_format"] or "",
        box_pixels=tree["box_pixels"],
    )
    train = TrainConfig.from_dict({**tree["train"], "seed": tree["seed"]})
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Plan(
        benchmark=benchmark["name"],
        model=ModelChoice.from_dict(model),
        data=data,
        train=train,
        predict=PredictConfig.from_dict(tree["predict"]),
        scoring=tree["scoring"] or {},
        floor=tree["floor"],
        seed=tree["seed"],
        out=tree["out"],
        name=tree["name"] or "",
        device=tree["device"],
        **lists,
    )


def pretrain_plan(tree: dict[str, Any]) -> PretrainPlan:
    """The plan of one pre-training out of the composed tree."""
    from benchmarks.pretrain import PretrainPlan, StreamConfig

    values = dict(tree["pretrain"])
    streams = {name: StreamConfig.from_dict(row) for name, row in values.pop("streams", {}).items()}
    model = tree["model"]
    return PretrainPlan.from_dict(
        {
            "model": model["name"],
            "tokenizer": model["tokenizer"],
            "frames": model["frames"],
            "max_tokens": model["max_tokens"],
            "train": TrainConfig.from_dict({**tree["train"], "seed": tree["seed"]}),
            "streams": streams,
            "data": tree["data"] or "",
            "out": tree["out"],
            "name": tree["name"] or "",
            "device": tree["device"],
            **values,
        }
    )
