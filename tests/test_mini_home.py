"""Where the embedded world lives, and what is expected of a model in it."""

from pathlib import Path

import pytest

from benchmarks.metrics.stats import Measure
from benchmarks.mini.home import chance_levels, data_root, floor_of
from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.errors import DataError


def plan(benchmark: str, protocol: str, *, root: str = "", floor: float | None = None) -> Plan:
    return Plan(
        benchmark, ModelChoice("tiny"), DataConfig(root), TrainConfig(steps=1), PredictConfig(),
        protocol, floor=floor,
    )  # fmt: skip


def test_a_trained_model_should_come_half_way_to_perfect() -> None:
    wanted = plan("nlvr2", "fine-tuned")
    assert floor_of(wanted, Measure(80.0, 300, 2.0)) == {"value": 75.0, "met": True}
    assert floor_of(wanted, Measure(74.9, 300, 2.0)) == {"value": 75.0, "met": False}
    assert floor_of(wanted, Measure(None, 0, None)) == {"value": 75.0, "met": False}


def test_an_untrained_model_should_be_clearly_above_chance() -> None:
    found = floor_of(plan("winoground", "zero-shot"), Measure(20.0, 400, 2.0))
    assert found == {"value": pytest.approx(100 / 6 + 4), "met": False}


def test_other_data_have_no_floor_but_the_plans_own(tmp_path: Path) -> None:
    assert floor_of(plan("nlvr2", "fine-tuned", root=str(tmp_path)), Measure(60.0, 9, 1.0)) is None
    own = plan("coco_captioning", "fine-tuned", root=str(tmp_path), floor=1.0)
    assert floor_of(own, Measure(1.25, 9, 0.1)) == {"value": 1.0, "met": True}


def test_chance_is_that_of_the_data_at_hand(tmp_path: Path) -> None:
    real = chance_levels(plan("coco_retrieval", "zero-shot", root=str(tmp_path)))
    mini = chance_levels(plan("coco_retrieval", "zero-shot"))
    assert real["image_r1"] == 0.02
    assert mini["image_r1"] == 0.5


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert data_root(plan("nlvr2", "auto", root=str(tmp_path))) == tmp_path
    with pytest.raises(DataError, match="no such folder"):
        data_root(plan("nlvr2", "auto", root=str(tmp_path / "nowhere")))
