"""Where things are kept between runs on this machine. No torch."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$X2VLM_CACHE, else $XDG_CACHE_HOME/x2vlm, else ~/.cache/x2vlm."""
    if own := os.environ.get("X2VLM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "x2vlm"
