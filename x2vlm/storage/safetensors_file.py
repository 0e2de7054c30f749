"""Safetensors files whose bytes follow from their content alone.

The library writes the metadata in an order that changes from process to process, so that equal
weights gave files of different hashes. Here names and metadata are sorted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNED = 8
"""bytes to whose multiple the header is padded with spaces"""


def write_safetensors(
    state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, in order of size of their numbers (for alignment) and of name."""
    names = sorted(state, key=lambda name: (-state[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name in names:
        tensor, start = state[name], end
        end += tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _KINDS[tensor.dtype], "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }  # fmt: skip
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in names:
            file.write(raw_bytes(state[name]).data)


def raw_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """The numbers of a tensor one after another, without a copy where it lies so on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    found: NDArray[np.uint8] = flat.view(torch.uint8).numpy()
    return found


def content_sha256(tensors: Iterable[tuple[str, Tensor]], about: Mapping[str, Any]) -> str:
    """Hash of named tensors, in order of name, and of what else decides them, as plain values.

    Equal content gives equal hashes, whatever file it is in: each tensor counts with its name,
    dtype, shape and bytes.
    """
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, allow_nan=False).encode())
    for name, tensor in tensors:
        digest.update(f"\n{name} {_KINDS[tensor.dtype]} {list(tensor.shape)}\n".encode())
        digest.update(raw_bytes(tensor).data)
    return digest.hexdigest()
