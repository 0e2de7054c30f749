"""What a run says: a log on the console and in the run folder, the settings, and the scores."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from benchmarks.record import ResultRecord, json_ready
from x2vlm import distributed
from x2vlm.cli.failures import log_traceback
from x2vlm.config import Settings
from x2vlm.errors import Error
from x2vlm.writing import write_atomically


@contextmanager
def start_log(folder: Path, plan: Settings) -> Iterator[None]:
    """Log to stderr and FOLDER/log.txt (main process only), and keep the settings there.

    The traceback of an error that ends the block goes to the log; of the other processes, to
    FOLDER/log-RANK.txt.
    """
    if not distributed.is_main():
        with _tracebacks(folder / f"log-{distributed.rank()}.txt"):
            yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    settings = yaml.safe_dump(json_ready(plan.to_dict()), sort_keys=False, allow_unicode=True)
    write_atomically(folder / "config.yaml", settings)
    log = logging.getLogger("x2vlm")
    log.setLevel(logging.INFO)
    log.propagate = False
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(logging.Formatter("%(message)s"))
    file = _LogFile(folder / "log.txt", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(console)
    log.addHandler(file)
    try:
        with _tracebacks(folder / "log.txt"):
            yield
    except (Error, KeyboardInterrupt) as error:  # its message is enough, and the door prints it
        file.handle(log.makeRecord(log.name, logging.ERROR, "", 0, "stopped: %s", (error,), None))
        raise
    finally:
        for handler in (console, file):
            log.removeHandler(handler)
            handler.close()


@contextmanager
def _tracebacks(log: Path) -> Iterator[None]:
    """The traceback of an error that is not ours goes to the log file."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        log_traceback(error, log)
        raise


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short, without a traceback for every line; the console has it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write and flush the line, or leave it out."""
        with suppress(OSError):
            if self.stream is not None:
                self.stream.write(self.format(record) + self.terminator)
                self.flush()

    def close(self) -> None:
        """Close the file, whatever it still held."""
        with suppress(OSError):
            super().close()


def summary(record: ResultRecord, folder: Path) -> str:
    """The scores of a run as text, and where its files are."""
    lines = [f"{record.benchmark} {record.split}, {record.protocol}, {record.model['name']}:"]
    width = max(map(len, record.metrics))
    for name, measure in record.metrics.items():
        value = "undefined" if measure.value is None else f"{measure.value:8.2f}"
        error = "" if measure.standard_error is None else f" ± {measure.standard_error:.2f}"
        note = f"  ({measure.note})" if measure.note else ""
        lines.append(f"  {name:<{width}} {value}{error}  n={measure.n}{note}")
    if record.limit is not None:
        lines.append(f"  limited to {record.limit} records: not a result of the benchmark")
    if record.skipped:
        lines.append(f"  {len(record.skipped)} rows were skipped, first {record.skipped[0]}")
    if left_out := record.data.get("train_skipped"):
        lines.append(f"  {len(left_out)} training rows were skipped, first {left_out[0]}")
    if record.model.get("new_heads"):
        lines.append(
            "  its head is untrained (no fine-tuning, none in the checkpoint): chance level"
        )
    lines += [f"  note: {note}" for note in record.data.get("notes", ())]
    lines.append(f"written: {folder / 'record.json'}")
    return "\n".join(lines)
