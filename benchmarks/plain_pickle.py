"""Pickles of plain values, read without running anything of them.

Containers, texts and numbers alone; numpy's scalars and arrays, which pandas leaves behind, are
read as the plain numbers and lists that they hold.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from x2vlm.errors import DataError

_DTYPE = re.compile(r"[<>|=]?(b1|[iufSU]\d+|O8?|\?)")


class _Dtype:
    """Stands in for numpy.dtype: its name is looked at, never evaluated."""

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            raise ValueError(f"numpy dtype {name!r}")
        self.name, self.order = name, ""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else ""

    def values(self, data: object) -> list[Any]:
        """The numbers or texts that these bytes hold; objects are plain values already."""
        if "O" in self.name:
            return list(data) if isinstance(data, (list, tuple)) else [data]
        raw = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(raw, (bytes, bytearray)):
            raise ValueError("a numpy value without its bytes")
        found: list[Any] = np.frombuffer(raw, np.dtype(self.order + self.name)).tolist()
        return found


class _Array:
    """Stands in for numpy.ndarray; its values come in `__setstate__`."""

    def __init__(self, *_: object) -> None:
        self.rows: list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.rows = _shaped(dtype.values(data), shape, "F" if fortran else "C")


def _shaped(values: list[Any], shape: tuple[int, ...], order: Any) -> list[Any]:
    boxed = np.empty(len(values), dtype=object)
    boxed[:] = values
    found: list[Any] = boxed.reshape(shape, order=order).tolist()
    return found


def _scalar(dtype: _Dtype, data: object = b"") -> Any:
    (value,) = dtype.values(data)
    return value


def _frombuffer(data: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.rows = _shaped(dtype.values(bytes(data)), shape, order)
    return array


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1", "utf-8"):
        raise ValueError(f"encoding {encoding!r}")
    return text.encode(encoding)


def _bytes(*parts: Any) -> bytes:
    if parts:
        raise ValueError("bytes with arguments")
    return b""


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _bytes,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "scalar", _scalar),
            ("multiarray", "_reconstruct", _reconstruct),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}
"""(module, name) in a pickle -> what stands in for it here; nothing else is looked up"""


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, source: str) -> None:
        super().__init__(file, encoding="utf-8")  # pickles of Python 2 hold byte strings
        self.source = source

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        raise DataError(
            f"the pickle asks for {module}.{name}, which was not run",
            source=self.source,
            expected="plain containers (dict, list, tuple, set, text, numbers), numpy's numbers",
            fix="fetch the official file again; of your own objects, pickle plain lists and dicts",
        )


def load_plain(data: bytes, path: Path) -> Any:
    """The plain value of a pickle; DataError when it asks for anything that would have to run."""
    try:
        return _plain(_PlainUnpickler(io.BytesIO(data), source=str(path)).load())
    except DataError:
        raise
    except Exception as error:  # a broken pickle raises almost anything
        raise DataError(
            f"is no complete pickle ({type(error).__name__}: {error})",
            source=str(path),
            fix="fetch the file again, or name another one",
        ) from error


def _plain(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """The value with lists in place of numpy's arrays; ValueError for what is not a plain value."""
    seen = {} if seen is None else seen
    if isinstance(value, _Array):
        value = value.rows
    if isinstance(value, (dict, list)):
        if id(value) not in seen:  # a pickle may hold one list in many places
            seen[id(value)] = value
            for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
                value[key] = _plain(item, seen)
    elif isinstance(value, tuple):
        if id(value) not in seen:
            seen[id(value)] = tuple(_plain(item, seen) for item in value)
        return seen[id(value)]
    elif not isinstance(value, (str, bytes, int, float, set, frozenset, type(None))):
        raise ValueError(f"it holds a {type(value).__name__.strip('_')}")
    return value
