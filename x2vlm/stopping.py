"""Ctrl-C and SIGTERM: asked to stop once, work ends where it loses nothing; twice, at once.

`asked_to_stop` is for loops that save their state; `ended_by_sigterm` for everything else, where
SIGTERM does what Ctrl-C does. No torch.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from x2vlm.errors import Stopped

ECHO = 5.0
"""seconds in which torchrun's SIGINT to its processes is no second Ctrl-C: the terminal has sent
them the first one, too"""
EXIT_CODES = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""exit statuses of a command that was asked to stop and saved its state"""


class Request:
    """Whether the process was asked to stop. number: of the signal; 0: not asked."""

    def __init__(self) -> None:
        self.number = 0
        self._first = 0.0

    def __bool__(self) -> bool:
        return bool(self.number)

    def __call__(self, number: int, _: FrameType | None) -> None:
        """The signal handler."""
        repeated = number == self.number == signal.SIGINT
        if not repeated:
            self.number = self.number or number
            self._first = self._first or time.monotonic()
            if number == signal.SIGINT and not _silent():
                _say("asked to stop: what is under way is finished and saved; again: at once")
            return
        if "TORCHELASTIC_RUN_ID" in os.environ and time.monotonic() - self._first < ECHO:
            return
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a third one does not wait for Python
        raise Stopped("at once", number)


def _silent() -> bool:
    return os.environ.get("RANK", "0") != "0"


def _say(line: str) -> None:
    """To the console, from a signal handler: streams may be in use by what it interrupted."""
    os.write(2, f"\n{line}\n".encode())


@contextmanager
def asked_to_stop() -> Iterator[Request]:
    """A request that SIGTERM and Ctrl-C set for the block. A second Ctrl-C raises Stopped."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may handle signals
        return
    before = {n: signal.signal(n, request) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def keeping(what: str) -> Iterator[None]:
    """Stopped in the block, by whatever signal, says what is kept."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped(what, getattr(stop, "number", signal.SIGINT)) from None


def ignore_ctrl_c(_: int) -> None:
    """For worker processes of loaders: the terminal sends Ctrl-C to them as well, and the process
    that they work for needs them until it has saved its state."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM raises Stopped in the block, so that everything is cleaned up as by Ctrl-C."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped("", number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
