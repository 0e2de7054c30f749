"""For people with an image and a question: load, then encode, match, locate, answer, caption."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np
import torch
from PIL import Image

from x2vlm.data.cleaning import clean_caption
from x2vlm.data.decode import open_oriented
from x2vlm.data.orientation import Pixels, upright_box, upright_size
from x2vlm.data.text import Tokenizer
from x2vlm.errors import ConfigError, unknown
from x2vlm.explain import Box, Explanation, explain
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks import build_on
from x2vlm.tasks.outputs import finite_outputs
from x2vlm.types import Media, Prediction, Record
from x2vlm.weights import find_device, find_weights, load_weights

if TYPE_CHECKING:
    from torch import Tensor

    from x2vlm.data.image import Sample
    from x2vlm.tasks.base import Task

T = TypeVar("T")
Picture = str | Path | Image.Image
_LOSSLESS = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
"""modes of PIL images that PNG keeps as they are"""


def load(name: str | Path, *, tokenizer: str = "", device: str = "cpu") -> Pretrained:
    """Load a model to ask.

    name: "tiny" or "multilingual-tiny" (shipped), one of our .safetensors, a run folder, or an
    official .th file. tokenizer: name or path, for official files, which carry none. device:
    "auto" is a GPU when there is one. Raises CheckpointError when the weights do not fit or a
    tokenizer is missing, ConfigError when there is no such device.
    """
    place = find_device(device)
    model, text = load_weights(find_weights(name), tokenizer=tokenizer)
    return Pretrained(model.to(place).eval(), text)


class Pretrained:
    """A model with its tokenizer. Images are paths or PIL images, seen upright as EXIF says; boxes
    are in pixels of the image as it is stored, as `own_boxes` reads them: of the array that
    PIL.Image.open gives, or of the PIL image itself. pixels="upright": of the picture turned."""

    def __init__(self, model: X2VLM, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @torch.inference_mode()
    def encode_images(self, images: Picture | Sequence[Picture], batch_size: int = 32) -> Tensor:
        """Features of n images, (n, E), L2-normalised: dot products with texts compare them."""
        self._need("contrastive")
        several = [images] if isinstance(images, Picture) else list(images)
        with finite_outputs(self.model):
            parts = [
                self.model.image_feature(self._states(part)) for part in _cut(several, batch_size)
            ]
        return torch.cat(parts) if parts else self._nothing()

    @torch.inference_mode()
    def encode_texts(
        self, texts: str | Sequence[str], max_tokens: int = 40, batch_size: int = 128
    ) -> Tensor:
        """Features of n texts, (n, E), L2-normalised. max_tokens: longer ones are cut."""
        self._need("contrastive")
        several = [texts] if isinstance(texts, str) else list(texts)
        with finite_outputs(self.model):
            parts = [
                self.model.text_feature(self.model.encode_text(*self._tokens(part, max_tokens)))
                for part in _cut(several, batch_size)
            ]
        return torch.cat(parts) if parts else self._nothing()

    @torch.inference_mode()
    def match(self, image: Picture, text: str) -> float:
        """Probability, by the matching head, that the text describes the image."""
        self._need("matching")
        text_BL, mask_BL = self._tokens([text])
        memory = self.model.memory(self._states([image]))
        fused_BLD = self.model.fuse(self.model.encode_text(text_BL, mask_BL), mask_BL, memory)
        with finite_outputs(self.model):
            return float(self.model.match(fused_BLD).softmax(-1)[0, 1])

    def locate(
        self, image: Picture, text: str, pixels: Pixels = "stored"
    ) -> tuple[float, float, float, float]:
        """Box (x, y, width, height), in pixels, of what the text names. Needs a box head.

        pixels: those of the image as it is stored, or "upright", turned as EXIF says.
        """
        if pixels not in get_args(Pixels):
            raise ConfigError(unknown("value of pixels", str(pixels), get_args(Pixels)))
        self._need("box")
        found: Sequence[float] = self._ask("grounding", image, text)["box"]
        if pixels == "upright":
            opened, orientation = oriented_picture(image)
            found = upright_box(found, upright_size(opened.size, orientation), orientation)
        x, y, w, h = found
        return x, y, w, h

    def answer(self, image: Picture, question: str, candidates: Sequence[str]) -> str:
        """The best of `candidates`. Needs an answer decoder (fine-tuned on questions)."""
        self._need("decoder")
        if isinstance(candidates, str):
            raise ConfigError(f"candidates are a list of answers, not one text: {candidates!r}")
        options = {"candidates": tuple(candidates), "k": len(candidates)}
        return str(self._ask("answering", image, question, **options)["answer"])

    def caption(self, image: Picture, beams: int = 3) -> str:
        """A sentence about the image. Needs weights fine-tuned for captioning."""
        self._need("mlm")
        return str(self._ask("captioning", image, beams=beams)["caption"])

    def explain(
        self,
        image: Picture,
        texts: Sequence[str],
        *,
        layer: int | None = None,
        regions: Sequence[Box] = (),
    ) -> Explanation:
        """Where the model looks: see `x2vlm.explain.explain`. Heads that lack leave a None.

        regions are in stored pixels; the Explanation is of the upright picture, boxes and all.
        """
        opened, orientation = oriented_picture(image)
        stored = upright_size(opened.size, orientation)
        seen = [upright_box(box, stored, orientation) for box in regions]
        boxes = [(x, y, w, h) for x, y, w, h in seen]
        return explain(self.model, self.tokenizer, opened, texts, layer=layer, regions=boxes)

    def _need(self, head: str) -> None:
        if head not in self.model.config.heads:
            raise ConfigError(
                f"these weights have no {head!r} head; they have "
                f"{', '.join(self.model.config.heads)}\n  to do: load weights trained for it"
            )

    def _nothing(self) -> Tensor:
        return torch.empty(0, self.model.config.embed, device=self.model.device)

    def _tokens(self, texts: Sequence[str], max_tokens: int = 40) -> tuple[Tensor, Tensor]:
        for text in texts:
            if not isinstance(text, str):
                raise ConfigError(f"a text is a str, not {type(text).__name__}: {text!r}")
        cleaned = [clean_caption(text) for text in texts]
        text_BL, mask_BL = self.tokenizer.encode(cleaned, max_tokens)
        return text_BL.to(self.model.device), mask_BL.to(self.model.device)

    def _states(self, images: Sequence[Picture]) -> Tensor:
        task = build_on("retrieval", self.model, self.tokenizer)
        samples = [_sample(task, image) for image in images]
        image_BCHW = torch.stack([sample.images[0] for sample in samples])
        return self.model.encode_image(image_BCHW.to(self.model.device))

    @torch.inference_mode()
    def _ask(self, name: str, image: Picture, text: str = "", **options: Any) -> Prediction:
        task = build_on(name, self.model, self.tokenizer, **options)
        batch = task.collate([_sample(task, image, text)], train=False)
        return next(iter(task.predict([batch])))


def open_picture(picture: Picture) -> Image.Image:
    """RGB and upright, from a path or a PIL image. MediaError when it cannot be read."""
    return oriented_picture(picture)[0]


def oriented_picture(picture: Picture) -> tuple[Image.Image, int]:
    """`open_picture`, and the EXIF orientation by which it was turned upright."""
    if not isinstance(picture, Picture):
        raise ConfigError(
            f"a picture is a path or a PIL image, not {type(picture).__name__}\n"
            "  to do: of an array, give PIL.Image.fromarray(array)"
        )
    media = Media(str(picture))
    if isinstance(picture, Image.Image):
        buffer = io.BytesIO()
        kept = picture if picture.mode in _LOSSLESS else picture.convert("RGB")
        kept.save(buffer, format="PNG", exif=picture.getexif())
        media = Media("the given image", inline=(buffer.getvalue(),))
    return open_oriented(media)


def _cut(items: list[T], size: int) -> list[list[T]]:
    """Parts of at most `size` items, in order."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def _sample(task: Task, picture: Picture, text: str = "") -> Sample:
    """One image with one text, prepared as the task's evaluation does."""
    opened, orientation = oriented_picture(picture)
    size = list(opened.size)
    target = {"size": size, "box": [0, 0, *size], "turned": orientation}
    record = Record("asked", (), (text,), target)
    return task.transform(train=False)(record, [opened], np.random.default_rng(0))
