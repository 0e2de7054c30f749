"""What calls itself official: optimiser groups, clipping, flips and masks, per experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import torch
from image_samples import picture, record
from small_tasks import make
from test_configs import PRETRAININGS, command, stems

from benchmarks.pretrain_streams import part_of
from benchmarks.registry import get
from x2vlm.cli.compose import CONF, compose, plan, pretrain_plan
from x2vlm.config import TrainConfig
from x2vlm.model.checkpoint import load_official, to_official
from x2vlm.model.config import ModelConfig
from x2vlm.model.fit import empty_model
from x2vlm.model.names import official_name
from x2vlm.train import optim

SPARED = ("bias", "LayerNorm.weight", "norm.weight", "norm1.weight", "norm2.weight")
"""parts of official names: a parameter whose name holds one does not decay"""
FINE_TUNINGS = [
    name
    for name in stems("experiment")
    if not name.startswith("pretrain_")
    and "\ntrain:\n" in (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
]
MODELS: Mapping[str, Mapping[str, Any]] = {
    "pre-training": {"heads": ("contrastive", "matching", "box", "mlm")},
    "multilingual": {
        "heads": ("contrastive", "matching", "box", "mlm"),
        "separate_fusion": True,
        "text": replace(small.TEXT, kind="xlm-roberta"),
    },
    "pair": {"heads": ("pair_classifier",), "labels": 2},
    "video question": {"heads": ("classifier",), "labels": 7},
    "answers": {"heads": ("decoder",)},
    "captions": {"heads": ("mlm",)},
}


def trained(name: str) -> TrainConfig:
    words = [word for word in command(name) if "=" in word]
    tree = compose(words)
    return pretrain_plan(tree).train if name.startswith("pretrain_") else plan(tree).train


@pytest.mark.parametrize("name", MODELS)
def test_decay_is_the_official_rule_by_official_names(name: str) -> None:
    config: ModelConfig = replace(small.CONFIG, **MODELS[name])
    train = TrainConfig(steps=1, lr=1e-3, lr_vision=1e-4, lr_text=1e-5, decay_head_norms=True)
    seen = set()
    for group in optim.named_groups(empty_model(config), train):
        for ours, _ in group.parameters:
            official = official_name(ours, config)
            seen.add(official)
            spared = any(part in official for part in SPARED)
            assert group.weight_decay == (0.0 if spared else 0.01), official
            part = next((p for p in ("vision_encoder", "text_encoder") if p in official), "")
            assert group.lr == {"vision_encoder": 1e-4, "text_encoder": 1e-5}.get(part, 1e-3)
    assert len(seen) == len(list(empty_model(config).parameters()))


def test_head_norms_are_the_only_difference_of_the_two_rules() -> None:
    model = empty_model(replace(small.CONFIG, **MODELS["pre-training"]))

    def decayed(official: bool) -> set[str]:
        config = TrainConfig(steps=1, decay_head_norms=official)
        groups = optim.named_groups(model, config)
        return {name for g in groups if g.weight_decay for name, _ in g.parameters}

    assert decayed(True) - decayed(False) == {"matching_head.1.weight", "box_head.1.weight"}
    assert decayed(False) <= decayed(True)


@pytest.mark.parametrize("name", FINE_TUNINGS)
def test_only_the_mini_suite_clips_in_fine_tuning(name: str) -> None:
    mini, config = name.startswith("mini_"), trained(name)
    assert (config.clip, config.decay_head_norms) == ((1.0, False) if mini else (None, True))


@pytest.mark.parametrize("name", PRETRAININGS)
def test_all_pre_training_clips_at_one(name: str) -> None:
    config = trained(name)
    assert (config.clip, config.decay_head_norms) == (1.0, "mini" not in name)


def test_the_settings_of_no_experiment_are_the_official_ones() -> None:
    config = plan(compose(["benchmark=vqav2"])).train
    assert (config.clip, config.decay_head_norms) == (None, True)
    assert TrainConfig.from_dict({"steps": 1, "clip": 0.0}).clip == 0.0  # old settings: off


@pytest.mark.parametrize("size", ["base", "large"])
def test_multilingual_pre_training_masks_single_tokens_and_more_of_parallel_text(
    size: str, tmp_path: Path
) -> None:
    words = [word for word in command(f"pretrain_cclm_{size}") if "=" in word]
    chosen = replace(pretrain_plan(compose(words)), data=str(tmp_path))
    for stream in chosen.streams.values():
        folder = (tmp_path / stream.path).parent
        folder.mkdir(parents=True)
        (folder / "shard.jsonl").touch()
    tokenizer = small.tokenizer()
    found = {
        name: part_of(chosen, stream, small.CONFIG, tokenizer).collate
        for name, stream in chosen.streams.items()
    }
    masks = {n: (c.mask_probability, c.max_masks, c.max_tokens) for n, c in found.items()}
    rest = (0.4, 10, 30)
    assert masks == {"images": rest, "regions": rest, "parallel": (0.4, 16, 64)}
    assert not any(collate.whole_words for collate in found.values())


def flips(benchmark: str, text: str) -> set[bool]:
    """Whether samples of a text are mirrored in training for a benchmark's task."""
    chosen = get(benchmark)
    options = {**chosen.options, "labels": ("no", "yes")}
    transform = make(chosen.task, **options).transform(train=True)
    images = [picture()] * options.get("images", 1)
    return {
        transform(record(text=text, label=0), images, np.random.default_rng(seed)).flipped
        for seed in range(60)
    }


@pytest.mark.parametrize("name", ["msrvtt_qa", "msvd_qa", "own_labels:x", "own_pair_labels:x"])
def test_questions_about_the_man_on_the_left_are_never_mirrored(name: str) -> None:
    assert flips(name, "what does the man on the left do") == {False}
    assert flips(name, "what does the man do") == {False, True}


@pytest.mark.parametrize("name", ["nlvr2", "marvl", "xvnli"])
def test_statements_are_mirrored_as_officially(name: str) -> None:
    assert flips(name, "the man on the left sits") == {False, True}


def test_a_model_shares_no_memory_with_the_state_dict_it_came_from() -> None:
    torch.manual_seed(0)
    first = small.model("contrastive", "matching", "mlm")
    state = to_official(first)
    before = {name: tensor.clone() for name, tensor in state.items()}
    model = load_official(state, text_heads=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(state[name], before[name]) for name in state)
    places = [p.data_ptr() for p in (*model.parameters(), *first.parameters())]
    assert len(set(places)) == len(places)
