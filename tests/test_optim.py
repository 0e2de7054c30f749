"""Groups by part, newness and decay; the schedule against the official multipliers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests import small, toy
from x2vlm.config import TrainConfig
from x2vlm.model.x2vlm import X2VLM
from x2vlm.train import optim

CONFIG = TrainConfig(steps=1, lr=1e-3, lr_vision=1e-4, weight_decay=0.05)


def test_every_parameter_is_in_one_group() -> None:
    model = small.model("contrastive", "matching", "box", "mlm")
    groups = optim.named_groups(model, CONFIG)
    names = [name for group in groups for name, _ in group.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert sum(group.size for group in groups) == sum(p.numel() for p in model.parameters())


def test_rates_and_decay_of_named_parameters() -> None:
    model = small.model("contrastive", "matching", "classifier")
    new = frozenset(name for name, _ in model.named_parameters() if "classifier" in name)
    new |= {"vision.cls_token"}
    of = {
        name: group
        for group in optim.named_groups(model, CONFIG, new)
        for name, _ in group.parameters
    }
    assert of["vision.cls_token"].lr == 1e-4  # new, but vision has a rate of its own
    assert of["vision.blocks.0.attention.qkv.weight"].weight_decay == 0.05
    assert of["vision.blocks.0.attention.position_table"].weight_decay == 0
    assert of["vision.blocks.0.attention.q_bias"].weight_decay == 0
    assert of["vision.blocks.0.norm1.weight"].weight_decay == 0
    assert of["vision.blocks.0.gamma_1"].weight_decay == 0.05
    assert of["text.layers.0.fc1.weight"].lr == 1e-3
    assert of["classifier.0.weight"].lr == 2e-3
    assert of["classifier.1.weight"].weight_decay == 0  # a LayerNorm
    assert of["matching_head.0.weight"].lr == 1e-3


def test_a_separate_fusion_has_the_rate_of_the_rest() -> None:
    config = replace(CONFIG, lr_text=5e-4)
    joint = small.model("matching")
    separate = X2VLM(replace(joint.config, separate_fusion=True))
    for model, expected in ((joint, 5e-4), (separate, 1e-3)):
        rates = {n: g.lr for g in optim.named_groups(model, config) for n, _ in g.parameters}
        assert rates["fusion.layers.0.fc1.weight"] == expected
        assert rates["text.layers.0.fc1.weight"] == 5e-4


def test_frozen_parameters_are_left_out() -> None:
    model = toy.task().model
    model.vision.requires_grad_(False)
    names = [n for group in optim.named_groups(model, CONFIG) for n, _ in group.parameters]
    assert not any(name.startswith("vision.") for name in names)


def test_table_names_groups_and_adds_up() -> None:
    model = toy.task().model
    text = optim.table(optim.named_groups(model, CONFIG))
    lines = text.splitlines()
    assert lines[0].split() == ["group", "lr", "decay", "tensors", "parameters"]
    assert any(line.startswith("vision, no decay") for line in lines)
    assert lines[-1].split()[-1] == f"{sum(p.numel() for p in model.parameters()):,}"


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0), (5, 0.5), (10, 1), (55, 0.5), (99, 1 / 90), (100, 0), (200, 0)]
)
def test_schedule_rises_and_falls(step: int, factor: float) -> None:
    assert optim.linear_schedule(step, 100, 0.1) == pytest.approx(factor)
    assert optim.linear_schedule(step, 100, 10) == pytest.approx(factor)


def test_schedule_without_warmup_starts_at_the_peak() -> None:
    assert optim.linear_schedule(0, 10, 0) == 1


def test_schedule_equals_the_official_one(shared: Path) -> None:
    golden = json.loads((shared / "goldens/a/functions.json").read_text())["schedule"]
    ours = [
        optim.linear_schedule(step, golden["steps"], golden["warmup"])
        for step in range(len(golden["multipliers"]))
    ]
    assert ours == pytest.approx(golden["multipliers"], abs=1e-12)


def test_set_rates_scales_every_group_from_its_peak() -> None:
    groups = optim.named_groups(toy.task().model, CONFIG)
    optimiser = optim.adamw(groups, CONFIG)
    assert isinstance(optimiser, torch.optim.AdamW)
    for factor in (0.5, 0.25):
        optim.set_rates(optimiser, factor)
        rates = [entry["lr"] for entry in optimiser.param_groups]
        assert rates == [group.lr * factor for group in groups]
