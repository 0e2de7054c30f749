"""The bench: every fast path beside its plain twin, in one process, on the same weights and inputs.

    python -m tests.bench [--size base] [--quick] [--threads 2] [--only rerank] [--out FILE]

Prints tables; --out writes them as Markdown, between the bench marks of FILE where it has them.
Weights are random. A GPU is used when there is one. Rates count what one user waits for: pairs,
questions, captions, images. Peak memory is what the path needs beyond the model and its inputs.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from tests import twins
from tests.bench_coco import COCO_HEAD, bench_coco
from tests.bench_growth import bench_growth
from tests.bench_inputs import Bench, answers
from tests.bench_table import HEAD, Row, Table, furthest, markdown, write
from tests.bench_training import bench_training
from x2vlm.model.config import PRESETS
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.beam import Search, generate
from x2vlm.tasks.features import encode_tokens
from x2vlm.tasks.ranking import Candidates, prepare, rank_answers
from x2vlm.tasks.rerank import rerank


class Line(Protocol):
    """One line of a table."""

    def cells(self) -> list[str]:
        """As they are printed."""
        ...


def bench_rerank(bench: Bench) -> Iterator[Row]:
    """Matching scores of images with their 256 candidates each."""
    model = bench.model(384, "contrastive", "matching")
    images, count = (1, 32) if bench.quick else (1, 256)
    image_NVD, (text_ML, mask_ML) = bench.images(model, images), bench.texts(count)
    pairs = torch.cartesian_prod(torch.arange(images), torch.arange(count))
    with torch.inference_mode():
        texts = encode_tokens(model, text_ML, mask_ML)
        rerank(model, image_NVD, texts, pairs[:16])
        padded = twins.padded_texts(model, text_ML, mask_ML)
        twins.rerank_scores(model, image_NVD, *padded, pairs[:2])
    twin = bench.time(lambda: twins.rerank_scores(model, image_NVD, *padded, pairs))
    for name, dtype in (("float32", None), ("bfloat16", torch.bfloat16)):
        fast = bench.fast(lambda: rerank(model, image_NVD, texts, pairs), dtype)
        spread = float(twin.result.float().std())
        told = furthest(fast.result, twin.result) + (
            f" (scores spread by {spread:.1e})" if dtype else ""
        )
        yield Row(f"re-ranking, {name}", "pairs", len(pairs), twin, fast, told)


def bench_answering(bench: Bench) -> Iterator[Row]:
    """Ranking 3,128 answers, from fused question states; then with the image at 480 pixels."""
    model = bench.model(480, "decoder")
    decoder, k = model.decoder, 16 if bench.quick else 128
    assert decoder is not None
    count = 2 if bench.quick else 8
    text_CA, mask_CA = answers(bench)
    text_BL, mask_BL = bench.texts(count, mean=9.0)
    image_1VD = bench.images(model, 1)
    with torch.inference_mode():
        candidates = prepare(decoder, text_CA, mask_CA)
        text_BLD = model.encode_text(text_BL, mask_BL)
        states_BLD = model.fuse(text_BLD, mask_BL, model.memory(image_1VD))
        rank_answers(decoder, states_BLD[:1], mask_BL[:1], candidates, 2)
    fast = bench.fast(lambda: rank_answers(decoder, states_BLD, mask_BL, candidates, k))
    twin = bench.time(lambda: twins.rank_answers(decoder, states_BLD, mask_BL, text_CA, mask_CA, k))
    same = int((twin.result[0][:, 0] == fast.result[0][:, 0]).sum())
    told = f"{furthest(fast.result[1], twin.result[1])}; {same} of {count} answers equal"
    yield Row(f"answer ranking, k = {k}", "questions", count, twin, fast, told)
    listed = (text_CA, mask_CA, candidates)
    yield _end_to_end(bench, model, listed, (text_BL[:5], mask_BL[:5]), k)


def _end_to_end(
    bench: Bench,
    model: X2VLM,
    listed: tuple[Tensor, Tensor, Candidates],
    asked: tuple[Tensor, Tensor],
    k: int,
) -> Row:
    """Pixels to answers for the (up to) five questions about one image."""
    side, decoder = model.config.vision.image_size, model.decoder
    assert decoder is not None
    image_BCHW = torch.randn(1, 3, side, side, generator=bench.generator).to(bench.device)
    text_CA, mask_CA, candidates = listed

    def fused(text: Tensor, mask: Tensor) -> Tensor:
        memory = model.memory(model.encode_image(image_BCHW))
        return model.fuse(model.encode_text(text, mask), mask, memory)

    def plain() -> list[int]:
        found = []
        for text_L, mask_L in zip(*asked, strict=True):
            text, mask = (twins.pad_to(part[None], twins.PADDED) for part in (text_L, mask_L))
            index, _ = twins.rank_answers(decoder, fused(text, mask), mask, text_CA, mask_CA, k)
            found.append(int(index[0, 0]))
        return found

    def quick() -> list[int]:
        index, _ = rank_answers(decoder, fused(*asked), asked[1], candidates, k)
        return [int(best) for best in index[:, 0]]

    twin, fast = bench.time(plain), bench.fast(quick)
    count = len(asked[0])
    same = sum(a == b for a, b in zip(twin.result, fast.result, strict=True))
    name = f"answering from pixels, {side} px, {count} questions an image"
    return Row(name, "questions", count, twin, fast, f"{same} of {count} answers equal")


def bench_captioning(bench: Bench) -> Iterator[Row]:
    """Three beams, at most 20 tokens, from visual tokens at 384 pixels."""
    model = bench.model(384, "mlm")
    for parameter in (*model.fusion.parameters(), *model.text.layers.parameters()):
        if parameter.dim() > 1:  # so that the next word depends on the image and the words before
            torch.nn.init.normal_(parameter, std=0.06)
    count = 2 if bench.quick else 4
    image_BVD = bench.images(model, count)
    search = Search((2, 5, 6, 7), 4, 3, beams=3, min_length=5, max_length=8 if bench.quick else 20)
    fast = bench.fast(lambda: generate(model, image_BVD, search))
    twin = bench.time(lambda: twins.beam_captions(model, image_BVD, search))
    told = _captions(model, image_BVD, search, twin.result, fast.result)
    yield Row("captioning, 3 beams", "captions", count, twin, fast, told)


def _captions(
    model: X2VLM,
    image_BVD: Tensor,
    search: Search,
    plain: Sequence[list[int]],
    quick: Sequence[list[int]],
) -> str:
    """How many captions are equal. Beams that nearly tie may fall either way within rounding, and
    what follows differs then: images of other captions are searched again, both ways, in float64.
    """
    pairs = zip(plain, quick, strict=True)
    other = [place for place, (one, two) in enumerate(pairs) if one != two]
    told = f"{len(plain) - len(other)} of {len(plain)} captions equal"
    if not other:
        return told
    exact, image_BVD = deepcopy(model).double(), image_BVD[other].double()
    with torch.inference_mode():
        pairs = zip(
            twins.beam_captions(exact, image_BVD, search),
            generate(exact, image_BVD, search),
            strict=True,
        )
        same = len(plain) - len(other) + sum(one == two for one, two in pairs)
    return f"{told}, {same} of {len(plain)} in float64"


def bench_features(bench: Bench) -> Iterator[Row]:
    """Images one by one against full batches; texts padded to 40 against sorted by length."""
    model = bench.model(384, "contrastive")
    side, images, count = model.config.vision.image_size, 2 if bench.quick else 8, 64
    image_BCHW = torch.randn(images, 3, side, side, generator=bench.generator).to(bench.device)
    twin = bench.time(lambda: torch.cat([model.encode_image(image[None]) for image in image_BCHW]))
    fast = bench.fast(lambda: model.encode_image(image_BCHW))
    yield Row(
        f"images, {side} px", "images", images, twin, fast, furthest(fast.result, twin.result)
    )
    text_BL, mask_BL = bench.texts(count)
    padded = twins.pad_to(text_BL, twins.PADDED), twins.pad_to(mask_BL, twins.PADDED)
    twin = bench.time(lambda: model.text_feature(model.encode_text(*padded)))
    fast = bench.fast(lambda: encode_tokens(model, text_BL, mask_BL).feature_NE)
    yield Row("texts", "texts", count, twin, fast, furthest(fast.result, twin.result))


SECTIONS: dict[str, tuple[list[str], dict[str, Callable[[Bench], Iterator[Line]]]]] = {
    "Fast paths and their twins": (
        HEAD,
        {
            "rerank": bench_rerank,
            "answering": bench_answering,
            "captioning": bench_captioning,
            "features": bench_features,
            "training": bench_training,
        },
    ),
    "How cost grows": (HEAD, {"growth": bench_growth}),
    "Complete COCO 5K retrieval, k = 256": (COCO_HEAD, {"coco": bench_coco}),
}
PATHS = [name for _, paths in SECTIONS.values() for name in paths]


def main(arguments: Sequence[str]) -> list[Table]:
    """Run the paths and print each row as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", default="base", choices=sorted(PRESETS))
    parser.add_argument("--quick", action="store_true", help="few inputs: does it run")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's own number")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", action="append", choices=PATHS, help="this path alone")
    parser.add_argument("--out", type=Path, help="Markdown file to write the tables to")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    bench = Bench(given.size, given.quick, given.device)
    tables: list[Table] = []
    for title, (head, paths) in SECTIONS.items():
        chosen = [path for name, path in paths.items() if name in (given.only or PATHS)]
        if not chosen:
            continue
        rows: list[list[str]] = []
        print(f"\n{title}\n{' | '.join(head)}", flush=True)
        for row in (row for path in chosen for row in path(bench)):
            rows.append(row.cells())
            print(" | ".join(rows[-1]), flush=True)
        tables.append(Table(title, head, rows))
    command = shlex.join(["python", "-m", "tests.bench", *arguments])
    if given.out:
        write(given.out, markdown(tables, command, given.device))
    return tables


if __name__ == "__main__":
    main(sys.argv[1:])
