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
from x2vlm.cli.compose import CONF, compose, plan, pretrain_plan, sweep
from x2vlm.cli.launcher import queue
from x2vlm.errors import ConfigError, Error, unknown

if TYPE_CHECKING:
    from benchmarks.pretrain import PretrainPlan


def split_words(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Plain words and key=value settings of a command that is not composed by hydra."""
    plain = [word for word in words if "=" not in word]
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    return plain, settings


def take(settings: dict[str, str], *known: str) -> None:
    """ConfigError for a setting the command does not have."""
    for name in settings:
        if name not in known:
            raise ConfigError(unknown("setting", name, known))


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
    tree = compose(words)
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

    folder = Path(chosen.out) / (chosen.name or chosen.model)
    with distributed.processes(), start_log(folder, chosen):
        print(pretrain(chosen))
    return 0


def predict(words: list[str]) -> int:
    """x2vlm predict: the prediction stage alone."""
    return _stages(plan(compose(words)), "predict")


def _stages(chosen: Plan, last: str) -> int:
    from benchmarks import run as runner
    from benchmarks.mini.home import data_root
    from x2vlm import distributed
    from x2vlm.cli.report import start_log, summary

    with distributed.processes():
        work = runner.Run(chosen, data_root(chosen))
        with start_log(work.folder, work.plan):
            weights = work.train()
            if last != "train":
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
        code = subprocess.call([sys.executable, "-m", "x2vlm", command, *combination])
        failed += code != 0
    if failed:
        raise Error(f"{failed} of {len(combinations)} runs failed; the others are finished")
    return 0


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

    files_given = {w[5:].split("=", 1)[0]: w.split("=", 1)[1] for w in words if w[:5] == "file."}
    options_given = {
        w[8:].split("=", 1)[0]: w.split("=", 1)[1] for w in words if w[:8] == "options."
    }
    plain, settings = split_words([w for w in words if not w.startswith(("file.", "options."))])
    take(settings, "benchmark", "split", "predictions", "data", "layout", "limit", "languages",
         "on_error")  # fmt: skip
    for name in ("benchmark", "predictions", "data"):
        if name not in settings:
            raise ConfigError(f"{name}=… is missing; x2vlm score --help shows the usage")
    if plain:
        raise ConfigError(f"unexpected word {plain[0]!r}")
    benchmark = get(settings["benchmark"])
    given = load_layout(settings["layout"]).get(benchmark.name, {}) if "layout" in settings else {}
    on_error = settings.get("on_error", "raise")
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error is raise or skip, not {on_error!r}")
    files = Files(Path(settings["data"]), {**given, **files_given}, on_error)  # type: ignore[arg-type]
    split = settings.get("split") or benchmark.default_split()
    import yaml

    options: dict[str, Any] = {name: yaml.safe_load(text) for name, text in options_given.items()}
    result, files = score_fitting(
        benchmark, split, Path(settings["predictions"]), files,
        languages=settings["languages"].split(",") if "languages" in settings else None,
        limit=int(settings["limit"]) if "limit" in settings else None, **options,
    )  # fmt: skip
    for note in files.notes:
        print(f"note: {note}", file=sys.stderr)
    metrics = {name: measure.to_json() for name, measure in result.scores.items()}
    print(json.dumps(json_ready({
        "benchmark": benchmark.name, "split": split, "headline": benchmark.headline,
        "metrics": metrics, "n": result.n, "format": result.format, "ignored": result.ignored,
        "skipped": files.skipped,
    }), allow_nan=False))  # fmt: skip
    return 0


def eval_all(words: list[str]) -> int:
    """x2vlm eval-all: the embedded suite."""
    from x2vlm.cli.suite import eval_all as whole

    plain, settings = split_words(words)
    if plain:
        raise ConfigError(f"unexpected word {plain[0]!r}; settings are key=value")
    take(settings, "pretrain", "seed", "only", "out", "jobs", "device", "site")
    return whole(
        out=Path(settings.get("out", "runs")),
        seed=int(settings.get("seed", "42")),
        only=tuple(filter(None, settings.get("only", "").split(","))),
        jobs=int(settings["jobs"]) if "jobs" in settings else None,
        device=settings.get("device", "auto"),
        pretrain=settings.get("pretrain", "false").lower() == "true",
    )


# -- looking -----------------------------------------------------------------------------------


def list_all(words: list[str]) -> int:
    """x2vlm list: everything that has a name."""
    from benchmarks.registry import BENCHMARKS
    from x2vlm.model.config import PRESETS
    from x2vlm.tasks import TASKS

    if words:
        raise ConfigError(f"unexpected word {words[0]!r}; x2vlm list takes none")
    width = max(len(entry.name) for entry in BENCHMARKS)
    print("benchmarks (benchmark=…)")
    for entry in BENCHMARKS:
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

    plain, settings = split_words(words)
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
    numbers = {
        name: int(settings[name]) for name in ("image_size", "frames", "labels") if name in settings
    }
    report = change(plain[0], plain[1], to=settings["to"], tokenizer=settings.get("tokenizer", ""),
                    **numbers)  # fmt: skip
    print(report)
    return 0


def board(words: list[str]) -> int:
    """x2vlm board: tables from records."""
    from x2vlm.cli.boards import board as show_board

    return show_board(*split_words(words))


def compare(words: list[str]) -> int:
    """x2vlm compare: two or more runs on the same samples."""
    from x2vlm.cli.boards import compare as show_comparison

    return show_comparison(*split_words(words))


def site(words: list[str]) -> int:
    """x2vlm site: a static site."""
    from x2vlm.cli.boards import site as make_site

    return make_site(*split_words(words))


def explain(words: list[str]) -> int:
    """x2vlm explain: where a model looks."""
    from x2vlm.cli.explain import explain as write_explanations

    return write_explanations(words)


def export(words: list[str]) -> int:
    """x2vlm export: results as other harnesses and model cards hold them."""
    from x2vlm.cli.boards import export as write_export

    return write_export(*split_words(words))


def data(words: list[str]) -> int:
    """x2vlm data status|verify|download|shards|mini."""
    from x2vlm.cli.data import data as about_data

    return about_data(words)


def submit(words: list[str]) -> int:
    """x2vlm submit RUN: the official submission file."""
    from x2vlm.cli.boards import submit as write_submission

    return write_submission(*split_words(words))


def reproduce(words: list[str]) -> int:
    """x2vlm reproduce BENCHMARK …: one row, then ours beside the paper's number."""
    from benchmarks.mini.home import data_root
    from benchmarks.run import Run
    from x2vlm.cli.boards import difference

    if not words or "=" in words[0]:
        raise ConfigError("usage: x2vlm reproduce BENCHMARK checkpoint=… data=…")
    experiments = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    group = "experiment" if words[0] in experiments else "benchmark"
    overrides = [f"{group}={words[0]}", *words[1:]]
    chosen = plan(compose(overrides))
    return run(overrides) or difference(Run(chosen, data_root(chosen)).folder)
