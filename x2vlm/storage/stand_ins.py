"""Inert stand-ins for the classes that training programs leave in their checkpoints.

A checkpoint of a training holds settings beside the weights: argparse.Namespace, OmegaConf,
NumPy scalars, paths. Their classes are replaced by these before anything is read, so that no code
of theirs runs, and none has to be installed.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

_KNOWN = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|functools\.partial|fractions\.Fraction|uuid\.UUID"
    r"|copyreg\._reconstructor|decimal\.Decimal"
    r"|builtins\.(bool|bytes|complex|dict|float|frozenset|int|list|object|range|set|slice|str"
    r"|tuple|type|NoneType)"
    r"|(collections|datetime|pathlib|enum|typing|random|numpy|omegaconf|yacs|easydict|addict"
    r"|ml_collections|munch|box|attrdict|mmengine|mmcv|detectron2|fvcore|lightning"
    r"|lightning_fabric|lightning_utilities|pytorch_lightning|transformers|accelerate|deepspeed"
    r"|fairscale|apex|timm|fairseq|hydra|composer|ignite)\..+"
    r"|torch\.(optim|amp|cuda|distributed|nn|torch_version|fx|random|ao)\..+"
    r"|torch\.(Generator|memory_format|contiguous_format)"
)
"""classes that hold settings and states of training; they may be in a checkpoint"""
_PROGRAM = re.compile(
    r"(builtins|__builtin__|os|posix|nt|sys|subprocess|shutil|socket|importlib|runpy|code|codeop|pty"
    r"|ctypes|_ctypes|webbrowser|pickle|_pickle|marshal|io|_io|tempfile|operator|_operator|pip|shlex"
    r"|commands|pdb|bdb|timeit|cProfile|profile|trace|threading|multiprocessing|asyncio|signal"
    r"|http|urllib|urllib2|requests|ftplib|smtplib|platform|inspect|types|functools|torch|dill"
    r"|cloudpickle|joblib|numpy\.testing|linecache|pydoc|site|venv|zipimport|distutils|setuptools)"
    r"(\..*|$)"
)
"""what does something when called; a checkpoint has no use for it"""
_DICTIONARIES = re.compile(
    r".*\.(\w*[dD]ict\w*|CfgNode|Munch|Box|Config|ConfigBox|AttrDict|defaultdict|Counter)"
)
_NUMBERS = re.compile(r"[<>=|]?[biufc]\d+|\?|bool")


class Inert:
    """An object of a class that is not loaded. args: what it was made of; state: what was set."""

    def __new__(cls, *args: Any, **_: Any) -> Inert:
        """Keep what it was made of."""
        made = object.__new__(cls)
        made.args, made.state = args, None
        return made

    args: tuple[Any, ...]
    state: Any

    def __init__(self, *_: Any, **__: Any) -> None:
        """Arguments are kept by `__new__`."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Dictionary(Inert):
    """A dictionary of a class that is not loaded: its items are read, nothing else is."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """torch's reader fills plain dictionaries alone."""
        return OrderedDict()


class Queue(Inert):
    """collections.deque, as the list of its items."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """torch's reader fills plain lists alone."""
        return []


class NumberKind(Inert):
    """numpy.dtype."""

    def plain(self) -> np.dtype[Any] | None:
        """The kind of number; None for structures and objects."""
        name = self.args[0] if self.args else ""
        if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
            return None
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "|"
        return np.dtype(f"{order}{name}" if order in ("<", ">") and name[0] not in "<>=|" else name)


class Array(Inert):
    """numpy.ndarray."""

    def tensor(self) -> Tensor | None:
        """The numbers it holds; None when it holds no numbers, or not as many as it says."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        _, shape, kind, fortran, raw = self.state
        found = kind.plain() if isinstance(kind, NumberKind) else None
        if found is None or not isinstance(raw, bytes) or not isinstance(shape, tuple):
            return None
        if not all(isinstance(n, int) and n >= 0 for n in shape):
            return None
        values = np.frombuffer(raw, found) if len(raw) % found.itemsize == 0 else None
        if values is None or len(values) != int(np.prod(shape, dtype=np.int64)):
            return None
        native = values.astype(found.newbyteorder("="))
        if native.dtype.kind == "u" and native.itemsize > 1:
            native = native.astype(np.int64)
        return torch.from_numpy(native.reshape(shape, order="F" if fortran else "C").copy())


def _scalar(kind: object, raw: object) -> object:
    """numpy's scalar: the number as Python has it."""
    found = kind.plain() if isinstance(kind, NumberKind) else None
    if found is None or not isinstance(raw, bytes) or len(raw) != found.itemsize:
        return Inert(kind, raw)
    return np.frombuffer(raw, found)[0].item()


def _array(*_: object) -> Array:
    """numpy's _reconstruct: an array whose content follows."""
    return Array()


MADE = (Inert, NumberKind, Array)
"""classes whose objects the functions here return; torch's reader sets the state of these"""
_NUMPY = {"multiarray.scalar": _scalar, "multiarray._reconstruct": _array, "dtype": NumberKind}


def stand_in(name: str, *, dictionaries: bool = False) -> Any:
    """What is read in place of the class or function `name`; None when it is not one of training.

    dictionaries: every class is taken for a dictionary, for classes whose name does not show it.
    """
    if not _KNOWN.fullmatch(name):
        return None
    if found := re.fullmatch(r"numpy\.(?:_?core\.)?(.+)", name):
        return _NUMPY.get(found[1]) or type("Inert", (Inert,), {})
    if name == "collections.deque":
        return type("Queue", (Queue,), {})
    named = dictionaries and not name.startswith(("builtins.", "pathlib.", "datetime.", "typing."))
    base = Dictionary if named or _DICTIONARIES.fullmatch(name) else Inert
    return type(base.__name__, (base,), {})


def runs_code(name: str) -> bool:
    """Whether `name` is a function or class that does something, not one that holds values."""
    return bool(_PROGRAM.fullmatch(name)) and not _KNOWN.fullmatch(name)
