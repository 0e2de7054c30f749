"""Our trainer against the official one, on every task: losses and final weights of a few steps.

The forward pass is held against outputs of the official model elsewhere (test_golden_parity); here
weights, batches and negatives are given, and what is compared is groups, rates, schedule, clipping,
AdamW, accumulation and the order of it all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests import training_cases as cases
from tests.official_trainer import OfficialAdamW
from x2vlm.train.trainer import train

GOLDEN = json.loads(cases.GOLDEN.read_text(encoding="utf-8"))
FLAT = "key.bias"
"""softmax sees no shift of all keys: their gradient is rounding, of which AdamW makes steps"""


@pytest.fixture(autouse=True)
def negatives() -> Iterator[None]:
    with cases.same_negatives():
        yield


def ours(name: str, folder: Path) -> tuple[list[float], dict[str, Tensor]]:
    task = cases.task_of(name)
    source = cases.CaseSource([cases.batches_of(name, step) for step in range(cases.STEPS)])
    train(task, source, cases.config_of(name), folder, total_steps=cases.STEPS)
    rows = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    weights = {key: weight.detach() for key, weight in task.model.named_parameters()}
    return [json.loads(row)["loss"] for row in rows], weights


def furthest(one: dict[str, list[float]], other: dict[str, list[float]]) -> float:
    """The largest difference of projections, keys' biases left out."""
    assert one.keys() == other.keys()
    return max(
        abs(a - b)
        for name in one
        if not name.endswith(FLAT)
        for a, b in zip(one[name], other[name], strict=True)
    )


@pytest.mark.parametrize("name", cases.EXPERIMENTS)
def test_we_train_as_the_official_trainer(name: str, tmp_path: Path) -> None:
    losses, weights = ours(name, tmp_path)
    golden = GOLDEN[name]
    assert losses == pytest.approx(golden["losses"], rel=1e-6, abs=1e-6)
    assert furthest(cases.projections(weights), golden["weights"]) < 5e-6


@pytest.mark.parametrize("name", cases.EXPERIMENTS)
def test_every_weight_is_the_official_one_when_eps_is_added_where_torch_adds_it(
    name: str, tmp_path: Path
) -> None:
    losses, weights = ours(name, tmp_path)
    expected, final = cases.official(name, eps_first=False)
    assert losses == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert weights.keys() == final.keys()
    moved = 0.0
    start = cases.task_of(name).model.state_dict()
    for key, weight in weights.items():
        if not key.endswith(FLAT):
            torch.testing.assert_close(weight, final[key], rtol=0, atol=1e-6, msg=key)
            moved = max(moved, float((weight - start[key]).abs().max()))
    assert moved > 2e-5


@pytest.mark.parametrize("name", cases.EXPERIMENTS)
def test_the_goldens_are_what_the_official_trainer_makes(name: str) -> None:
    losses, weights = cases.official(name)
    golden = GOLDEN[name]
    assert losses == pytest.approx(golden["losses"], rel=1e-6, abs=1e-6)
    assert furthest(cases.projections(weights), golden["weights"]) < 2e-6


@pytest.mark.parametrize("name", cases.EXPERIMENTS)
def test_the_goldens_notice_clipping(name: str) -> None:
    other = None if name == "pretraining" else 1.0
    losses, _ = cases.official(name, clip=other)
    pairs = zip(losses, GOLDEN[name]["losses"], strict=True)
    assert max(abs(a - b) / b for a, b in pairs) > 2e-5


def test_where_eps_is_added_matters_to_tiny_gradients_alone() -> None:
    """The one known difference of the update: torch corrects the second moment first."""
    for gradient, largest in ((1e-1, 1e-5), (1e-5, 0.02), (1e-8, 1.0)):
        steps = []
        for eps_first in (True, False):
            weight = torch.zeros(1)
            weight.grad = torch.full((1,), gradient)
            OfficialAdamW([(weight, 1.0, 0.0)], eps_first=eps_first).step(1.0)
            steps.append(float(-weight))
        assert 0 <= steps[1] - steps[0] < largest
        assert gradient < 1e-7 or steps[1] == pytest.approx(1.0, rel=2e-3)
