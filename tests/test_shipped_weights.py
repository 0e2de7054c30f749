"""The weights in x2vlm/assets fit the code, the record beside them, and the world they learned."""

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

import x2vlm
from benchmarks.mini.language import language
from benchmarks.mini.planner import captions
from benchmarks.mini.render import render
from benchmarks.mini.world import Scene, scenes
from x2vlm.cli.compose import compose, pretrain_plan
from x2vlm.data.text import Tokenizer
from x2vlm.model.checkpoint import load_any
from x2vlm.model.config import PRESETS
from x2vlm.model.x2vlm import count_parameters
from x2vlm.provenance import sha256
from x2vlm.weights import ASSETS

NAMES = ("tiny", "multilingual-tiny")
LIMIT = 8_000_000
"""bytes of all shipped weights together"""


@pytest.fixture(scope="module")
def gallery() -> list[Scene]:
    """Test scenes of no benchmark; half of them show combinations that training never shows."""
    return scenes("shipped weights", "test", 40)


@pytest.mark.parametrize("name", NAMES)
def test_weights_fit_the_code_and_their_record(name: str) -> None:
    path = ASSETS / f"{name}.safetensors"
    made = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert made["sha256"] == sha256(path), "the record beside the weights is of other weights"
    loaded = load_any(path)
    assert loaded.model.config == PRESETS[name].with_heads(frames=loaded.model.config.frames)
    assert count_parameters(loaded.model) == made["parameters"]
    ours = (ASSETS / f"{name}-tokenizer.json").read_text(encoding="utf-8")
    assert Tokenizer.from_json(loaded.tokenizer).to_json() == Tokenizer.from_json(ours).to_json()
    assert made["revision"]["dirty"] is False
    before = None
    stages = (("-first", ""), ("-second", "_second"), ("-third", "_third"), ("", "_fourth"))
    for file, stage in stages:
        record = json.loads((ASSETS / f"{name}{file}.json").read_text(encoding="utf-8"))
        assert record.get("init") == before, "a stage started from other weights"
        before = record["sha256"]
        words = [f"experiment=pretrain_mini_{name.replace('-', '_')}{stage}"]
        plan = pretrain_plan(compose(words)).to_dict()
        assert list(changed(record["plan"], plan)) == [], (
            "the experiment has changed since these weights were made: "
            "nox -s eval-all -- pretrain=true"
        )


def changed(made: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Settings that were others. Those that came later have values that change nothing."""
    for key, value in made.items():
        if isinstance(value, Mapping):
            yield from changed(value, now[key], f"{where}{key}.")
        elif key not in ("out", "name", "data", "device", "init") and value != json.loads(
            json.dumps(now[key])
        ):
            yield f"{where}{key}"


def test_weights_are_small() -> None:
    files = list(ASSETS.glob("*.safetensors"))
    assert {file.stem for file in files} == set(NAMES)
    assert sum(file.stat().st_size for file in files) <= LIMIT


@pytest.mark.parametrize(("name", "code"), [
    ("tiny", "en"), ("multilingual-tiny", "en"), ("multilingual-tiny", "de"),
    ("multilingual-tiny", "zh"),
])  # fmt: skip
def test_scenes_find_their_captions(name: str, code: str, gallery: list[Scene]) -> None:
    """Hit@1 of 40 new scenes among 40 captions; chance is 0.025."""
    rng = random.Random("captions")
    said = [language(code).say(captions(scene, rng, 1, gallery)[0], rng) for scene in gallery]
    model = x2vlm.load(name)
    image_BE = model.encode_images([render(scene) for scene in gallery])
    found = (image_BE @ model.encode_texts(said).t()).argmax(1)
    hits = (found == torch.arange(len(gallery))).float().mean()
    assert hits >= 0.3


def test_matching_tells_a_scene_from_the_next(gallery: list[Scene]) -> None:
    rng, model = random.Random("matching"), x2vlm.load("tiny")
    said = [language("en").say(captions(scene, rng, 1, gallery)[0], rng) for scene in gallery]
    right = [
        model.match(render(scene), said[n]) > model.match(render(scene), said[n - 1])
        for n, scene in enumerate(gallery)
    ]
    assert sum(right) >= 0.85 * len(gallery)
