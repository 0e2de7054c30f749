"""Which settings and which fields of a record decide a result: the one place that says it.

A new setting is entered here, or tests/test_identity.py fails. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from x2vlm.config import DataConfig, PredictConfig, TrainConfig

Part = Literal["decides", "trains", "elsewhere", "seed", "nothing", "section"]
"""decides: another value is another result. trains: so it is where the run trains. elsewhere: what
it leads to is a fact of the record (weights, resolution, data), which decides in its place. seed:
it may differ between seeds. nothing: at most the last digits change. section: a table of its own"""

SETTINGS: Mapping[type[Any], Mapping[str, Part]] = {
    Plan: {
        "benchmark": "elsewhere",  # the record's own, with its version
        "model": "section",
        "data": "section",
        "train": "section",
        "predict": "section",
        "protocol": "elsewhere",  # the record's own, and whether it trained
        "split": "elsewhere",
        "train_split": "trains",
        "languages": "elsewhere",  # the fingerprint of the evaluated records
        "train_languages": "trains",
        "options": "decides",
        "scoring": "decides",
        "floor": "nothing",
        "seed": "seed",
        "out": "nothing",
        "name": "nothing",
        "device": "nothing",
    },
    ModelChoice: {
        "name": "decides",
        "checkpoint": "elsewhere",  # the hash of the weights, as are the next two
        "trained_on": "elsewhere",  # the protocol, where it was trained on what it is evaluated on
        "shipped": "elsewhere",
        "random": "elsewhere",
        "image_size": "elsewhere",  # the resolution
        "frames": "decides",
        "temporal_positions": "decides",
        "tokenizer": "decides",
        "max_tokens": "decides",
        "pretraining": "elsewhere",  # the record's own, which may be read off a file name
        "label": "decides",
        "seeded": "elsewhere",  # the recipe of the weights in place of their hash
    },
    DataConfig: {
        "root": "elsewhere",  # fingerprints of the records, as is all of this section
        "layout": "elsewhere",
        "files": "elsewhere",
        "on_error": "elsewhere",
        "limit": "elsewhere",
        "box_format": "elsewhere",
        "box_pixels": "decides",  # the boxes of a record are the same, its picture is another
    },
    TrainConfig: {
        "epochs": "trains",
        "steps": "trains",
        "batch_size": "trains",
        "micro_batch": "trains",  # negatives come from one forward pass
        "lr": "trains",
        "lr_vision": "trains",
        "lr_text": "trains",
        "lr_new": "trains",
        "weight_decay": "trains",
        "betas": "trains",
        "eps": "trains",
        "clip": "trains",
        "decay_head_norms": "trains",
        "warmup": "trains",
        "precision": "trains",
        "checkpoint_gradients": "nothing",
        "compile": "nothing",
        "ema": "trains",
        "drop_path": "trains",
        "text_drop_path": "trains",
        "seed": "seed",
        "workers": "nothing",
        "save_every": "nothing",
        "keep_last": "nothing",
        "eval_every": "trains",  # the best weights are kept
        "log_every": "nothing",
        "trackers": "nothing",
        "deterministic": "nothing",
        "auto_batch": "trains",  # may halve the micro-batch
        "shard": "nothing",
    },
    PredictConfig: {
        "batch_size": "nothing",
        "precision": "decides",
        "workers": "nothing",
        "cache": "nothing",
    },
}
SECTIONS: Mapping[str, type[Any]] = {
    "model": ModelChoice,
    "data": DataConfig,
    "train": TrainConfig,
    "predict": PredictConfig,
}
RECORD: Mapping[str, Part] = {
    "benchmark": "decides",
    "benchmark_version": "decides",
    "split": "decides",
    "protocol": "decides",
    "headline": "nothing",
    "metrics": "nothing",
    "n": "elsewhere",  # the fingerprint
    "limit": "decides",
    "seed": "seed",
    "model": "section",  # source, resolution, pretraining
    "predictions": "nothing",
    "config": "section",  # SETTINGS
    "revision": "nothing",
    "packages": "nothing",
    "hardware": "nothing",
    "created": "nothing",
    "suite": "decides",
    "chance": "nothing",
    "perfect": "nothing",
    "lower_is_better": "nothing",
    "floor": "nothing",
    "seconds": "nothing",
    "skipped": "elsewhere",  # what is missing, and the fingerprint
    "data": "section",  # fingerprints, what is missing
    "training": "elsewhere",  # train_split, and the protocol
    "video": "elsewhere",  # model.frames
    "schema": "nothing",
    "identity": "nothing",
    "path": "nothing",
    "altered": "nothing",
}
