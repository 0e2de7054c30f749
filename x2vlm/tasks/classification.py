"""Classification of a text with one image, two images or a video into a fixed list of labels.

Axes: B batch, C channels, H W pixels, F frames, L text tokens, D width, K labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from x2vlm.data.cleaning import TRAIN_WORDS, clean_caption, clean_question
from x2vlm.data.image import EvalTransform, Flip, TrainTransform, Transform
from x2vlm.errors import ConfigError, DataError, unknown
from x2vlm.tasks.base import Task
from x2vlm.tasks.evaluation import evaluation
from x2vlm.tasks.features import fused, shared_images
from x2vlm.types import Batch, Prediction, Record

if TYPE_CHECKING:
    from x2vlm.config import TrainConfig
    from x2vlm.data.image import Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM

OUTSIDE = -100  # target of a sample whose answer is not among the labels: no loss, never right
KEPT = 10  # scores written per sample: all of a short list, the best of a long one


class Classification(Task):
    """labels: the names, in the order of the classifier. images: 1, or 2 whose fused first tokens
    are concatenated (docs/model.md, 3). text: how texts are cleaned. max_words: of a caption.
    flip: which training images may be mirrored (see `TrainTransform`); official: "careful" for
    questions about videos, "free" for NLVR2, MaRVL and XVNLI."""

    name: ClassVar[str] = "classification"

    def __init__(
        self,
        model: X2VLM,
        tokenizer: Tokenizer,
        *,
        labels: Sequence[str],
        images: int = 1,
        text: Literal["caption", "question"] = "caption",
        max_words: int = 30,
        max_tokens: int = 40,
        flip: Flip = "careful",
    ) -> None:
        super().__init__(model, tokenizer)
        if images not in (1, 2):
            raise ConfigError(f"classification takes 1 or 2 images, not {images}")
        if text not in ("caption", "question"):
            raise ConfigError(f'text of classification is "caption" or "question", not {text!r}')
        if flip not in get_args(Flip):
            raise ConfigError(unknown("flip of classification", flip, get_args(Flip)))
        self.labels, self.images, self.max_tokens = tuple(labels), images, max_tokens
        self.text, self.max_words, self.flip = text, max_words, flip

    @classmethod
    def heads(cls, **options: Any) -> dict[str, object]:
        """A classifier over the labels, twice as wide at its entrance for two images."""
        head = "pair_classifier" if options.get("images", 1) == 2 else "classifier"
        return {"heads": (head,), "labels": len(options["labels"])}

    def transform(self, train: bool) -> Transform:
        """Random crops and colours in training; no flip when text or label name a side, unless
        `flip` says otherwise."""
        size = self.model.config.vision.image_size
        if not train:
            return EvalTransform(size)
        return TrainTransform(size, flip=self.flip, labels=self.labels)

    def check_training(
        self, units: Sequence[Record], settings: TrainConfig, micro_batch: int
    ) -> list[str]:
        """Labels outside the list teach nothing, a list of one little."""
        del settings, micro_batch
        known = [unit.target["label"] for unit in units if unit.target.get("label") is not None]
        if units and not known:
            raise DataError(
                f"the answers of all {len(units)} training samples are outside the list of "
                f"{len(self.labels)} labels ({', '.join(map(str, self.labels[:3]))}, …), so "
                "nothing can be learned",
                source=units[0].source or units[0].id,
                fix="check how the labels are spelled in the training file and in the list",
            )
        found = []
        if missing := len(units) - len(known):
            found.append(
                f"the answers of {missing} of {len(units)} training samples are outside "
                f"the list of {len(self.labels)} labels: they teach nothing"
            )
        if known and (len(self.labels) == 1 or (len(known) > 1 and len(set(known)) == 1)):
            found.append(
                f"all {len(known)} training samples have the label "
                f"{self.labels[known[0]]!r}: always to give it is all there is to learn"
            )
        return found

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """image: without repeats; target: rows, the image of each text (all first images, then all
        second ones), and in training label_B (OUTSIDE when it is not among the labels)."""
        texts = [self._clean(sample.record.texts[0], train) for sample in samples]
        text_BL, mask_BL = self.tokenizer.encode(texts, self.max_tokens)
        image, rows = shared_images(samples, range(self.images))
        target: dict[str, Any] = {"rows": rows}
        if train:
            known = [sample.record.target.get("label") for sample in samples]
            target["label_B"] = torch.tensor([OUTSIDE if n is None else n for n in known])
        ids = tuple(sample.record.id for sample in samples)
        return Batch(ids, image, text_BL, mask_BL, target)

    def _clean(self, text: str, train: bool) -> str:
        if self.text == "caption":
            return clean_caption(text, self.max_words)
        return clean_question(text, TRAIN_WORDS) if train else clean_question(text)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, K)."""
        return self.model.classify(fused(self.model, batch, self.images))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, a mean over the samples whose label is in the list."""
        label_B = batch.target["label_B"]
        known = (label_B != OUTSIDE).sum().clamp(min=1)
        total = F.cross_entropy(self.forward(batch), label_B, ignore_index=OUTSIDE, reduction="sum")
        return {"classification": total / known}

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """The loss is a mean over the samples whose label is in the list."""
        return {"classification": int((batch.target["label_B"] != OUTSIDE).sum())}

    @evaluation
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """{"id", "label": its name, "scores": {name: probability}} of the KEPT likeliest labels."""
        kept = min(KEPT, len(self.labels))
        for batch in self.batches(loader, "classifying"):
            logits_BK = self.forward(batch.to(self.device)).float()
            best = logits_BK.softmax(-1).topk(kept, dim=-1)
            for id_, scores, places in zip(
                batch.ids, best.values.tolist(), best.indices.tolist(), strict=True
            ):
                names = [self.labels[place] for place in places]
                yield {
                    "id": id_,
                    "label": names[0],
                    "scores": dict(zip(names, scores, strict=True)),
                }
