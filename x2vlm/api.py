"""For people with an image and a question: load, then encode, match, locate, answer, caption."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from x2vlm.data.text import Tokenizer, clean_caption, load_tokenizer
from x2vlm.errors import CheckpointError, ConfigError
from x2vlm.model import checkpoint as checkpoints
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks import build_on
from x2vlm.types import Media, Prediction, Record

if TYPE_CHECKING:
    from torch import Tensor

ASSETS = Path(__file__).parent / "assets"
Picture: TypeAlias = "str | Path | Image"


def load(name: str | Path, *, tokenizer: str | None = None, device: str = "cpu") -> Pretrained:
    """Load a model to ask.

    name: "tiny" or "multilingual-tiny" (shipped), one of our .safetensors, a run folder, or an
    official .th file. tokenizer: name or path, for official files, which carry none.
    Raises CheckpointError when the weights do not fit or a tokenizer is missing.
    """
    model, text = load_weights(name, tokenizer)
    return Pretrained(model.to(device).eval(), text)


def find_weights(name: str | Path) -> Path:
    """The weights file behind a shipped name, a run folder or a path."""
    path = Path(name)
    shipped = ASSETS / f"{name}.safetensors"
    if not path.exists() and shipped.exists():
        return shipped
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        names = sorted(file.stem for file in ASSETS.glob("*.safetensors"))
        raise CheckpointError(
            f"no weights at {path}\n  expected: a file, a run folder that holds model.safetensors, "
            f"or a shipped name ({', '.join(names)})"
        )
    return path


def load_weights(name: str | Path, tokenizer: str | None = None) -> tuple[X2VLM, Tokenizer]:
    """The model and its tokenizer; the latter from the file itself unless named."""
    path = find_weights(name)
    if path.suffix == ".safetensors":
        loaded = checkpoints.load(path)
        model, inside = loaded.model, loaded.tokenizer
    else:
        model, inside = checkpoints.load_official(path), ""
    if tokenizer:
        return model, load_tokenizer(tokenizer)
    if not inside:
        raise CheckpointError(
            f"{path} carries no tokenizer\n  to do: name one, e.g. tokenizer=bert-base-uncased "
            "(xlm-roberta-base for multilingual weights), or a folder that holds it"
        )
    return model, Tokenizer.from_json(inside)


class Pretrained:
    """A model with its tokenizer. Images are paths or PIL images; boxes are pixels of the image."""

    def __init__(self, model: X2VLM, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._tasks: dict[str, Any] = {}

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Picture]) -> Tensor:
        """Features of n images, (n, E), L2-normalised: their dot products with texts compare."""
        task = self._task("matching")
        transform = task.transform(train=False)
        samples = [_sample(transform, _record(image)) for image in images]
        image_BCHW = torch.stack([sample.images[0] for sample in samples]).to(self._device)
        return self.model.image_feature(self.model.encode_image(image_BCHW))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], max_tokens: int = 40) -> Tensor:
        """Features of n texts, (n, E), L2-normalised."""
        cleaned = [clean_caption(text) for text in texts]
        text_BL, mask_BL = self.tokenizer.encode(cleaned, max_tokens)
        text_BL, mask_BL = text_BL.to(self._device), mask_BL.to(self._device)
        return self.model.text_feature(self.model.encode_text(text_BL, mask_BL))

    def match(self, image: Picture, text: str) -> float:
        """Probability, by the matching head, that the text describes the image."""
        row = self._ask("matching", _record(image, text, pair=True))
        return float(torch.tensor(row["c0_i0"]).sigmoid()) if row.get("logit") else row["c0_i0"]

    def locate(self, image: Picture, text: str) -> tuple[float, float, float, float]:
        """Box (x, y, width, height), in pixels, of what the text names. Needs a box head."""
        x, y, w, h = self._ask("grounding", _record(image, text))["box"]
        return x, y, w, h

    def answer(self, image: Picture, question: str, candidates: Sequence[str]) -> str:
        """The best of `candidates`. Needs an answer decoder (fine-tuned on questions)."""
        options = {"candidates": tuple(candidates), "k": len(candidates)}
        return str(self._ask("answering", _record(image, question), **options)["answer"])

    def caption(self, image: Picture, beams: int = 3) -> str:
        """A sentence about the image. Needs a model fine-tuned for captioning."""
        return str(self._ask("captioning", _record(image), beams=beams)["caption"])

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _task(self, name: str, **options: Any) -> Any:
        key = f"{name} {sorted(options.items())}"
        if key not in self._tasks:
            needed = {"grounding": "box", "answering": "decoder", "captioning": "mlm"}.get(name)
            if needed and needed not in self.model.config.heads:
                raise ConfigError(
                    f"these weights have no {needed!r} head, which {name} needs; they have "
                    f"{', '.join(self.model.config.heads)}\n  to do: load weights fine-tuned for it"
                )
            self._tasks[key] = build_on(name, self.model, self.tokenizer, **options)
        return self._tasks[key]

    @torch.inference_mode()
    def _ask(self, name: str, record: Record, **options: Any) -> Prediction:
        task = self._task(name, **options)
        sample = _sample(task.transform(train=False), record)
        batch = task.collate([sample], train=False).to(self._device)
        return next(iter(task.predict([batch])))  # type: ignore[no-any-return]


def _record(image: Picture, text: str = "", *, pair: bool = False) -> Record:
    from PIL.Image import Image as PILImage

    if isinstance(image, PILImage):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        media = Media("image", inline=(buffer.getvalue(),))
        size = image.size
    else:
        from x2vlm.data.image import open_image

        media = Media(str(image))
        size = open_image(media).size
    twice = 2 if pair else 1
    target = {"size": list(size), "box": [0, 0, *size]}
    return Record("asked", (media,) * twice, (text,) * twice, target)


def _sample(transform: Any, record: Record) -> Any:
    import numpy as np

    from x2vlm.data.image import open_image

    return transform(record, [open_image(m) for m in record.images], np.random.default_rng(0))
