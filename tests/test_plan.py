"""One run as plain values: protocols, and what the record is told of them."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.weights import other_size
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.errors import ConfigError
from x2vlm.model.config import PRESETS


def plan(benchmark: str = "nlvr2", protocol: str = "auto", **fields: object) -> Plan:
    return Plan.from_dict({
        "benchmark": benchmark, "model": ModelChoice(), "data": DataConfig(),
        "train": TrainConfig(steps=1), "predict": PredictConfig(), "protocol": protocol, **fields,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("benchmark", "protocol", "trains", "told"),
    [
        ("nlvr2", "fine-tuned", True, "fine-tuned"),
        ("nlvr2", "zero-shot", False, "zero-shot"),
        ("nlvr2", "evaluate", False, "fine-tuned"),
        ("gqa", "evaluate:fine-tuned:vqav2", False, "fine-tuned:vqav2"),
        ("marvl", "fine-tuned", True, "fine-tuned:en"),
        ("marvl", "evaluate", False, "fine-tuned:en"),
        ("marvl", "evaluate:translate-test", False, "translate-test"),
        ("xflickrco", "few-shot:48", True, "few-shot:48"),
        ("xflickrco", "evaluate:few-shot:48", False, "few-shot:48"),
        ("ovad", "zero-shot+crop", False, "zero-shot+crop"),
    ],
)
def test_what_a_protocol_does_and_what_the_record_says(
    benchmark: str, protocol: str, trains: bool, told: str
) -> None:
    chosen = plan(benchmark, protocol)
    assert (chosen.trains, chosen.told_protocol) == (trains, told)


@pytest.mark.parametrize(
    ("benchmark", "protocol", "settings", "told"),
    [
        ("ovad", "zero-shot", {"options": {"variant": "crops"}}, "zero-shot+crop"),
        ("ovad", "zero-shot+crop", {"options": {"variant": "crops"}}, "zero-shot+crop"),
        ("ovad", "zero-shot", {"options": {"variant": "regions"}}, "zero-shot"),
        ("ovad", "zero-shot", {"options": {"variant": "crops", "score": "matching"}},
         "zero-shot+crop+matching-head"),
        ("vqav2", "fine-tuned", {"options": {"rule": "chain"}}, "fine-tuned+chain-rule"),
        ("vqav2", "evaluate", {"scoring": {"variant": "x2vlm"}}, "fine-tuned+scorer-x2vlm"),
        ("vqav2", "fine-tuned", {"scoring": {"variant": "official"}}, "fine-tuned"),
        ("coco_retrieval", "zero-shot", {"options": {"k": 16}}, "zero-shot"),
    ],
)  # fmt: skip
def test_variants_are_protocols_of_their_own(
    benchmark: str, protocol: str, settings: dict[str, dict[str, str]], told: str
) -> None:
    assert plan(benchmark, protocol, **settings).told_protocol == told


def test_the_languages_that_were_trained_on_are_told() -> None:
    chosen = plan("multi30k", "evaluate", train_languages=["de", "fr"])
    assert chosen.told_protocol == "fine-tuned:de+fr"
    assert plan("multi30k").training_languages() == ("en",)


@pytest.mark.parametrize("protocol", ["finetuned", "evaluate:finetuned", "evaluate:evaluate"])
def test_an_unknown_protocol_is_refused(protocol: str) -> None:
    with pytest.raises(ConfigError, match="unknown protocol"):
        plan(protocol=protocol)


@pytest.mark.parametrize(
    ("checkpoint", "pretraining", "found"),
    [
        ("weights/x2vlm_base_1b.th", "", "1B"),
        ("x2vlm_large_4m_stage2.th", "", "4M"),
        ("runs/mini-vqav2-s42", "", ""),
        ("x2vlm_base_1b.th", "4M", "4M"),
        ("", "", ""),
    ],
)
def test_what_the_weights_were_pretrained_on(checkpoint: str, pretraining: str, found: str) -> None:
    choice = ModelChoice(checkpoint=checkpoint, pretraining=pretraining)
    assert choice.pretrained_on == found


def test_the_folder_of_a_run_says_what_was_cut_and_whose_data_it_is() -> None:
    assert plan("nlvr2").folder().name == "nlvr2-tiny-auto-mini-s42"
    cut = plan("nlvr2", data=DataConfig(root="DIR", limit=8))
    assert cut.folder().name == "nlvr2-tiny-auto-official-s42-limit8"
    own = plan("own_vqa:birds", data=DataConfig(root="DIR"))
    assert own.folder().name == "birds-tiny-auto-own-s42"


def test_weights_of_another_size_than_the_model_is_called() -> None:
    assert other_size("base", PRESETS["base"]) == ""
    assert "say model=large" in other_size("base", PRESETS["large"])
    odd = dataclasses.replace(
        PRESETS["tiny"], vision=dataclasses.replace(PRESETS["tiny"].vision, depth=1)
    )
    assert "no preset" in other_size("tiny", odd)
