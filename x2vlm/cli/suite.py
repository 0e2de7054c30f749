"""The embedded suite: every benchmark fine-tuned and evaluated, then the tables."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml

from benchmarks.registry import NAMES
from x2vlm.cli.arguments import no_words, parse
from x2vlm.cli.compose import CONF
from x2vlm.cli.jobs import JOBS, Job, processes, run_jobs
from x2vlm.config import DEVICE, OUT, SEED, wrong_device
from x2vlm.errors import ConfigError, Error, unknown
from x2vlm.ranges import Problem, Setting
from x2vlm.settings import Settings

PREFIX = "mini_"
MODELS = ("tiny", "multilingual-tiny")


@dataclass(frozen=True, slots=True)
class SuiteArguments(Settings):
    """Of x2vlm eval-all."""

    pretrain: Annotated[bool, Setting("make the tiny weights first, and use them")] = False
    seed: Annotated[int, SEED] = 42
    only: Annotated[tuple[str, ...], Setting("benchmarks of the suite; empty: all")] = ()
    out: Annotated[str, OUT] = "runs"
    jobs: Annotated[int | None, JOBS] = None
    device: Annotated[str, DEVICE] = "auto"

    def contradictions(self) -> Iterator[Problem]:
        """A device that does not exist."""
        yield from wrong_device(self.device)


def eval_all(arguments: list[str]) -> int:
    """x2vlm eval-all: the embedded suite."""
    plain, given = parse(SuiteArguments, arguments)
    no_words(plain)
    return run_suite(
        out=Path(given.out),
        seed=given.seed,
        only=given.only,
        jobs=given.jobs,
        device=given.device,
        pretrain=given.pretrain,
    )


def suite_names() -> list[str]:
    """Benchmarks of the suite, those with an experiment called mini_NAME, in the paper's order."""
    return [name for name in NAMES if _experiment(name).is_file()]


def _experiment(name: str) -> Path:
    return CONF / "experiment" / f"{PREFIX}{name}.yaml"


def _steps(name: str) -> int:
    """Training steps of a benchmark."""
    settings = yaml.safe_load(_experiment(name).read_text(encoding="utf-8"))
    return int(settings.get("train", {}).get("steps", 0))


def run_suite(
    *,
    out: Path,
    seed: int = 42,
    only: Sequence[str] = (),
    jobs: int | None = None,
    device: str = "auto",
    pretrain: bool = False,
) -> int:
    """Run the suite below `out` and print its table; finished stages are reused.

    jobs: processes at a time; None: one per two gigabytes and core, one on a GPU. pretrain: make
    the tiny weights anew first (see docs/mini-world.md), and use them instead of the shipped ones.
    Returns 1 when a benchmark failed.
    """
    names = suite_names()
    for name in only:
        if name not in names:
            raise ConfigError(unknown("benchmark of the suite", name, names))
    chosen = [name for name in names if not only or name in only]
    started = time.monotonic()
    _world()
    settings = [f"device={device}"]
    if pretrain:
        settings += _pretrain(out, seed, device)
    count = jobs or processes(device)
    print(f"{len(chosen)} benchmarks, {count} at a time, below {out}", flush=True)
    longest_first = sorted(chosen, key=_steps, reverse=True)  # to fill the cores to the end
    failed = run_jobs([_job(name, out, seed, settings) for name in longest_first], count)
    _report(chosen, out, seed, out if pretrain else None)
    print(f"{time.monotonic() - started:.0f} s in all")
    for job in failed:
        print(f"\n{job.ending()}", file=sys.stderr)
    return 1 if failed else 0


def _world() -> None:
    from benchmarks.mini.home import mini_root

    print(f"the embedded world: {mini_root()}", flush=True)


def _pretrain(out: Path, seed: int, device: str) -> list[str]:
    """Pre-train both tiny models, each stage from the weights of the one before; the setting that
    makes runs start from the last."""
    folders = {
        "": out / "first", "_second": out / "second", "_third": out / "third", "_fourth": out,
    }  # fmt: skip
    for name in MODELS:
        before: list[str] = []
        for stage, folder in folders.items():
            words = [f"experiment=pretrain_mini_{name.replace('-', '_')}{stage}", f"name={name}",
                     f"out={folder}", f"seed={seed}", f"device={device}", *before]  # fmt: skip
            if subprocess.call([sys.executable, "-m", "x2vlm", "train", *words]):
                raise Error(f"pre-training of {name} failed; its messages are above")
            before = [f"pretrain.init={folder / name}.safetensors"]
    return [f"shipped={out}"]


def _job(name: str, out: Path, seed: int, settings: Sequence[str]) -> Job:
    folder = out / f"mini-{name}-s{seed}"
    words = (f"experiment={PREFIX}{name}", f"seed={seed}", f"out={out}", f"name={folder.name}")
    return Job(name, ("run", *words, *settings), folder / "console.txt")


def _report(names: Sequence[str], out: Path, seed: int, made: Path | None) -> None:
    """Tables, site and gallery. made: folder of weights made anew; None: the shipped ones."""
    from leaderboards.aggregate import read_records
    from leaderboards.board import boards_of
    from leaderboards.suite import suite_table
    from x2vlm.cli.boards import write
    from x2vlm.cli.explain import mini_gallery
    from x2vlm.cli.publish import write_site
    from x2vlm.weights import ASSETS, find_weights

    folders = [out / f"mini-{name}-s{seed}" for name in names]
    finished = [folder for folder in folders if (folder / "record.json").is_file()]
    if not finished:
        return
    records = read_records(finished)
    marked = ("dirty",)  # a checkout under work is no reason to hide one's own suite
    print(suite_table(records, out, allow=marked))
    for table in boards_of(records, marked):
        for kind in ("md", "csv"):
            write(table, kind, out / "boards")
    gallery = mini_gallery(find_weights(MODELS[0], made or ASSETS), out / "explain")
    site = write_site(finished, out / "site", marked, [gallery])
    print(f"boards: {out / 'boards'}; site: {site}")
