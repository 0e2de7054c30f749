"""Packed re-ranking equals the plain loop, whatever the lengths, groups and chunk sizes."""

import pytest
import small
import torch
import twins
from hypothesis import given, settings
from hypothesis import strategies as st

from x2vlm.model.products import products
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.features import Texts, chunks_by_length, encode_tokens, nearest
from x2vlm.tasks.packed import runs_of
from x2vlm.tasks.rerank import PairScorer, rerank

HEADS = ("contrastive", "matching")


@pytest.fixture(scope="module")
def model() -> X2VLM:
    return small.model(*HEADS)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_scores_equal_the_twin(data: st.DataObject) -> None:
    model = small.model(*HEADS)
    images, texts = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 9))
    longest, seed = data.draw(st.integers(2, 11)), data.draw(st.integers(0, 99))
    every = [(i, t) for i in range(images) for t in range(texts)]
    chosen = sorted(data.draw(st.sets(st.sampled_from(every), min_size=1)))
    tokens = data.draw(st.sampled_from([1, 7, 30, 10_000]))
    text_ML, mask_ML = small.token_ids(texts, longest, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        image_NVD = model.encode_image(torch.randn(images, 3, 32, 32, generator=generator))
        pairs = torch.tensor(chosen)
        with products():
            fast = rerank(model, image_NVD, encode_tokens(model, text_ML, mask_ML), pairs,
                          tokens=tokens)  # fmt: skip
        plain = twins.rerank_scores(
            model, image_NVD, *twins.padded_texts(model, text_ML, mask_ML), pairs
        )
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=0)


def test_scores_depend_on_image_and_text(model: X2VLM) -> None:
    text_ML, mask_ML = small.token_ids(4, 9)
    with torch.inference_mode():
        image_NVD = model.encode_image(torch.randn(3, 3, 32, 32))
        pairs = torch.cartesian_prod(torch.arange(3), torch.arange(4))
        scores = rerank(model, image_NVD, encode_tokens(model, text_ML, mask_ML), pairs)
    assert scores.view(3, 4).std(0).min() > 1e-2
    assert scores.view(3, 4).std(1).min() > 1e-2


def test_one_fusion_layer_is_first_and_last() -> None:
    model = small.model(*HEADS, fusion_layers=1)
    text_ML, mask_ML = small.token_ids(5, 8)
    pairs = torch.cartesian_prod(torch.arange(2), torch.arange(5))
    with torch.inference_mode():
        image_NVD = model.encode_image(torch.randn(2, 3, 32, 32))
        fast = rerank(model, image_NVD, encode_tokens(model, text_ML, mask_ML), pairs)
        plain = twins.rerank_scores(
            model, image_NVD, *twins.padded_texts(model, text_ML, mask_ML), pairs
        )
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(2, 11), st.sampled_from([7, 30, 10_000]))
def test_one_call_for_all_lengths_equals_the_twin(
    layers: int, texts: int, longest: int, tokens: int
) -> None:
    """How a GPU arranges self-attention."""
    model = small.model(*HEADS, fusion_layers=layers)
    text_ML, mask_ML = small.token_ids(texts, longest, seed=texts)
    pairs = torch.cartesian_prod(torch.arange(1), torch.arange(texts))
    with torch.inference_mode():
        image_1VD = model.encode_image(torch.randn(1, 3, 32, 32))
        scorer = PairScorer(model, encode_tokens(model, text_ML, mask_ML), tokens)
        scorer.one_call = True
        fast = scorer.score(model.memory(image_1VD), range(texts))
        plain = twins.rerank_scores(
            model, image_1VD, *twins.padded_texts(model, text_ML, mask_ML), pairs
        )
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=0)


def test_a_region_is_seen_through_its_mask(model: X2VLM) -> None:
    text_ML, mask_ML = small.token_ids(5, 8)
    with torch.inference_mode():
        image_1VD = model.encode_image(torch.randn(1, 3, 32, 32))
        inside_1V = torch.rand(1, image_1VD.shape[1]) < 0.4
        inside_1V[:, 0] = True
        memory = model.memory(image_1VD, inside_1V)
        fast = PairScorer(model, encode_tokens(model, text_ML, mask_ML)).score(memory, range(5))
        plain = model.match(model.fuse(model.encode_text(text_ML, mask_ML), mask_ML, memory))[:, 1]
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=0)


def test_bfloat16_keeps_scores_and_order_to_its_precision(model: X2VLM) -> None:
    text_ML, mask_ML = small.token_ids(12, 9)
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(12))
    with torch.inference_mode():
        image_NVD = model.encode_image(torch.randn(3, 3, 32, 32))
        plain = twins.rerank_scores(
            model, image_NVD, *twins.padded_texts(model, text_ML, mask_ML), pairs
        )
        with torch.autocast("cpu", torch.bfloat16):
            fast = rerank(model, image_NVD, encode_tokens(model, text_ML, mask_ML), pairs)
    assert fast.dtype == torch.float32
    # These weights are larger than trained ones, and so are the errors.
    assert (fast - plain).abs().mean() < 0.1 * plain.std()
    assert torch.corrcoef(torch.stack([fast, plain]))[0, 1] > 0.99


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(1, 50), st.booleans())
def test_chunks_cover_every_row_once_in_order_of_length(
    lengths: list[int], tokens: int, padded: bool
) -> None:
    chunks = list(chunks_by_length(lengths, tokens, padded))
    rows = [row for chunk in chunks for row in chunk]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths)
    for chunk in chunks:
        size = len(chunk) * lengths[chunk[-1]] if padded else sum(lengths[row] for row in chunk)
        assert size <= tokens or len(chunk) == 1


def test_runs_of_equal_lengths() -> None:
    assert list(runs_of([2, 2, 3, 5, 5])) == [(0, 2, 2), (4, 1, 3), (7, 2, 5)]


def test_texts_pack_and_pad_the_same_states(model: X2VLM) -> None:
    text_ML, mask_ML = small.token_ids(6, 9)
    with torch.inference_mode():
        texts = encode_tokens(model, text_ML, mask_ML)
        states_MLD = model.encode_text(text_ML, mask_ML)
        feature_ME = model.text_feature(states_MLD)
    rows = [4, 0, 5]
    padded_BLD, mask_BL = texts.padded(rows)
    for place, row in enumerate(rows):
        length = texts.lengths[row]
        assert mask_BL[place].tolist() == [n < length for n in range(mask_BL.shape[1])]
        torch.testing.assert_close(padded_BLD[place, :length], states_MLD[row, :length])
        assert not padded_BLD[place, length:].any()
    assert torch.equal(texts.packed(rows), padded_BLD[mask_BL])
    assert texts.feature_NE is not None
    torch.testing.assert_close(texts.feature_NE, feature_ME)


def test_texts_are_encoded_alike_alone_and_together(model: X2VLM) -> None:
    text_ML, mask_ML = small.token_ids(6, 9)
    with torch.inference_mode():
        together = encode_tokens(model, text_ML, mask_ML)
        alone: list[Texts] = [encode_tokens(model, text_ML[n, None], mask_ML[n, None])
                              for n in range(6)]  # fmt: skip
    torch.testing.assert_close(together.states_TD, torch.cat([t.states_TD for t in alone]))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 15), st.integers(1, 5))
@settings(deadline=None)
def test_nearest_in_chunks_is_the_top_of_the_matrix(n: int, m: int, k: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(n * m)
    query_NE, key_ME = (torch.randn(size, 4, generator=generator) for size in (n, m))
    values, indices = zip(*nearest(query_NE, key_ME, k, rows), strict=True)
    best = (query_NE @ key_ME.T).topk(min(k, m), dim=1)
    torch.testing.assert_close(torch.cat(values), best.values)
    assert torch.equal(torch.cat(indices), best.indices)
