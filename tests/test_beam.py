"""Cached, batched beam search gives the tokens of the plain search."""

import itertools

import pytest
import small
import torch
import twins
from hypothesis import given, settings
from hypothesis import strategies as st

from x2vlm.model.products import products
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.beam import Search, generate, repeats

END = 3


def speaker(seed: int, eager: float) -> X2VLM:
    """A model that ends its captions more or less eagerly."""
    model = small.model("mlm", seed=seed)
    model.mlm_head.bias.data[END] += eager
    return model


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 20),
    eager=st.sampled_from([0.0, 3.0, 6.0]),
    images=st.integers(1, 4),
    beams=st.integers(1, 4),
    shortest=st.integers(0, 4),
    more=st.integers(1, 8),
    ngram=st.sampled_from([0, 2, 3]),
)
def test_captions_equal_the_twin(
    seed: int, eager: float, images: int, beams: int, shortest: int, more: int, ngram: int
) -> None:
    model = speaker(seed, eager)
    search = Search((2, 7, 8), 4, END, beams, shortest, shortest + more, ngram)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        image_BVD = model.encode_image(torch.randn(images, 3, 32, 32, generator=generator))
        with products():
            fast = generate(model, image_BVD, search)
        plain = twins.beam_captions(model, image_BVD, search)
    assert fast == plain


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), eager=st.sampled_from([0.0, 5.0]), beams=st.integers(1, 4))
def test_where_rounding_decides_nothing_long_captions_are_equal(
    seed: int, eager: float, beams: int
) -> None:
    """In float64: no near tie is left that could fall either way, so any difference is a fault."""
    model = speaker(seed, eager).double()
    search = Search((2, 7, 8), 4, END, beams, 3, 20)
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        image_BVD = model.encode_image(pixels)
        assert generate(model, image_BVD, search) == twins.beam_captions(model, image_BVD, search)


def test_images_do_not_influence_each_other() -> None:
    model = speaker(1, 4.0)
    search = Search((2, 7, 8), 4, END, 3, 2, 12)
    with torch.inference_mode():
        image_BVD = model.encode_image(torch.randn(5, 3, 32, 32))
        together = generate(model, image_BVD, search)
        alone = [generate(model, image_VD[None], search)[0] for image_VD in image_BVD]
    assert together == alone
    assert len({tuple(tokens) for tokens in together}) > 1


@pytest.mark.parametrize("eager", [-50.0, 50.0])
def test_lengths_stay_within_bounds(eager: float) -> None:
    search = Search((2, 7), 4, END, 2, 3, 6)
    with torch.inference_mode():
        model = speaker(0, eager)
        captions = generate(model, model.encode_image(torch.randn(2, 3, 32, 32)), search)
    for tokens in captions:
        assert len(tokens) == (4 if eager > 0 else 6)
        assert (tokens[-1] == END) == (eager > 0)


def test_no_run_of_tokens_comes_twice() -> None:
    model = speaker(2, -50.0)
    with torch.inference_mode():
        image_BVD = model.encode_image(torch.randn(2, 3, 32, 32))
        for tokens in generate(model, image_BVD, Search((2,), 4, END, 3, 0, 20, ngram=2)):
            pairs = list(itertools.pairwise(tokens))
            assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize(
    ("tokens", "ngram", "expected"),
    [([], 3, []), ([5, 6], 3, []), ([5, 6, 7, 5, 6], 3, [7]), ([5, 5, 5], 3, [5]),
     ([5, 6, 5, 7, 5], 2, [6, 7]), ([5, 6, 7], 3, [])],
)  # fmt: skip
def test_repeats(tokens: list[int], ngram: int, expected: list[int]) -> None:
    assert repeats(tokens, ngram) == expected
