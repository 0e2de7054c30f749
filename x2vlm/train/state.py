"""Checkpoints of a run: saved whole or not at all, checked when read, the best one kept.

    checkpoints/step-00000500/  model.safetensors  state.pt  manifest.json
    checkpoints/best-00000400/  model.safetensors  best.json  manifest.json

A folder is written under a temporary name, flushed to disk, and renamed; its manifest has the size
and SHA-256 of each file. A kill at any moment therefore leaves the checkpoints before untouched.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from x2vlm import plain
from x2vlm.errors import CheckpointError
from x2vlm.plain import FILE_NAME, TEXT, mapped, number, shaped, whole
from x2vlm.provenance import sha256
from x2vlm.writing import flush, half_written, remove_unfinished

WEIGHTS, STATE, BEST, MANIFEST = "model.safetensors", "state.pt", "best.json", "manifest.json"

BEST_FIELDS = shaped({"step": whole(0), "value": number()})
MANIFEST_FIELDS = mapped(shaped({"bytes": whole(0), "sha256": TEXT}))

SaveWeights = Callable[[Path], None]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that passed its check."""

    folder: Path
    step: int
    state: Mapping[str, Any]

    @property
    def weights(self) -> Path:
        """The model's weights, safetensors."""
        return self.folder / WEIGHTS


@dataclass(frozen=True)
class Best:
    """The best weights of a run: the file, its optimiser step, its validation value."""

    weights: Path
    step: int
    value: float


class Checkpoints:
    """The checkpoints of one run folder. Only the main process writes.

    log: takes each message for people, e.g. that a corrupt checkpoint was passed over.
    """

    def __init__(self, folder: Path, keep_last: int, log: Callable[[str], None]) -> None:
        self.folder, self.keep_last, self.log = folder / "checkpoints", keep_last, log

    def save(self, step: int, save_weights: SaveWeights, state: Mapping[str, Any]) -> bool:
        """Write the checkpoint of `step`, drop the oldest; False (and a message) on a full disk."""
        if self._write(f"step-{step:08d}", save_weights, state):
            for old in self._named("step-")[self.keep_last :]:
                shutil.rmtree(old)
            return True
        return False

    def save_best(self, step: int, value: float, save_weights: SaveWeights) -> bool:
        """Write the best weights so far, with their validation value, in place of those before."""

        def save(path: Path) -> None:
            save_weights(path)
            best = json.dumps({"step": step, "value": value})
            path.with_name(BEST).write_text(best + "\n", encoding="utf-8")

        if self._write(f"best-{step:08d}", save, None):
            for old in self._named("best-"):
                if old.name != f"best-{step:08d}":
                    shutil.rmtree(old)
            return True
        return False

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; damaged ones are logged and passed over."""
        for folder in self._named("step-"):
            try:
                verify(folder)
                state = _read_state(folder / STATE)
            except CheckpointError as error:
                self.log(f"{error}; the checkpoint before is used")
                continue
            return Checkpoint(folder, int(state["step"]), state)
        return None

    def best(self) -> Best | None:
        """The best weights so far, or None when none are whole."""
        for folder in self._named("best-"):
            try:
                verify(folder)
                row = plain.read(folder / BEST, CheckpointError, BEST_FIELDS)
            except CheckpointError as error:
                self.log(f"{error}; it is left out")
                continue
            return Best(folder / WEIGHTS, int(row["step"]), float(row["value"]))
        return None

    def _named(self, prefix: str) -> list[Path]:
        """Newest first; names have a fixed width."""
        return sorted(self.folder.glob(f"{prefix}*"), reverse=True)

    def _write(self, name: str, save_weights: SaveWeights, state: Mapping[str, Any] | None) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.folder)
        target = self.folder / name
        beside = half_written(target)
        try:
            beside.mkdir()
            save_weights(beside / WEIGHTS)
            if state is not None:
                torch.save(dict(state), beside / STATE)
            _write_manifest(beside)
        # A full disk is a RuntimeError of torch.save, and an error of its own of safetensors.
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(beside, ignore_errors=True)
            self.log(
                f"checkpoint {name} could not be written ({error}); training continues, with the "
                "checkpoint before it: free some space"
            )
            return False
        if target.exists():
            shutil.rmtree(target)
        beside.rename(target)
        flush(self.folder)
        return True


def _write_manifest(folder: Path) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        flush(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    (folder / MANIFEST).write_text(json.dumps(files, indent=1) + "\n", encoding="utf-8")
    flush(folder / MANIFEST)
    flush(folder)


def verify(folder: Path) -> None:
    """CheckpointError when a file is missing, cut short, or has other bytes than were written."""
    files = plain.read(folder / MANIFEST, CheckpointError, MANIFEST_FIELDS)
    for name, expected in files.items():
        plain.conform(
            name, FILE_NAME, str(folder / MANIFEST), CheckpointError, "the name of a file"
        )
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path}: missing")
        if path.stat().st_size != expected["bytes"]:
            raise CheckpointError(
                f"{path}: {path.stat().st_size} bytes, expected {expected['bytes']}"
            )
        if sha256(path) != expected["sha256"]:
            raise CheckpointError(f"{path}: its bytes are not those that were written")


def _read_state(path: Path) -> dict[str, Any]:
    """The state of a checkpoint; CheckpointError when it is not one. Nothing in it is run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken torch file raises almost anything
        raise CheckpointError(f"{path}: not readable ({str(error)[:200]})") from error
    plain.conform(state, shaped({"step": whole(0)}), str(path), CheckpointError)
    assert isinstance(state, dict)
    return state


def random_state() -> dict[str, Any]:
    """State of every generator of this process, as plain values and tensors."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, words, cached = random.getstate()
    cuda: list[Tensor] = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": [version, list(words), cached],
        "numpy": [str(kind), [int(k) for k in keys], int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Undo `random_state`."""
    version, words, cached = state["python"]
    random.setstate((version, tuple(words), cached))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def seed_everything(seed: int, deterministic: bool) -> None:
    """Fix every generator; with `deterministic` also ask torch for reproducible kernels."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
