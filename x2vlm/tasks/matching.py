"""Zero-shot matching: two images, two texts, which belongs to which?

Axes: B examples, C H W pixels, V visual tokens, L tokens, D width, E projected features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from x2vlm.data.cleaning import clean_caption
from x2vlm.data.image import EvalTransform, Transform
from x2vlm.errors import ConfigError
from x2vlm.tasks.base import Task
from x2vlm.tasks.evaluation import evaluation
from x2vlm.tasks.features import inputs
from x2vlm.types import Batch, Prediction

if TYPE_CHECKING:
    from x2vlm.data.image import Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM


class Matching(Task):
    """Scores of all four pairs of an example, by the matching head and by the features."""

    name: ClassVar[str] = "matching"

    def __init__(self, model: X2VLM, tokenizer: Tokenizer, *, max_tokens: int = 40) -> None:
        super().__init__(model, tokenizer)
        self.max_tokens = max_tokens

    @classmethod
    def heads(cls, **_: object) -> dict[str, object]:
        """Contrastive features and the matching head."""
        return {"heads": ("contrastive", "matching")}

    def transform(self, train: bool) -> Transform:
        """Evaluation only."""
        if train:
            raise ConfigError("matching is zero-shot; train retrieval or pre-training instead")
        return EvalTransform(self.model.config.vision.image_size)

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """image: first and second of each example in turn, (2B, …); text_BL likewise (2B, L)."""
        if train:
            raise ConfigError("matching is zero-shot; train retrieval or pre-training instead")
        texts = [clean_caption(text) for sample in samples for text in sample.record.texts]
        text_BL, mask_BL = self.tokenizer.encode(texts, self.max_tokens)
        image = torch.stack([image for sample in samples for image in sample.images])
        return Batch(tuple(s.record.id for s in samples), image, text_BL, mask_BL)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """There is none: ConfigError."""
        raise ConfigError(f"matching is zero-shot; nothing to learn from {len(batch.ids)} examples")

    @evaluation
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """{"id", "c0_i0", "c0_i1", "c1_i0", "c1_i1": probability that caption and image match,
        "feature_c0_i0", …: cosine of their features}."""
        for batch in self.batches(loader, "matching"):
            yield from self._batch(batch.to(self.device))

    def _batch(self, batch: Batch) -> Iterator[Prediction]:
        model, pairs = self.model, len(batch.ids)
        image_XCHW, text_XL, mask_XL = inputs(batch)
        image_XVD = model.encode_visual(image_XCHW)
        text_XLD = model.encode_text(text_XL, mask_XL)
        # Each text twice, the second time with the other image of its example.
        same_X = torch.arange(2 * pairs, device=image_XVD.device)
        rows_Y = torch.cat([same_X, same_X ^ 1])
        fused_YLD = model.fuse(
            text_XLD.repeat(2, 1, 1), mask_XL.repeat(2, 1), model.memory(image_XVD), rows_Y
        )
        # In float64 the probability of a sure match stays below 1, so that no ties arise.
        logits_Y2 = model.match(fused_YLD).double()
        match_Y = (logits_Y2[:, 1] - logits_Y2[:, 0]).sigmoid()
        image_XE, text_XE = model.image_feature(image_XVD), model.text_feature(text_XLD)
        cosine_Y = (text_XE.repeat(2, 1) * image_XE[rows_Y]).sum(-1).double()
        scores = torch.stack([match_Y, cosine_Y]).view(2, 2, pairs, 2).permute(2, 0, 1, 3).tolist()
        for id_, (match, cosine) in zip(batch.ids, scores, strict=True):
            yield {"id": id_, **_named(match, ""), **_named(cosine, "feature_")}


def _named(scores: list[list[float]], prefix: str) -> dict[str, float]:
    """[[caption 0 and 1 with their own image], [with the other]] -> by name."""
    (own_0, own_1), (other_0, other_1) = scores
    values = {"c0_i0": own_0, "c0_i1": other_0, "c1_i0": other_1, "c1_i1": own_1}
    return {prefix + name: value for name, value in values.items()}
