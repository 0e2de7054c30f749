"""X²-VLM: the model, its tasks and its trainer. Public names resolve on first use, so this import
is light (no torch)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from x2vlm.api import Pretrained, load
    from x2vlm.model.config import ModelConfig
    from x2vlm.model.x2vlm import X2VLM
    from x2vlm.tasks.base import Task
    from x2vlm.types import Batch, Media, Prediction, Record

_HOMES = {
    "Batch": "x2vlm.types",
    "Media": "x2vlm.types",
    "ModelConfig": "x2vlm.model.config",
    "Prediction": "x2vlm.types",
    "Pretrained": "x2vlm.api",
    "Record": "x2vlm.types",
    "Task": "x2vlm.tasks.base",
    "X2VLM": "x2vlm.model.x2vlm",
    "load": "x2vlm.api",
}

__version__ = "0.1.0"
__all__ = ["X2VLM", "Batch", "Media", "ModelConfig", "Prediction", "Pretrained", "Record", "Task",
           "load"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'x2vlm' has no attribute {name!r}")
