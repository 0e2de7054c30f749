"""Answer ranking over the prefix tree equals ranking every candidate by itself."""

import pytest
import small
import torch
import twins
from hypothesis import given, settings
from hypothesis import strategies as st

from x2vlm.errors import ConfigError
from x2vlm.model.products import products
from x2vlm.tasks import ranking
from x2vlm.tasks.ranking import Rule, prepare, rank_answers

CLS, SEP = 2, 3
MODEL = small.model("decoder")
DECODER = MODEL.decoder
assert DECODER is not None


def padded(answers: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [[CLS, *answer, SEP] for answer in answers]
    longest = max(map(len, rows))
    text_CA = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return text_CA, text_CA != 0


def questions(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states_BLD = torch.randn(count, 7, 24, generator=generator)
    length_B = torch.randint(1, 8, (count,), generator=generator)
    return states_BLD, torch.arange(7) < length_B[:, None]


def assert_equal_ranking(
    fast: tuple[torch.Tensor, torch.Tensor], plain: tuple[torch.Tensor, torch.Tensor]
) -> None:
    torch.testing.assert_close(fast[1], plain[1], atol=1e-5, rtol=1e-4)
    # Where a probability is within rounding of a neighbour's, the two may change places.
    gap_BK = plain[1][:, :-1] - plain[1][:, 1:]
    clear_BK = torch.ones_like(plain[1], dtype=torch.bool)
    clear_BK[:, :-1] &= gap_BK > 1e-5
    clear_BK[:, 1:] &= gap_BK > 1e-5
    assert torch.equal(fast[0][clear_BK], plain[0][clear_BK])


ANSWERS = st.lists(
    st.lists(st.integers(5, 9), min_size=1, max_size=4), min_size=1, max_size=14,
    unique_by=tuple)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(ANSWERS, st.integers(1, 14), st.integers(1, 4), st.sampled_from(["official", "chain"]))
def test_ranking_equals_the_twin(answers: list[list[int]], k: int, batch: int, rule: Rule) -> None:
    text_CA, mask_CA = padded(answers)
    states_BLD, mask_BL = questions(batch, len(answers))
    k = min(k, len(answers))
    with torch.inference_mode():
        candidates = prepare(DECODER, text_CA, mask_CA)
        with products():
            fast = rank_answers(DECODER, states_BLD, mask_BL, candidates, k, rule)
        plain = twins.rank_answers(DECODER, states_BLD, mask_BL, text_CA, mask_CA, k, rule)
    assert_equal_ranking(fast, plain)


def test_few_rows_of_logits_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text_CA, mask_CA = padded([[5], [5, 6], [7, 8, 9], [9]])
    states_BLD, mask_BL = questions(3, 1)
    with torch.inference_mode():
        candidates = prepare(DECODER, text_CA, mask_CA)
        whole = rank_answers(DECODER, states_BLD, mask_BL, candidates)
        monkeypatch.setattr(ranking, "ROWS", 2)
        parts = rank_answers(DECODER, states_BLD, mask_BL, candidates)
    assert torch.equal(whole[0], parts[0])
    torch.testing.assert_close(whole[1], parts[1])


def test_shared_prefixes_are_one_node() -> None:
    text_CA, mask_CA = padded([[5, 6], [5, 6, 7], [5, 8], [9]])
    with torch.inference_mode():
        candidates = prepare(DECODER, text_CA, mask_CA)
    # [CLS]; 5, 9; 5 6, 5 8; 5 6 7
    assert candidates.depth_M.tolist() == [0, 1, 1, 2, 2, 3]
    assert candidates.token_M.tolist() == [CLS, 5, 9, 6, 8, 7]


def test_the_official_rule_counts_the_first_token_twice() -> None:
    text_CA, mask_CA = padded([[5], [6], [7]])
    states_BLD, mask_BL = questions(1, 0)
    with torch.inference_mode():
        candidates = prepare(DECODER, text_CA, mask_CA)
        index, official = rank_answers(DECODER, states_BLD, mask_BL, candidates)
        other, chain = rank_answers(DECODER, states_BLD, mask_BL, candidates, rule="chain")
        memory = DECODER.memory(states_BLD, mask_BL)
        start = torch.tensor([[CLS]])
        first = DECODER.logits(DECODER.states(start, torch.ones_like(start), memory)[0, 0])
    by_rule = official[0].log()[index[0].argsort()] - chain[0].log()[other[0].argsort()]
    expected = first.log_softmax(0)[[5, 6, 7]]
    torch.testing.assert_close(by_rule - by_rule[0], expected - expected[0], atol=1e-4, rtol=1e-4)


def test_equal_candidates_get_equal_probability() -> None:
    text_CA, mask_CA = padded([[5, 6], [5, 6], [7]])
    states_BLD, mask_BL = questions(2, 3)
    with torch.inference_mode():
        candidates = prepare(DECODER, text_CA, mask_CA)
        index_BK, probability_BK = rank_answers(DECODER, states_BLD, mask_BL, candidates)
    for index_K, probability_K in zip(index_BK, probability_BK, strict=True):
        twins_K = probability_K[index_K < 2]
        assert twins_K[0] == twins_K[1]


def test_empty_candidates_are_refused() -> None:
    with pytest.raises(ConfigError, match="must not be empty"):
        prepare(DECODER, torch.tensor([[CLS]]), torch.tensor([[True]]))
    with pytest.raises(ConfigError, match="same special token"):
        prepare(DECODER, torch.tensor([[2, 5, 3], [4, 5, 3]]), torch.ones(2, 3))
