"""Multi-grained pre-training: aligning and locating concepts of any grain in one step.

Five kinds of batch, each with the losses of docs/model.md, 2; the loop adds them up:

    image, video   contrastive, matching, mlm
    region         the same for concepts in boxes of an image, and box, giou: where they are
    question       mlm of the answers alone, each behind its question (images and videos)
    parallel       contrastive, matching, mlm between two texts of one meaning (CCLM)

An image is encoded once however many concepts it carries, and its keys and values are projected
once for all pairs, negatives, masked copies and the localisation.

Axes: see `x2vlm.types`; M masked positions of a text; B texts (concepts), G images of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from x2vlm import losses
from x2vlm.data.image import EvalTransform, TrainTransform, Transform
from x2vlm.errors import ConfigError, unknown
from x2vlm.model.layers import Memory
from x2vlm.model.vision import region_means
from x2vlm.tasks.base import Task
from x2vlm.tasks.pretraining_data import Regions, Texts
from x2vlm.types import Batch, Prediction

if TYPE_CHECKING:
    from x2vlm.data.image import Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM

ALIGNED = ("contrastive", "matching", "mlm")
LOSSES: Mapping[str, tuple[str, ...]] = {
    "image": ALIGNED,
    "region": (*ALIGNED, "box", "giou"),
    "video": ALIGNED,
    "question": ("mlm",),
    "parallel": ALIGNED,
}
"""what each kind of batch is trained on"""
Negatives = tuple[Tensor, Tensor]
"""(image_B, text_B): the wrong image of each text, the wrong text of each image."""


class Pretraining(Task):
    """Batches name their kind: target["kind"]; target["matching"] false leaves matching out,
    target["align"] false all losses of a region batch but those of its boxes, and target["fuse"]
    false all losses but the contrastive one.

    localise, align_regions: whether region batches have their box losses, and the others.
    weights: factors of single losses ("region_box") and of all losses of a kind ("region").
    """

    name: ClassVar[str] = "pretraining"

    def __init__(
        self,
        model: X2VLM,
        tokenizer: Tokenizer,
        *,
        localise: bool = True,
        align_regions: bool = True,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(model, tokenizer)
        self.localise, self.align_regions = localise, align_regions
        given = dict(weights or {})
        names = {f"{kind}_{loss}": kind for kind, losses in LOSSES.items() for loss in losses}
        for name in given:
            if name not in names and name not in LOSSES:
                raise ConfigError(unknown("loss or kind of batch", name, (*LOSSES, *names)))
        self.weights = {
            name: float(given.get(name, 1) * given.get(kind, 1)) for name, kind in names.items()
        }

    @classmethod
    def heads(cls, **_: object) -> dict[str, object]:
        """All heads of the pre-training model."""
        return {"heads": ("contrastive", "matching", "box", "mlm")}

    def transform(self, train: bool) -> Transform:
        """Image-text samples; region samples are prepared with their boxes (`pretraining_data`)."""
        size = self.model.config.vision.image_size
        return TrainTransform(size, (0.2, 1.0), "careful") if train else EvalTransform(size)

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """Not by records: batches of every kind come from `pretraining_data.Preparer`."""
        del samples, train
        raise ConfigError("pre-training reads streams, not the records of a benchmark")

    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """None: a pre-trained model is evaluated by the other tasks."""
        del loader
        raise ConfigError("pre-training has no predictions; evaluate its weights with another task")

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Pairs, masked tokens and boxes of a batch, under the names of its losses."""
        kind, target = str(batch.target["kind"]), batch.target
        aligned = kind != "question" and bool(target.get("align", True))
        pairs = len(target["text_BL"]) if kind == "parallel" else len(_text(batch))
        if aligned and not target.get("fuse", True):
            return {f"{kind}_contrastive": pairs}
        found = {"contrastive": pairs, "matching": 3 * pairs} if aligned else {}
        if aligned or kind == "question":
            found["mlm"] = int((target["targets_BM"] != losses.IGNORED).sum())
        if kind == "region":
            boxes = int(target["is_box_B"].sum())
            found |= {"box": boxes, "giou": boxes}
        return {f"{kind}_{name}": count for name, count in found.items()}

    def nothing_to_learn(self, batch: Batch) -> str:
        """One concept has no negatives."""
        alone = 1 in (n for name, n in self.counts(batch).items() if "contrastive" in name)
        return "it has one text, which has no negatives" if alone else ""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of the batch's kind, named KIND_LOSS."""
        target = batch.target
        kind, matching = str(target["kind"]), bool(target.get("matching", True))
        texts = Texts(
            _text(batch), cast(Tensor, batch.mask_BL),
            target["hidden_BL"], target["positions_BM"], target["targets_BM"],
        )  # fmt: skip
        if kind == "parallel":
            found = self.parallel_losses(
                texts, target["text_BL"], target["mask_BL"], matching=matching
            )
        elif kind == "region":
            regions = Regions(
                target["rows_B"], target["patches_BV"], target["box_B4"], target["is_box_B"],
                target["kind_B"],
            )  # fmt: skip
            align = bool(target.get("align", True))
            if align and not target.get("fuse", True):
                found = self.told_apart(_image(batch), texts, regions)
            else:
                found = self.region_losses(
                    _image(batch), regions, texts, matching=matching, align=align
                )
        elif kind == "question":
            found = self.question_losses(_image(batch), texts, target["rows_B"])
        elif not target.get("fuse", True):
            found = self.told_apart(_image(batch), texts)
        else:
            found = self.image_losses(_image(batch), texts, matching=matching)
        return {f"{kind}_{name}": value for name, value in found.items()}

    def image_losses(
        self, image: Tensor, texts: Texts, negatives: Negatives | None = None, *,
        matching: bool = True,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Losses of image_BCHW, or of videos as frames_BFCHW, with one text each.

        negatives: which to match against; None: drawn from the contrastive distribution.
        """
        image_BVD = self.model.encode_visual(image)
        feature_BE = self.model.image_feature(image_BVD)
        found, _ = self._align(feature_BE, self.model.memory(image_BVD), texts, negatives, matching)
        return found

    def region_losses(
        self, image_GCHW: Tensor, regions: Regions, texts: Texts,
        negatives: Negatives | None = None, *, matching: bool = True, align: bool = True,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Losses of concepts in boxes: seen through their patches they are aligned with their
        texts; in the whole image they are located by them. "box", "giou": means over boxes."""
        model = self.model
        image_GVD = model.encode_image(image_GCHW)
        whole = model.memory(image_GVD)
        if not (align and self.align_regions):
            if not self.localise:
                raise ConfigError("a region batch has nothing to train on; leave its stream out")
            text_BLD = model.encode_text(texts.text_BL, texts.mask_BL)
            fused_BLD = model.fuse(text_BLD, texts.mask_BL, whole, regions.rows_B)
            return self._locate(fused_BLD, regions)
        region_BVD = model.regions(image_GVD, regions.patches_BV, regions.rows_B)
        memory = model.region_memory(whole, region_BVD, regions.patches_BV, regions.rows_B)
        feature_BE = model.image_feature(region_BVD)
        located: Tensor | None = None
        if self.localise:
            everywhere_GV = torch.ones_like(regions.patches_BV[:1]).expand(len(image_GVD), -1)
            both = Memory.cat([memory, Memory(whole.layers, everywhere_GV.bool())])
            memory, located = both, regions.rows_B + len(region_BVD)
        found, last = self._align(feature_BE, memory, texts, negatives, matching, located)
        if last is not None:
            found |= self._locate(last, regions)
        return found

    def told_apart(
        self, image: Tensor, texts: Texts, regions: Regions | None = None
    ) -> dict[str, Tensor]:
        """The contrastive loss alone, of images, videos or regions: nothing is fused. Concepts of
        equal texts, which are read once, are no negatives of each other, nor are those of other
        kinds."""
        model, image_BVD = self.model, self.model.encode_visual(image)
        if regions is not None:
            image_BVD = region_means(image_BVD, regions.patches_BV, regions.rows_B)
        feature_BE = model.image_feature(image_BVD)
        key_B = _keys(texts.text_BL, texts.mask_BL)
        key_U, row_B = torch.unique(key_B, return_inverse=True)
        first_U = row_B.new_zeros(len(key_U)).index_copy(
            0, row_B, torch.arange(len(row_B)).to(row_B)
        )
        text_UL, mask_UL = texts.text_BL[first_U], texts.mask_BL[first_U]
        text_BE = model.text_feature(model.encode_text(text_UL, mask_UL))[row_B]
        kind_B = None if regions is None else regions.kind_B
        found = losses.contrastive(feature_BE, text_BE, model.temperature, key_B, kind_B)
        return {"contrastive": found}

    def question_losses(self, image: Tensor, texts: Texts, rows_B: Tensor) -> dict[str, Tensor]:
        """The hidden answers of questions about image_BCHW or frames_BFCHW; rows_B: the image of
        each question."""
        memory = self.model.memory(self.model.encode_visual(image))
        hidden_BLD = self.model.encode_text(texts.hidden_BL, texts.mask_BL)
        fused_BLD = self.model.fuse(hidden_BLD, texts.mask_BL, memory, rows_B)
        found = losses.mlm(self.model, fused_BLD, texts.positions_BM, texts.targets_BM)
        return {"mlm": found}

    def parallel_losses(
        self, texts: Texts, text_BL: Tensor, mask_BL: Tensor, negatives: Negatives | None = None,
        *, matching: bool = True,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Losses of texts and other texts of the same meaning: the masked copies of `texts` are
        told from the others, and the others are matched to `texts`, which stand where images do."""
        model, count = self.model, len(texts.text_BL)
        both_BL = torch.cat([texts.text_BL, texts.hidden_BL])
        states_BLD = model.encode_text(both_BL, texts.mask_BL.repeat(2, 1))
        text_BLD, hidden_BLD = states_BLD[:count], states_BLD[count:]
        other_BLD = model.encode_text(text_BL, mask_BL)
        features = model.text_feature(text_BLD), model.text_feature(other_BLD)
        fused_BLD = model.fuse(hidden_BLD, texts.mask_BL, model.memory(other_BLD, mask_BL))
        found = {
            "contrastive": losses.contrastive(*features, model.temperature),
            "mlm": losses.mlm(model, fused_BLD, texts.positions_BM, texts.targets_BM),
        }
        if matching:
            negatives = negatives or losses.hard_negatives(*features, model.temperature)
            memory = model.memory(text_BLD, texts.mask_BL)
            found["matching"] = losses.matching(model, other_BLD, mask_BL, memory, *negatives)
        return found

    def _align(
        self, feature_BE: Tensor, memory: Memory, texts: Texts, negatives: Negatives | None,
        matching: bool, located_B: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor | None]:  # fmt: skip
        """Contrastive, matching and MLM of B concepts (the first B of `memory`) and their texts.

        located_B: rows of the memory in which the texts are to be located; their fused states are
        returned as well. Everything is fused in one call, which packs the texts of an image.
        """
        model, own_B = self.model, torch.arange(len(feature_BE), device=feature_BE.device)
        both_BL = torch.cat([texts.text_BL, texts.hidden_BL])
        states_BLD = model.encode_text(both_BL, texts.mask_BL.repeat(2, 1))
        text_BE = model.text_feature(states_BLD[: len(own_B)])
        found = {"contrastive": losses.contrastive(feature_BE, text_BE, model.temperature)}
        parts = [(own_B + len(own_B), own_B)]  # masked copies see their own image
        if matching:
            image_B, text_B = negatives or losses.hard_negatives(
                feature_BE, text_BE, model.temperature
            )
            parts += [(own_B, own_B), (own_B, image_B), (text_B, own_B)]
        if located_B is not None:
            parts.append((own_B, located_B))
        text_rows = torch.cat([text for text, _ in parts])
        image_rows = torch.cat([image for _, image in parts])
        mask_BL = texts.mask_BL[text_rows % len(own_B)]
        fused_BLD = model.fuse(states_BLD[text_rows], mask_BL, memory, image_rows)
        fused = torch.split(fused_BLD, len(own_B))
        found["mlm"] = losses.mlm(model, fused[0], texts.positions_BM, texts.targets_BM)
        if matching:
            targets = losses.matching_targets(image_B, text_B)
            logits = model.match(torch.cat([part[:, :1] for part in fused[1:4]]))
            found["matching"] = F.cross_entropy(logits.float(), targets)
        return found, None if located_B is None else fused[-1]

    def _locate(self, fused_BLD: Tensor, regions: Regions) -> dict[str, Tensor]:
        return losses.box(self.model.box(fused_BLD), regions.box_B4, regions.is_box_B)


def _keys(text_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """A number per text, the same for equal texts of all processes: a polynomial in its tokens."""
    power_L = torch.full_like(text_BL[0], 1_000_003).cumprod(0)  # wraps around, on every device
    return (text_BL * mask_BL * power_L).sum(1)


def _image(batch: Batch) -> Tensor:
    assert batch.image is not None
    return batch.image


def _text(batch: Batch) -> Tensor:
    assert batch.text_BL is not None
    return batch.text_BL
