"""How cost, and the ratio to the twin, grow: with images, texts per image, text length, k, batch.

    python -m tests.bench --only growth

The twin's cost is linear in what it does, one thing at a time, so it does a part and its rate
stands for the whole; outputs are compared on that part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tests import twins
from tests.bench_inputs import answers
from tests.bench_table import Row, Timed, furthest
from x2vlm.tasks.features import encode_tokens
from x2vlm.tasks.ranking import prepare, rank_answers
from x2vlm.tasks.rerank import rerank

if TYPE_CHECKING:
    from tests.bench_inputs import Bench
    from x2vlm.model.x2vlm import X2VLM

PART = 8
"""pairs that the twin scores"""
TEXTS = 8
"""of each image where the number of images grows"""


def bench_growth(bench: Bench) -> Iterator[Row]:
    """Every axis in turn."""
    yield from _reranking(bench)
    yield from _answering(bench)


def _reranking(bench: Bench) -> Iterator[Row]:
    model = bench.model(384, "contrastive", "matching")
    image_NVD = bench.images(model, 4)
    for images in (10, 20, 40) if bench.quick else (100, 200, 400):
        name = f"re-ranking, {images} images × {TEXTS} texts"
        yield _pairs(bench, model, name, image_NVD, images, bench.texts(TEXTS), twin=False)
    for count in (4, 16) if bench.quick else (4, 16, 64, 256):
        images = max(2, 64 // count)
        name = f"re-ranking, {count} texts an image"
        yield _pairs(bench, model, name, image_NVD, images, bench.texts(count))
    for mean in (8, 13, 20, 26):
        name = f"re-ranking, texts of {mean} tokens"
        texts = bench.texts(16 if bench.quick else 64, mean)
        yield _pairs(bench, model, name, image_NVD, 1, texts)


def _pairs(
    bench: Bench,
    model: X2VLM,
    name: str,
    image_NVD: Tensor,
    images: int,
    given: tuple[Tensor, Tensor],
    twin: bool = True,
) -> Row:
    """Every text with every one of `images`, drawn from the few there are."""
    pairs = torch.cartesian_prod(torch.arange(images), torch.arange(len(given[0])))
    with torch.inference_mode():
        texts, padded = encode_tokens(model, *given), twins.padded_texts(model, *given)
    shown = {n: image_NVD[n % len(image_NVD)] for n in range(images)}
    fast = bench.fast(lambda: rerank(model, shown, texts, pairs))
    if not twin:
        return Row(name, "pairs", len(pairs), None, fast)
    slow = bench.time(lambda: twins.rerank_scores(model, image_NVD, *padded, _within(pairs)))
    told = furthest(fast.result[:PART], slow.result)
    return Row(name, "pairs", len(pairs), slow, fast, told, twin_units=PART)


def _within(pairs_P2: Tensor) -> Tensor:
    """The part of the pairs that the twin scores."""
    return pairs_P2[:PART]


def _answering(bench: Bench) -> Iterator[Row]:
    model = bench.model(480, "decoder")
    decoder = model.decoder
    assert decoder is not None
    text_CA, mask_CA = answers(bench)
    text_BL, mask_BL = bench.texts(16, mean=9.0)
    with torch.inference_mode():
        listed = prepare(decoder, text_CA, mask_CA)
        text_BLD = model.encode_text(text_BL, mask_BL)
        states_BLD = model.fuse(text_BLD, mask_BL, model.memory(bench.images(model, 1)))
        rank_answers(decoder, states_BLD[:1], mask_BL[:1], listed, 2)

    def row(name: str, count: int, k: int | None, twin: Timed | None) -> Row:
        asked = states_BLD[:count], mask_BL[:count]
        fast = bench.fast(lambda: rank_answers(decoder, *asked, listed, k))
        told = furthest(fast.result[1][:1], twin.result[1]) if twin else ""
        return Row(name, "questions", count, twin, fast, told, twin_units=1)

    def plain(k: int) -> Timed:
        asked = states_BLD[:1], mask_BL[:1], text_CA, mask_CA
        return bench.time(lambda: twins.rank_answers(decoder, *asked, k))

    usual = 16 if bench.quick else 128
    known = {k: plain(k) for k in ((4, usual) if bench.quick else (16, usual, 512))}
    for k, twin in known.items():
        yield row(f"answer ranking, k = {k}, 2 questions", 2, k, twin)
    yield row(f"answer ranking, k = all {len(text_CA)}, 2 questions", 2, None, None)
    for count in (1, 4, 16):
        yield row(f"answer ranking, k = {usual}, batch of {count}", count, usual, known[usual])
