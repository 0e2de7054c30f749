"""Encoding at full batch: images as they are decoded, texts sorted by length, kept packed.

Axes: N images or texts, T tokens of all texts one after another, V visual tokens, L tokens of one
text, D width, E projected features, B batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from x2vlm.types import Batch

if TYPE_CHECKING:
    from x2vlm.data.image import Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM

TOKENS = 32768
"""tokens of text per forward pass on a GPU"""
TOKENS_CPU = 2048
"""the same on a CPU: activations then stay near the caches"""
GPU_BATCH = 1024
"""images with which the search for the largest batch begins"""
CPU_BATCH = 32
"""images beyond which a CPU gains nothing"""


@dataclass(frozen=True, slots=True)
class Texts:
    """Encoded texts without padding: text n is states_TD[starts[n] : starts[n] + lengths[n]].

    feature_NE: contrastive features, float32 on the CPU; None when the model has none.
    """

    states_TD: Tensor
    lengths: list[int]
    starts: list[int]
    feature_NE: Tensor | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def places(self, rows: Sequence[int]) -> Tensor:
        """Where the tokens of some texts are in `states_TD`, text by text."""
        length_R = torch.tensor([self.lengths[row] for row in rows])
        first_R = torch.tensor([self.starts[row] for row in rows])
        offset_R = first_R - (length_R.cumsum(0) - length_R)
        places_T = torch.arange(int(length_R.sum())) + offset_R.repeat_interleave(length_R)
        # A blocking copy would wait for all that a GPU still has to do.
        return places_T.to(self.states_TD.device, non_blocking=True)

    def packed(self, rows: Sequence[int]) -> Tensor:
        """The tokens of some texts, text by text: (T, D)."""
        return self.states_TD[self.places(rows)]

    def padded(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Some of the texts as (text_BLD, mask_BL), padded to the longest of them with zeros."""
        length_B = torch.tensor([self.lengths[row] for row in rows], device=self.states_TD.device)
        mask_BL = torch.arange(int(length_B.max()), device=length_B.device) < length_B[:, None]
        states_BLD = self.states_TD.new_zeros(*mask_BL.shape, self.states_TD.shape[1])
        states_BLD[mask_BL] = self.packed(rows)
        return states_BLD, mask_BL


def tokens_per_pass(device: torch.device) -> int:
    """How many tokens of text one forward pass takes."""
    return TOKENS if device.type == "cuda" else TOKENS_CPU


def chunks_by_length(
    lengths: Sequence[int], tokens: int, padded: bool = True
) -> Iterator[list[int]]:
    """Rows in order of length, cut so that a chunk has at most `tokens`, or is a single row.

    padded: count the padding to the longest of the chunk too.
    """
    chunk: list[int] = []
    held = 0
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        held = (len(chunk) + 1) * lengths[row] if padded else held + lengths[row]
        if chunk and held > tokens:
            yield chunk
            chunk, held = [], lengths[row]
        chunk.append(row)
    if chunk:
        yield chunk


def encode_tokens(model: X2VLM, text_NL: Tensor, mask_NL: Tensor, features: bool = True) -> Texts:
    """Encode padded token ids (N, L), right-padded; each text once, at its own length."""
    device = model.device
    lengths = mask_NL.long().sum(1).tolist()
    starts = torch.tensor([0, *lengths]).cumsum(0)[:-1].tolist()
    texts = Texts(
        torch.empty(sum(lengths), model.config.text.width, device=device), lengths, starts
    )
    feature_NE = torch.empty(len(lengths), model.config.embed) if features else None
    for rows in chunks_by_length(lengths, tokens_per_pass(device)):
        longest = lengths[rows[-1]]
        text_BL, mask_BL = text_NL[rows, :longest].to(device), mask_NL[rows, :longest].to(device)
        text_BLD = model.encode_text(text_BL, mask_BL)
        if feature_NE is not None:
            feature_NE[rows] = model.text_feature(text_BLD).float().cpu()
        texts.states_TD[texts.places(rows)] = text_BLD[mask_BL.bool()].to(texts.states_TD.dtype)
    return replace(texts, feature_NE=feature_NE)


def encode_texts(
    model: X2VLM, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int
) -> Texts:
    """Tokenise and encode texts of any lengths."""
    return encode_tokens(model, *tokenizer.encode(texts, max_tokens))


def largest_batch(model: X2VLM, frames: int = 0) -> int:
    """How many images (or videos of `frames` frames) one forward pass takes: batch_size=auto.

    On a GPU the largest power of two that an encoding of blank images shows to fit, halved so that
    text and fusion have room. On a CPU as many as an eighth of the free memory holds, at most
    `CPU_BATCH`. Predictions do not depend on it.
    """
    side = model.config.vision.image_size
    shape = (frames, 3, side, side) if frames else (3, side, side)
    if model.device.type != "cuda":
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return max(1, min(CPU_BATCH, free // (8 * _bytes_per_image(model) * max(frames, 1))))
    size = GPU_BATCH
    while size > 1:
        try:
            with torch.inference_mode():
                model.encode_visual(torch.zeros(size, *shape, device=model.device))
        except torch.OutOfMemoryError:
            size //= 2
        else:
            break
        finally:
            torch.cuda.empty_cache()
    return max(1, size // 2)


def _bytes_per_image(model: X2VLM) -> int:
    """Largest activations of one vision block in float32, attention weights included."""
    vision = model.config.vision
    widths = 8 * vision.width + 2 * vision.hidden + 2 * vision.heads * vision.tokens
    return 4 * vision.tokens * widths


def storage_dtype(device: torch.device) -> torch.dtype:
    """What visual tokens may be kept in without changing a result: autocast's own type.

    They are only ever the input of the key and value projections, which autocast casts anyway.
    """
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def shared_images(samples: Sequence[Sample], sides: Iterable[int] = (0,)) -> tuple[Tensor, Tensor]:
    """Images of a batch without repeats: (stacked images, row: the image of each sample).

    The loader hands consecutive samples of one image the same tensor, so that an image with many
    questions, phrases or boxes is encoded once. sides: which images of each sample; the rows of
    all first images come first, then those of all second ones.
    """
    places: dict[int, int] = {}
    images: list[Tensor] = []
    rows = []
    for side in sides:
        for sample in samples:
            image = sample.images[side]
            if id(image) not in places:
                places[id(image)] = len(images)
                images.append(image)
            rows.append(places[id(image)])
    return torch.stack(images), torch.tensor(rows)


def inputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """(image, text_BL, mask_BL) of a batch that has them all."""
    assert batch.image is not None
    assert batch.text_BL is not None
    assert batch.mask_BL is not None
    return batch.image, batch.text_BL, batch.mask_BL


def fused(model: X2VLM, batch: Batch, sides: int = 1) -> Tensor:
    """Texts that look at the images named by target "rows" (see `shared_images`): fused_BLD.

    sides: 2 when each text looks at two images; then 2B rows, all first images before all second.
    """
    image, text_BL, mask_BL = inputs(batch)
    text_BLD = model.encode_text(text_BL, mask_BL).repeat(sides, 1, 1)
    memory = model.memory(model.encode_visual(image))
    return model.fuse(text_BLD, mask_BL.repeat(sides, 1), memory, batch.target["rows"])


def nearest(
    query_NE: Tensor, key_ME: Tensor, k: int, rows: int = 1024
) -> Iterable[tuple[Tensor, Tensor]]:
    """The k keys most similar to each query, chunk by chunk: (similarity_BK, index_BK).

    The whole matrix of similarities is never in memory: `rows` of it at a time.
    """
    for start in range(0, len(query_NE), rows):
        best = (query_NE[start : start + rows] @ key_ME.T).topk(min(k, len(key_ME)), dim=1)
        yield best.values, best.indices
