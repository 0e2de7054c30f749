"""Progress of long evaluation stages: a bar with rate and time left, or log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from x2vlm import distributed

T = TypeVar("T")
EVERY = 15.0
"""seconds between log lines where there is no terminal"""


def watch(items: Iterable[T], what: str, total: int | None, unit: str) -> Iterable[T]:
    """Hand the items through; report what, how many of `total`, how fast, how long still."""
    if not distributed.is_main():
        return items
    if sys.stderr.isatty():
        from tqdm import tqdm

        return tqdm(items, desc=what, total=total, unit=f" {unit}", dynamic_ncols=True, leave=False)
    return _logged(items, what, total, unit)


def _logged(items: Iterable[T], what: str, total: int | None, unit: str) -> Iterator[T]:
    log = logging.getLogger("x2vlm")
    started = said = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - said >= EVERY:
            said = now
            rate = done / (now - started)
            left = f", {(total - done) / rate:.0f} s left" if total else ""
            log.info("%s: %d of %s %s, %.1f/s%s", what, done, total or "?", unit, rate, left)
    log.info("%s: %d %s in %.1f s", what, done, unit, time.monotonic() - started)


def plain_watch(items: Iterable[T], what: str) -> Iterable[T]:
    """`watch` for stages that do not count in batches."""
    total = len(items) if isinstance(items, Sized) else None
    return watch(items, what, total, "records")
