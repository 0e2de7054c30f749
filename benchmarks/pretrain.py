"""Pre-training: streams of shards in, weights and the record of their making out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.pretrain_plan import PretrainPlan
from benchmarks.pretrain_streams import part_of
from benchmarks.record import hardware, json_ready, packages
from benchmarks.record_fields import PRETRAINED
from benchmarks.weights import device_name
from x2vlm import distributed, plain
from x2vlm.data.text import Tokenizer, load_tokenizer
from x2vlm.errors import ConfigError, RecordError
from x2vlm.model import checkpoint
from x2vlm.model.config import ModelConfig
from x2vlm.model.fit import fit
from x2vlm.model.initialise import directional_positions
from x2vlm.model.towers import init_towers
from x2vlm.model.x2vlm import X2VLM, count_parameters
from x2vlm.provenance import revision, sha256
from x2vlm.tasks import build_on
from x2vlm.train.mixed import MixedSource
from x2vlm.train.trainer import TrainResult, train
from x2vlm.weights import ASSETS, check_tokenizer, find_device
from x2vlm.writing import write_json

log = logging.getLogger("x2vlm")


def pretrain(plan: PretrainPlan) -> Path:
    """Train, then write OUT/NAME.safetensors and OUT/NAME.json; resumes in OUT/NAME/.

    Returns the weights file; at once when it was made by the same plan. Raises ConfigError for
    settings that make no sense, DataError for missing shards.
    """
    assert plan.train.steps is not None  # checked by the plan
    name = plan.name or plan.model
    folder, out = Path(plan.out) / name, Path(plan.out) / f"{name}.safetensors"
    if _made(plan, out):
        log.info("%s: pre-trained already", out)
        return out
    tokenizer = load_tokenizer(plan.tokenizer or ASSETS / f"{plan.model}-tokenizer.json")
    shape = plan.shape(tokenizer)
    check_tokenizer(tokenizer, shape.text, f"model={plan.model}", own=True)
    streams = plan.used_streams()
    torch.manual_seed(plan.train.seed)
    task = build_on(
        "pretraining", first_model(plan, shape), tokenizer,
        localise=plan.localise, align_regions=plan.align_regions,
        weights={**{s.kind: s.weight for s in streams.values()}, **plan.loss_weights},
    )  # fmt: skip
    task.model.to(find_device(plan.device))
    source = MixedSource(
        {key: part_of(plan, row, task.model.config, tokenizer) for key, row in streams.items()},
        seed=plan.train.seed, micro_batch=plan.train.micro_batch or 0,
        matching_until=plan.matching_until,
    )  # fmt: skip
    source.check_negatives()
    about, steps = _about(plan), plan.train.steps
    try:
        result = train(task, source, plan.train, folder, total_steps=steps, about=about)
    finally:
        source.write_report(folder)
    if result.finished and distributed.is_main():
        _write(plan, task.model, tokenizer, out, result, about["init"])
    distributed.barrier()
    if result.stop:
        raise result.stop
    return out


def first_model(plan: PretrainPlan, config: ModelConfig) -> X2VLM:
    """The model of `config` that training starts from: random, but for what the plan gives.

    Raises CheckpointError for weights that do not fit, ConfigError for two sources of one part.
    """
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
    whole = json_ready(PretrainPlan.from_dict(plan, recorded=True))
    del whole["device"], whole["train"]["shard"]
    return whole


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
