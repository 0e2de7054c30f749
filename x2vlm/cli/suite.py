"""The embedded suite: every benchmark fine-tuned and evaluated, then the tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from x2vlm.cli.compose import CONF
from x2vlm.errors import ConfigError, Error, unknown

PREFIX = "mini_"
MODELS = ("tiny", "multilingual-tiny")
ASSETS = Path(__file__).resolve().parents[1] / "assets"


def suite_names() -> list[str]:
    """Benchmarks of the suite: experiments called mini_NAME, slowest first to fill the cores."""
    paths = sorted((CONF / "experiment").glob(f"{PREFIX}*.yaml"))
    return [path.stem.removeprefix(PREFIX) for path in paths]


@dataclass
class Job:
    """One benchmark of the suite in a process of its own."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]
    started: float

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.folder / "console.txt"


def eval_all(
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
    if not pretrain and not all((ASSETS / f"{name}.safetensors").is_file() for name in MODELS):
        print("no weights ship with this version: pre-training first (about half an hour)")
        pretrain = True
    if pretrain:
        settings += _pretrain(out, seed)
    count = jobs or _processes(device)
    print(f"{len(chosen)} benchmarks, {count} at a time, below {out}", flush=True)
    failed = _run_all(chosen, out, seed, settings, count)
    _report(chosen, out, seed)
    print(f"{time.monotonic() - started:.0f} s in all")
    for job in failed:
        tail = job.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        print(f"\nfailed: {job.name}; the end of {job.log}:", *tail, sep="\n  ", file=sys.stderr)
    return 1 if failed else 0


def _world() -> None:
    from benchmarks.mini.home import mini_root

    print("the embedded world (rendered on first use, about a minute) …", flush=True)
    print(f"  {mini_root()}", flush=True)


def _pretrain(out: Path, seed: int) -> list[str]:
    """Pre-train both tiny models; the setting that makes runs start from them."""
    for name in MODELS:
        words = [f"experiment=pretrain_mini_{name.replace('-', '_')}", f"seed={seed}", f"out={out}",
                 f"name={name}"]  # fmt: skip
        code = subprocess.call([sys.executable, "-m", "x2vlm", "train", *words])
        if code:
            raise Error(f"pre-training of {name} failed; its messages are above")
    return [f"shipped={out}"]


def _processes(device: str) -> int:
    """As many processes as there are cores to use; a GPU is not shared."""
    import torch

    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, 4))


def _run_all(
    names: Sequence[str], out: Path, seed: int, settings: Sequence[str], count: int
) -> list[Job]:
    waiting, running, failed = list(names), list[Job](), list[Job]()
    done = 0
    environment = dict(os.environ)
    if count > 1:
        cores = os.cpu_count() or 1
        environment["OMP_NUM_THREADS"] = str(max(1, cores // count))
    while waiting or running:
        while waiting and len(running) < count:
            running.append(_start(waiting.pop(0), out, seed, settings, environment))
        time.sleep(0.2)
        for job in [job for job in running if job.process.poll() is not None]:
            running.remove(job)
            done += 1
            seconds = time.monotonic() - job.started
            state = "done" if job.process.returncode == 0 else "FAILED"
            print(f"[{done}/{len(names)}] {job.name}: {state}, {seconds:.0f} s", flush=True)
            if job.process.returncode:
                failed.append(job)
    return failed


def _start(
    name: str, out: Path, seed: int, settings: Sequence[str], environment: dict[str, str]
) -> Job:
    folder = out / f"mini-{name}-s{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    words = [f"experiment={PREFIX}{name}", f"seed={seed}", f"out={out}", f"name={folder.name}"]
    with (folder / "console.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "x2vlm", "run", *words, *settings],
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
    return Job(name, folder, process, time.monotonic())


def _report(names: Sequence[str], out: Path, seed: int) -> None:
    from leaderboards.aggregate import read_records
    from leaderboards.board import boards_of
    from leaderboards.suite import suite_table
    from x2vlm.cli.boards import write, write_site

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
    print(f"boards: {out / 'boards'}; site: {write_site(finished, out / 'site', marked)}")
