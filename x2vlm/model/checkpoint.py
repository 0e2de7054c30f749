"""Reading and writing weights: official files, our one-file format, and the way between them.

Our file is safetensors whose metadata holds the format, the config as JSON, optionally a tokenizer
(JSON or a name) and further JSON (`extra`).
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from x2vlm.errors import CheckpointError, ConfigError, unknown
from x2vlm.model.config import TASK_HEADS, ModelConfig
from x2vlm.model.fit import Fault, State, compare, empty_model, fit, refuse
from x2vlm.model.metadata import FORMAT, read_metadata
from x2vlm.model.names import SMOOTHING, derived, infer_config, official_name
from x2vlm.model.x2vlm import X2VLM
from x2vlm.writing import whole


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one of our files holds. tokenizer: its JSON or its name; empty: none."""

    model: X2VLM
    tokenizer: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_state(path: Path) -> State:
    """The tensors of an official .th (or .safetensors) file; nothing in it is executed.

    A dict with `model`, `state_dict` or `module` inside is unwrapped, and a common "module." in
    front of the names removed. CheckpointError when the file holds anything but tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}")
    if _is_safetensors(path):
        return _read_safetensors(path)[0]
    _check_unpacked(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken torch file raises almost anything
        raise CheckpointError(
            f"{path} cannot be read as weights: {_unreadable(error)}\n"
            "  expected: a complete torch file of tensors only (others could run code, and are "
            "refused)\n  to do: download it again, or save its state dict anew"
        ) from error
    return unwrap(loaded, str(path))


def _check_unpacked(path: Path) -> None:
    """CheckpointError for a torch file (a zip archive) that grows when unpacked: torch stores its
    tensors as they are, so such a file was made to fill the memory."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return  # torch says what is wrong with it
    if unpacked > 2 * path.stat().st_size + 2**20:
        raise CheckpointError(
            f"{path} has {path.stat().st_size} bytes, but unpacked {unpacked}\n"
            "  expected: a file as torch.save writes it, which is not compressed\n"
            "  to do: if you trust it, unpack and save it again with torch.save"
        )


def _unreadable(error: Exception) -> str:
    """Why torch did not read a file, in a line."""
    if not isinstance(error, pickle.UnpicklingError):
        return str(error).partition(". ")[0] or "it is empty"
    if found := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds {found[1]}, which is no tensor"
    return "it holds objects that are no tensors, or is no torch file"


def _is_safetensors(path: Path) -> bool:
    """By the file's name or its first bytes: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def unwrap(loaded: object, where: str) -> State:
    """The state dict inside what `torch.load` returned."""
    for key in ("model", "state_dict", "module"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(
            f"{where} holds {'nothing' if loaded == {} else type(loaded).__name__}, expected named "
            "tensors\n  to do: give the model's state dict, or a dict with it under `model`"
        )
    for name, value in loaded.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise CheckpointError(
                f"{where}: {name!r} is {type(value).__name__}, expected a tensor; give the model's "
                "state dict, or a dict with it under `model`"
            )
        if not value.is_meta and value.nbytes > value.untyped_storage().nbytes():
            raise CheckpointError(
                f"{where}: {name!r} of shape {tuple(value.shape)} is larger than its data in the "
                "file; save the state dict again, with every tensor whole"
            )
    if all(name.startswith("module.") for name in loaded):
        return {name.removeprefix("module."): value for name, value in loaded.items()}
    return dict(loaded)


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    """Tensors and metadata; CheckpointError when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            # safe_open is no mapping: it has keys() and no iterator
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


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
        raise refuse(faults, where, "the file is damaged, or no official X²-VLM model")
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
        state = {name: tensor.detach().clone() for name, tensor in source.items()}
    else:
        state = read_state(Path(source))
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

    tokenizer: its JSON or name. dtype: of storage; `load` gives float32 again.
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
        beside.touch()
        mode = beside.stat().st_mode
        save_file(state, beside, metadata)
        beside.chmod(mode)  # safetensors writes files that nobody else may read


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
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}")
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
    if path.is_file() and _is_safetensors(path) and _is_ours(path):
        return load(path, to, **changes)
    return Loaded(load_official(path, to=to, **changes))


def _is_ours(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return "format" in (file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


def convert(
    source: str | Path,
    out: str | Path,
    *,
    to: str,
    tokenizer: str = "",
    image_size: int | None = None,
    frames: int | None = None,
    labels: int | None = None,
) -> str:
    """Convert a file: official or ours -> ours with the heads of a task, or -> official names.

    to: a task (see `config.TASK_HEADS`), or "official", which writes a .th file. tokenizer: its
    JSON or name, kept in our file; empty: the one already inside. labels: classes of a classifier.
    Returns a report in words: what was dropped, what starts anew.
    """
    if to != "official" and to not in TASK_HEADS:
        raise CheckpointError(unknown("task", to, (*TASK_HEADS, "official")))
    fields: dict[str, Any] = {} if to == "official" else {"heads": TASK_HEADS[to]}
    if labels is not None:
        fields["labels"] = labels
    before = load_any(source).model.config.heads
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
        save(model, out, tokenizer=tokenizer or loaded.tokenizer, extra=loaded.extra)
    dropped = [head for head in before if head not in model.config.heads]
    parts = sorted({name.split(".")[0] for name in model.new_parameters})
    return (
        f"{out}: {', '.join(model.config.heads)}; dropped: {', '.join(dropped) or 'nothing'}; "
        f"starts anew: {', '.join(parts) or 'nothing'}"
    )
