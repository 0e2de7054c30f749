"""Pre-training runs: what they start from, which streams they read, finished ones reused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.pretrain import _made, first_model, pretrain
from benchmarks.pretrain_plan import PretrainPlan, StreamConfig
from benchmarks.record import json_ready
from tests import pretraining_world as world
from tests.test_towers import beit, public
from x2vlm.cli.compose import compose, pretrain_plan
from x2vlm.config import TrainConfig
from x2vlm.data.text import load_tokenizer
from x2vlm.errors import CheckpointError, ConfigError
from x2vlm.model import checkpoint
from x2vlm.model.config import PRESETS, ModelConfig
from x2vlm.model.x2vlm import X2VLM
from x2vlm.provenance import sha256
from x2vlm.train import trainer
from x2vlm.train.progress import read_metrics
from x2vlm.weights import ASSETS

TINY, MULTI = PRESETS["tiny"], PRESETS["multilingual-tiny"]
STREAMS = {
    kind: StreamConfig(kind, f"{kind}/*.jsonl", batch_size=4, workers=0)
    for kind in ("image", "region", "video")
}
TRAIN = TrainConfig(steps=1, batch_size=8, lr=1e-3, drop_path=0.0, log_every=1)


def plan(model: str = "tiny", **values: Any) -> PretrainPlan:
    values.setdefault("device", "cpu")
    return PretrainPlan(model, TRAIN, values.pop("streams", STREAMS), **values)


def shape(chosen: PretrainPlan) -> ModelConfig:
    return chosen.shape(load_tokenizer(ASSETS / f"{chosen.model}-tokenizer.json"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small stand-ins for public weights, in their formats."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"model": beit(TINY, shared=True)}, folder / "beit.pth")
    torch.save(public(TINY.text, 6).state_dict(), folder / "bert.bin")
    xlmr = public(MULTI.text, 3, seed=1).state_dict()
    save_file({name: tensor.clone() for name, tensor in xlmr.items()}, folder / "xlmr.safetensors")
    torch.manual_seed(5)
    model = X2VLM(TINY)
    checkpoint.save(model, folder / "mono.safetensors")
    torch.save({"model": checkpoint.to_official(model)}, folder / "mono.th")
    return folder


def parts_of(names: frozenset[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


HEADS = {"vision_proj", "text_proj", "temperature", "matching_head", "box_head"}


def test_towers_start_from_public_weights(files: Path) -> None:
    chosen = plan(init_vision=str(files / "beit.pth"), init_text=str(files / "bert.bin"))
    model = first_model(chosen, shape(chosen))
    assert parts_of(model.new_parameters) == {*HEADS, "fusion", "frame_positions"}
    bert = torch.load(files / "bert.bin", weights_only=True)
    words = bert["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(model.text.embeddings.word.weight, words)
    token = torch.load(files / "beit.pth", weights_only=True)["model"]["cls_token"]
    assert torch.equal(model.vision.cls_token, token)


def test_one_tower_may_start_from_nothing(files: Path) -> None:
    chosen = plan(init_text=str(files / "bert.bin"), directional=True)
    model = first_model(chosen, shape(chosen))
    assert "vision" in parts_of(model.new_parameters)
    assert "text" not in parts_of(model.new_parameters)


@pytest.mark.parametrize("name", ["mono.safetensors", "mono.th"])
def test_the_next_stage_goes_on_with_everything_but_new_frames(files: Path, name: str) -> None:
    chosen = plan(init=str(files / name))
    model = first_model(chosen, shape(chosen))
    before = checkpoint.load(files / "mono.safetensors").model
    assert model.config.frames == 3
    assert model.new_parameters == {"frame_positions"}
    for key, parameter in before.named_parameters():
        assert torch.equal(model.get_parameter(key), parameter), key


def test_cclm_takes_all_but_the_text_from_a_monolingual_model(files: Path) -> None:
    streams = {"image": STREAMS["image"]}
    given = {"init": str(files / "mono.safetensors"), "init_text": str(files / "xlmr.safetensors")}
    chosen = plan("multilingual-tiny", streams=streams, **given)
    model = first_model(chosen, shape(chosen))
    before = checkpoint.load(files / "mono.safetensors").model
    assert model.new_parameters == frozenset()
    for part in ("vision", "fusion", "matching_head", "vision_proj"):
        for key, value in before.get_submodule(part).state_dict().items():
            assert torch.equal(model.get_submodule(part).state_dict()[key], value)
    assert model.text.embeddings.word.weight.shape[0] == MULTI.text.vocabulary


def test_two_sources_of_one_part_are_refused(files: Path) -> None:
    mono, text = str(files / "mono.th"), str(files / "bert.bin")
    for values in (
        {"init": mono, "init_vision": str(files / "beit.pth")},
        {"init": mono, "directional": True},
        {"init": mono, "init_text": text},
    ):
        with pytest.raises(ConfigError, match="keep one"):
            first_model(chosen := plan(**values), shape(chosen))


def test_weights_of_another_shape_are_refused(files: Path) -> None:
    chosen = plan(init=str(files / "mono.th"))
    other = replace(shape(chosen), fusion_layers=2)
    with pytest.raises(CheckpointError, match="do not fit"):
        first_model(chosen, other)
    chosen = plan(init_vision=str(files / "missing.pth"))
    with pytest.raises(CheckpointError, match="no weights file"):
        first_model(chosen, shape(chosen))


@pytest.mark.parametrize(
    ("switches", "used"),
    [
        ({}, {"image", "region", "boxes", "words"}),
        ({"localise": False}, {"image", "region", "words"}),
        ({"align_regions": False}, {"image", "region", "boxes"}),
        ({"localise": False, "align_regions": False}, {"image"}),
    ],
)
def test_streams_without_a_loss_are_left_out(switches: dict[str, bool], used: set[str]) -> None:
    boxes, words = (replace(STREAMS["region"], **{name: False}) for name in ("align", "fuse"))
    streams = {"image": STREAMS["image"], "region": STREAMS["region"]}
    streams |= {"boxes": boxes, "words": words}
    assert set(plan(streams=streams, **switches).used_streams()) == used


def test_nothing_waits_for_streams_that_are_left_out() -> None:
    boxes = replace(STREAMS["region"], align=False)
    late = {name: replace(STREAMS[name], start=400) for name in ("image", "region")}
    streams = {**late, "boxes": boxes}
    starts = {n: s.start for n, s in plan(streams=streams).used_streams().items()}
    assert starts == {"image": 400, "region": 400, "boxes": 0}
    alone = plan(streams=streams, localise=False).used_streams()
    assert {n: s.start for n, s in alone.items()} == {"image": 0, "region": 0}


def test_frames_have_positions_where_videos_are() -> None:
    assert shape(plan()).frames == 3
    assert shape(plan(temporal_positions=False)).frames == 0
    assert shape(plan(streams={"image": STREAMS["image"]})).frames == 0


def test_a_run_writes_weights_and_is_reused(files: Path, tmp_path: Path) -> None:
    data = world.write_shards(tmp_path / "data")
    chosen = plan(data=str(data), out=str(tmp_path), name="run", init=str(files / "mono.th"))
    out = pretrain(chosen)
    made = json.loads(out.with_suffix(".json").read_text())
    assert set(made["losses"]) >= {"image_mlm", "region_giou", "video_matching"}
    assert made["hardware"]["device"] == "cpu"
    shutil.rmtree(data)
    assert pretrain(chosen) == out  # nothing is read again
    elsewhere = replace(chosen, device="cuda", train=replace(TRAIN, shard=True))
    assert pretrain(elsewhere) == out  # where it is computed makes no other weights
    assert json.loads(out.with_suffix(".json").read_text()) == made
    world.write_shards(data)
    for other in (
        replace(chosen, train=replace(TRAIN, lr=1e-4)),
        replace(chosen, mask_probability=0.3),
        replace(chosen, streams={**STREAMS, "video": replace(STREAMS["video"], weight=2)}),
        replace(chosen, init=""),
    ):
        with pytest.raises(ConfigError, match="other settings"):
            pretrain(other)
    out.unlink()
    moved = {name: replace(stream, workers=1) for name, stream in STREAMS.items()}
    shutil.copy(files / "mono.th", tmp_path / "moved.th")
    pretrain(replace(chosen, streams=moved, init=str(tmp_path / "moved.th")))  # is the same run


def test_work_made_before_a_setting_existed_is_that_of_its_default(tmp_path: Path) -> None:
    out = tmp_path / "tiny.safetensors"
    out.write_bytes(b"weights")
    made = json_ready(plan())
    del made["whole_words"], made["train"]["decay_head_norms"]
    for stream in made["streams"].values():
        del stream["max_masks"]
    note = {"plan": made, "sha256": sha256(out)}
    out.with_suffix(".json").write_text(json.dumps(note), encoding="utf-8")
    assert _made(plan(), out)
    assert not _made(plan(whole_words=False), out)
    assert not _made(plan(streams={"image": STREAMS["image"]}), out)
    assert not _made(replace(plan(), train=replace(TRAIN, decay_head_norms=True)), out)


def test_seconds_and_bad_rows_of_a_run_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = world.write_shards(tmp_path / "data")
    shard = data / "image/0.jsonl"
    shard.write_text("{\n" + shard.read_text().partition("\n")[2])
    chosen = plan(data=str(data), out=str(tmp_path), name="run",
                  streams={"pictures": replace(STREAMS["image"], batch_size=12)})  # fmt: skip
    out = pretrain(chosen)
    rows = json.loads((tmp_path / "run/rows.json").read_text())
    assert (rows["pictures"]["seen"], rows["pictures"]["bad"]) == (12, 1)
    [bad] = rows["pictures"]["named"]
    assert bad["source"] == f"{shard}:1"
    assert "not JSON" in bad["reason"]
    out.unlink()  # stopped after the last step: the weights are written by the next call
    monkeypatch.setattr(trainer.Session, "seconds", 3600.4)
    made = json.loads(pretrain(chosen).with_suffix(".json").read_text())
    assert made["seconds"] == 3600


def test_the_device_of_the_command_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = pretrain_plan(compose(["experiment=pretrain_mini_tiny", "device=cuda:1"]))
    assert chosen.device == "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="cannot be used"):
        pretrain(plan(out=str(tmp_path), device="cuda:1"))


def test_without_both_region_objectives_no_region_is_read(tmp_path: Path) -> None:
    data = world.write_shards(tmp_path / "data")
    shutil.rmtree(data / "region")
    off = {"localise": False, "align_regions": False}
    out = pretrain(plan(data=str(data), out=str(tmp_path), **off))
    made = json.loads(out.with_suffix(".json").read_text())
    assert {name.partition("_")[0] for name in made["losses"]} >= {"image", "video"}
    assert not any(name.startswith("region") for name in made["losses"])


TINY_RUN = """
import sys
from dataclasses import replace
from benchmarks.pretrain import pretrain
from test_pretrain import STREAMS, TRAIN, plan

sizes = {"image": 32, "region": 40, "video": 16}
streams = {name: replace(STREAMS[name], batch_size=size) for name, size in sizes.items()}
train = replace(TRAIN, steps=4, batch_size=88)
pretrain(replace(plan(data=sys.argv[1], out=sys.argv[2], name="run", streams=streams), train=train))
"""


@pytest.mark.slow
def test_pretraining_the_tiny_model_needs_less_than_three_gigabytes(tmp_path: Path) -> None:
    """In a process of its own, whose peak is measured: 120 concepts in boxes, fused, a step."""
    data = world.write_shards(tmp_path / "data", count=48)
    subprocess.run(
        [sys.executable, "-c", TINY_RUN, str(data), str(tmp_path)], check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    last = read_metrics(tmp_path / "run")[-1]
    assert last["step"] == 4
    assert {"image_matching", "region_matching", "region_giou", "video_mlm"} <= set(last)
    assert 0.2 < last["memory_gb"] < 2
