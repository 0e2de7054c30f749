"""Weights of one model made into weights of another: resolution, frames, heads, decoder.

States here are under our names. Nothing is left random in silence: what a checkpoint does not give
is an error unless the caller names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from x2vlm.errors import CheckpointError
from x2vlm.model.config import HEADS, ModelConfig
from x2vlm.model.initialise import initial_value
from x2vlm.model.positions import resize_positions
from x2vlm.model.x2vlm import X2VLM

State = dict[str, Tensor]

HEAD_PARTS = {
    "contrastive": ("vision_proj", "text_proj", "temperature"),
    "matching": ("matching_head",),
    "box": ("box_head",),
    "mlm": ("mlm_head",),
    "classifier": ("classifier",),
    "pair_classifier": ("classifier",),
    "decoder": ("decoder",),
    "frames": ("frame_positions",),
}
"""Head (or "frames") -> first parts of its parameters' names."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One tensor that does not fit. expected, found: shapes; None: there is no such tensor."""

    name: str
    expected: tuple[int, ...] | None
    found: tuple[int, ...] | None

    def __str__(self) -> str:
        expected = "no such tensor" if self.expected is None else str(self.expected)
        return f"{self.name}: expected {expected}, found {self.found or 'none'}"


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[Fault]:
    """Every tensor that is missing, left over, or of another shape; wrong shapes first."""
    wrong, missing = [], []
    for name, tensor in expected.items():
        if name not in found:
            missing.append(Fault(name, tuple(tensor.shape), None))
        elif found[name].shape != tensor.shape:
            wrong.append(Fault(name, tuple(tensor.shape), tuple(found[name].shape)))
    left = [Fault(name, None, tuple(t.shape)) for name, t in found.items() if name not in expected]
    return wrong + missing + left


def refuse(faults: list[Fault], where: str, cause: str) -> CheckpointError:
    """The error for weights that do not fit: the first offenders and the likely cause."""
    lines = [f"{where}: {len(faults)} tensors do not fit the model"]
    lines += [str(fault) for fault in faults[:5]]
    if len(faults) > 5:
        lines.append(f"… and {len(faults) - 5} more")
    return CheckpointError("\n  ".join([*lines, f"likely cause: {cause}"]))


def empty_model(config: ModelConfig) -> X2VLM:
    """A model without memory, to know names and shapes."""
    with torch.device("meta"):
        return X2VLM(config)


def _mismatch(source: ModelConfig, target: ModelConfig) -> str:
    """Why towers of `source` cannot be those of `target`, in words."""
    asked = {
        "vision width": (source.vision.width, target.vision.width),
        "vision blocks": (source.vision.depth, target.vision.depth),
        "patch size": (source.vision.patch_size, target.vision.patch_size),
        "text encoder": (source.text.kind, target.text.kind),
        "vocabulary": (source.text.vocabulary, target.text.vocabulary),
        "text width": (source.text.width, target.text.width),
        "text layers": (source.text.layers, target.text.layers),
        "fusion layers": (source.fusion_layers, target.fusion_layers),
        "positions": (source.text.positions, target.text.positions),
        "labels": (source.labels, target.labels),
        "embed": (source.embed, target.embed),
    }
    other = [f"{name} {a}, not {b}" for name, (a, b) in asked.items() if a != b]
    if other:
        return f"the weights are of another model ({'; '.join(other)})"
    return "the file is damaged or was made by other code"


def _decoder_from_fusion(state: Mapping[str, Tensor], target: ModelConfig) -> State:
    """A decoder that starts as the fusion layers, with the text embeddings and the MLM head.

    Of more fusion layers than decoder layers the last are taken. Cross-attention keys and values
    are copied where vision and text are equally wide. XLM-R's two extra positions are left out and
    its one token type serves for both.
    """
    found: State = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        if part == "fusion":
            number = int(rest.split(".")[1]) - target.fusion_layers + target.decoder_layers
            found[f"decoder.layers.{number}.{rest.split('.', 2)[2]}"] = tensor
        elif name.startswith("text.embeddings."):
            found[f"decoder.{rest}"] = tensor
        elif part == "mlm_head" and rest != "weight":
            found[f"decoder.head.{rest}"] = tensor
    position, kinds = "decoder.embeddings.position.weight", "decoder.embeddings.token_type.weight"
    found[position] = found[position][target.text.first_position :]
    if len(found[kinds]) == 1:
        found[kinds] = found[kinds].repeat(2, 1)
    return found


def _adapt(state: State, source: ModelConfig, target: ModelConfig) -> State:
    """Resize position tables, cut frame positions, drop what the target lacks."""
    state = dict(state)
    if source.vision.grid != target.vision.grid:
        for name in [n for n in state if n.endswith("position_table")]:
            state[name] = resize_positions(state[name], target.vision.grid)
    if 0 < target.frames < source.frames:
        state["frame_positions"] = state["frame_positions"][:, : target.frames]
    wanted = [head for head in target.heads if head in source.heads]
    keep = {part for head in wanted for part in HEAD_PARTS[head]}
    if target.frames:
        keep.add("frame_positions")
    dropped = {part for parts in HEAD_PARTS.values() for part in parts} - keep
    return {name: t for name, t in state.items() if name.partition(".")[0] not in dropped}


def new_heads(source: ModelConfig, target: ModelConfig) -> list[str]:
    """Heads of `target` that `source` does not have."""
    return [head for head in target.heads if head not in source.heads]


def _started(name: str, wanted: Tensor, start: Tensor | None, target: ModelConfig) -> Tensor:
    """A new parameter: from `start` where that fits (frames: as far as it goes), else initial."""
    if start is not None and start.shape == wanted.shape:
        return start.clone()
    value = initial_value(name, wanted.shape, target)
    if start is not None and name == "frame_positions":
        value[:, : start.shape[1]] = start
    return value


def _allowed(names: Iterable[str], heads: Collection[str]) -> set[str]:
    """The names that belong to one of `heads` (or to "frames")."""
    parts = {part for head in heads for part in HEAD_PARTS[head]}
    return {name for name in names if name.partition(".")[0] in parts}


def fit(
    state: State,
    source: ModelConfig,
    target: ModelConfig,
    *,
    allow_new: Collection[str] = (),
    where: str = "weights",
) -> X2VLM:
    """A model of `target` with the weights of `source`, strict in both directions.

    allow_new: heads (see `config.HEADS`), or "frames", whose parameters may start anew; they are
    named in the model's `new_parameters`. Heads the target lacks are dropped. A decoder that starts
    from the fusion layers counts as new. Raises CheckpointError for anything else that differs.
    """
    for head in allow_new:
        if head not in HEAD_PARTS:
            raise CheckpointError(f"allow_new names no head: {head!r}; known: {HEADS}, frames")
    model = empty_model(target)
    expected: State = dict(model.named_parameters())
    given = _adapt(state, source, target)
    new = _allowed(expected, [head for head in allow_new if head not in (*source.heads, "frames")])
    start = dict(given)
    if "decoder" in new_heads(source, target) and "decoder" in allow_new:
        start |= _decoder_from_fusion(state, target)
    for fault in compare(expected, given):
        name = fault.name
        if name in expected and _allowed([name], allow_new):
            new.add(name)
            given[name] = _started(name, expected[name], start.get(name), target)
    faults = compare(expected, given)
    if faults:
        raise refuse(faults, where, _cause(faults, source, target))
    model.load_state_dict(given, strict=True, assign=True)
    model.new_parameters = frozenset(new)
    return model


def _cause(faults: list[Fault], source: ModelConfig, target: ModelConfig) -> str:
    """The likely reason for `faults`."""
    missing = [
        head
        for head in (*target.heads, "frames")
        if _allowed([fault.name for fault in faults if fault.found is None], [head])
    ]
    if missing and len(_allowed([fault.name for fault in faults], missing)) == len(faults):
        return (
            f"the checkpoint has no trained {', '.join(missing)} (its heads: "
            f"{', '.join(source.heads)}); fine-tune first, or let them start anew: allow_new"
        )
    return _mismatch(source, target)
