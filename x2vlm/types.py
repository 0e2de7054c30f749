"""The values that travel through the harness. No torch at run time: readers and scorers stay light.

Axes of tensors, used as name suffixes in every file:
B batch, C colour channels, H W pixels, P patches, V = 1 + P vision tokens, L text tokens,
D width, N heads, F frames, G images whose regions are used, E projected features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

MediaKind = Literal["image", "video", "frames"]


@dataclass(frozen=True, slots=True)
class Media:
    """Where the pixels of one image or video are; the pixels themselves are read by `x2vlm.data`.

    kind: "image" is one image file; "video" a file for the decoder; "frames" a folder of images
    (sorted by name) or a JSON list of base64 images.
    inline: encoded image files (JPEG, PNG, …) when the annotation file itself holds them; then
    `path` is only a name for messages.
    """

    path: str
    kind: MediaKind = "image"
    inline: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One sample of a benchmark split: what a reader makes of one row of an official file.

    id: unique within its split (multilingual splits put the language in front: "de:123").
    images: one image or video; two for two-image classification (left, right) and Winoground.
    texts: captions (retrieval, captioning), or one question, statement, phrase; two for Winoground.
    target: plain JSON values, by task:
        retrieval       {"text_ids": [str per text]}
        answering       {"answers": [str], "weights": [float]} to train on,
                        {"annotators": [str]} the raw answers to score against
        classification  {"label": int | None} index into the benchmark's labels, None outside them
        grounding       {"box": [x, y, w, h], "size": [width, height]} pixels of the original image
        captioning      {}
        matching        {}
        attributes      {"box": [x, y, w, h], "labels": [1 | 0 | -1 per attribute]}
    group: samples that share it are not independent (usually the image); for standard errors.
    tags: sub-populations that a metric or a page may split by, e.g. {"answer_type": "yes/no"}.
    source: "FILE:ROW" of the annotation, for error messages.
    """

    id: str
    images: tuple[Media, ...]
    texts: tuple[str, ...]
    target: Mapping[str, Any] = field(default_factory=dict)
    language: str = "en"
    group: str = ""
    tags: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


Prediction = dict[str, Any]
"""One line of predictions.jsonl, plain JSON with an "id"; kinds: `benchmarks.predictions`."""


@dataclass(slots=True)
class Batch:
    """What a task's `collate` makes of samples, and its `loss` and `predict` consume.

    image: image_BCHW, or frames_BFCHW for videos; two-image tasks stack them: first all left
    images, then all right ones (2B rows). target: named tensors or lists, as the task documents.
    """

    ids: tuple[str, ...]
    image: Tensor | None = None
    text_BL: Tensor | None = None
    mask_BL: Tensor | None = None
    target: dict[str, Any] = field(default_factory=dict)

    def to(self, device: Any) -> Batch:
        """A copy with every tensor on `device` (asynchronously when memory is pinned)."""

        def move(value: Any) -> Any:
            return value.to(device, non_blocking=True) if hasattr(value, "to") else value

        return Batch(
            self.ids,
            move(self.image),
            move(self.text_BL),
            move(self.mask_BL),
            {name: move(value) for name, value in self.target.items()},
        )
