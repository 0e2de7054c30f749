"""What the bench measures and prints: times, peak memory, the table.

A twin or a fast path is run once; rates are units per second of what one user waits for.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MARKS = ("<!-- bench -->", "<!-- /bench -->")
HEAD = ["path", "twin", "fast", "unit", "ratio", "twin MB", "fast MB", "largest difference"]


@dataclass(frozen=True)
class Timed:
    """seconds of one run, peak memory in bytes (None where it cannot be read), what it returned."""

    seconds: float
    peak: int | None
    result: Any


@dataclass(frozen=True)
class Row:
    """One line of the table. units: how many were done; twin: None when it would take too long;
    twin_units: how many it did, when not all."""

    path: str
    unit: str
    units: int
    twin: Timed | None
    fast: Timed
    difference: str = ""
    twin_units: int | None = None

    def cells(self) -> list[str]:
        """Path, twin rate, fast rate, unit, ratio, both peaks in MB, difference."""
        slow = (self.twin_units or self.units) / self.twin.seconds if self.twin else None
        quick = self.units / self.fast.seconds
        peaks = [t.peak if t else None for t in (self.twin, self.fast)]
        return [
            self.path,
            "—" if slow is None else f"{slow:.3g}",
            f"{quick:.3g}",
            f"{self.unit}/s",
            "—" if slow is None else f"{quick / slow:.1f}×",
            *("—" if peak is None else f"{peak / 2**20:.0f}" for peak in peaks),
            self.difference or "—",
        ]


@contextmanager
def peak_memory(device: str) -> Iterator[list[int | None]]:
    """A list whose one entry becomes the most memory used in the block beyond that at its start."""
    peak: list[int | None] = [None]
    statm = Path("/proc/self/statm")
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield peak
        peak[0] = torch.cuda.max_memory_allocated() - before
    elif not statm.exists():
        yield peak
    else:
        done = threading.Event()

        def resident() -> int:
            return int(statm.read_text().split()[1]) * 4096

        def watch() -> None:
            start = most = resident()
            while not done.wait(0.005):
                most = max(most, resident())
            peak[0] = max(most, resident()) - start

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield peak
        finally:
            done.set()
            watcher.join()


def furthest(one: Tensor, other: Tensor) -> str:
    """Largest absolute difference."""
    return f"{float((one.float().cpu() - other.float().cpu()).abs().max()):.1e}"


@dataclass(frozen=True)
class Table:
    """A heading, the names of the columns, and the cells of each row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(tables: Sequence[Table], command: str, device: str) -> str:
    """The tables with the command and the machine."""
    lines = [f"Command: `{command}`", "", f"Machine: {machine(device)}"]
    for table in tables:
        lines += ["", f"**{table.title}**", ""]
        cells = (table.head, ["---"] * len(table.head), *table.rows)
        lines += [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join(lines) + "\n"


def machine(device: str) -> str:
    """Processor or GPU, threads, versions."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = models[0].split(":")[1].strip() if models else name
    if device == "cuda":
        name = torch.cuda.get_device_name()
    threads = f"{torch.get_num_threads()} threads, " if device == "cpu" else ""
    return f"{name}, {threads}torch {torch.__version__}, Python {platform.python_version()}"


def write(path: Path, text: str) -> None:
    """Put the table between the marks of an existing page, else make a page of it."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    start, end = (page.find(mark) for mark in MARKS)
    if 0 <= start < end:
        page = page[: start + len(MARKS[0])] + "\n" + text + page[end:]
    else:
        page = "\n".join(("# Bench", "", MARKS[0], text + MARKS[1], ""))
    path.write_text(page, encoding="utf-8")
