"""The bench of a pre-training step, forward and backward, beside its plain twin.

    python -m tests.bench --only training

Images: as many texts. Regions: 2.5 concepts per image, as in the paper's batches (128 concepts of
50 images). Both steps have the same weights, texts, masks and negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tests import twins_training as twins
from tests.bench_table import Row
from x2vlm.tasks.pretraining import Pretraining, Regions, Texts

if TYPE_CHECKING:
    from tests.bench_inputs import Bench

MASKS = 6
"""masked tokens of a text: half of the 13 tokens that captions have on average"""


def texts_of(bench: Bench, count: int) -> Texts:
    """Captions of ordinary lengths, and copies with some tokens masked."""
    text_BL, mask_BL = bench.texts(count)
    positions_BM = torch.arange(1, MASKS + 1, device=text_BL.device).expand(count, -1)
    hidden_BL = text_BL.scatter(1, positions_BM, 4)
    return Texts(text_BL, mask_BL, hidden_BL, positions_BM, text_BL.gather(1, positions_BM))


def regions_of(bench: Bench, images: int, concepts: int, grid: int) -> Regions:
    """Boxes of half the image's side, shared out evenly over the images."""
    rows_B = torch.arange(concepts) * images // concepts
    corner_B2 = torch.randint(0, grid // 2, (concepts, 2), generator=bench.generator)
    place_P = torch.arange(grid**2)
    inside_BP = torch.ones(concepts, grid**2, dtype=torch.bool)
    for axis, of_P in enumerate((place_P % grid, place_P // grid)):
        low_B1 = corner_B2[:, axis, None]
        inside_BP &= (of_P >= low_B1) & (of_P < low_B1 + grid // 2)
    patches_BV = torch.cat([torch.ones(concepts, 1, dtype=torch.bool), inside_BP], 1)
    centre_B2 = corner_B2 / grid + 0.25
    box_B4 = torch.cat([centre_B2, torch.full_like(centre_B2, 0.5)], 1)
    parts = rows_B, patches_BV, box_B4, torch.ones(concepts, dtype=torch.bool)
    return Regions(*(part.to(bench.device) for part in parts))


def bench_training(bench: Bench) -> Iterator[Row]:
    """One step on an image batch, and one on a region batch."""
    model = bench.model(224, "contrastive", "matching", "box", "mlm")
    task = Pretraining(model, None)  # type: ignore[arg-type]
    side = model.config.vision.image_size
    count, images, concepts = (2, 2, 5) if bench.quick else (8, 6, 15)

    def pixels(number: int) -> Tensor:
        made = torch.randn(number, 3, side, side, generator=bench.generator)
        return made.to(bench.device)

    def step(losses: Callable[[], Mapping[str, Tensor]]) -> Callable[[], Tensor]:
        """Losses with their backward pass; returns their sum."""

        def work() -> Tensor:
            with torch.inference_mode(False), torch.enable_grad():
                model.zero_grad()
                total = torch.stack(list(losses().values())).sum()
                torch.autograd.backward(total)
                return total.detach()

        return work

    def negatives(number: int) -> tuple[Tensor, Tensor]:
        own = torch.arange(number, device=bench.device)
        return own.roll(1), own.roll(-1)

    image, texts, wrong = pixels(count), texts_of(bench, count), negatives(count)
    cases = [(
        "training step, images", "images", count,
        lambda: twins.image_losses(model, image, texts, wrong),
        lambda: task.image_losses(image, texts, wrong),
    )]  # fmt: skip
    shown, named, others = pixels(images), texts_of(bench, concepts), negatives(concepts)
    regions = regions_of(bench, images, concepts, model.config.vision.grid)
    cases.append((
        "training step, regions", "concepts", concepts,
        lambda: twins.region_losses(model, shown, regions, named, others),
        lambda: task.region_losses(shown, regions, named, others),
    ))  # fmt: skip
    for name, unit, units, plain, shared in cases:
        fast, twin = bench.time(step(shared)), bench.time(step(plain))
        ours, theirs = float(fast.result), float(twin.result)
        yield Row(name, unit, units, twin, fast, f"{abs(ours - theirs) / theirs:.1e} of the loss")
