"""Where the embedded world lives on this machine: written once, then reused by every run."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.mini.suite import write_world
from benchmarks.plan import Plan
from x2vlm.errors import DataError


def mini_root() -> Path:
    """The folder of the embedded world, written on first use (about a minute).

    Below $X2VLM_CACHE, else $XDG_CACHE_HOME/x2vlm, else ~/.cache/x2vlm.
    """
    cache = os.environ.get("X2VLM_CACHE") or (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "x2vlm"
    )
    root = Path(cache) / "mini-world"
    write_world(root)
    return root


def data_root(plan: Plan) -> Path:
    """The user's data folder, or the embedded world, written on first use."""
    if not plan.data.root:
        return mini_root()
    root = Path(plan.data.root)
    if not root.is_dir():
        raise DataError(
            "no such folder", source=str(root), expected="the folder of the official files",
            fix="correct data=DIR; without data= the embedded mini world is used",
        )  # fmt: skip
    return root
