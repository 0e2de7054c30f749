"""Starting values of position tables."""

import torch

from x2vlm.model.initialise import directional_positions
from x2vlm.model.vision import relative_position_index


def test_a_head_sees_the_patches_of_one_direction_and_the_class_token() -> None:
    grid = 3
    table_RN = torch.zeros((2 * grid - 1) ** 2 + 3, 4)
    directional_positions(table_RN, grid, depth=4.0)
    bias_VVN = table_RN[relative_position_index(grid)]
    middle = 1 + 4  # the patch in row 1, column 1, behind the class token
    seen = {head: (bias_VVN[middle, 1:, head] == 0).nonzero()[:, 0].tolist() for head in range(4)}
    assert seen == {0: [0, 3, 6], 1: [2, 5, 8], 2: [0, 1, 2], 3: [6, 7, 8]}
    assert (bias_VVN[middle, 0] == 0).all()
    assert set(bias_VVN[middle, 1:].unique().tolist()) == {0.0, -4.0}


def test_the_class_token_takes_less_the_more_patches_lie_that_way() -> None:
    grid = 4
    table_RN = torch.zeros((2 * grid - 1) ** 2 + 3, 4)
    directional_positions(table_RN, grid)
    weight_VV = table_RN[relative_position_index(grid)][..., 0].softmax(-1)
    shares = [float(weight_VV[1 + column, 0]) for column in range(grid)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 2 * shares[-1]
