"""Position bias tables at another resolution (BEiT's scheme, docs/model.md, 4).

Axes: T rows of a table, N heads.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline
from torch import Tensor

from x2vlm.errors import CheckpointError

EXTRA = 3
"""rows of the class token, behind those of patch offsets"""


def grid_of(table_TN: Tensor) -> int:
    """Patches along one side of the image that a table is made for."""
    span = math.isqrt(len(table_TN) - EXTRA) if len(table_TN) > EXTRA else 0
    if span**2 + EXTRA != len(table_TN) or span % 2 == 0:
        raise CheckpointError(
            f"a position bias table has {len(table_TN)} rows\n"
            "  expected: (2 W - 1)^2 + 3 for an image of W x W patches"
        )
    return (span + 1) // 2


def _source_places(source_half: int, target_half: int) -> NDArray[np.float64]:
    """Where the source offsets lie on the target's axis: geometrically spaced around 0."""
    low, high = 1.01, 1.5
    ratio = low
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**source_half) / (1 - ratio) > target_half:
            high = ratio
        else:
            low = ratio
    right = np.cumsum(ratio ** np.arange(source_half))
    return np.concatenate([-right[::-1], [0.0], right])


def resize_positions(table_TN: Tensor, grid: int) -> Tensor:
    """A bias table for grid x grid patches, cubic per head; the three extra rows are kept.

    Raises CheckpointError when the rows of `table_TN` are not those of a square image.
    """
    old = grid_of(table_TN)
    if old == grid or table_TN.is_meta:
        return table_TN if old == grid else table_TN.new_empty((2 * grid - 1) ** 2 + EXTRA,
                                                               table_TN.shape[1])  # fmt: skip
    span = 2 * old - 1
    places = _source_places(old - 1, grid - 1)
    wanted = np.arange(1 - grid, grid, dtype=np.float64)
    degree = min(3, span - 1)
    columns = []
    for head_T in table_TN[:-EXTRA].double().cpu().numpy().T:
        plane = head_T.reshape(span, span)
        if degree == 0:
            columns.append(np.full(len(wanted) ** 2, plane[0, 0]))
            continue
        spline = RectBivariateSpline(places, places, plane, kx=degree, ky=degree)
        columns.append(spline(wanted, wanted).ravel())
    resized = torch.from_numpy(np.stack(columns, 1)).to(table_TN)
    return torch.cat([resized, table_TN[-EXTRA:]])
