"""What to say when a command ends by an error that is not ours: one line, and where the rest is.

Tracebacks go to the log of the run; without one, to the console unless the cause is plain.
X2VLM_DEBUG=1 shows all of them. Nothing heavy is imported here: errors are known by their names.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from x2vlm.errors import Error

DEBUG = "X2VLM_DEBUG"
RESUMES = "the same command resumes"
_LOGGED = "its traceback is in "


def log_traceback(error: BaseException, log: Path) -> None:
    """Append the traceback to a log file, and note on the error that it is there."""
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write("stopped by an error\n")
            file.writelines(traceback.format_exception(error))
    except OSError:  # a full disk: the console shows it then
        return
    error.add_note(f"{_LOGGED}{log}")


def print_failure(name: str, error: Exception) -> None:
    """Print the line for `x2vlm NAME` to stderr, and the traceback where nothing else has it."""
    where = next((n for n in getattr(error, "__notes__", ()) if n.startswith(_LOGGED)), "")
    line = explained(error)
    if os.environ.get(DEBUG) or (not where and line is None):
        traceback.print_exception(error)
    if line is None:
        line = f"unexpected {_said(error)}\n  to do: report it, with the traceback"
    if where:
        line += f"\n  {where}"
    print(f"x2vlm {name}: {line}", file=sys.stderr)


def explained(error: Exception) -> str | None:
    """The line of an error whose cause is plain; None for any other, a fault of the program."""
    if isinstance(error, Error):
        return str(error)
    if isinstance(error, OSError) and not _belongs(error, "ConnectionError"):
        return _file(error)
    for belongs, what, todo in _PLAIN:
        if belongs(error):
            return f"{what} ({_said(error)})\n  to do: {todo}; {RESUMES}"
    return None


def _file(error: OSError) -> str:
    name = "" if error.filename is None else f"{error.filename}: "
    todo = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        todo = f"\n  to do: free some space; {RESUMES}"
    return f"{name}{error.strerror or _said(error)}{todo}"


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _belongs(error: Exception, *names: str) -> bool:
    """Whether it is of a class of that name."""
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _mentions(error: Exception, *parts: str) -> bool:
    """Whether a RuntimeError, the class that libraries of C++ use for everything, says so."""
    return isinstance(error, RuntimeError) and any(part in str(error) for part in parts)


_PLAIN: tuple[tuple[Callable[[Exception], bool], str, str], ...] = (
    (
        lambda e: (
            _belongs(e, "MemoryError", "OutOfMemoryError")
            or _mentions(e, "can't allocate memory", "out of memory", "ALLOC_FAILED")
        ),
        "out of memory",
        "lower train.micro_batch or predict.batch_size, or use a machine with more",
    ),
    (
        lambda e: _mentions(e, "DataLoader worker", "Pin memory thread exited"),
        "a worker process that reads data was killed, perhaps for memory",
        "lower train.workers or predict.workers",
    ),
    (
        lambda e: (
            _belongs(e, "DistError", "ConnectionError")
            or _mentions(
                e, "by peer", "gloo", "NCCL", "nccl", "TCPStore", "Broken pipe", "recvValue"
            )
        ),
        "another process of this run ended or cannot be reached",
        "see the message of that process, above or in its log-RANK.txt",
    ),
    (
        lambda e: _belongs(e, "SafetensorError"),
        "a file of weights cannot be read or written",
        "see that the file is whole and that the disk has space",
    ),
    (
        lambda e: isinstance(e, ImportError),
        "a package cannot be imported",
        "install it again with pip",
    ),
    (
        lambda e: isinstance(e, RecursionError),
        "something is nested too deeply",
        "look for a file of JSON with very many levels",
    ),
)
"""errors whose cause is plain: whether it is that, what it is, what to do"""
