"""One function per command: arguments of the command line in, exit status out."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from benchmarks.plan import Plan
from benchmarks.pretrain_plan import PretrainPlan
from benchmarks.record import json_ready
from x2vlm.cli.arguments import no_words, parse
from x2vlm.cli.check import checked, checked_run
from x2vlm.cli.compose import CONF, named, sweep
from x2vlm.cli.launcher import queue
from x2vlm.cli.values import home
from x2vlm.errors import ConfigError, Error
from x2vlm.model.config import LARGEST_IMAGE
from x2vlm.ranges import Setting
from x2vlm.settings import Settings

# -- runs ------------------------------------------------------------------------------------


def run(arguments: list[str]) -> int:
    """x2vlm run: all stages; with -m, one run per combination of the comma lists."""
    if "-m" in arguments:
        return _sweep("run", [one for one in arguments if one != "-m"])
    return _one("run", arguments)


def train(arguments: list[str]) -> int:
    """x2vlm train: the training stage of a benchmark, or a pre-training."""
    return _one("train", arguments)


def _one(command: str, arguments: Sequence[str]) -> int:
    """Check the settings, then do what they describe: here, or queued on a cluster."""
    tree, chosen = checked(named(arguments))
    carry_out = _prepared(command, arguments, chosen)
    return queue(command, arguments, tree) if tree["launcher"] else carry_out()


def _prepared(command: str, arguments: Sequence[str], chosen: Settings) -> Callable[[], int]:
    """An ablation, a pre-training, or the stages of a run."""
    if isinstance(chosen, Plan):
        return partial(_stages, chosen, command)
    if isinstance(chosen, PretrainPlan):
        return partial(_pretrain, chosen)
    from x2vlm.cli.ablation import AblationPlan, ablate

    assert isinstance(chosen, AblationPlan)
    if command != "run":
        raise ConfigError(f"an ablation also evaluates; use: x2vlm run {shlex.join(arguments)}")
    return partial(ablate, chosen, arguments)


def _pretrain(chosen: PretrainPlan) -> int:
    from benchmarks.pretrain import pretrain
    from x2vlm import distributed
    from x2vlm.cli.report import start_log
    from x2vlm.locking import owned

    folder = Path(chosen.out) / (chosen.name or chosen.model)
    made = [folder.with_name(f"{folder.name}{ending}") for ending in (".safetensors", ".json")]
    with distributed.processes(), owned(folder, *made), start_log(folder, chosen):
        print(pretrain(chosen))
    return 0


def predict(arguments: list[str]) -> int:
    """x2vlm predict: the prediction stage alone."""
    return _stages(checked_run(named(arguments), "predict"), "predict")


def _stages(chosen: Plan, last: str) -> int:
    from benchmarks import run as runner
    from benchmarks.mini.home import data_root
    from x2vlm import distributed
    from x2vlm.cli.report import start_log, summary
    from x2vlm.locking import owned
    from x2vlm.stopping import keeping

    with distributed.processes():
        work = runner.Run(chosen, data_root(chosen))
        if last == "predict" and work.plan.trains and not work.trained():
            raise ConfigError(
                f"{work.folder} is not trained yet, and x2vlm predict does not train\n"
                "  to do: protocol=evaluate asks checkpoint=FILE as it is; x2vlm run trains first"
            )
        if last != "train":
            work.check()
        with owned(work.folder), start_log(work.folder, work.plan):
            weights = work.train()
            if last != "train":
                kept = "training and predictions" if weights else "predictions"
                with keeping(f"{kept} so far are kept"):
                    work.predict(weights)
            if last == "run" and distributed.is_main():
                print(summary(work.score(), work.folder))
            elif distributed.is_main():
                print(work.folder)
    return 0


def _sweep(command: str, arguments: Sequence[str]) -> int:
    """Runs one after another, each in its own process, so that none can harm the next."""
    combinations = sweep(arguments)
    failed = 0
    for number, combination in enumerate(combinations, 1):
        print(
            f"[{number}/{len(combinations)}] x2vlm {command} {shlex.join(combination)}", flush=True
        )
        failed += _apart(command, combination) != 0
    if failed:
        raise Error(f"{failed} of {len(combinations)} runs failed; the others are finished")
    return 0


def _apart(command: str, arguments: Sequence[str]) -> int:
    """The exit status of a command in its own process; a request to stop is passed on to it."""
    with subprocess.Popen([sys.executable, "-m", "x2vlm", command, *arguments]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()  # it saves its state first
            process.wait()
            raise


def show(arguments: list[str]) -> int:
    """x2vlm show: the resolved settings, as YAML."""
    import yaml

    tree, _ = checked(arguments)
    print(yaml.safe_dump(json_ready(tree), sort_keys=False, allow_unicode=True), end="")
    return 0


# -- looking -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoArguments(Settings):
    """Of x2vlm list."""


def list_all(arguments: list[str]) -> int:
    """x2vlm list: everything that has a name."""
    from benchmarks.registry import BENCHMARKS, OWN
    from x2vlm.model.config import PRESETS
    from x2vlm.tasks import TASKS

    no_words(parse(NoArguments, arguments)[0])
    width = max(len(entry.name) for entry in BENCHMARKS)
    print("benchmarks (benchmark=…)")
    for entry in BENCHMARKS:
        print(f"  {entry.name:<{width}}  {entry.title}")
    print("\ndata of your own (benchmark=FORMAT:NAME data=DIR; docs/your-own-data.md)")
    for entry in OWN:
        print(f"  {entry.name:<{width}}  {entry.title}")
    print("\nmodels (model=…)\n  " + "  ".join(PRESETS))
    print("\ntasks\n  " + "  ".join(TASKS))
    print("\nexperiments (experiment=…)")
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        print(f"  {path.stem}")
    return 0


@dataclass(frozen=True, slots=True)
class ConvertArguments(Settings):
    """Of x2vlm convert."""

    to: Annotated[str, Setting("task of x2vlm list, or official", required=True)]
    tokenizer: Annotated[
        str, Setting("name or path; empty: the one inside the weights", form="path")
    ] = ""
    image_size: Annotated[
        int | None, Setting("null: as it is", "pixels", least=1, most=LARGEST_IMAGE)
    ] = None
    frames: Annotated[
        int | None,
        Setting("learned temporal positions; null: as they are", "frames", least=0, most=1024),
    ] = None
    labels: Annotated[int | None, Setting("classes; null: as they are", least=1, most=10**7)] = None


def convert(arguments: list[str]) -> int:
    """x2vlm convert IN OUT --to TASK."""
    from x2vlm.weights import convert as change

    rest = [re.sub("^--to=", "to=", one) for one in arguments]
    if "--to" in rest[:-1]:
        place = rest.index("--to")
        rest[place : place + 2] = [f"to={rest[place + 1]}"]
    usage = (
        "usage: x2vlm convert IN OUT --to TASK [image_size=…] [frames=…] [labels=…]"
        "\n  TASK: a task of x2vlm list, or official (our weights under official names)"
    )
    plain, given = parse(ConvertArguments, rest, usage)
    if len(plain) != 2:
        raise ConfigError(usage)
    numbers = {
        name: value
        for name in ("image_size", "frames", "labels")
        if (value := getattr(given, name)) is not None
    }
    source, target = map(home, plain)
    kept = _tokenizer_to_keep(given.tokenizer)
    print(change(source, target, to=given.to, tokenizer=kept, **numbers))
    return 0


def _tokenizer_to_keep(name: str) -> str:
    """What a weights file keeps of the tokenizer that the user names: a name that every
    installation knows, or the whole tokenizer, since no other name in a file is followed."""
    from x2vlm.data.text import load_tokenizer
    from x2vlm.weights import known_tokenizers

    return name if not name or name in known_tokenizers() else load_tokenizer(name).to_json()


def reproduce(arguments: list[str]) -> int:
    """x2vlm reproduce BENCHMARK …: one row, then ours beside the paper's numbers.

    Fine-tuned once, then evaluated on each split that the papers report, or on split=.
    """
    from benchmarks.mini.home import data_root
    from benchmarks.run import Run
    from leaderboards.published import numbers
    from x2vlm.cli.boards import difference

    places = [place for place, one in enumerate(arguments) if "=" not in one]
    if not places:
        raise ConfigError("usage: x2vlm reproduce BENCHMARK checkpoint=… data=…")
    rest = [*arguments]
    name = rest.pop(places[0])
    experiments = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    overrides = [f"{'experiment' if name in experiments else 'benchmark'}={name}", *rest]
    chosen = checked_run(overrides, "reproduce")
    if failed := run(overrides):
        return failed
    first = Run(chosen, data_root(chosen))
    folders, settings = [first.folder], [w for w in overrides if not w.startswith("name=")]
    if first.plan.trains:
        weights = first.folder / "model.safetensors"
        settings += [f"checkpoint={weights}", "model.random=false"]
        settings += [f"protocol=evaluate:{first.plan.told_protocol}", "model.seeded=true"]
    published = {n.split for n in numbers() if n.benchmark == first.benchmark.name and n.ours}
    published.discard(first.plan.test_split())
    splits = [n for n, split in first.benchmark.splits.items() if split.scored and n in published]
    for name in [] if chosen.split else splits:
        folders.append(first.folder.with_name(f"{first.folder.name}-{name}"))
        if failed := run([*settings, f"split={name}", f"name={folders[-1].name}"]):
            return failed
    return difference(folders)
