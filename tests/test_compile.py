"""`train.compile`: torch compiles a layer once for all of a tower, and evaluation goes plainly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from tests import pretraining_world as world
from x2vlm.config import TrainConfig
from x2vlm.model import layers
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.pretraining import Pretraining
from x2vlm.train.session import prepare
from x2vlm.train.step import Step
from x2vlm.types import Batch

CONFIG = world.CONFIG
DEPTH = 10
"""layers of a tower: more than torch compiles anew before it gives up"""
PLAN = TrainConfig(
    steps=8, drop_path=0.2, text_drop_path=0.1, warmup=0, lr=1e-4, precision="bfloat16"
)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often each graph ran that torch made of layers. They run as they are: to make code of
    them takes half a minute."""
    runs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        place = len(runs)
        runs.append(0)

        def run(*given: Any) -> Any:
            runs[place] += 1
            return graph.forward(*given)

        return run

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch.compiler.reset()
    layers._compiled.cache_clear()
    yield runs
    layers._compiled.cache_clear()
    torch.compiler.reset()


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Batch]]:
    """Steps of all kinds; texts, concepts and pairs differ in number from step to step."""
    steps = iter(world.source(world.write_shards(tmp_path_factory.mktemp("shards"))))
    return [{str(batch.target["kind"]): batch for batch in next(steps)} for _ in range(3)]


def deep(config: TrainConfig) -> Step:
    torch.manual_seed(0)
    vision = replace(CONFIG.vision, depth=DEPTH)
    model = X2VLM(replace(CONFIG, vision=vision, text=replace(CONFIG.text, layers=DEPTH)))
    prepare(model, config)
    return Step(Pretraining(model, world.TOKENIZER), config, lambda _: None)


CALLS = {"image": 2 * DEPTH + 3, "region": 2 * DEPTH + 3, "parallel": 2 * (DEPTH + 3)}
"""layers that a step of this kind calls: of vision, text (twice for two texts) and fusion"""


@pytest.mark.parametrize("kind", CALLS)
def test_one_compilation_serves_all_layers(
    kind: str, batches: list[Mapping[str, Batch]], graphs: list[int]
) -> None:
    losses = []
    for compiled in (False, True):
        step = deep(replace(PLAN, compile=compiled))
        torch.manual_seed(1)
        losses.append([step(n, 1.0, [made[kind]]).losses for n, made in enumerate(batches)])
    for plain, quick in zip(*losses, strict=True):
        assert quick == pytest.approx(plain, rel=0.02)
    assert sum(graphs) == len(batches) * CALLS[kind]  # none was left to run plainly
    assert len(graphs) <= 5

    step.task.model.eval()
    step.task.loss(batches[0][kind])
    assert sum(graphs) == len(batches) * CALLS[kind]  # evaluation is not compiled
