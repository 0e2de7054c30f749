"""Whether weights are finite; held when they are read (see `tasks.outputs` for predictions)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from x2vlm.errors import CheckpointError


def check_finite(state: Mapping[str, Tensor], where: str) -> None:
    """CheckpointError that names the tensors in which a value is not finite, and how many."""
    faults = []
    for name, tensor in state.items():
        if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        if not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            faults.append(f"{name}: {count} of {tensor.numel()} values are NaN or infinite")
    if faults:
        more = [f"… and {len(faults) - 5} more tensors"] if len(faults) > 5 else []
        raise CheckpointError(
            "\n  ".join(
                [
                    f"{where}: the weights are not finite in {len(faults)} tensors",
                    *faults[:5],
                    *more,
                    "to do: take an earlier checkpoint (the training diverged), or download it "
                    "again",
                ]
            )
        )
