"""From the command line to frozen dataclasses, once. The only file that imports hydra.

hydra composes what GROUP=NAME chooses. All other arguments are values: they are read by the type of
their setting (`x2vlm.cli.values`) and put into the composed tree, so that no character of them is
syntax.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plan import Plan
from benchmarks.pretrain_plan import PretrainPlan
from benchmarks.registry import OWN_NAMES, get, is_own
from x2vlm.cli.arguments import likely, split, stray, unknown_key
from x2vlm.cli.keys import GROUPS, OF_BENCHMARK, all_names, setting_of, table
from x2vlm.cli.values import alternatives, home, read_value
from x2vlm.errors import ConfigError, unknown
from x2vlm.ranges import Problem
from x2vlm.settings import SettingsError

CONF = Path(__file__).resolve().parents[2] / "benchmarks" / "conf"
OPTIONAL = ("experiment", "debug")
"""groups of which none may be chosen"""
_MISSING = "???"
"""in a file of the tree: a value that the command line must give"""


def compose(arguments: Sequence[str]) -> dict[str, Any]:
    """The composed tree as plain values. SettingsError names all arguments that are not used."""
    tree, problems = collect(arguments)
    if problems:
        raise SettingsError(problems)
    return tree


def collect(arguments: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """The composed tree without the arguments that are wrong, and the problems of those."""
    names = all_names()
    line = split(arguments, lambda key: key in GROUPS or setting_of(key) is not None, names)
    problems = line.problems + [_stray(word) for word in line.words]
    choices: dict[str, str] = {}
    values: dict[str, Any] = {}
    for key, text in line.given:
        if key in GROUPS:
            choice, problem = _choice(key, text)
            choices[key] = choice
            problems += [problem] if problem else []
            values |= {"benchmark.name": home(text)} if choice == "outside" else {}
        elif found := setting_of(key):
            values[key] = read_value(found, text)
        else:
            problems.append(unknown_key(key, text, names))
    tree = _composed([f"{key}={name}" for key, name in choices.items() if name != "null"])
    problems += [
        Problem("", f"{name}=… is missing (docs/training.md)")
        for name in _missing(tree)
        if name not in values
    ]
    for key, value in (_one_length(values) | values).items():
        problems += _put(tree, key, value)
    return tree, problems


def _composed(overrides: Sequence[str]) -> dict[str, Any]:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            tree = hydra_compose("config", overrides=list(overrides))
        plain = OmegaConf.to_container(tree, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(
            f"{error}\n  to do: x2vlm list and x2vlm show name what there is"
        ) from error
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}


def _choice(group: str, name: str) -> tuple[str, Problem | None]:
    """The file that GROUP=NAME chooses, and the problem when there is none. (hydra would take no
    notice of a misspelt experiment, and the run would be one of something else.)"""
    if group == "benchmark" and is_own(name):
        return "outside", None
    if group in OPTIONAL and name in ("null", ""):
        return "null", None
    known = [path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "outside"]
    if name.removesuffix(".yaml") in known:
        return name.removesuffix(".yaml"), None
    known += OWN_NAMES if group == "benchmark" else ()
    fallback = "null" if group in OPTIONAL else sorted(known)[0]
    return fallback, Problem("", unknown(group, name, known))


def _stray(word: str) -> Problem:
    """The problem of a word alone, which may be the name of something."""
    named = [
        f"{group}={word}"
        for group in GROUPS
        if (CONF / group / f"{Path(word).name}.yaml").is_file()
    ]
    return stray(word, named)


def _one_length(values: Mapping[str, Any]) -> dict[str, None]:
    """`train.steps=N` alone takes the place of the epochs of the settings, and the reverse."""
    pairs = (("train.steps", "train.epochs"), ("train.epochs", "train.steps"))
    return {
        other: None for name, other in pairs if other not in values and values.get(name) is not None
    }


def _missing(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Full names of the settings that the files leave to the command line."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _missing(value, f"{above}{name}.")
        elif value == _MISSING:
            yield f"{above}{name}"


def _put(tree: dict[str, Any], key: str, value: Any) -> list[Problem]:
    """Set one value of the tree; the problem of one for which the tree has no place."""
    *above, last = key.split(".")
    place = tree
    for name in above:
        if place.get(name) is None and name in ("pretrain", "ablation") and place is tree:
            what = "experiment=pretrain_…" if name == "pretrain" else "experiment=ablation"
            return [Problem(key, f"is used by {what} alone\n  to do: name one, or leave it out")]
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            return [Problem(key, f"cannot be set below a value\n{likely(last, '', table())}")]
    if isinstance(value, Mapping) and isinstance(place.get(last), Mapping):
        place[last] = {**place[last], **value}
    else:
        place[last] = value
    return []


def named(arguments: Sequence[str]) -> Sequence[str]:
    """The arguments, when they say what to do; else ConfigError, for nothing is run by default."""
    if not any(one.startswith(("benchmark=", "experiment=")) for one in arguments):
        _, problems = collect(arguments)
        if problems:  # such as "benchmrk=vqav2": say that first
            raise SettingsError(problems)
        raise ConfigError(
            "say what to run: benchmark=NAME or experiment=NAME\n  to do: x2vlm list names them"
        )
    return arguments


def sweep(arguments: Sequence[str]) -> list[list[str]]:
    """`seed=1,2,3 model=tiny` -> one list of arguments per combination, in order."""
    line = split(arguments, lambda _: True, table())
    problems = line.problems + [_stray(word) for word in line.words]
    rows = []
    for key, text in line.given:
        found = setting_of(key) if key not in GROUPS else table()["benchmark.name"]
        if found is None:
            problems.append(unknown_key(key, text, all_names()))
        else:
            rows.append([f"{key}={one}" for one in alternatives(found, text)])
    if problems:
        raise SettingsError(problems)
    return [list(combination) for combination in itertools.product(*rows)]


def plan(tree: Mapping[str, Any]) -> Plan:
    """The plan of one run out of the composed tree; its benchmark is the user's word, so a Python
    file that it names is imported. SettingsError names every setting that is of the wrong kind, out
    of range, or contradicts another."""
    benchmark = dict(tree["benchmark"])
    get(benchmark["name"])
    own = set(OF_BENCHMARK)
    values: dict[str, Any] = {k: benchmark[k] for k in own if benchmark.get(k) is not None}
    values.update({k: tree[k] for k in own - {"options"} if tree.get(k)})
    options = [values.get("options", {}), tree["options"] or {}]
    wrong = [one for one in options if not isinstance(one, Mapping)]  # named by the check of Plan
    values["options"] = wrong[0] if wrong else {**options[0], **options[1]}
    data = {name: tree[name] for name in ("on_error", "limit", "box_pixels")}
    return Plan.from_dict(
        {
            "benchmark": benchmark["name"],
            "model": {
                **tree["model"],
                **{k: tree[k] for k in ("checkpoint", "shipped") if tree.get(k)},
            },
            "data": {
                "root": tree["data"] or "",
                "layout": tree["layout"] or "",
                "files": tree["file"] or {},
                "box_format": tree["box_format"] or "",
                **data,
            },
            "train": {**tree["train"], "seed": tree["seed"]},
            "predict": tree["predict"],
            "scoring": tree["scoring"] or {},
            "name": tree["name"] or "",
            **{name: tree[name] for name in ("floor", "seed", "out", "device")},
            **values,
        }
    )


def pretrain_plan(tree: Mapping[str, Any]) -> PretrainPlan:
    """The plan of one pre-training out of the composed tree; see `plan`."""
    model = tree["model"]
    return PretrainPlan.from_dict(
        {
            "model": model["name"],
            "tokenizer": model["tokenizer"],
            "frames": model["frames"],
            "max_tokens": model["max_tokens"],
            "train": {**tree["train"], "seed": tree["seed"]},
            "data": tree["data"] or "",
            "out": tree["out"],
            "name": tree["name"] or "",
            "device": tree["device"],
            **tree["pretrain"],
        }
    )
