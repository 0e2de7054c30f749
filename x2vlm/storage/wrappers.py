"""The state dict inside what training frameworks write, under the names of the model itself.

Known: torch.compile, DataParallel and DDP, FSDP, activation checkpointing, DeepSpeed, Lightning,
Fabric, accelerate, Composer, mmengine, timm, and packages that keep an average (EMA) of weights.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from x2vlm.errors import CheckpointError
from x2vlm.storage.stand_ins import Array

log = logging.getLogger("x2vlm")
State = dict[str, Tensor]

_PLACES = (
    "model", "state_dict", "module", "model_state_dict", "model_state", "state", "net", "network",
    "net_state_dict", "weights", "params", "parameters", "checkpoint", "student", "online_model",
    "generator", "backbone", "base_model",
)  # fmt: skip
"""keys under which a state dict is kept, the likeliest first"""
_AVERAGE = re.compile(
    r"(^|_|\.)(ema|averaged?|avg|swa|polyak|shadow|teacher|momentum)\d*($|_|\.)|^ema|ema$", re.I
)
"""names of averaged copies of the weights"""
_TRAINING = re.compile(r"optim|sched|scaler|rng|callback|loop|amp$|grad|buffer_names|shapes", re.I)
"""keys of what only the training goes on with"""
_ADDED = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module"
    r"|_ddp_module|_fpw_module)\."
)
"""parts of names that wrappers of modules add, wherever they stand"""
_OUTER = (
    "module", "model", "net", "network", "_model", "_module", "base_model", "ema", "ema_model",
    "online_model", "averaged_model", "teacher", "student", "state_dict", "wrapped", "inner",
)  # fmt: skip
"""first parts of names that hold the whole model"""
_COUNTERS = re.compile(r"(.*\.)?(n_averaged|initted|step|num_updates|decay|ema_step)")
"""tensors that count the updates of an average"""
_SIGN = "vision_encoder.patch_embed.proj.weight"
"""a tensor of every official model; what stands before it in a file is a wrapper's"""
_DEEPEST, _TWICE = 5, 2


@dataclass(frozen=True, slots=True)
class _Found:
    """A mapping with tensors inside a file. path: the keys that lead there."""

    path: tuple[str, ...]
    tensors: State
    others: tuple[str, ...]

    @property
    def average(self) -> bool:
        """Whether it is an averaged copy of the weights."""
        return any(_AVERAGE.search(key) for key in self.path)

    @property
    def rank(self) -> tuple[object, ...]:
        """The plain weights first, an official model, the name of its key, then the larger."""
        places = [_PLACES.index(key) if key in _PLACES else len(_PLACES) for key in self.path]
        official = any(name.endswith(_SIGN) for name in self.tensors)
        place = max(places, default=len(_PLACES))
        return self.average, not official, place, -len(self.tensors), self.path


def unwrap(loaded: object, where: str) -> State:
    """The state dict inside what a torch file holds, with the names that the model gives.

    A copy of the mapping; tensors are not copied. Of plain and averaged (EMA) weights the plain
    ones are taken, and the log says so. CheckpointError when there are no named tensors, or when
    two names fall together.
    """
    found = sorted(_search(loaded, (), Counter()), key=lambda one: one.rank)
    if not found:
        raise CheckpointError(_nothing(loaded, where))
    chosen, rest = found[0], [one for one in found[1:] if _a_model(one)]
    averages = [".".join(one.path) for one in rest if one.average]
    if chosen.average:
        log.warning("%s: only averaged weights (%s) are in it; they are taken", where,
                    ".".join(chosen.path))  # fmt: skip
    elif averages:
        log.warning(
            "%s: the trained weights (%s) are taken; the averaged ones beside them (%s) are left "
            "out. To take those, save them alone",
            where, ".".join(chosen.path) or "first level", ", ".join(averages),
        )  # fmt: skip
    if chosen.others:
        log.info("%s: left out, not tensors: %s", where, ", ".join(chosen.others[:8]))
    return _named(chosen.tensors, where)


def _search(value: object, path: tuple[str, ...], seen: Counter[int]) -> Iterator[_Found]:
    """Every mapping in `value` that holds tensors by name, apart from states of training.

    seen: how often each mapping was looked at; a file can make them hold one another.
    """
    if not isinstance(value, Mapping) or len(path) > _DEEPEST or seen[id(value)] >= _TWICE:
        return
    seen[id(value)] += 1
    tensors: State = {}
    others: list[str] = []
    for key, inner in value.items():
        if not isinstance(key, str):
            return
        tensor = _tensor(inner)
        if tensor is not None:
            tensors[key] = tensor
        elif isinstance(inner, Mapping):
            if not _TRAINING.search(key):
                yield from _search(inner, (*path, key), seen)
        else:
            others.append(key)
    if any(tensor.dim() for tensor in tensors.values()):
        yield _Found(path, tensors, tuple(others))


def _tensor(value: object) -> Tensor | None:
    """A tensor, or the array that a checkpoint of other software holds in its place."""
    if isinstance(value, Array):
        return value.tensor()
    return value.detach() if isinstance(value, Tensor) else None


def _a_model(found: _Found) -> bool:
    return len(found.tensors) > 1


def _nothing(loaded: object, where: str) -> str:
    """What to say of a file without named tensors."""
    to_do = "\n  to do: give the model's state dict, or a dict with it under `model`"
    if isinstance(loaded, Mapping):
        held = {str(key): type(value).__name__ for key, value in loaded.items()}
        told = ", ".join(f"{key!r} ({kind})" for key, kind in list(held.items())[:5])
        inner = next((v for v in loaded.values() if isinstance(v, Mapping) and v), None)
        if inner is not None:
            name, value = next(iter(inner.items()))
            told += f"; {name!r} is {type(value).__name__}, expected a tensor"
        return f"{where} holds {told or 'nothing'}, expected named tensors{to_do}"
    return f"{where} holds {type(loaded).__name__}, expected named tensors{to_do}"


def _named(state: State, where: str) -> State:
    """The same tensors under the names that the model itself gives."""
    plain: State = {}
    for name, tensor in state.items():
        if not tensor.is_meta and tensor.nbytes > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{where}: {name!r} of shape {tuple(tensor.shape)} is larger than its data in the "
                "file; save the state dict again, with every tensor whole"
            )
        short = _ADDED.sub("", name)
        if short in plain:
            raise CheckpointError(
                f"{where}: {name!r} is there twice, with and without a wrapper's prefix\n"
                "  to do: save the model's state dict alone"
            )
        plain[short] = tensor
    flat = [name for name in plain if name.rpartition(".")[2].startswith("_flat_param")]
    if flat:
        raise CheckpointError(
            f"{where} holds {flat[0]!r}: the parameters of FSDP, joined and cut into shards\n"
            "  to do: save it with StateDictType.FULL_STATE_DICT, or join the shards with "
            "torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
        )
    return _without_outer(_whole(plain, where), where)


def _whole(state: State, where: str) -> State:
    """CheckpointError when the tensors are kept elsewhere, as ZeRO's third stage does."""
    empty = [name for name, tensor in state.items() if tensor.numel() == 0]
    if empty and len(empty) * 2 > len(state):
        raise CheckpointError(
            f"{where}: {len(empty)} of {len(state)} tensors are empty, {empty[0]} first\n"
            "  likely cause: DeepSpeed's ZeRO stage 3, which keeps the weights in other files\n"
            "  to do: python zero_to_fp32.py . whole.bin, in the checkpoint's folder"
        )
    return state


def _without_outer(state: State, where: str) -> State:
    """The names without the part that stands before all of a model's names."""
    starts = sorted(
        (name.removesuffix(_SIGN) for name in state if name.endswith(_SIGN)),
        key=lambda start: (bool(_AVERAGE.search(start)), start.count("."), start),
    )
    if starts:
        first, others = starts[0], tuple(start for start in starts[1:] if start)
        if others:
            log.warning("%s: the weights of %r are taken, those of %s are left out", where,
                        first or "the first level", ", ".join(map(repr, others)))  # fmt: skip
        kept = {
            name.removeprefix(first): tensor
            for name, tensor in state.items()
            if not (others and name.startswith(others) and not (first and name.startswith(first)))
        }
        counted = bool(others) or bool(first)
        return {n: t for n, t in kept.items() if not (counted and _COUNTERS.fullmatch(n))}
    named = {n: t for n, t in state.items() if not _COUNTERS.fullmatch(n)} or state
    outer = next(iter(named)).partition(".")[0]
    while outer in _OUTER and all(name.startswith(f"{outer}.") for name in named):
        named = {name.partition(".")[2]: tensor for name, tensor in named.items()}
        outer = next(iter(named)).partition(".")[0]
    return named
