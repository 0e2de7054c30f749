"""Zero-shot attributes of objects whose boxes are given: which words fit this region?

Axes: B boxes, G images of a batch, V visual tokens, D width, E projected features, A attributes,
X prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from x2vlm.data.cleaning import clean_caption
from x2vlm.data.image import EvalTransform, Transform, patch_mask
from x2vlm.errors import ConfigError, DataError
from x2vlm.tasks.base import Task
from x2vlm.tasks.evaluation import evaluation
from x2vlm.tasks.features import Texts, encode_texts, shared_images
from x2vlm.tasks.rerank import PairScorer
from x2vlm.types import Batch, Prediction, Record

if TYPE_CHECKING:
    from x2vlm.data.image import Pixels, Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM

Variant = Literal["regions", "crops"]
Score = Literal["features", "matching"]
NOUN = "object"  # what a box whose record names no noun is called
KEPT = 128  # sets of nouns whose encoded prompts are kept
TEMPLATES = MappingProxyType({
    "is": ("a {words} {noun}", "the {noun} is {words}", "a photo of a {noun} that is {words}"),
    "has": (
        "a {noun} with {words}", "the {noun} has {words}", "a photo of a {noun} that has {words}"
    ),
})  # fmt: skip
Described = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of an object, and the kind of each attribute: what its prompts depend on."""


class Attributes(Task):
    """labels: names of the attributes, "type:word/word" or "word/word", the words synonyms.
    templates: prompts by kind of attribute, in which {words} stands for each of the synonyms and
    {noun} for each of a record's texts (the names of its object); an attribute's kind is "is"
    unless the record's tag "attributes" says otherwise ("is_has"). Scores of all prompts of an
    attribute are averaged. variant: "regions" encodes an image once and takes the patches of each
    box, "crops" encodes each box as an image of its own. score: cosine of the features, or the
    matching head's logit."""

    name: ClassVar[str] = "attributes"

    def __init__(
        self,
        model: X2VLM,
        tokenizer: Tokenizer,
        *,
        labels: Sequence[str],
        templates: Mapping[str, Sequence[str]] = TEMPLATES,
        variant: Variant = "regions",
        score: Score = "features",
        max_tokens: int = 40,
    ) -> None:
        super().__init__(model, tokenizer)
        if not templates.get("is") or not all(templates.values()):
            raise ConfigError(f'attributes need templates of kind "is", got {dict(templates)}')
        if variant not in ("regions", "crops") or score not in ("features", "matching"):
            raise ConfigError(
                f"attributes cannot be scored as variant={variant!r}, score={score!r}"
            )
        self.labels, self.templates = tuple(labels), templates
        self.variant, self.score, self.max_tokens = variant, score, max_tokens
        self._known: dict[Described, Prompts] = {}

    @classmethod
    def heads(cls, **_: object) -> dict[str, object]:
        """Contrastive features and the matching head."""
        return {"heads": ("contrastive", "matching")}

    def transform(self, train: bool) -> Transform:
        """The whole image with its box, or the box alone. Evaluation only."""
        if train:
            raise ConfigError("attributes are zero-shot; train retrieval or pre-training instead")
        size = self.model.config.vision.image_size
        return CropTransform(size) if self.variant == "crops" else EvalTransform(size)

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """image: without repeats. target: rows, the image of each box; patches_BV, the visual
        tokens inside it; described, the names of each object and the kinds of the attributes."""
        if train:
            raise ConfigError("attributes are zero-shot; train retrieval or pre-training instead")
        vision = self.model.config.vision
        image, rows = shared_images(samples)
        masks = [
            patch_mask(
                _corners(sample, vision.image_size, vision.image_size),
                vision.image_size,
                vision.patch_size,
            )
            for sample in samples
        ]
        described = [self._described(sample.record) for sample in samples]
        patches_BV = torch.from_numpy(np.stack(masks))
        target = {"rows": rows, "patches_BV": patches_BV, "described": described}
        return Batch(tuple(sample.record.id for sample in samples), image, target=target)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """There is none: ConfigError."""
        raise ConfigError(f"attributes are zero-shot; nothing to learn from {len(batch.ids)} boxes")

    @evaluation
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """{"id", "scores": [one per attribute]}; higher is likelier."""
        for batch in self.batches(loader, "attributes"):
            score = self._by_features if self.score == "features" else self._by_matching
            for id_, scores_A in zip(batch.ids, score(batch.to(self.device)), strict=True):
                yield {"id": id_, "scores": scores_A.tolist()}

    def _regions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Visual tokens of the images (G, V, D), and of the boxes (B, V, D)."""
        assert batch.image is not None
        image_GVD = self.model.encode_image(batch.image)
        if self.variant == "crops":
            return image_GVD, image_GVD[batch.target["rows"]]
        target = batch.target
        return image_GVD, self.model.regions(image_GVD, target["patches_BV"], target["rows"])

    def _by_features(self, batch: Batch) -> Iterator[Tensor]:
        feature_BE = self.model.image_feature(self._regions(batch)[1]).float().cpu()
        for feature_E, described in zip(feature_BE, batch.target["described"], strict=True):
            yield self._prompts(described).feature_AE @ feature_E

    def _by_matching(self, batch: Batch) -> Iterator[Tensor]:
        model, target = self.model, batch.target
        image_GVD, region_BVD = self._regions(batch)
        memory = model.memory(image_GVD)
        if self.variant == "regions":
            memory = model.region_memory(memory, region_BVD, target["patches_BV"], target["rows"])
        rows = target["rows"] if self.variant == "crops" else torch.arange(len(region_BVD))
        for row, described in zip(rows.tolist(), target["described"], strict=True):
            prompts = self._prompts(described)
            score_X = prompts.scorer.score(memory.select([row]), range(len(prompts.attribute_X)))
            yield _means(score_X.cpu(), prompts.attribute_X, len(self.labels))

    def _described(self, record: Record) -> Described:
        nouns = tuple(map(clean_caption, record.texts)) or (NOUN,)
        facts = record.tags.get("attributes") or [{}] * len(self.labels)
        if len(facts) != len(self.labels):
            raise DataError(
                f"{len(facts)} attributes described, {len(self.labels)} to score",
                source=record.source or record.id,
            )
        kinds = tuple(fact.get("is_has", "is") for fact in facts)
        return nouns, tuple(kind if kind in self.templates else "is" for kind in kinds)

    def _prompts(self, described: Described) -> Prompts:
        """The prompts about an object of these names, encoded once and kept for the next box."""
        if described not in self._known:
            nouns, kinds = described
            texts: list[str] = []
            attributes: list[int] = []
            for attribute, (label, kind) in enumerate(zip(self.labels, kinds, strict=True)):
                filled = {
                    clean_caption(template.replace("{noun}", noun).replace("{words}", words))
                    for template in self.templates[kind]
                    for words in label.rpartition(":")[2].split("/")
                    for noun in nouns
                }
                texts += sorted(filled)
                attributes += [attribute] * len(filled)
            if len(self._known) >= KEPT:
                self._known.pop(next(iter(self._known)))
            encoded = encode_texts(self.model, self.tokenizer, texts, self.max_tokens)
            self._known[described] = Prompts(self.model, encoded, attributes, len(self.labels))
        return self._known[described]


class Prompts:
    """Encoded prompts. attribute_X: which attribute each describes; feature_AE: their features,
    averaged per attribute, so that a product with it is the average cosine."""

    def __init__(self, model: X2VLM, texts: Texts, attributes: Sequence[int], count: int) -> None:
        assert texts.feature_NE is not None
        self.attribute_X = torch.tensor(attributes)
        self.feature_AE = _means(texts.feature_NE, self.attribute_X, count)
        self.scorer = PairScorer(model, texts)


class CropTransform:
    """Each box becomes an image of its own: cropped, resized to the square."""

    def __init__(self, size: int) -> None:
        self.whole = EvalTransform(size)

    def __call__(
        self, record: Record, images: Sequence[Pixels], rng: np.random.Generator
    ) -> Sample:
        """See Transform; `rng` is not used."""
        sample = self.whole(record, images, rng)  # checks the box
        image = images[0]
        assert not isinstance(image, list), "boxes are in images, not in videos"
        x, y, w, h = _corners(sample, image.width, image.height)
        box = (math.floor(x), math.floor(y), math.ceil(x + w), math.ceil(y + h))
        crop = image.crop((*box[:2], min(box[2], image.width), min(box[3], image.height)))
        return replace(self.whole(replace(record, target={}), [crop], rng), record=record, box=_ALL)


_ALL = (0.5, 0.5, 1.0, 1.0)


def _corners(sample: Sample, width: float, height: float) -> tuple[float, float, float, float]:
    """The box of a sample as x, y, w, h in pixels of an image of this size."""
    if sample.box is None:
        raise DataError("an object has no box", source=sample.record.source or sample.record.id)
    cx, cy, w, h = sample.box
    return (cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height


def _means(values_X: Tensor, group_X: Tensor, count: int) -> Tensor:
    """Means of rows (or numbers) by group: (count, …)."""
    total = torch.zeros(count, *values_X.shape[1:]).index_add(0, group_X, values_X)
    number = torch.bincount(group_X, minlength=count)
    return total / number.view(-1, *[1] * (values_X.dim() - 1))
