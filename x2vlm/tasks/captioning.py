"""Captioning by masked language modelling: a [MASK] after the words so far predicts the next.

Axes: B batch, C H W pixels, L tokens, M masks, D width, V visual tokens, W words of the
vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from x2vlm.data.image import EvalTransform, TrainTransform, Transform
from x2vlm.data.masking import choose, prepend_at
from x2vlm.errors import ConfigError, DataError
from x2vlm.losses import smoothed
from x2vlm.tasks.base import Task
from x2vlm.tasks.beam import Search, generate
from x2vlm.tasks.evaluation import evaluation
from x2vlm.tasks.features import inputs
from x2vlm.types import Batch, Prediction, Record

if TYPE_CHECKING:
    from x2vlm.data.image import Pixels, Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM


class Captioning(Task):
    """prompt: what every caption begins with; it is not part of the result. beams: 1 is greedy.
    min_length, max_length: tokens of the caption. The official length limit was the number of
    images in the batch plus max_length, prompt included (docs/model.md, P6); here it is in tokens.
    ngram: no run of so many tokens twice; 0 is off. smoothing: of the labels. mask_probability,
    max_masks: share and greatest number of tokens to predict in training."""

    name: ClassVar[str] = "captioning"

    def __init__(
        self,
        model: X2VLM,
        tokenizer: Tokenizer,
        *,
        prompt: str = "a picture of ",
        beams: int = 3,
        min_length: int = 5,
        max_length: int = 50,
        ngram: int = 3,
        smoothing: float = 0.1,
        mask_probability: float = 0.6,
        max_masks: int = 18,
        max_tokens: int = 40,
    ) -> None:
        super().__init__(model, tokenizer)
        if not 0 <= min_length < max_length or beams < 1:
            raise ConfigError(
                f"captioning needs beams >= 1 and 0 <= min_length < max_length, got beams={beams}, "
                f"min_length={min_length}, max_length={max_length}"
            )
        self.prompt = prompt.strip()
        ids = tuple(tokenizer.ids(self.prompt, max_tokens)[:-1])
        self.search = Search(
            ids, tokenizer.mask, tokenizer.sep, beams, min_length, max_length, ngram
        )
        self.smoothing, self.max_tokens = smoothing, max_tokens
        self.mask_probability, self.max_masks = mask_probability, max_masks

    @classmethod
    def heads(cls, **_: object) -> dict[str, object]:
        """The head of masked language modelling."""
        return {"heads": ("mlm",)}

    def transform(self, train: bool) -> Transform:
        """Random crops and colours in training; no flip when the caption names a side."""
        size = self.model.config.vision.image_size
        return (
            SeededTransform(TrainTransform(size, flip="careful")) if train else EvalTransform(size)
        )

    def training_records(self, records: Sequence[Record]) -> Sequence[Record]:
        """One record per (image, caption)."""
        return [
            replace(record, id=f"{record.id}#{number}", texts=(text,))
            for record in records
            for number, text in enumerate(record.texts)
        ]

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """In training text_BL holds the masks, mask_BL is causal (B, L, L), and target has
        position_BL, positions_BM, targets_BM, weights_BM (see `data.masking`)."""
        image = torch.stack([sample.images[0] for sample in samples])
        ids = tuple(sample.record.id for sample in samples)
        if not train:
            return Batch(ids, image)
        texts = [
            self.tokenizer.ids(f"{self.prompt} {_caption(sample)}", self.max_tokens)
            for sample in samples
        ]
        chosen = [
            choose(
                self.tokenizer.starts_word(text).tolist(),
                np.random.default_rng(sample.record.target["seed"]),
                self.mask_probability,
                self.max_masks,
                len(self.search.prompt) - 1,
            )
            for sample, text in zip(samples, texts, strict=True)
        ]
        masked = prepend_at(texts, chosen, self.tokenizer.mask, self.tokenizer.pad)
        target = {
            "position_BL": masked.position_BL,
            "positions_BM": masked.positions_BM,
            "targets_BM": masked.targets_BM,
            "weights_BM": masked.weights_BM,
        }
        return Batch(ids, image, masked.text_BL, masked.mask_BLL, target)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Label-smoothed prediction of the masked tokens, a mean over them."""
        model, target = self.model, batch.target
        position_BL = target["position_BL"] + model.config.text.first_position
        image, text_BL, mask_BLL = inputs(batch)
        text_BLD = model.encode_text(text_BL, mask_BLL, position_BL)
        memory = model.memory(model.encode_visual(image))
        fused_BLD = model.fuse(text_BLD, mask_BLL, memory)
        rows_B1 = torch.arange(len(fused_BLD), device=fused_BLD.device)[:, None]
        logits_BMW = model.mlm(fused_BLD[rows_B1, target["positions_BM"]])
        targets, start = (target["targets_BM"], target["weights_BM"]), self.tokenizer.cls
        return {"captioning": smoothed(logits_BMW, *targets, self.smoothing, start=start)}

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """The loss is a mean over the masked tokens."""
        return {"captioning": int(batch.target["weights_BM"].sum())}

    @evaluation
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """{"id", "caption"}."""
        for batch in self.batches(loader, "captioning"):
            assert batch.image is not None
            image_BVD = self.model.encode_visual(batch.image.to(self.device))
            captions = generate(self.model, image_BVD, self.search)
            for id_, tokens in zip(batch.ids, captions, strict=True):
                yield {"id": id_, "caption": self.tokenizer.decode(tokens)}


class SeededTransform:
    """Another transform, and a seed for what is random about the text: target "seed"."""

    def __init__(self, inner: Transform) -> None:
        self.inner = inner

    def __call__(
        self, record: Record, images: Sequence[Pixels], rng: np.random.Generator
    ) -> Sample:
        """See Transform."""
        seed = int(rng.integers(2**32))
        return self.inner(replace(record, target={**record.target, "seed": seed}), images, rng)


def _caption(sample: Sample) -> str:
    text = " ".join(sample.record.texts[0].split())
    if not text:
        raise DataError("a caption to train on is empty", source=sample.record.source)
    return text
