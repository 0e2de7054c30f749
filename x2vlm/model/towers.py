"""Towers from public weights: BEiT-v2, BERT, XLM-R, or (all but the text) a monolingual X²-VLM.

As in the official pre-training: the fusion layers of a BERT start as its last layers, whose
cross-attention is new; of a deeper text model evenly spaced layers are taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from x2vlm.errors import CheckpointError
from x2vlm.model.checkpoint import from_official, read_state, state_of
from x2vlm.model.config import ModelConfig
from x2vlm.model.fit import Fault, State, refuse
from x2vlm.model.names import infer_config, official_name, usual_names
from x2vlm.model.positions import resize_positions
from x2vlm.model.x2vlm import X2VLM

Source = str | Path | Mapping[str, Tensor]

BEIT_UNUSED = re.compile(
    r"head\.|lm_head\.|mask_token|norm\.|.*relative_position_index|cls_pt_layers\."
)
TEXT_UNUSED = re.compile(
    r".*position_ids|(bert|roberta)\.pooler\.|cls\.seq_relationship\.|"
    r"(cls\.predictions|lm_head)\.decoder\."
)
"""Parts of the public models that this one has no use for; tied output layers are copies."""

XLMR_HEAD = {
    "lm_head.dense.": "cls.predictions.transform.dense.",
    "lm_head.layer_norm.": "cls.predictions.transform.LayerNorm.",
    "lm_head.bias": "cls.predictions.bias",
}


def init_towers(
    model: X2VLM,
    *,
    beit: Source | None = None,
    bert: Source | None = None,
    xlmr: Source | None = None,
    x2vlm: Source | None = None,
) -> None:
    """Fill a new pre-training model from public weights, in place; files or state dicts.

    beit: official BEiT-v2 (a .pth with `model`; shared or per-block position tables; resized).
    bert, xlmr: Hugging Face state dicts; bert gives text, fusion and the MLM head of a monolingual
    model, and only fusion of a multilingual one. x2vlm: an official monolingual checkpoint, which
    gives a multilingual model everything but text encoder and MLM head. Later arguments are
    stronger. What is left is in `new_parameters`. Raises CheckpointError for a tensor that is
    unknown, missing or of another shape.
    """
    config, given = model.config, State()
    if beit is not None:
        given |= _from_beit(_read(beit), config)
    if bert is not None:
        given |= _from_text(_read(bert), "bert", config)
    if xlmr is not None:
        _needs_multilingual(config)
        given |= _from_text(_read(xlmr), "roberta", config)
    if x2vlm is not None:
        _needs_multilingual(config)
        state = usual_names(_read(x2vlm))
        source = infer_config({n: t.shape for n, t in state.items()}, config.text.heads)
        ours = _resized(from_official(state, source, "x2vlm weights"), config)
        wanted = {n for n, _ in model.named_parameters()}
        given |= {
            n: t for n, t in ours.items() if not n.startswith(("text.", "mlm_")) and n in wanted
        }
    _copy(model, given)


def _read(source: Source) -> State:
    return (
        state_of(source, "state dict") if isinstance(source, Mapping) else read_state(Path(source))
    )


def _needs_multilingual(config: ModelConfig) -> None:
    if not config.multilingual:
        raise CheckpointError(
            "xlmr and x2vlm fill a multilingual model, and the text encoder of this one is BERT\n"
            "  to do: choose a multilingual preset (or load_official for a whole X²-VLM)"
        )


def _copy(model: X2VLM, given: State) -> None:
    """Write `given` into the model, strictly."""
    parameters = dict(model.named_parameters())
    faults = [
        Fault(name, tuple(parameters[name].shape) if name in parameters else None, tuple(t.shape))
        for name, t in given.items()
        if name not in parameters or parameters[name].shape != t.shape
    ]
    if faults:
        raise refuse(faults, "public weights", "the preset has another size than the weights")
    with torch.no_grad():
        for name, tensor in given.items():
            parameters[name].copy_(tensor)
    model.new_parameters = frozenset(parameters.keys() - given.keys())


def _strict(wanted: Iterable[str], state: State, unused: re.Pattern[str], where: str) -> None:
    """CheckpointError unless `state` holds exactly `wanted`, and what is known to be unused."""
    wanted = set(wanted)
    missing = [Fault(name, (), None) for name in sorted(wanted - state.keys())]
    left = sorted(name for name in state.keys() - wanted if not unused.match(name))
    faults = missing + [Fault(name, None, tuple(state[name].shape)) for name in left]
    if faults:
        raise refuse(faults, where, f"the file is not {where}, or of another size than the preset")


def _resized(state: State, config: ModelConfig) -> State:
    """Position tables for the image size of `config`."""
    return {
        name: resize_positions(tensor, config.vision.grid) if "position_table" in name else tensor
        for name, tensor in state.items()
    }


def _from_beit(state: State, config: ModelConfig) -> State:
    """BEiT-v2's names are those of the official vision encoder, without its prefix."""
    shared = state.pop("rel_pos_bias.relative_position_bias_table", None)
    if "fc_norm.weight" not in state:
        for part in ("weight", "bias"):
            if f"norm.{part}" in state:
                state[f"fc_norm.{part}"] = state[f"norm.{part}"]
    if shared is not None:
        for block in range(config.vision.depth):
            state[f"blocks.{block}.attn.relative_position_bias_table"] = shared
    names = _names(config, ("vision.",), "vision_encoder.")
    _strict(names.values(), state, BEIT_UNUSED, "BEiT-v2 weights")
    return _resized({ours: state[name].float() for ours, name in names.items()}, config)


def _names(config: ModelConfig, starts: tuple[str, ...], prefix: str) -> dict[str, str]:
    """Our names that begin with `starts` -> official names without `prefix`."""
    with torch.device("meta"):
        found = [name for name, _ in X2VLM(config).named_parameters() if name.startswith(starts)]
    return {name: official_name(name, config).removeprefix(prefix) for name in found}


def _text_names(state: State, root: str) -> State:
    """A public text model under BERT's names: `bert.…` and `cls.predictions.…`."""
    renamed: State = {}
    for name, tensor in state.items():
        new = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        new = new.replace("LayerNorm.beta", "LayerNorm.bias")
        if new.startswith(("embeddings.", "encoder.", "pooler.")):
            new = f"{root}.{new}"
        for theirs, ours in XLMR_HEAD.items():
            new = new.replace(theirs, ours)
        renamed[re.sub(r"^roberta\.", "bert.", new)] = tensor.float()
    return renamed


def _spaced(layers: int, wanted: int) -> Sequence[int]:
    """`wanted` layer numbers of `layers`, evenly spaced, the last among them."""
    if layers % wanted:
        raise CheckpointError(
            f"{wanted} text layers cannot be taken evenly from a model of {layers} layers"
        )
    step = layers // wanted
    return range(step - 1, layers, step)


def _from_text(state: State, root: str, config: ModelConfig) -> State:
    """BERT or XLM-R -> text encoder, MLM head and, for BERT, fusion layers (no cross-attention)."""
    state = _text_names(state, root)
    found = [re.match(r"bert\.encoder\.layer\.(\d+)\.", name) for name in state]
    depth = 1 + max((int(match[1]) for match in found if match), default=-1)
    if not depth:
        raise refuse([Fault("bert.encoder.layer.0", (), None)], "text weights",
                     "the file holds no Transformer of Hugging Face's BERT or XLM-R")  # fmt: skip
    own = (root == "bert") == (config.text.kind == "bert")
    flat = config.with_heads(heads=("mlm",), separate_fusion=False)  # BERT's own arrangement
    names = _names(flat, ("text.", "mlm_head."), "text_encoder.")
    if not any(name.startswith("cls.predictions.") for name in state):
        names = {ours: name for ours, name in names.items() if not ours.startswith("mlm_head.")}
    every = {name for ours, name in names.items() if not ours.startswith("text.layers.")}
    parts = {re.sub(r"\.\d+\.", ".{}.", n, count=1): re.sub(r"\.\d+\.", ".{}.", o, count=1)
             for o, n in names.items() if o.startswith("text.layers.0.")}  # fmt: skip
    every |= {part.format(layer) for part in parts for layer in range(depth)}
    _strict(every, state, TEXT_UNUSED, "BERT weights" if root == "bert" else "XLM-R weights")
    picked = _spaced(depth, config.text.layers if own else depth)
    given: State = {}
    if own:
        given = {ours: state[n] for ours, n in names.items() if not ours.startswith("text.layers.")}
        for part, ours in parts.items():
            for number, layer in enumerate(picked):
                given[ours.format(number)] = state[part.format(layer)]
        if "mlm_head.bias" in given and config.separate_fusion:
            given["mlm_head.weight"] = given["text.embeddings.word.weight"]
        if "mlm" not in config.heads:
            given = {n: tensor for n, tensor in given.items() if not n.startswith("mlm_head.")}
    if root == "bert":
        for part, ours in parts.items():
            for number, layer in enumerate(picked[-config.fusion_layers :]):
                given[f"fusion.{ours.format(number).removeprefix('text.')}"] = state[
                    part.format(layer)
                ]
    return given
