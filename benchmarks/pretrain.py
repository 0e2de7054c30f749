"""Pre-training: streams of shards in, weights and the record of their making out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.pretrain_streams import part_of
from benchmarks.record import hardware, json_ready, packages, sha256
from benchmarks.record_fields import PRETRAINED
from benchmarks.weights import device_name
from x2vlm import distributed, plain
from x2vlm.config import Settings, TrainConfig
from x2vlm.data.text import Tokenizer, load_tokenizer
from x2vlm.errors import ConfigError, RecordError
from x2vlm.model import checkpoint
from x2vlm.model.config import PRESETS, ModelConfig
from x2vlm.model.fit import fit
from x2vlm.model.initialise import directional_positions
from x2vlm.model.towers import init_towers
from x2vlm.model.x2vlm import X2VLM, count_parameters
from x2vlm.provenance import revision
from x2vlm.tasks import build_on
from x2vlm.train.mixed import MixedSource
from x2vlm.train.trainer import TrainResult, train
from x2vlm.weights import ASSETS, find_device
from x2vlm.writing import write_json

log = logging.getLogger("x2vlm")


@dataclass(frozen=True, slots=True)
class StreamConfig(Settings):
    """One stream of a pre-training mixture."""

    kind: str
    """image, region, video, question or parallel"""
    path: str
    """glob of its shards below the data folder"""
    batch_size: int
    """rows (images, not concepts) per step over all processes"""
    weight: float = 1.0
    """factor of its kind's losses"""
    choice: str = ""
    """streams that name the same one take turns, in the ratio of their shares"""
    share: float = 1.0
    """of a choice's turns; where all add up to less than 1, the other steps have none of them"""
    start: int = 0
    """step from which the stream takes part; until then its rivals have its turns"""
    matching: bool = True
    """off for noisy data"""
    align: bool = True
    """off for regions that are located only, a fraction of the work"""
    fuse: bool = True
    """off for what is told apart only (the contrastive loss), a fraction of the work"""
    max_concepts: int = 0
    """most concepts of a region batch; 0: no limit"""
    language: str | None = None
    """of captions by language; None draws one"""
    max_tokens: int = 0
    """longest text of this stream; 0: the plan's"""
    max_masks: int = 0
    """most masked tokens of a text of this stream; 0: the plan's"""
    workers: int = 1
    max_bad: float = 0.01
    """share of unusable rows above which training stops"""


@dataclass(frozen=True, slots=True)
class PretrainPlan(Settings):
    """One pre-training run."""

    model: str
    train: TrainConfig
    streams: Mapping[str, StreamConfig]
    tokenizer: str = ""
    """name or path; empty: the preset's own, which ships with the package"""
    data: str = ""
    """folder of the shards; empty: the embedded world"""
    max_tokens: int = 40
    mask_probability: float = 0.5
    max_masks: int = 12
    whole_words: bool = True
    """mask all tokens of a word together; official CCLM masks single tokens"""
    max_regions: int = 5
    """concepts of one image, its caption included"""
    crop: float = 0.2
    """smallest share of an image's area that a random crop keeps"""
    cropped_regions: float = 1.0
    """share of the images of region streams that are cropped around one of their regions"""
    augment: bool = True
    """RandAugment; off where colours are what the texts are about"""
    flip: bool = True
    """mirror images at random unless their text says left or right, in English: off for texts in
    other languages that say where things are"""
    matching_until: int = 0
    """step from which matching is left out; 0: never"""
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    """factors of single losses, such as {"region_box": 5}; the others weigh 1"""
    localise: bool = True
    align_regions: bool = True
    init: str = ""
    """checkpoint to go on from (ours or official), strictly; for a multilingual model it may be a
    monolingual one, which gives all but the text encoder"""
    init_vision: str = ""
    """BEiT-v2, official .pth"""
    init_text: str = ""
    """BERT, or for a multilingual model XLM-R: a state dict of Hugging Face (.bin, .safetensors)"""
    directional: bool = False
    """start the first block's position table with a direction per head (from scratch only)"""
    frames: int = 3
    temporal_positions: bool = True
    """learned ones, in models that see videos"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1"""
    out: str = "runs"
    name: str = ""

    def used_streams(self) -> dict[str, StreamConfig]:
        """The streams that give a loss: regions neither aligned nor located are left out. The
        others do not wait for steps that the streams left out would have had alone."""
        used = {
            name: stream
            for name, stream in self.streams.items()
            if stream.kind != "region"
            or (self.localise and stream.fuse)
            or (self.align_regions and stream.align)
        }
        first = min((stream.start for stream in used.values()), default=0)
        return {name: replace(stream, start=stream.start - first) for name, stream in used.items()}

    def shape(self, tokenizer: Tokenizer) -> ModelConfig:
        """The model to train: the preset, for this tokenizer and these streams."""
        preset = PRESETS[self.model]
        words = max(preset.text.vocabulary, tokenizer.vocabulary)
        videos = any(stream.kind == "video" for stream in self.streams.values())
        frames = self.frames if videos and self.temporal_positions else 0
        return replace(preset, frames=frames, text=replace(preset.text, vocabulary=words))


def pretrain(plan: PretrainPlan) -> Path:
    """Train, then write OUT/NAME.safetensors and OUT/NAME.json; resumes in OUT/NAME/.

    Returns the weights file; at once when it was made by the same plan. Raises ConfigError for
    settings that make no sense, DataError for missing shards.
    """
    if plan.model not in PRESETS or plan.train.steps is None:
        raise ConfigError("pre-training needs a preset as model and train.steps (not train.epochs)")
    name = plan.name or plan.model
    folder, out = Path(plan.out) / name, Path(plan.out) / f"{name}.safetensors"
    if _made(plan, out):
        log.info("%s: pre-trained already", out)
        return out
    tokenizer = load_tokenizer(plan.tokenizer or ASSETS / f"{plan.model}-tokenizer.json")
    streams = plan.used_streams()
    torch.manual_seed(plan.train.seed)
    task = build_on(
        "pretraining", first_model(plan, plan.shape(tokenizer)), tokenizer,
        localise=plan.localise, align_regions=plan.align_regions,
        weights={**{s.kind: s.weight for s in streams.values()}, **plan.loss_weights},
    )  # fmt: skip
    task.model.to(find_device(plan.device))
    source = MixedSource(
        {key: part_of(plan, row, task.model.config, tokenizer) for key, row in streams.items()},
        seed=plan.train.seed, micro_batch=plan.train.micro_batch or 0,
        matching_until=plan.matching_until,
    )  # fmt: skip
    about = _about(plan)
    try:
        result = train(task, source, plan.train, folder, total_steps=plan.train.steps,
                       about=about, log=log.info)  # fmt: skip
    finally:
        source.write_report(folder)
    if result.finished and distributed.is_main():
        _write(plan, task.model, tokenizer, out, result, about["init"])
    distributed.barrier()
    if result.stop is not None:
        raise result.stop
    return out


def first_model(plan: PretrainPlan, config: ModelConfig) -> X2VLM:
    """The model of `config` that training starts from: random, but for what the plan gives.

    Raises CheckpointError for weights that do not fit, ConfigError for two sources of one part.
    """
    if bool(plan.init) + bool(plan.init_vision) + plan.directional > 1:
        raise ConfigError("init, init_vision and directional all fill the vision encoder: keep one")
    given = checkpoint.load_any(plan.init).model if plan.init else None
    if given is not None and given.config.multilingual == config.multilingual:
        if plan.init_text:
            raise ConfigError("init and init_text both fill the text encoder: keep one")
        state = {name: parameter.data for name, parameter in given.named_parameters()}
        new = ("frames",) if config.frames else ()
        model = fit(state, given.config, config, allow_new=new, where=plan.init)
    else:
        model = X2VLM(config)
        if plan.directional:
            table = model.vision.blocks[0].attention.position_table
            directional_positions(table, config.vision.grid)
        if given is not None or plan.init_vision or plan.init_text:
            text = "xlmr" if config.multilingual else "bert"
            mono = None if given is None else checkpoint.to_official(given)
            beit, words = plan.init_vision or None, plan.init_text or None
            init_towers(model, beit=beit, x2vlm=mono, **{text: words})
    parts = sorted({name.partition(".")[0] for name in model.new_parameters})
    log.info("new beside what was given: %s", ", ".join(parts) or "nothing")
    return model


def _made(plan: PretrainPlan, out: Path) -> bool:
    """Whether `out` is the finished work of this very plan."""
    note = out.with_suffix(".json")
    if not (out.is_file() and note.is_file()):
        return False
    made = plain.read(note, RecordError, PRETRAINED)
    same = _decisive(made["plan"]) == _decisive(json_ready(plan))
    return same and bool(made["sha256"] == sha256(out))


def _about(plan: PretrainPlan) -> dict[str, Any]:
    """What decides the weights beside plan.train; files may move."""
    about: dict[str, Any] = json_ready(plan)
    for name in ("train", "device", "out", "name", "data"):
        del about[name]
    for row in about["streams"].values():
        del row["workers"], row["max_bad"]
    about |= {name: Path(about[name]).name for name in ("init_vision", "init_text")}
    about["loss_weights"] = sorted(about["loss_weights"].items())  # compared as a whole
    return about | {"init": sha256(Path(plan.init)) if plan.init else None}


def _decisive(plan: Mapping[str, Any]) -> Any:
    """A plan as plain values, without what only says where it is computed. Settings that came later
    than the plan have their defaults, under which it was made."""
    streams = {name: StreamConfig.from_dict(row) for name, row in plan["streams"].items()}
    train = replace(TrainConfig.from_dict(plan["train"]), shard=False)
    whole = {**plan, "streams": streams, "train": train, "device": ""}
    return json_ready(PretrainPlan.from_dict(whole))


def _write(
    plan: PretrainPlan, model: X2VLM, tokenizer: Tokenizer, out: Path, result: TrainResult,
    init: str | None,
) -> None:  # fmt: skip
    """The weights in half precision, and beside them how they were made. init: `_about`'s hash."""
    checkpoint.save(model, out, tokenizer=tokenizer.to_json(), dtype=torch.float16)
    made: dict[str, Any] = {
        "weights": out.name, "sha256": sha256(out), "parameters": count_parameters(model),
        "plan": plan.to_dict(), "losses": dict(result.losses), "seconds": round(result.seconds),
        "revision": revision(), "packages": packages(),
        "hardware": hardware(model.device.type, device_name(model.device)),
        "created": datetime.now(UTC).isoformat(timespec="seconds"), "init": init,
    }  # fmt: skip
    write_json(out.with_suffix(".json"), json_ready(made))
