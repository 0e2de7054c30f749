"""The promise about several processes: other batches, so the last digits may differ, to 1e-6."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_tasks import OPTIONS, make, predictions, records

from tests import processes
from x2vlm import distributed
from x2vlm.data.loader import evaluation_loader

PROMISE = 1e-6
"""relative to the value, or to 1 where the value is smaller (docs/training.md)"""


def share() -> dict[str, list[dict[str, Any]]]:
    """What every task predicts of this process's share, gathered."""
    found = {}
    for name in OPTIONS:
        rank, world = distributed.rank(), distributed.world()
        loader = evaluation_loader(make(name), records(name), batch_size=4, rank=rank, world=world)
        parts = distributed.all_gather_objects(list(make(name).predict(loader)))
        found[name] = [row for part in parts for row in part]
    return found


def differences(one: Any, other: Any) -> list[float]:
    """Of all numbers, at any depth; everything else must be equal."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return [d for key in one for d in differences(one[key], other[key])]
    if isinstance(one, list):
        assert len(one) == len(other)
        return [d for a, b in zip(one, other, strict=True) for d in differences(a, b)]
    if isinstance(one, float):
        return [abs(one - other) / max(1.0, abs(other))]
    assert one == other
    return []


@pytest.mark.parametrize("world", [2, 3])
def test_predictions_of_several_processes_agree_to_the_promise(world: int, tmp_path: Path) -> None:
    found, *_ = processes.run(share, world, tmp_path)
    for name, rows in found.items():
        expected = predictions(make(name), records(name))
        assert {row["id"] for row in rows} == expected.keys(), name
        apart = [d for row in rows for d in differences(row, expected[row["id"]])]
        assert max(apart, default=0.0) <= PROMISE, (name, max(apart))


def test_a_difference_beyond_the_promise_is_seen() -> None:
    assert differences({"a": [1.0, "x"]}, {"a": [1.0, "x"]}) == [0.0]
    assert differences([2.0], [2.00001])[0] > PROMISE
    with pytest.raises(AssertionError):
        differences({"a": "x"}, {"a": "y"})
