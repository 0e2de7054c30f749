"""Reading and writing weights: official files, our one-file format, and the way between them.

Our file is safetensors whose metadata holds the format, the config as JSON, optionally a tokenizer
(JSON or a name) and further JSON (`extra`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from x2vlm.errors import CheckpointError, ConfigError, unknown
from x2vlm.model.config import TASK_HEADS, ModelConfig
from x2vlm.model.fit import Fault, State, compare, empty_model, fit, refuse
from x2vlm.model.metadata import FORMAT, Metadata, read_metadata
from x2vlm.model.names import SMOOTHING, derived, infer_config, official_name, usual_names
from x2vlm.model.x2vlm import X2VLM
from x2vlm.storage.file_kinds import check_is_weights
from x2vlm.storage.finite import check_finite
from x2vlm.storage.safetensors_file import content_sha256, write_safetensors
from x2vlm.storage.torch_file import read_torch
from x2vlm.storage.wrappers import unwrap
from x2vlm.writing import whole

_CAUSES = {
    False: "the file is damaged, or is not an official X²-VLM model",
    True: "beside the model the file holds tensors of its training (queues, averages) or of other "
    "heads; save the model's own state dict",
}
"""why tensors do not fit; whether all of them are left over"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one of our files holds. tokenizer: its JSON or its name; empty: none."""

    model: X2VLM
    tokenizer: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_state(path: Path) -> State:
    """The tensors of a .th (or .safetensors) file, all finite; nothing in it is executed.

    Wrappers of training frameworks are taken off (see `storage.wrappers`). CheckpointError says
    what the file is instead, or which tensors are not finite.
    """
    check_is_weights(path)
    if _is_safetensors(path):
        return unwrap(_read_safetensors(path)[0], str(path))
    return state_of(read_torch(path), str(path))


def state_of(loaded: object, where: str) -> State:
    """The tensors of a state dict, or of what a training saved around it; all finite."""
    state = unwrap(loaded, where)
    check_finite(state, where)
    return state


def _is_safetensors(path: Path) -> bool:
    """By the file's name or its first bytes: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    """Tensors, all finite, and metadata; CheckpointError when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
    check_finite(state, str(path))
    return state, metadata


def _upcast(tensor: Tensor) -> Tensor:
    """Half precision is for storage; models compute from float32."""
    return tensor.float() if tensor.is_floating_point() else tensor


def from_official(state: Mapping[str, Tensor], config: ModelConfig, where: str) -> State:
    """Official names -> ours, every tensor accounted for; CheckpointError names those that are not.

    Copies and indices that follow from other tensors are checked and left out.
    """
    ours = {official_name(n, config): (n, p) for n, p in empty_model(config).named_parameters()}
    follows = derived(config, smoothing=0.1)
    parameters = {name: tensor for name, tensor in state.items() if name not in follows}
    faults = compare({name: p for name, (_, p) in ours.items()}, parameters)
    faults += _wrong_copies(state, follows)
    if faults:
        raise refuse(faults, where, _CAUSES[all(fault.expected is None for fault in faults)])
    return {ours[name][0]: _upcast(tensor) for name, tensor in parameters.items()}


def _wrong_copies(state: Mapping[str, Tensor], follows: Mapping[str, Tensor | str]) -> list[Fault]:
    """Derived tensors of `state` that are not what they follow from."""
    faults = []
    for name, value in follows.items():
        right = state[value] if isinstance(value, str) else value
        found = state.get(name)
        if found is None or found.is_meta:
            same = found is None or found.shape == right.shape
        elif name == SMOOTHING:  # how much is smoothed is the training's choice
            same = found.shape == right.shape
        else:
            same = torch.equal(found.to(right.dtype), right)
        if not same and found is not None:
            faults.append(Fault(name, tuple(right.shape), tuple(found.shape)))
    return faults


def target_config(
    base: ModelConfig,
    to: Mapping[str, Any] | None = None,
    *,
    image_size: int | None = None,
    frames: int | None = None,
) -> ModelConfig:
    """`base` with the fields of `to` (such as `Task.heads()`), for another image size or video."""
    config = base.with_heads(**to) if to else base
    if image_size is not None:
        config = config.with_image_size(image_size)
    return config if frames is None else replace(config, frames=frames)


def load_official(
    source: str | Path | Mapping[str, Tensor],
    config: ModelConfig | None = None,
    to: Mapping[str, Any] | None = None,
    *,
    image_size: int | None = None,
    frames: int | None = None,
    allow_new: Collection[str] = (),
    text_heads: int | None = None,
) -> X2VLM:
    """A model from official weights: a .th file (dict with `model`, or bare), or its state dict,
    which is copied.

    config: the model wanted; None: what the weights say. to: fields of the config to change, such
    as a task's heads. Position tables are resized to the image size wanted, frame positions cut or
    extended, a decoder started from the fusion layers. allow_new: heads, or "frames", that may
    start from random values (see `X2VLM.new_parameters`). text_heads: attention heads of the text
    side where they are not width / 64. Raises CheckpointError, naming the first tensors at fault.
    """
    where = "state dict" if isinstance(source, Mapping) else str(source)
    if isinstance(source, Mapping):
        state = state_of({name: tensor.clone() for name, tensor in source.items()}, where)
    else:
        state = read_state(Path(source))
    state = usual_names(state)
    asked = text_heads or (config.text.heads if config else None)
    try:
        found = infer_config({name: tensor.shape for name, tensor in state.items()}, asked)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{where}: {error}") from error
    state = from_official(state, found, where)
    target = target_config(config or found, to, image_size=image_size, frames=frames)
    return fit(state, found, target, allow_new=allow_new, where=where)


def to_official(model: X2VLM, smoothing: float = 0.1) -> State:
    """The state dict under official names, with all the tensors official code saves. It shares the
    model's memory, as any state dict does.

    smoothing: of captioning models, which keep it in a buffer.
    """
    config = model.config
    state = {official_name(n, config): p.detach() for n, p in model.named_parameters()}
    copies = derived(config, smoothing)
    return state | {n: state[v] if isinstance(v, str) else v for n, v in copies.items()}


def save(
    model: X2VLM,
    path: str | Path,
    *,
    tokenizer: str = "",
    extra: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write our one-file format, whole or not at all. WritingError when it cannot be written.

    tokenizer: its JSON or name. dtype: of storage; `load` gives float32 again. Equal arguments
    give equal bytes.
    """
    path = Path(path)
    state = {n: p.detach().to("cpu", dtype).contiguous() for n, p in model.named_parameters()}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "tokenizer": tokenizer,
        "extra": json.dumps(dict(extra or {})),
    }
    with whole(path) as beside:
        write_safetensors(state, beside, metadata)


def load(
    path: str | Path,
    to: Mapping[str, Any] | None = None,
    *,
    image_size: int | None = None,
    frames: int | None = None,
    allow_new: Collection[str] = (),
) -> Loaded:
    """A model from one of our files, changed as `load_official` changes one; strict likewise."""
    path = Path(path)
    check_is_weights(path)
    state, metadata = _read_safetensors(path)
    shapes = {name: tensor.shape for name, tensor in state.items()}
    about = read_metadata(metadata, shapes, str(path))
    source = about.config
    target = target_config(source, to, image_size=image_size, frames=frames)
    model = fit(
        {name: _upcast(tensor) for name, tensor in state.items()},
        source,
        target,
        allow_new=allow_new,
        where=str(path),
    )
    return Loaded(model, about.tokenizer, about.extra)


def load_any(path: str | Path, to: Mapping[str, Any] | None = None, **changes: Any) -> Loaded:
    """A model from one of our files or an official one, told apart by content.

    changes: image_size, frames, allow_new as in `load`.
    """
    path = Path(path)
    check_is_weights(path)
    if is_ours(path):
        return load(path, to, **changes)
    return Loaded(load_official(path, to=to, **changes))


def is_ours(path: Path) -> bool:
    """Whether a file of weights is of our format, not an official one."""
    return _is_safetensors(path) and "format" in _metadata(path)


def weights_sha256(path: str | Path, tokenizer: str = "") -> str:
    """Hash of what a file of weights holds: tensors, as `load_any` gives them, config, tokenizer.

    An official file, our conversion of it and a copy in another order have one hash; files in half
    precision have that of the float32 they are loaded as. tokenizer: the JSON of another one than
    the file's. Tensors of our files are read one at a time.
    """
    path = Path(path)
    check_is_weights(path)
    if not is_ours(path):
        state = usual_names(read_state(path))
        config = infer_config({name: tensor.shape for name, tensor in state.items()})
        named = from_official(state, config, str(path))
        return content_sha256(sorted(named.items()), _about(config, tokenizer))
    held = _about_file(path)
    about = _about(held.config, tokenizer or held.tokenizer)
    with safe_open(path, framework="pt") as file:
        names = sorted(file.keys())
        return content_sha256(((n, _upcast(file.get_tensor(n))) for n in names), about)


def _about(config: ModelConfig, tokenizer: str) -> dict[str, Any]:
    """What decides the weights beside their tensors; order of heads and of JSON does not."""
    values = config.to_dict()
    try:
        text = json.loads(tokenizer) if tokenizer.lstrip().startswith("{") else tokenizer
    except ValueError:
        text = tokenizer
    return {"config": {**values, "heads": sorted(config.heads)}, "tokenizer": text}


def read_extra(path: Path) -> dict[str, Any]:
    """What was kept beside the weights of one of our files, without reading those."""
    return dict(_about_file(path).extra)


def _about_file(path: Path) -> Metadata:
    """What one of our files says of its tensors, held against their shapes."""
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in list(file.keys())}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
    return read_metadata(_metadata(path), shapes, str(path))


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


def convert(
    source: str | Path,
    out: str | Path,
    *,
    to: str,
    tokenizer: str | Callable[[str, ModelConfig], str] = "",
    image_size: int | None = None,
    frames: int | None = None,
    labels: int | None = None,
) -> str:
    """Convert a file: official or ours -> ours with the heads of a task, or -> official names.

    to: a task (see `config.TASK_HEADS`), or "official", which writes a .th file. tokenizer: its
    JSON or name, kept in our file, or what makes it of the one inside and the config; empty: the
    one already inside. labels: classes of a classifier.
    Returns a report in words: what was dropped, what starts anew.
    """
    if to != "official" and to not in TASK_HEADS:
        raise CheckpointError(unknown("task", to, (*TASK_HEADS, "official")))
    fields: dict[str, Any] = {} if to == "official" else {"heads": TASK_HEADS[to]}
    if labels is not None:
        fields["labels"] = labels
    first = load_any(source)
    before = first.model.config.heads
    kept = tokenizer(first.tokenizer, first.model.config) if callable(tokenizer) else tokenizer
    loaded = load_any(
        source,
        fields or None,
        image_size=image_size,
        frames=frames,
        allow_new=(*fields.get("heads", ()), "frames"),
    )
    model, out = loaded.model, Path(out)
    if to == "official":
        with whole(out) as beside:
            torch.save({"model": to_official(model)}, beside)
    else:
        save(model, out, tokenizer=kept or loaded.tokenizer, extra=loaded.extra)
    dropped = [head for head in before if head not in model.config.heads]
    parts = sorted({name.split(".")[0] for name in model.new_parameters})
    return (
        f"{out}: {', '.join(model.config.heads)}; dropped: {', '.join(dropped) or 'nothing'}; "
        f"starts anew: {', '.join(parts) or 'nothing'}"
    )
