"""One function per command: words of the command line in, exit status out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.plan import Plan
from x2vlm.cli.compose import CONF, compose, named, plan, pretrain_plan, sweep
from x2vlm.cli.launcher import queue
from x2vlm.cli.words import below, listed, on_error, split_words, take, whole, yes
from x2vlm.errors import ConfigError, Error

if TYPE_CHECKING:
    from benchmarks.pretrain import PretrainPlan


# -- runs ------------------------------------------------------------------------------------


def run(words: list[str]) -> int:
    """x2vlm run: all stages; with -m, one run per combination of the comma lists."""
    if words[:1] == ["-m"]:
        return _sweep("run", words[1:])
    return _one("run", words)


def train(words: list[str]) -> int:
    """x2vlm train: the training stage of a benchmark, or a pre-training."""
    return _one("train", words)


def _one(command: str, words: Sequence[str]) -> int:
    """Check the settings, then do what they describe: here, or queued on a cluster."""
    tree = compose(named(words))
    carry_out = _prepared(command, words, tree)
    return queue(command, words, tree) if tree["launcher"] else carry_out()


def _prepared(command: str, words: Sequence[str], tree: dict[str, Any]) -> Callable[[], int]:
    """An ablation, a pre-training, or the stages of a run."""
    if tree["ablation"]:
        from x2vlm.cli.ablation import ablate, ablation_plan

        if command != "run":
            raise ConfigError(f"an ablation also evaluates; use: x2vlm run {' '.join(words)}")
        return partial(ablate, ablation_plan(tree), words)
    if tree["pretrain"]:
        return partial(_pretrain, pretrain_plan(tree))
    return partial(_stages, plan(tree), command)


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


def predict(words: list[str]) -> int:
    """x2vlm predict: the prediction stage alone."""
    return _stages(plan(compose(named(words))), "predict")


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


def _sweep(command: str, words: Sequence[str]) -> int:
    """Runs one after another, each in its own process, so that none can harm the next."""
    combinations = sweep(words)
    failed = 0
    for number, combination in enumerate(combinations, 1):
        print(f"[{number}/{len(combinations)}] x2vlm {command} {' '.join(combination)}", flush=True)
        failed += _apart(command, combination) != 0
    if failed:
        raise Error(f"{failed} of {len(combinations)} runs failed; the others are finished")
    return 0


def _apart(command: str, words: Sequence[str]) -> int:
    """The exit status of a command in its own process; a request to stop is passed on to it."""
    with subprocess.Popen([sys.executable, "-m", "x2vlm", command, *words]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()  # it saves its state first
            process.wait()
            raise


def show(words: list[str]) -> int:
    """x2vlm show: the resolved settings, as YAML."""
    import yaml

    print(yaml.safe_dump(compose(words), sort_keys=False, allow_unicode=True), end="")
    return 0


def score(words: list[str]) -> int:
    """x2vlm score: a predictions file of any known kind; one JSON object last. No torch."""
    from benchmarks.files import Files
    from benchmarks.fitting import score_fitting
    from benchmarks.layout import load_layout
    from benchmarks.record import json_ready
    from benchmarks.registry import get

    plain, settings = split_words(words)
    files_given, scoring = below(settings, "file."), below(settings, "scoring.")
    take(settings, "benchmark", "split", "predictions", "data", "layout", "limit", "languages",
         "on_error", "extra")  # fmt: skip
    for name in ("benchmark", "predictions", "data"):
        if name not in settings:
            raise ConfigError(f"{name}=… is missing; x2vlm score --help shows the usage")
    if plain:
        raise ConfigError(f"unexpected word {plain[0]!r}")
    for name in ("limit", "languages", "extra", "labels"):
        if name in scoring:
            raise ConfigError(f"scoring.{name} is no option of a metric; see x2vlm score --help")
    benchmark = get(settings["benchmark"])
    given = load_layout(settings["layout"]).get(benchmark.name, {}) if "layout" in settings else {}
    files = Files(Path(settings["data"]), {**given, **files_given}, on_error(settings))
    split = settings.get("split") or benchmark.default_split()
    result, files = score_fitting(
        benchmark, split, Path(settings["predictions"]), files,
        languages=listed(settings, "languages", "language", benchmark.languages) or None,
        limit=whole(settings, "limit") if "limit" in settings else None,
        extra=settings.get("extra"), **scoring,
    )  # fmt: skip
    for note in files.notes:
        print(f"note: {note}", file=sys.stderr)
    metrics = {name: measure.to_json() for name, measure in result.scores.items()}
    print(json.dumps(json_ready({
        "benchmark": benchmark.name, "split": split, "headline": benchmark.headline,
        "scoring": scoring, "metrics": metrics, "n": result.n, "format": result.format,
        "ignored": result.ignored, "skipped": files.skipped,
        "partial": {role: path.name for role, path in files.partial().items()},
    }), allow_nan=False))  # fmt: skip
    return 0


def eval_all(words: list[str]) -> int:
    """x2vlm eval-all: the embedded suite."""
    from x2vlm.cli.suite import eval_all as run_suite

    plain, settings = split_words(words)
    if plain:
        raise ConfigError(f"unexpected word {plain[0]!r}; settings are key=value")
    take(settings, "pretrain", "seed", "only", "out", "jobs", "device")
    return run_suite(
        out=Path(settings.get("out", "runs")),
        seed=whole(settings, "seed", 42),
        only=listed(settings, "only"),
        jobs=whole(settings, "jobs") or None,
        device=settings.get("device", "auto"),
        pretrain=yes(settings, "pretrain", False),
    )


# -- looking -----------------------------------------------------------------------------------


def list_all(words: list[str]) -> int:
    """x2vlm list: everything that has a name."""
    from benchmarks.registry import BENCHMARKS, OWN
    from x2vlm.model.config import PRESETS
    from x2vlm.tasks import TASKS

    if words:
        raise ConfigError(f"unexpected word {words[0]!r}; x2vlm list takes none")
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


def convert(words: list[str]) -> int:
    """x2vlm convert IN OUT --to TASK."""
    from x2vlm.model.checkpoint import convert as change

    plain, settings = split_words([word.removeprefix("--") if "=" in word else word
                                   for word in words])  # fmt: skip
    if "--to" in plain:
        place = plain.index("--to")
        settings["to"] = plain[place + 1] if place + 1 < len(plain) else ""
        del plain[place : place + 2]
    take(settings, "to", "tokenizer", "image_size", "frames", "labels")
    if len(plain) != 2 or not settings.get("to"):
        raise ConfigError(
            "usage: x2vlm convert IN OUT --to TASK [image_size=…] [frames=…] [labels=…]"
            "\n  TASK: a task of x2vlm list, or official (our weights under official names)"
        )
    sizes = ("image_size", "frames", "labels")
    numbers = {name: whole(settings, name) for name in sizes if name in settings}
    kept = _tokenizer_to_keep(settings.get("tokenizer", ""))
    print(change(plain[0], plain[1], to=settings["to"], tokenizer=kept, **numbers))
    return 0


def _tokenizer_to_keep(name: str) -> str:
    """What a weights file keeps of the tokenizer that the user names: a name that every
    installation knows, or the whole tokenizer, since no other name in a file is followed."""
    from x2vlm.data.text import load_tokenizer
    from x2vlm.weights import known_tokenizers

    return name if not name or name in known_tokenizers() else load_tokenizer(name).to_json()


def reproduce(words: list[str]) -> int:
    """x2vlm reproduce BENCHMARK …: one row, then ours beside the paper's numbers.

    Fine-tuned once, then evaluated on each split that the papers report, or on split=.
    """
    from benchmarks.mini.home import data_root
    from benchmarks.run import Run
    from leaderboards.published import numbers
    from x2vlm.cli.boards import difference

    if not words or "=" in words[0]:
        raise ConfigError("usage: x2vlm reproduce BENCHMARK checkpoint=… data=…")
    experiments = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    group = "experiment" if words[0] in experiments else "benchmark"
    overrides = [f"{group}={words[0]}", *words[1:]]
    chosen = plan(compose(overrides))
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
