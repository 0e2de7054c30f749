"""Checkpoints: whole or not at all, checked when read, generators restored."""

from __future__ import annotations

import errno
import random
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from x2vlm.errors import CheckpointError
from x2vlm.train import state


def save_weights(value: float):  # type: ignore[no-untyped-def]
    return lambda path: save_file({"weight": torch.full((4,), value)}, str(path))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[state.Checkpoints, list[str]]:
    lines: list[str] = []
    checkpoints = state.Checkpoints(tmp_path, 2, lines.append)
    for step in (1, 2, 3):
        assert checkpoints.save(step, save_weights(step), {"step": step, "x": [1, {"y": None}]})
    return checkpoints, lines


def test_the_last_ones_are_kept(saved: tuple[state.Checkpoints, list[str]]) -> None:
    checkpoints, lines = saved
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == ["step-00000002", "step-00000003"]
    latest = checkpoints.latest()
    assert latest is not None
    assert (latest.step, latest.state["x"]) == (3, [1, {"y": None}])
    assert float(load_file(latest.weights)["weight"][0]) == 3
    assert lines == []


@pytest.mark.parametrize("name", [state.WEIGHTS, state.STATE, state.MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_one_is_passed_over(
    saved: tuple[state.Checkpoints, list[str]], name: str, damage: str
) -> None:
    checkpoints, lines = saved
    path = checkpoints.folder / "step-00000003" / name
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    else:
        path.unlink()
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 2
    assert len(lines) == 1
    assert "step-00000003" in lines[0]
    assert "the checkpoint before is used" in lines[0]


def test_none_is_whole(tmp_path: Path) -> None:
    lines: list[str] = []
    checkpoints = state.Checkpoints(tmp_path, 2, lines.append)
    assert checkpoints.latest() is None
    (tmp_path / "checkpoints/step-00000001").mkdir(parents=True)
    assert checkpoints.latest() is None
    assert len(lines) == 1


def test_killed_while_writing(saved: tuple[state.Checkpoints, list[str]]) -> None:
    """What a kill leaves is never taken for a checkpoint, and is cleared by the next save."""
    checkpoints, _ = saved
    half = checkpoints.folder / ".writing-step-00000004"
    half.mkdir()
    (half / state.WEIGHTS).write_bytes(b"half")
    assert checkpoints.latest().step == 3  # type: ignore[union-attr]
    checkpoints.save(5, save_weights(5), {"step": 5})
    assert not half.exists()


def test_a_full_disk_costs_no_checkpoint(saved: tuple[state.Checkpoints, list[str]]) -> None:
    checkpoints, lines = saved

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    assert not checkpoints.save(4, full, {"step": 4})
    assert "No space left" in lines[0]
    assert "step-00000004" in lines[0]
    assert checkpoints.latest().step == 3  # type: ignore[union-attr]
    assert len(list(checkpoints.folder.iterdir())) == 2


@pytest.mark.parametrize("size", [100, 5_000])
def test_a_disk_that_is_really_full(tmp_path: Path, size: int) -> None:
    """Weights and state are written by libraries that have errors of their own."""
    lines: list[str] = []
    checkpoints = state.Checkpoints(tmp_path, 2, lines.append)

    def save(step: int, weights: int) -> bool:
        return checkpoints.save(
            step, lambda path: save_file({"w": torch.zeros(weights)}, str(path)),
            {"step": step, "x": torch.zeros(4_000)},
        )  # fmt: skip

    assert save(1, 9)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        assert not save(2, 9 if size == 5_000 else 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    [line] = lines
    assert "step-00000002 could not be written" in line
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]
    assert save(3, 9)


def test_the_best_replaces_the_one_before(tmp_path: Path) -> None:
    checkpoints = state.Checkpoints(tmp_path, 1, print)
    for step, value in ((2, 0.5), (4, 0.75)):
        checkpoints.save_best(step, value, save_weights(step))
    best = checkpoints.best()
    assert best is not None
    assert (best.step, best.value) == (4, 0.75)
    assert len(list(checkpoints.folder.iterdir())) == 1
    best.weights.write_bytes(b"")
    assert checkpoints.best() is None


def test_verify_names_the_file(saved: tuple[state.Checkpoints, list[str]]) -> None:
    folder = saved[0].folder / "step-00000003"
    state.verify(folder)
    (folder / state.WEIGHTS).write_bytes(b"other")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: 5 bytes, expected"):
        state.verify(folder)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(1))


def test_generators_are_restored() -> None:
    state.seed_everything(3, deterministic=False)
    draw()
    kept = state.random_state()
    first = draw()
    draw()
    state.set_random_state(kept)
    assert draw() == first


def test_a_state_is_plain_enough_for_weights_only(tmp_path: Path) -> None:
    torch.save(state.random_state(), tmp_path / "random.pt")
    state.set_random_state(torch.load(tmp_path / "random.pt", weights_only=True))
