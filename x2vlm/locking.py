"""Who is writing to a folder. One command at a time; the second one says who the first is.

    FOLDER/.lock         held by the operating system for the process, and gone with it
    FOLDER/.lock.json    pid, host, command and start of the holder, for people

The lock is `filelock`'s (flock, or its counterpart on Windows), so that a killed process leaves
none behind. No torch.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from x2vlm.errors import BusyError
from x2vlm.writing import half_written, remove_unfinished

LOG = logging.getLogger("x2vlm")
LOCK = ".lock"
PATIENCE = 20.0
"""seconds that worker processes of a killed holder may take to end"""
_owned: set[Path] = set()
"""folders of this process"""


@contextmanager
def owned(folder: Path, *beside: Path) -> Iterator[None]:
    """This run (all its processes) alone writes to `folder` for the block.

    What killed runs left half written there, and of the files `beside` it, is removed first. The
    main process holds the lock; every process must enter. Entering again inside the block changes
    nothing. Raises BusyError, in every process, when another command is at work there.
    """
    from x2vlm import distributed

    place = folder.resolve()
    if place in _owned:
        yield
        return
    refusal: BusyError | None = None
    with ExitStack() as stack:
        if distributed.is_main():
            try:
                stack.enter_context(held(folder / LOCK, str(folder)))
                for part in (folder, *(p for p in folder.iterdir() if p.is_dir())):
                    remove_unfinished(part)
                for path in beside:
                    half_written(path).unlink(missing_ok=True)
            except BusyError as error:
                refusal = error
        told = distributed.all_gather_objects(str(refusal or ""))[0]
        if told:
            raise refusal or BusyError(told)
        _owned.add(place)
        stack.callback(_owned.discard, place)
        yield


@contextmanager
def held(
    lock: Path, what: str, *, wait: bool = False, say: Callable[[str], object] = LOG.info
) -> Iterator[None]:
    """Hold the lock file for the block. what: is locked, in words for messages.

    wait: until another holder is done, which `say` is called with; otherwise BusyError. Where the
    file system knows no locks the block runs without one, and a warning says so.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    note = lock.with_name(f"{lock.name}.json")
    guard = FileLock(lock)
    locked = _acquire(guard, note, what, wait, say)
    try:
        with contextlib.suppress(OSError):  # for people only: a full disk is found out later
            note.write_text(json.dumps(_ourselves()) + "\n", encoding="utf-8")
        yield
    finally:
        if locked:
            note.unlink(missing_ok=True)
            guard.release()


def _acquire(
    guard: BaseFileLock, note: Path, what: str, wait: bool, say: Callable[[str], object]
) -> bool:
    """Whether the lock is ours; False where the file system has none."""
    started, said = time.monotonic(), False
    while True:
        try:
            guard.acquire(timeout=0)
        except Timeout:
            holder = _holder(note)
            gone = holder is not None and _ended(holder)
            waited = time.monotonic() - started
            if not wait and not (gone and waited < PATIENCE):
                raise BusyError(_refusal(what, holder)) from None
            if not said and waited > 1:
                say(f"{what}: waiting for {_words(holder)}")
                said = True
            time.sleep(0.2)
        except (OSError, NotImplementedError) as error:
            return _without(what, str(error))
        else:
            if isinstance(guard, SoftFileLock):  # would outlive a killed process
                guard.release()
                return _without(what, "no flock")
            return True


def _without(what: str, reason: str) -> bool:
    LOG.warning(
        "%s: its file system cannot lock files (%s), so nothing keeps a second command out\n"
        "  to do: start one command at a time for it, or use out=DIR on another file system",
        what,
        reason,
    )
    return False


def _ourselves() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(["x2vlm", *sys.argv[1:]]),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _holder(note: Path) -> dict[str, Any] | None:
    """What the holder wrote of itself; None when it cannot be read (yet)."""
    try:
        values = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _ended(holder: dict[str, Any]) -> bool:
    """Whether the holder ran on this machine and is no more; its worker processes then follow."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _words(holder: dict[str, Any] | None) -> str:
    if holder is None:
        return "another process"
    names = ("command", "pid", "host", "since")
    command, pid, host, since = (str(holder.get(name, "?"))[:500] for name in names)
    return f"process {pid} on {host}, since {since}: {command}"


def _refusal(what: str, holder: dict[str, Any] | None) -> str:
    return (
        f"{what} is in use by {_words(holder)}\n"
        "  to do: wait for it, or stop it; the same command then resumes. For another run give "
        "another name=… or out=…"
    )
