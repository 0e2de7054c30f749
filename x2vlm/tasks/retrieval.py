"""Retrieval of texts by images and of images by texts, in two stages.

Features rank everything; the k nearest of each query, both ways, are re-ranked by the matching
head. A pair on both lists is scored once.

Axes: B batch, N images, M texts, P pairs, K candidates of a query, E projected features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, get_args

import torch
from torch import Tensor

from x2vlm import distributed
from x2vlm.data.cleaning import Bare, clean_caption
from x2vlm.data.image import EvalTransform, TrainTransform, Transform
from x2vlm.errors import ConfigError, DataError, unknown
from x2vlm.losses import contrastive, hard_negatives, matching
from x2vlm.tasks.base import Task, no_negatives
from x2vlm.tasks.evaluation import evaluation
from x2vlm.tasks.features import Texts, encode_texts, inputs, nearest
from x2vlm.tasks.gallery import Gallery, collect, even_out
from x2vlm.tasks.rerank import Group, rerank
from x2vlm.types import Batch, Prediction, Record

if TYPE_CHECKING:
    from x2vlm.config import TrainConfig
    from x2vlm.data.image import Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM


class Retrieval(Task):
    """k: how many of each query's nearest are re-ranked. max_words: where captions are cut. bare:
    what to do with captions without a word (`clean_caption`).
    Also for videos, whose frames are averaged (docs/model.md, 1)."""

    name: ClassVar[str] = "retrieval"

    def __init__(
        self,
        model: X2VLM,
        tokenizer: Tokenizer,
        *,
        k: int = 128,
        max_words: int = 30,
        bare: Bare = "refuse",
        max_tokens: int = 40,
    ) -> None:
        super().__init__(model, tokenizer)
        if k < 1:
            raise ConfigError(f"retrieval re-ranks at least 1 candidate per query, not k={k}")
        if bare not in get_args(Bare):
            raise ConfigError(unknown("value of options.bare", str(bare), get_args(Bare)))
        self.k, self.max_words, self.max_tokens = k, max_words, max_tokens
        self.bare: Bare = bare

    @classmethod
    def heads(cls, **_: object) -> dict[str, object]:
        """Contrastive features and the matching head."""
        return {"heads": ("contrastive", "matching")}

    def transform(self, train: bool) -> Transform:
        """Random crops and colours in training; no flip when the caption names a side."""
        size = self.model.config.vision.image_size
        return TrainTransform(size, flip="careful") if train else EvalTransform(size)

    def training_records(self, records: Sequence[Record]) -> Sequence[Record]:
        """One record per (image, caption); target "image" tells which are of one image."""
        return [
            replace(record, id=f"{record.id}#{number}", texts=(text,), target={"image": place})
            for place, record in enumerate(records)
            for number, text in enumerate(record.texts)
        ]

    def check_training(
        self, units: Sequence[Record], settings: TrainConfig, micro_batch: int
    ) -> list[str]:
        """No negatives: one sample at a time, or one image only."""
        if micro_batch < 2:
            raise no_negatives(settings, micro_batch)
        if len({unit.images for unit in units}) == 1:
            raise DataError(
                f"all {len(units)} captions to train on are of one image, so there are no "
                "negatives and nothing can be learned",
                source=units[0].source or units[0].id,
                expected="at least two images",
                fix="check the image column of the training file, and limit=",
            )
        if len({unit.texts for unit in units}) == 1:
            return [
                f"all {len(units)} captions to train on are equal: {units[0].texts[0]!r}; "
                "images cannot be told apart by them"
            ]
        return []

    def nothing_to_learn(self, batch: Batch) -> str:
        """Texts of one image are no negatives of it."""
        one = len(batch.target["image_B"].unique()) == 1
        return "all its samples are of one image, so it has no negatives" if one else ""

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """target: in training image_B, else texts and text_ids, one list per image."""
        image = torch.stack([sample.images[0] for sample in samples])
        ids = tuple(sample.record.id for sample in samples)
        if not train:
            texts, text_ids = zip(*(self.captions(s.record) for s in samples), strict=True)
            return Batch(ids, image, target={"texts": texts, "text_ids": text_ids})
        captions = [clean_caption(s.record.texts[0], self.max_words, self.bare) for s in samples]
        text_BL, mask_BL = self.tokenizer.encode(captions, self.max_tokens)
        image_B = torch.tensor([sample.record.target["image"] for sample in samples])
        return Batch(ids, image, text_BL, mask_BL, {"image_B": image_B})

    def captions(self, record: Record) -> tuple[list[str], list[str]]:
        """Cleaned texts of an image, and their ids."""
        names = list(record.target.get("text_ids", ()))
        if len(names) != len(record.texts):
            raise DataError(
                f"{len(record.texts)} texts but {len(names)} text ids",
                source=record.source or record.id,
                expected='target {"text_ids": [one per text]}',
            )
        return [clean_caption(text, self.max_words, self.bare) for text in record.texts], names

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Contrastive, with soft labels over the texts of one image, and matching, with hard
        negatives drawn from the contrastive distribution (docs/model.md, 2)."""
        model, image_B = self.model, batch.target["image_B"]
        image, text_BL, mask_BL = inputs(batch)
        image_BVD, text_BLD = model.encode_visual(image), model.encode_text(text_BL, mask_BL)
        image_BE, text_BE = model.image_feature(image_BVD), model.text_feature(text_BLD)
        features = (image_BE, text_BE, model.temperature, image_B)
        negatives = hard_negatives(*features)
        memory = model.memory(image_BVD)
        return {
            "contrastive": contrastive(*features),
            "matching": matching(model, text_BLD, mask_BL, memory, *negatives),
        }

    @evaluation
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """{"id": image, "ranking": {"text": [[id, score], …]}} and, of each text, the same with
        "image": the re-ranked candidates, the best first; score: the matching logit of class 1.

        Collective: every process of a group must call it.
        """
        gallery = collect(self, loader)
        texts = encode_texts(self.model, self.tokenizer, gallery.texts, self.max_tokens)
        assert texts.feature_NE is not None
        k, count = self.k, len(gallery.texts)
        text_NK = torch.cat([i for _, i in nearest(gallery.feature_NE, texts.feature_NE, k)])
        image_MK = torch.cat([i for _, i in nearest(texts.feature_NE, gallery.feature_NE, k)])
        # A pair as one number, image first: sorting by it groups the pairs by image.
        by_image_NK = torch.arange(len(text_NK))[:, None] * count + text_NK
        by_text_MK = image_MK * count + torch.arange(len(image_MK))[:, None]
        pair_P = torch.unique(torch.cat([by_image_NK.flatten(), by_text_MK.flatten()]))
        score_P = self._scores(gallery, texts, pair_P)
        gallery.states.clear()  # the largest thing here, and read for the last time
        mine = slice(distributed.rank(), None, distributed.world())
        score_NK = score_P[torch.searchsorted(pair_P, by_image_NK[mine].contiguous())]
        score_MK = score_P[torch.searchsorted(pair_P, by_text_MK[mine].contiguous())]
        yield from _rankings(
            "text", gallery.images[mine], gallery.text_ids, text_NK[mine], score_NK
        )
        yield from _rankings(
            "image", gallery.text_ids[mine], gallery.images, image_MK[mine], score_MK
        )

    def _scores(self, gallery: Gallery, texts: Texts, pair_P: Tensor) -> Tensor:
        """Matching scores of all pairs, each computed by one process."""
        pairs_P2 = torch.stack([pair_P // len(texts), pair_P % len(texts)], 1)
        length_P = torch.tensor(texts.lengths)[pairs_P2[:, 1]]
        cost_N = torch.bincount(
            pairs_P2[:, 0], weights=length_P.double(), minlength=len(gallery.images)
        )
        even_out(gallery, cost_N.long().tolist())
        ours_P = torch.tensor(gallery.owner)[pairs_P2[:, 0]] == distributed.rank()

        def watch(groups: list[Group]) -> Iterable[Group]:
            return self.progress(groups, "re-ranking", len(groups), "images")

        ours = rerank(self.model, gallery.states, texts, pairs_P2[ours_P], watch=watch)
        score_P = torch.empty(len(pair_P))
        for place_X, score_X in distributed.all_gather_objects((ours_P.nonzero()[:, 0], ours)):
            score_P[place_X] = score_X
        return score_P


def _rankings(
    kind: str, queries: Sequence[str], names: Sequence[str], index_QK: Tensor, score_QK: Tensor
) -> Iterator[Prediction]:
    """One prediction per query; equal scores in order of id, so that they do not depend on k."""
    for query, index_K, score_K in zip(queries, index_QK, score_QK, strict=True):
        pairs = zip(index_K.tolist(), score_K.tolist(), strict=True)
        found = [[names[place], score] for place, score in pairs]
        found.sort(key=lambda pair: (-pair[1], pair[0]))
        yield {"id": query, "ranking": {kind: found}}
