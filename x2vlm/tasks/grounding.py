"""Grounding: which box of the image does a phrase name? Box regression from the fused first token.

Axes: B batch, C channels, H W pixels, L text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from x2vlm.data.cleaning import clean_caption
from x2vlm.data.image import BoxTransform, Transform
from x2vlm.data.orientation import stored_box
from x2vlm.errors import DataError
from x2vlm.losses import box
from x2vlm.tasks.base import Task
from x2vlm.tasks.evaluation import evaluation
from x2vlm.tasks.features import fused, shared_images
from x2vlm.types import Batch, Prediction, Record

if TYPE_CHECKING:
    from x2vlm.config import TrainConfig
    from x2vlm.data.image import Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM


class Grounding(Task):
    """Box of a phrase: L1 and GIoU loss on (cx, cy, w, h) as fractions of the image."""

    name: ClassVar[str] = "grounding"

    def __init__(self, model: X2VLM, tokenizer: Tokenizer, *, max_tokens: int = 40) -> None:
        super().__init__(model, tokenizer)
        self.max_tokens = max_tokens

    @classmethod
    def heads(cls, **_: object) -> dict[str, object]:
        """The box head."""
        return {"heads": ("box",)}

    def transform(self, train: bool) -> Transform:
        """Crops that keep the object whole; flips only when the phrase names no side."""
        return BoxTransform(self.model.config.vision.image_size, train)

    def check_training(
        self, units: Sequence[Record], settings: TrainConfig, micro_batch: int
    ) -> list[str]:
        """Equal boxes everywhere can be learned by heart."""
        del settings, micro_batch
        boxes = {(*unit.target.get("box", ()), *unit.target.get("size", ())) for unit in units}
        if len(units) > 1 and len(boxes) == 1:
            return [
                f"all {len(units)} boxes to train on are equal ({units[0].target.get('box')}): "
                "always to give it is all there is to learn"
            ]
        return []

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """image: without repeats. target: rows, the image of each phrase; in training box_B4
        (cx, cy, w, h), else sizes [(width, height)] in upright pixels and turned, the EXIF
        orientation by which boxes are turned back into those of the annotation."""
        texts = [clean_caption(sample.record.texts[0]) for sample in samples]
        text_BL, mask_BL = self.tokenizer.encode(texts, self.max_tokens)
        image, rows = shared_images(samples)
        target = {"box_B4": _boxes(samples)} if train else _upright_sizes(samples)
        ids = tuple(sample.record.id for sample in samples)
        return Batch(ids, image, text_BL, mask_BL, {"rows": rows, **target})

    def forward(self, batch: Batch) -> Tensor:
        """Boxes (cx, cy, w, h), fractions of the image, (B, 4)."""
        return self.model.box(fused(self.model, batch))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L1 (summed over the four numbers) and GIoU, each a mean over the phrases."""
        return box(self.forward(batch), batch.target["box_B4"])

    @evaluation
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """{"id", "box": [x, y, w, h]} in the pixels of the record's own box."""
        for batch in self.batches(loader, "grounding"):
            coords = self.forward(batch.to(self.device)).float().cpu().tolist()
            found = zip(
                batch.ids, coords, batch.target["sizes"], batch.target["turned"], strict=True
            )
            for id_, (cx, cy, w, h), (width, height), turned in found:
                corner = [(cx - w / 2) * width, (cy - h / 2) * height]
                box = [*corner, w * width, h * height]
                yield {"id": id_, "box": stored_box(box, (width, height), turned)}


def _boxes(samples: Sequence[Sample]) -> Tensor:
    for sample in samples:
        if sample.box is None:
            raise DataError("a phrase to train on has no box", source=sample.record.source)
    return torch.tensor([sample.box for sample in samples], dtype=torch.float32)


def _upright_sizes(samples: Sequence[Sample]) -> dict[str, list[object]]:
    for sample in samples:
        if "size" not in sample.record.target:
            raise DataError(
                "the size of the original image is not known",
                source=sample.record.source,
                expected='target {"size": [width, height]}, which turns fractions into pixels',
            )
    targets = [sample.record.target for sample in samples]
    return {
        "sizes": [tuple(target["size"]) for target in targets],
        "turned": [target.get("turned", 1) for target in targets],
    }
