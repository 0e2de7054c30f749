"""The identity of a result: what decides it, read out of its record, and the hash of that.

Records of equal identity are seeds of one another, and nothing else is. No torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from benchmarks.deciding import RECORD, SECTIONS, SETTINGS
from benchmarks.plan import Plan
from benchmarks.record import ResultRecord, json_ready
from benchmarks.registry import NAMES, OWN_NAMES, get
from benchmarks.stages import digest
from x2vlm.config import TrainConfig
from x2vlm.errors import ConfigError

SAME_AIM = frozenset({
    "benchmark_version", "limit", "missing", "data", "train_data", "train_skipped", "n",
    "languages",
})  # fmt: skip
"""Facts in which a record may differ from one that takes its place: an older version of the
benchmark, or a part of the data, was a try at the same number."""
DEFAULTS: Mapping[Any, Mapping[str, Any]] = {
    section: {
        field.name: field.default
        for field in dataclasses.fields(section)
        if field.default is not dataclasses.MISSING
    }
    for section in SECTIONS.values()
}
FALLS_BACK = {"train.lr_vision": "train.lr", "train.lr_text": "train.lr"}
"""settings that are another one's value when they are null"""


def missing_parts(record: ResultRecord) -> list[str]:
    """Why a record stands for less than its split, apart from a limit."""
    reasons = [f"{len(record.skipped)} rows were skipped"] if record.skipped else []
    if parts := sorted(set(record.data.get("partial", {}).values())):
        reasons.append(f"part of the split: {' '.join(parts)}")
    if languages := record.data.get("missing_languages"):
        reasons.append(f"averages without {' '.join(languages)}")
    return reasons


def trained(record: ResultRecord) -> bool:
    """Whether the run itself trained, and did not evaluate weights as they are."""
    protocol = record.config.get("protocol", "auto")
    told = record.protocol if protocol == "auto" else str(protocol)
    return told.startswith(("fine-tuned", "few-shot"))


def source_of(record: ResultRecord) -> str:
    """What the run started from: the hash of the weights, "random", or "recipe HASH" of weights
    that were pre-trained with the run's seed. An old record of a training does not hold it: then
    "unrecorded NAME", the name of the checkpoint."""
    model, choice = record.model, _section(record.config, "model") or {}
    weights = model.get("source_sha256") or ("" if trained(record) else model.get("weights_sha256"))
    if choice.get("random") or str(weights).startswith("random"):
        return "random"
    if recipe := model.get("source_recipe"):
        return f"recipe {recipe}"
    return str(weights) if weights else f"unrecorded {checkpoint_of(record)}".rstrip()


def checkpoint_of(record: ResultRecord) -> str:
    """The checkpoint as the user named it; "" for the weights that ship with the preset."""
    choice = _section(record.config, "model") or {}
    named = str(choice.get("checkpoint") or record.model.get("checkpoint") or "")
    return "" if named == "shipped" else named


def facts(record: ResultRecord) -> dict[str, Any]:
    """Name -> value of everything that decides the result apart from the seed, as plain values.

    Names are those of the settings ("train.lr", "options.k") or of the record. What an old record
    does not hold is None, a value of its own; settings that its version did not have are at their
    defaults.
    """
    config, trains, data = record.config, trained(record), record.data
    found: dict[str, Any] = {
        name: getattr(record, name) for name, part in RECORD.items() if part == "decides"
    }
    found |= {
        "missing": missing_parts(record),
        "source": source_of(record),
        "pretraining": record.model.get("pretraining") or "",
        "resolution": record.model.get("resolution"),
        "trained": trains,
        "data": data.get("fingerprint"),
    }
    if found["resolution"] is None:
        found["resolution"] = (_section(config, "model") or {}).get("image_size")
    if found["data"] is None:
        found |= {"n": record.n, "languages": config.get("languages") or []}
    for name, section in SECTIONS.items():
        found |= _settings(name, section, _section(config, name), trains)
    found["model.name"] = str(record.model.get("name", ""))
    found["model.label"] = record.model.get("label") or found["model.label"] or ""
    found |= _plan_settings(record, trains)
    if trains:
        left_out = [str(row.get("id", "")) for row in data.get("train_skipped") or ()]
        found |= {"train_data": data.get("train_fingerprint"), "train_skipped": sorted(left_out)}
    for name, other in FALLS_BACK.items():
        if name in found and found[name] is None:
            found[name] = found[other]
    return {name: _plain(value) for name, value in found.items()}


def identity(record: ResultRecord) -> str:
    """Hash of `facts`: equal for the seeds of one result, and for nothing else."""
    return digest(facts(record))


def recipe(made: Mapping[str, Any]) -> str:
    """Hash of how weights were trained, apart from the seed. made: what their note says, of a
    pre-training {"plan", "init"}, of a fine-tuning its stage's {"key"}."""
    if "plan" in made:
        places = ("device", "out", "name", "data", "init")
        values = {name: value for name, value in made["plan"].items() if name not in places}
        values["init"] = made.get("init")
    else:
        values = dict(made["key"])
        if str(values["weights"]).startswith("random:"):  # and the seed
            values["weights"] = "random"
    table = SETTINGS[TrainConfig]
    values["train"] = {
        name: value
        for name, value in values["train"].items()
        if table.get(name, "trains") == "trains"
    }
    return digest(_plain(values))


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found = config.get(name)
    return found if isinstance(found, Mapping) else None


def _settings(
    name: str, section: type[Any], values: Mapping[str, Any] | None, trains: bool
) -> dict[str, Any]:
    """The deciding settings of one section. A setting that is unknown here decides."""
    table = SETTINGS[section]
    wanted = ("decides", "trains") if trains else ("decides",)
    rest = () if values is None else set(values) - set(table)
    found: dict[str, Any] = {}
    for key in (*table, *sorted(rest)):
        if table.get(key, "trains" if section is TrainConfig else "decides") in wanted:
            value = None if values is None else values.get(key, DEFAULTS[section].get(key))
            found[f"{name}.{key}"] = value
    return found


def _plan_settings(record: ResultRecord, trains: bool) -> dict[str, Any]:
    """Options, scoring and training data, with the defaults of the benchmark filled in."""
    config, defaults = record.config, _defaults(str(record.config.get("benchmark", "")))
    found: dict[str, Any] = {}
    for group, own in (("options", defaults.get("options", {})), ("scoring", {})):
        given = {**own, **(_section(config, group) or {})}
        found |= {f"{group}.{name}": value for name, value in sorted(given.items())}
    if trains:
        found["train_split"] = (
            config.get("train_split") or record.data.get("train_split") or defaults.get("split")
        )
        found["train_languages"] = config.get("train_languages") or defaults.get("languages")
    known = {f.name for f in dataclasses.fields(Plan)}
    return found | {name: config[name] for name in sorted(set(config) - known)}


@functools.cache
def _defaults(name: str) -> Mapping[str, Any]:
    """What a benchmark of ours takes when the plan says nothing; {} for one of the user's own code,
    which a record must not make us run."""
    if name not in NAMES and name.partition(":")[0] not in OWN_NAMES:
        return {}
    try:
        benchmark = get(name)
    except ConfigError:  # a name that this version does not have
        return {}
    return {
        "options": dict(benchmark.options),
        "split": benchmark.first("train"),
        "languages": list(benchmark.languages[:1]),
    }


def _plain(value: Any) -> Any:
    """JSON values in which equal settings are equal: 1.0 and 1, a tuple and a list."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return json_ready(value)
