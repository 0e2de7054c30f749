"""Prepared concepts -> pre-training batches: tokens, masks, boxes. Runs in loader workers, on the
CPU, without a model.

Axes: see `x2vlm.types`; M masked positions of a text; B texts (concepts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from x2vlm.data.concepts import Concepts
from x2vlm.data.image import Box, patch_mask
from x2vlm.data.masking import IGNORED, mask_tokens
from x2vlm.data.text import Tokenizer
from x2vlm.types import Batch


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of a batch and their masked copies.

    text_BL ids, mask_BL true on tokens, hidden_BL ids with words masked in place, positions_BM
    what to predict, targets_BM the hidden ids, -100 in padding.
    """

    text_BL: Tensor
    mask_BL: Tensor
    hidden_BL: Tensor
    positions_BM: Tensor
    targets_BM: Tensor


@dataclass(frozen=True, slots=True)
class Regions:
    """Concepts in boxes: rows_B the image of each, patches_BV which of its tokens it covers (first
    true), box_B4 (cx, cy, w, h) fractions, is_box_B false for captions of the whole image, kind_B
    numbers of what is compared with each other only."""

    rows_B: Tensor
    patches_BV: Tensor
    box_B4: Tensor
    is_box_B: Tensor
    kind_B: Tensor | None = None


@dataclass(frozen=True)
class Collate:
    """How one kind of rows becomes batches (see `Pretraining`).

    kind: "image", "region", "video", "question" or "parallel". image_size, patch_size: pixels.
    matching: off for noisy data. mask_probability, max_masks, whole_words: of masking (CCLM: 0.4,
    10 and single tokens; 16 in parallel text). max_concepts: most concepts of a region batch; the
    surplus is left out, 0: no limit. fuse: off for what is told apart only (contrastive). align:
    off for region batches that are located only.
    """

    kind: str
    tokenizer: Tokenizer
    image_size: int = 224
    patch_size: int = 16
    max_tokens: int = 40
    mask_probability: float = 0.5
    max_masks: int = 12
    max_concepts: int = 0
    matching: bool = True
    align: bool = True
    fuse: bool = True
    whole_words: bool = True

    @property
    def negatives(self) -> Literal["", "own", "all"]:
        """Where the negatives of a row come from: rows of the same micro-batch ("own"), those of
        all processes, too ("all"), or nowhere, as it needs none or brings its own."""
        if self.kind not in ("image", "video", "parallel") or not self.align:
            return ""
        return "own" if self.matching and self.fuse else "all"

    def __call__(self, rows: Sequence[Concepts]) -> Batch:
        """One batch; what is random depends on the rows' seeds alone, not on their company."""
        ids = tuple(row.source for row in rows)
        image = None
        if self.kind != "parallel":
            image = torch.stack([row.image for row in rows if row.image is not None])
        if self.kind == "region":
            return self._regions(ids, image, rows)
        if self.kind == "question":
            return self._questions(ids, image, rows)
        texts, others = [row.texts[0] for row in rows], None
        if self.kind == "parallel":
            # Either language is predicted from the other.
            texts = [row.texts[row.seed % 2] for row in rows]
            others = [row.texts[1 - row.seed % 2] for row in rows]
        text_BL, mask_BL, target = self._texts(texts, [row.seed for row in rows])
        if others is not None:
            target["text_BL"], target["mask_BL"] = self.tokenizer.encode(others, self.max_tokens)
        return self._batch(ids, image, text_BL, mask_BL, target)

    def _regions(
        self, ids: tuple[str, ...], image_GCHW: Tensor | None, rows: Sequence[Concepts]
    ) -> Batch:
        places = [(g, n) for g, row in enumerate(rows) for n in range(len(row.texts))]
        if self.max_concepts:
            places = _spread(places)[: self.max_concepts]
            places.sort()
        texts = [rows[g].texts[n] for g, n in places]
        boxes = [rows[g].boxes[n] for g, n in places]
        seeds = [(rows[g].seed + n) % 2**63 for g, n in places]
        text_BL, mask_BL, target = self._texts(texts, seeds)
        patches = [self._patches(box) for box in boxes]
        target |= {
            "rows_B": torch.tensor([g for g, _ in places]),
            "patches_BV": torch.from_numpy(np.stack(patches)),
            "box_B4": torch.tensor(boxes, dtype=torch.float32),
            "is_box_B": torch.tensor([rows[g].is_box[n] for g, n in places]),
            "kind_B": torch.tensor([crc32(_kind(rows[g], n).encode()) for g, n in places]),
        }
        return self._batch(ids, image_GCHW, text_BL, mask_BL, target)

    def _questions(
        self, ids: tuple[str, ...], image: Tensor | None, rows: Sequence[Concepts]
    ) -> Batch:
        """Question and answer as one text, in which the answer is hidden."""
        pairs = [
            (g, row.texts[n], row.texts[n + 1])
            for g, row in enumerate(rows)
            for n in range(0, len(row.texts), 2)
        ]
        encode, most = self.tokenizer.ids, self.max_tokens
        hidden, positions, targets, texts = [], [], [], []
        for _, question, answer in pairs:
            # Special tokens around both; an answer too long for any question is cut.
            _, *said, end = encode(answer, most // 2)
            start, *asked, _ = encode(question, most - len(said))
            texts.append([start, *asked, *said, end])
            hidden.append([start, *asked, *[self.tokenizer.mask] * len(said), end])
            positions.append(list(range(1 + len(asked), 1 + len(asked) + len(said))))
            targets.append(said)
        padding = self.tokenizer.pad
        text_BL = _stack(texts, padding)
        target = {
            "hidden_BL": _stack(hidden, padding),
            "positions_BM": _stack(positions, 0),
            "targets_BM": _stack(targets, IGNORED),
            "rows_B": torch.tensor([g for g, _, _ in pairs]),
        }
        lengths = torch.tensor([len(text) for text in texts])
        mask_BL = torch.arange(text_BL.shape[1]) < lengths[:, None]
        return self._batch(ids, image, text_BL, mask_BL, target)

    def _batch(
        self,
        ids: tuple[str, ...],
        image: Tensor | None,
        text_BL: Tensor,
        mask_BL: Tensor,
        target: dict[str, Tensor],
    ) -> Batch:
        about = {"kind": self.kind, "matching": self.matching}
        about |= {"align": self.align, "fuse": self.fuse}
        return Batch(ids, image, text_BL, mask_BL, {**about, **target})

    def _texts(
        self, texts: Sequence[str], seeds: Sequence[int]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Tokens and their masked copies, each text masked by its own seed."""
        text_BL, mask_BL = self.tokenizer.encode(texts, self.max_tokens)
        masked = [
            mask_tokens(
                text_BL[b : b + 1],
                mask_BL[b : b + 1],
                self.tokenizer,
                np.random.default_rng(seed),
                self.mask_probability,
                self.max_masks,
                self.whole_words,
            )
            for b, seed in enumerate(seeds)
        ]
        most = max(row.positions_BM.shape[1] for row in masked)
        target = {
            "hidden_BL": torch.cat([row.text_BL for row in masked]),
            "positions_BM": torch.cat([_widen(row.positions_BM, most, 0) for row in masked]),
            "targets_BM": torch.cat([_widen(row.targets_BM, most, IGNORED) for row in masked]),
        }
        return text_BL, mask_BL, target

    def _patches(self, box: Box) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Which visual tokens a box given in fractions covers."""
        cx, cy, w, h = box
        size = self.image_size
        # Rounded, so that floats next to a patch border do not reach into the next patch.
        left, top = round((cx - w / 2) * size, 4), round((cy - h / 2) * size, 4)
        right, bottom = round((cx + w / 2) * size, 4), round((cy + h / 2) * size, 4)
        return patch_mask((left, top, right - left, bottom - top), size, self.patch_size)


def _kind(row: Concepts, text: int) -> str:
    return row.kinds[text] if row.kinds else ""


def _spread(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(image, concept) so ordered that a cut takes from the images with most concepts."""
    return sorted(places, key=lambda place: (place[1], place[0]))


def _stack(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Rows of unequal length as one tensor, filled up with `value`."""
    return pad_sequence([torch.tensor(row) for row in rows], True, value)


def _widen(rows_BM: Tensor, width: int, value: int) -> Tensor:
    return torch.nn.functional.pad(rows_BM, (0, width - rows_BM.shape[1]), value=value)
