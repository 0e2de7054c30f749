"""Torch files read as plain values: tensors, numbers, texts, and stand-ins for everything else.

Nothing in a file runs: torch's reader makes tensors and the objects of `stand_ins`, and refuses
every other class by name.
"""

from __future__ import annotations

import pickle
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import torch

from x2vlm.errors import CheckpointError
from x2vlm.storage.file_kinds import check_is_weights
from x2vlm.storage.stand_ins import MADE, runs_code, stand_in

_BROKEN = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError,
    AttributeError, IndexError, OSError, RecursionError, MemoryError, AssertionError,
    UnicodeError, NotImplementedError,
)  # fmt: skip
"""what torch raises for files that are damaged or made to harm"""
_MOST = 200
"""classes of one file that are read as stand-ins"""


def read_torch(path: Path) -> object:
    """What `torch.save` wrote there, tensors on the CPU, without running anything in the file.

    CheckpointError says what the file is instead, or names the classes that are not known to hold
    plain values and the command that reads the file without them.
    """
    check_is_weights(path)
    names = _classes(path)
    refused = [name for name in names if stand_in(name) is None]
    if not refused:
        try:
            return _read(path, names)
        except _BROKEN as error:
            raise CheckpointError(_unreadable(path, error)) from error
    raise CheckpointError(_refusal(path, refused))


def _read(path: Path, names: list[str]) -> object:
    """Read with a stand-in for each of `names`: by its name, else as if all were dictionaries."""
    try:
        return _load(path, {name: stand_in(name) for name in names})
    except pickle.UnpicklingError as error:
        if "SETITEM" not in str(error):
            raise
        return _load(path, {name: stand_in(name, dictionaries=True) for name in names})


def _load(path: Path, known: dict[str, Any]) -> object:
    made = [(one, f"x2vlm.{one.__name__}") for one in MADE]
    pairs: list[Any] = [*made, *((one, name) for name, one in known.items())]
    with torch.serialization.safe_globals(pairs), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the pickle's protocol, and of old storage classes
        return torch.load(path, map_location="cpu", weights_only=True)


def _classes(path: Path) -> list[str]:
    """The classes and functions in a file that torch does not read by itself."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except _BROKEN:  # of the old format, or damaged: reading it tells
        return _classes_by_reading(path)


def _classes_by_reading(path: Path) -> list[str]:
    """The same for the format before torch 1.6, where torch names one class at a time."""
    names: list[str] = []
    while len(names) < _MOST:
        try:
            _load(path, {name: stand_in(name) or stand_in("builtins.object") for name in names})
        except _BROKEN as error:
            found = re.search(r"GLOBAL (\S+)", str(error))
            if found is None:
                break
            name = found[1] if "." in found[1] else f"builtins.{found[1]}"
            if name in names:
                break
            names.append(name)
            continue
        break
    return names


def _refusal(path: Path, names: list[str]) -> str:
    """The error for classes that are not known to hold plain values."""
    told = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    if harmful := [name for name in names if runs_code(name)]:
        return (
            f"{path} cannot be read as weights: it holds {', '.join(harmful)}, which could run "
            "code; nothing in it was run\n"
            "  expected: tensors, and settings as plain values\n"
            "  to do: do not load this file with other software, and get the weights elsewhere"
        )
    return (
        f"{path} cannot be read as weights: it holds objects of {told}, which are not among the "
        "classes known to hold plain values; nothing in it was run\n"
        "  expected: tensors, and settings as plain values\n"
        "  to do: keep its tensors alone. This reads the file without those classes and runs "
        f"nothing of it:\n    {keep_tensors(path, names)}\n"
        "  A whole model, saved as an object, has no state dict: save model.state_dict() where it "
        "was trained"
    )


def keep_tensors(path: Path, names: list[str]) -> str:
    """A command that reads `path` with empty classes in place of `names`, and writes what is left
    of its first level: named tensors, and dictionaries of them."""
    out = path.with_name(f"{path.stem}.tensors.th")
    code = (
        "import torch;"
        "E=lambda:type('E',(),{'__new__':lambda c,*a,**k:object.__new__(c),"
        "'__init__':lambda s,*a,**k:None,'__setstate__':lambda s,t:None});"
        f"n={names!r};"
        "torch.serialization.add_safe_globals([(E(),x) for x in n]);"
        f"d=torch.load({str(path)!r},map_location='cpu',weights_only=True);"
        "t=lambda m:{k:v for k,v in m.items() if isinstance(v,torch.Tensor)};"
        "d={k:t(v) if isinstance(v,dict) else v for k,v in d.items() "
        "if isinstance(v,(dict,torch.Tensor))};"
        f"torch.save({{k:v for k,v in d.items() if not isinstance(v,dict) or v}},{str(out)!r})"
    )
    return f"python -c {shlex.quote(code)}"


def _unreadable(path: Path, error: Exception) -> str:
    """The error for a file that torch cannot read, whatever torch says of it."""
    if isinstance(error, pickle.UnpicklingError):
        cause = "it holds objects that are not tensors, or is not a torch file"
    elif isinstance(error, EOFError):
        cause = "it ends too early"
    else:
        cause = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
    return (
        f"{path} cannot be read as weights: {cause}\n"
        "  expected: a complete torch file of tensors (others could run code, and are refused)\n"
        "  to do: download it again, or save its state dict again"
    )
