"""Checkpoints as training frameworks write them: the same weights come out, and nothing runs."""

import collections
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small
import torch

from x2vlm.errors import CheckpointError
from x2vlm.model import checkpoint
from x2vlm.model.fit import State
from x2vlm.storage.wrappers import unwrap

HEADS = ("contrastive", "matching")


@pytest.fixture(scope="module")
def state() -> State:
    return checkpoint.to_official(small.model(*HEADS, frames=0))


def other(state: State) -> State:
    """Averaged weights, different from the trained ones."""
    return {n: t * 0.5 if t.is_floating_point() else t for n, t in state.items()}


def prefixed(state: State, start: str) -> State:
    return {start + name: tensor for name, tensor in state.items()}


def inside(state: State, where: str, added: str) -> State:
    """What a wrapper of one layer adds within the names."""
    return {name.replace(where, where + added): tensor for name, tensor in state.items()}


def optimizer() -> dict[str, Any]:
    moments = {n: {"exp_avg": torch.ones(3), "step": torch.tensor(4.0)} for n in range(3)}
    return {"state": moments, "param_groups": [{"lr": 1e-5, "params": [0, 1, 2]}]}


WRAPPED: dict[str, Callable[[State], Any]] = {
    "bare": lambda s: s,
    "official": lambda s: {"model": s, "epoch": 3},
    "bare with numbers": lambda s: {**s, "epoch": 3, "best": 0.5, "name": "x", "nothing": None},
    "DDP": lambda s: {"model": prefixed(s, "module.")},
    "compiled": lambda s: {"model": prefixed(s, "_orig_mod.")},
    "DDP of compiled": lambda s: {"model": prefixed(s, "module._orig_mod.")},
    "compiled DDP": lambda s: {"model": prefixed(s, "_orig_mod.module.")},
    "compiled part": lambda s: inside(s, "vision_encoder.", "_orig_mod."),
    "Lightning": lambda s: {"state_dict": prefixed(s, "model."), "epoch": 1, "global_step": 9,
                            "pytorch-lightning_version": "2.1", "optimizer_states": [optimizer()],
                            "loops": {"fit_loop": {"state_dict": {}}}, "lr_schedulers": []},
    "Lightning, compiled": lambda s: {"state_dict": prefixed(s, "model._orig_mod.")},
    "Lightning, other name": lambda s: {"state_dict": prefixed(s, "vlm.net.")},
    "Lightning with DeepSpeed": lambda s: {"module": prefixed(s, "_forward_module.model.")},
    "Fabric": lambda s: {"model": prefixed(s, "_forward_module.module.")},
    "FSDP": lambda s: inside(prefixed(s, "_fsdp_wrapped_module."), "encoder.",
                             "_fsdp_wrapped_module."),
    "activation checkpointing": lambda s: inside(s, "blocks.0.", "_checkpoint_wrapped_module."),
    "DeepSpeed": lambda s: {"module": s, "buffer_names": [], "optimizer": None, "dp_world_size": 8,
                            "param_shapes": [collections.OrderedDict(a=torch.Size([2]))],
                            "ds_version": "0.14", "global_steps": 100},
    "mmengine": lambda s: {"meta": {"epoch": 1}, "state_dict": s, "message_hub": {"log": {}},
                           "ema_state_dict": {"steps": torch.tensor(4), **prefixed(other(s),
                                                                                  "module.")}},
    "timm": lambda s: {"epoch": 1, "arch": "x", "state_dict": s, "state_dict_ema": other(s),
                       "optimizer": optimizer(), "metric": 1.0, "version": 2},
    "timm, EMA first": lambda s: {"state_dict_ema": other(s), "state_dict": s},
    "DeiT": lambda s: {"model": s, "model_ema": other(s), "optimizer": optimizer(), "scaler": {}},
    "one EMA": lambda s: {"ema": s, "epoch": 1},
    "EMA in EMA": lambda s: {"ema": {"module": s, "decay": 0.9}, "model": None},
    "BasicSR": lambda s: {"params": s, "params_ema": other(s)},
    "torch AveragedModel": lambda s: {"n_averaged": torch.tensor(3), **prefixed(s, "module.")},
    "ema_pytorch": lambda s: {"initted": torch.tensor(True), "step": torch.tensor(3),
                              **prefixed(s, "online_model."),
                              **prefixed(other(s), "ema_model.")},
    "Lightning with EMA": lambda s: {"state_dict": {**prefixed(s, "model."),
                                                    **prefixed(other(s), "model_ema.")}},
    "Lightning beside an EMA callback": lambda s: {
        "state_dict": prefixed(s, "model."), "callbacks": {"EMA": {"ema_state_dict": other(s)}}},
    "teacher and student": lambda s: {"teacher": prefixed(other(s), "module."), "student": s},
    "Composer": lambda s: {"state": {"model": prefixed(s, "module."), "optimizers": optimizer()},
                           "rng": [{"cuda": torch.zeros(4, dtype=torch.uint8)}]},
    "net": lambda s: {"net": s, "acc": 90.0, "epoch": 4},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": optimizer()},
    "nested": lambda s: {"checkpoint": {"state_dict": {"model": prefixed(s, "module.")}}},
    "head taken out": lambda s: {
        n.replace("text_encoder.", "text_encoder.bert."): t for n, t in s.items()},
    "numpy arrays": lambda s: {"model": {n: t.numpy() for n, t in s.items()}},
    "parameters": lambda s: {"model": {n: torch.nn.Parameter(t, requires_grad=False)
                                       for n, t in s.items()}},
}  # fmt: skip


def same_weights(found: State, wanted: State) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("kind", WRAPPED)
def test_wrappers_are_taken_off(kind: str, zipped: bool, state: State, tmp_path: Path) -> None:
    path = tmp_path / "m.ckpt"
    torch.save(WRAPPED[kind](state), path, _use_new_zipfile_serialization=zipped)
    if kind != "head taken out":  # whose names are made usual when the model is built
        same_weights(checkpoint.read_state(path), state)
    model = checkpoint.load_official(path, text_heads=small.TEXT.heads)
    same_weights(checkpoint.to_official(model), state)


@pytest.mark.parametrize("kind", ["timm", "DeiT", "mmengine", "BasicSR", "teacher and student",
                                  "ema_pytorch", "Lightning with EMA", "one EMA"])  # fmt: skip
def test_the_log_says_which_weights_were_taken(
    kind: str, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="x2vlm"):
        unwrap(WRAPPED[kind](state), "FILE")
    assert "FILE" in caplog.text
    assert ("only averaged weights (ema)" if kind == "one EMA" else "left out") in caplog.text


def test_one_name_with_and_without_a_wrapper_is_refused(state: State) -> None:
    with pytest.raises(CheckpointError, match="there twice"):
        unwrap({**state, "_orig_mod.itm_head.0.bias": torch.zeros(3)}, "FILE")


def test_weights_that_are_kept_elsewhere_are_named() -> None:
    empty = {f"layer.{n}.weight": torch.zeros(0) for n in range(4)}
    with pytest.raises(CheckpointError, match="ZeRO stage 3"):
        unwrap({"module": {**empty, "scale": torch.ones(1)}}, "FILE")
    with pytest.raises(CheckpointError, match="FULL_STATE_DICT"):
        unwrap({"_fsdp_wrapped_module._flat_param": torch.zeros(9)}, "FILE")
