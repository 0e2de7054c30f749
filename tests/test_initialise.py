"""Starting values of position tables."""

from itertools import pairwise

import pytest
import torch

from x2vlm.model.initialise import directional_positions
from x2vlm.model.vision import relative_position_index


def test_a_head_sees_the_patches_of_one_direction_and_the_class_token() -> None:
    grid = 3
    table_RN = torch.zeros((2 * grid - 1) ** 2 + 3, 4)
    directional_positions(table_RN, grid)
    bias_VVN = table_RN[relative_position_index(grid)]
    middle = 1 + 4  # the patch in row 1, column 1, behind the class token
    bias_VN = bias_VVN[middle, 1:]
    seen = {head: (bias_VN[:, head] == bias_VN.max()).nonzero()[:, 0].tolist() for head in range(4)}
    assert seen == {0: [0, 3, 6], 1: [2, 5, 8], 2: [0, 1, 2], 3: [6, 7, 8]}
    assert (bias_VVN[middle, 0] == 0).all()
    near, far = bias_VN.max(), bias_VN.min()
    assert near - far == pytest.approx(4)
    assert set(bias_VN.unique().tolist()) == {float(near), float(far)}


def test_the_share_of_the_class_token_falls_evenly_from_one_to_a_half() -> None:
    grid = 4
    table_RN = torch.zeros((2 * grid - 1) ** 2 + 3, 4)
    directional_positions(table_RN, grid)
    weight_VV = table_RN[relative_position_index(grid)][..., 0].softmax(-1)
    shares = [float(weight_VV[1 + column, 0]) for column in range(grid)]
    assert shares[0] > 0.9
    assert shares[-1] == pytest.approx(0.5, abs=0.02)
    steps = [one - two for one, two in pairwise(shares)]
    assert min(steps) > 0.07
