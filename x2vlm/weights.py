"""From a name or a file to a model with the heads a task needs, and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from x2vlm.data.text import Tokenizer, load_tokenizer
from x2vlm.errors import CheckpointError
from x2vlm.model import checkpoint
from x2vlm.model.x2vlm import X2VLM

ASSETS = Path(__file__).parent / "assets"


def starting_point(preset: str, named: str = "", shipped: str = "") -> Path:
    """The weights file a run starts from.

    named: our .safetensors, an official .th, a run folder, or a shipped name; empty: the weights
    that ship with the preset (in the folder `shipped`, else in the package). Raises
    CheckpointError when there is none.
    """
    if named:
        return find_weights(named)
    path = (Path(shipped) if shipped else ASSETS) / f"{preset}.safetensors"
    if not path.is_file():
        raise CheckpointError(
            f"no weights ship with {preset!r}\n  to do: name some, checkpoint=FILE, or start from "
            "nothing on purpose: model.random=true"
        )
    return path


def find_weights(name: str | Path) -> Path:
    """The file behind a shipped name, a run folder or a path; CheckpointError when there is none."""
    path = Path(name)
    shipped = ASSETS / f"{name}.safetensors"
    if not path.exists() and shipped.is_file():
        return shipped
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in ASSETS.glob("*.safetensors")))
        raise CheckpointError(
            f"no weights at {path}\n  expected: a file, a run folder that holds "
            f"model.safetensors, or a shipped name ({names})"
        )
    return path
