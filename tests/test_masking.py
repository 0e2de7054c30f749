import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2vlm.data.masking import IGNORED, choose, mask_tokens, prepend_at
from x2vlm.data.text import Tokenizer, train_tokenizer

GOLDEN = json.loads((Path(__file__).parent / "golden" / "data.json").read_text("utf-8"))
WORDS = ["unbelievable red sphere resting", "a cube", "the spheres were rolling beautifully away"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(WORDS, "bert", 48)


@given(
    starts=st.lists(st.booleans(), min_size=2, max_size=40),
    seed=st.integers(0, 2**32),
    probability=st.floats(0.05, 1),
    most=st.integers(1, 18),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_chosen_positions_keep_to_the_limits(starts, seed, probability, most, data) -> None:
    prompt = data.draw(st.integers(0, len(starts) - 2))
    chosen = choose(starts, np.random.default_rng(seed), probability, most, prompt)
    wanted = min(most, max(1, round((len(starts) - prompt) * probability)))
    assert chosen == sorted(set(chosen))
    assert 1 <= len(chosen) <= wanted
    assert all(prompt < position < len(starts) for position in chosen)
    assert chosen == choose(starts, np.random.default_rng(seed), probability, most, prompt)


def test_a_word_is_chosen_as_a_whole() -> None:
    starts = [True, True, False, False, True, True, True, True, True, True, True, True]
    for seed in range(200):
        chosen = choose(starts, np.random.default_rng(seed), 0.9, 12, skipgram=0)
        assert len({1, 2, 3} & set(chosen)) in (0, 3) or len(chosen) == 11


def reachable(
    starts: list[bool], wanted: int, prompt: int, whole_word: bool, runs: tuple[int, ...]
) -> set[tuple[int, ...]]:
    """Every set of positions that the official masking can choose, by trying all orders."""
    first, length = 1 + prompt, len(starts)
    found: set[tuple[int, ...]] = set()

    def go(left: list[int], chosen: frozenset[int]) -> None:
        if len(chosen) >= wanted or not left:
            found.update(itertools.combinations(sorted(chosen), min(wanted, len(chosen))))
            return
        for position in left:
            rest = [other for other in left if other != position and other not in chosen]
            for run in runs:
                hidden = set(range(position, min(position + run, length)))
                if whole_word:
                    words = list(itertools.accumulate(starts))
                    hidden |= {
                        i for i in range(first, length) if words[i] in {words[h] for h in hidden}
                    }
                go([other for other in rest if other not in hidden], chosen | hidden)

    go(list(range(first, length)), frozenset())
    return found


@pytest.mark.parametrize(
    ("starts", "prompt"),
    [
        ([1, 1, 1, 1, 1], 0),
        ([1, 1, 0, 1, 1, 1], 0),
        ([1, 1, 1, 0, 0, 1], 1),
        ([1, 1, 0, 0, 1, 0], 0),
        ([1, 1, 1, 0], 1),
    ],
)
@pytest.mark.parametrize("whole_word", [True, False])
@pytest.mark.parametrize(("skipgram", "runs"), [(0.0, (1,)), (1.0, (2, 3)), (0.5, (1, 2, 3))])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_all_that_can_be_chosen_is_chosen_and_nothing_else(
    starts: list[int],
    prompt: int,
    whole_word: bool,
    skipgram: float,
    runs: tuple[int, ...],
    most: int,
) -> None:
    flags = [bool(start) for start in starts]
    drawn = {
        tuple(choose(flags, np.random.default_rng(seed), 1.0, most, prompt, whole_word, skipgram))
        for seed in range(400)
    }
    assert drawn == reachable(flags, most, prompt, whole_word, runs)


def test_runs_of_two_and_three_tokens_are_as_likely() -> None:
    starts, lengths = [True] * 200, []
    for seed in range(600):
        chosen = choose(starts, np.random.default_rng(seed), 1.0, 3, skipgram=1.0)
        gaps = [b - a for a, b in itertools.pairwise(chosen)]
        lengths.append(3 if gaps == [1, 1] else 2)
    assert 0.4 < lengths.count(3) / 600 < 0.6


def test_the_share_counts_the_text_without_its_prompt() -> None:
    for prompt, share, wanted in ((0, 0.5, 5), (4, 0.5, 3), (0, 0.01, 1), (2, 0.55, 4)):
        chosen = choose([True] * 10, np.random.default_rng(1), share, 18, prompt, skipgram=0)
        assert len(chosen) == wanted


def test_about_half_is_hidden_and_eighty_percent_of_it_by_mask(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    text_BL = torch.tensor(rng.integers(5, tokenizer.vocabulary, (400, 20)))
    text_BL[:, 0] = tokenizer.cls
    mask_BL = torch.ones_like(text_BL, dtype=torch.bool)
    masked = mask_tokens(text_BL, mask_BL, tokenizer, rng)
    chosen = masked.weights_BM.sum().item()
    assert 0.45 < chosen / text_BL.numel() < 0.51
    kept_BM = masked.text_BL.gather(1, masked.positions_BM)
    share = ((kept_BM == tokenizer.mask) & (masked.weights_BM > 0)).sum().item() / chosen
    assert 0.78 < share < 0.82
    unchanged = ((kept_BM == masked.targets_BM) & (masked.weights_BM > 0)).sum().item() / chosen
    assert 0.09 < unchanged < 0.14


def test_targets_restore_the_text_and_padding_is_left_alone(tokenizer: Tokenizer) -> None:
    text_BL, mask_BL = tokenizer.encode(WORDS, 40)
    before = text_BL.clone()
    masked = mask_tokens(text_BL, mask_BL, tokenizer, np.random.default_rng(3), max_masks=5)
    assert torch.equal(text_BL, before)
    restored = masked.text_BL.clone()
    for b in range(len(WORDS)):
        for position, target, weight in zip(
            masked.positions_BM[b], masked.targets_BM[b], masked.weights_BM[b], strict=True
        ):
            assert (weight == 0) == (target == IGNORED)
            if weight:
                restored[b, position] = target
                assert mask_BL[b, position]
    assert torch.equal(restored, before)
    assert masked.weights_BM.sum(1).max() <= 5


def test_prepended_masks_are_the_official_ones() -> None:
    golden = GOLDEN["captioning"]
    mask, ids = 4, golden["input_ids_masked"]
    place = golden["masked_pos"][0]
    text = [token for index, token in enumerate(ids) if index != place]
    made = prepend_at([text], [[place]], mask, 0)
    assert made.text_BL.tolist() == [ids]
    assert made.position_BL.tolist() == [golden["position_ids"]]
    assert made.positions_BM.tolist() == [[place]]
    assert made.targets_BM.tolist() == [[golden["masked_ids"][0]]]


def test_the_whole_captioning_golden(shared: Path) -> None:
    from safetensors.torch import load_file

    golden = load_file(shared / "goldens/a/captioning.io.safetensors")
    ids_BL, place = golden["in.input_ids_masked"], int(golden["in.masked_pos"][0, 0])
    texts = [[t for i, t in enumerate(row) if i != place] for row in ids_BL.tolist()]
    made = prepend_at(texts, [[place]] * len(texts), 4, 0)
    assert torch.equal(made.text_BL, ids_BL)
    assert torch.equal(made.position_BL, golden["in.position_ids"])
    assert torch.equal(made.mask_BLL.long(), golden["in.attention_mask"])


def test_no_token_sees_a_mask_but_itself() -> None:
    made = prepend_at([[2, 10, 11, 12, 3], [2, 13, 3]], [[1, 3], [2]], 4, 0)
    assert made.text_BL.tolist() == [[2, 4, 10, 11, 4, 12, 3], [2, 13, 4, 3, 0, 0, 0]]
    assert made.position_BL.tolist() == [[0, 1, 1, 2, 3, 3, 4], [0, 1, 2, 2, 3, 4, 5]]
    for b in range(2):
        for place in (made.text_BL[b] == 4).nonzero().flatten().tolist():
            seen_by = made.mask_BLL[b, :, place].nonzero().flatten().tolist()
            assert seen_by == [place]
    assert not made.mask_BLL.triu(1).any()
    assert made.targets_BM.tolist() == [[10, 12], [3, IGNORED]]
