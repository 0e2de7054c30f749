"""Commands as processes: so many at a time, each with a log of its own; stopped when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from x2vlm.ranges import Setting

JOBS = Setting(
    "processes at a time; null: one per core, at most four, and one on a GPU",
    "processes",
    least=1,
    most=1024,
)


@dataclass(frozen=True)
class Job:
    """`x2vlm WORDS` in a process of its own. log: what it prints."""

    name: str
    words: tuple[str, ...]
    log: Path

    def start(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """The running process."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "x2vlm", *self.words],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
            )  # fmt: skip

    def ending(self) -> str:
        """The last lines of the log, for an error message."""
        tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return "\n  ".join([f"failed: {self.name}; the end of {self.log}:", *tail])


def processes(device: str) -> int:
    """As many processes as there are cores to use, at most four; a GPU is not shared."""
    import torch

    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, 4))


def run_jobs(jobs: Sequence[Job], count: int) -> list[Job]:
    """Run all, `count` at a time, and say when each ends; the failed ones.

    When this process is interrupted or terminated it passes that on, waits until all have saved
    their state, and raises KeyboardInterrupt.
    """
    environment = dict(os.environ)
    if count > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // count))
    waiting, running, failed = list(jobs), dict[Job, tuple[subprocess.Popen[bytes], float]](), []
    with _terminated_as_interrupted():
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    job = waiting.pop(0)
                    running[job] = job.start(environment), time.monotonic()
                time.sleep(0.2)
                for job, (process, started) in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[job]
                    done = len(jobs) - len(waiting) - len(running)
                    state = "FAILED" if process.returncode else "done"
                    seconds = time.monotonic() - started
                    print(f"[{done}/{len(jobs)}] {job.name}: {state}, {seconds:.0f} s", flush=True)
                    if process.returncode:
                        failed.append(job)
        finally:
            for process, _ in running.values():
                process.terminate()
            for process, _ in running.values():
                process.wait()
    return failed


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in the block, so that its `finally` is reached."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
