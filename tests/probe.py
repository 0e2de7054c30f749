"""What the vision encoder sees of objects: a linear probe on the mean of an object's patches.

`python -m tests.probe [MODEL or WEIGHTS]` prints the accuracy per attribute on test scenes, half of
which show combinations that no training scene has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor

import x2vlm
from benchmarks.mini.render import box, render
from benchmarks.mini.world import Item, Scene, scenes
from benchmarks.mini.write_pretraining import LOOKS
from x2vlm.api import Pretrained
from x2vlm.data.image import patch_mask

RIDGE = 10.0
"""weight of the penalty, for features of unit variance"""


def objects(model: Pretrained, drawn: Sequence[Scene]) -> tuple[Tensor, list[Item]]:
    """(B, D) mean patch outputs inside the boxes of B objects, and the objects."""
    vision = model.model.config.vision
    means, items = [], []
    for scene in drawn:
        picture = render(scene)
        with torch.inference_mode():
            patches_VD = model._states([picture])[0]
        sides = [vision.image_size / side for side in (*picture.size, *picture.size)]
        for item in scene.items:
            place = tuple(v * s for v, s in zip(box(item, scene), sides, strict=True))
            inside_V = torch.as_tensor(patch_mask(place, vision.image_size, vision.patch_size))
            means.append(patches_VD[1:][inside_V[1:].bool()].mean(0))
            items.append(item)
    return torch.stack(means), items


def probe(model: Pretrained, training: int = 1500, test: int = 300) -> dict[str, float]:
    """Attribute -> share of test objects named right by ridge regression on training objects."""
    train_BD, known = objects(model, scenes("probe", "train", training))
    test_BD, asked = objects(model, scenes("probe", "test", test))
    mean_D, scale_D = train_BD.mean(0), train_BD.std(0)
    one, other = (
        torch.cat([(part - mean_D) / scale_D, torch.ones(len(part), 1)], 1)
        for part in (train_BD, test_BD)
    )
    inverse = torch.linalg.inv(one.t() @ one + RIDGE * torch.eye(one.shape[1]))
    found = {}
    for name in LOOKS:
        values = sorted({getattr(item, name) for item in known})
        target = torch.tensor([values.index(getattr(item, name)) for item in known])
        weights = inverse @ one.t() @ torch.nn.functional.one_hot(target).float()
        said = (other @ weights).argmax(1).tolist()
        right = [values[k] == getattr(item, name) for k, item in zip(said, asked, strict=True)]
        found[name] = sum(right) / len(right)
    return found


if __name__ == "__main__":
    for attribute, share in probe(x2vlm.load(sys.argv[1] if sys.argv[1:] else "tiny")).items():
        print(f"{attribute:9} {share:.1%}")
