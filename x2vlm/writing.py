"""Files that are written whole or not at all, under temporary names that the next run knows.

`NAME` is written as `.NAME.writing` and renamed. The name is fixed, so that what a killed process
left is overwritten by the next one, or removed by `remove_unfinished` when its folder has a new
owner (`x2vlm.locking`). No torch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from x2vlm.errors import WritingError

_UNFINISHED = re.compile(r"\.(.+\.writing|writing-.+|.+\.(safetensors|th|json|jsonl|yaml)\.\d+)")
"""temporary names, those of older versions among them"""


def half_written(path: Path) -> Path:
    """Where a file or folder is while it is being written."""
    return path.with_name(f".{path.name}.writing")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name to write a file under; when the block ends it is flushed and renamed to `path`.

    What was written is removed when the block raises. Raises WritingError when the disk is full or
    the folder cannot be written to, whichever library found out.
    """
    beside = half_written(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        flush(beside)
        beside.replace(path)
    # A full disk is a RuntimeError of torch.save, and an error of its own of safetensors.
    except (OSError, RuntimeError, SafetensorError) as error:
        beside.unlink(missing_ok=True)
        raise WritingError(path, error) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """An OSError of the block, which writes to `path`, as a WritingError."""
    try:
        yield
    except OSError as error:
        raise WritingError(path, error) from error


def flush(path: Path) -> None:
    """Force a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to a file, whole or not at all. WritingError when it cannot be written."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write plain values as indented JSON. ValueError for numbers that are not finite."""
    write_atomically(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left half written in a folder.

    For the owner of the folder alone: a process that is still writing would lose its file.
    """
    for path in folder.glob(".*"):
        if _UNFINISHED.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
