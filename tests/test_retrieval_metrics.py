"""Hit@k, ranks and ties: chunked and packed against plain loops, and the published lists."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.metrics import retrieval
from benchmarks.metrics.retrieval import Place, Ranking, placed, rank_of, ranks_from_scores
from x2vlm.errors import PredictionError
from x2vlm.types import Prediction, Record

GOLDEN = Path(__file__).parent / "golden" / "scores" / "xflickrco.json"


def looped_rank(scores: list[float], targets: set[int]) -> tuple[int, bool]:
    """Sort with every target after its equals; the place of the first target, from 1."""
    order = sorted(range(len(scores)), key=lambda c: (-scores[c], c in targets))
    rank = next(place for place, c in enumerate(order, 1) if c in targets)
    best = max(scores[t] for t in targets)
    return rank, any(scores[c] == best for c in range(len(scores)) if c not in targets)


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, list[list[int]]]:
    queries, candidates = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    cells = st.lists(st.integers(0, 4), min_size=candidates, max_size=candidates)
    rows = draw(st.lists(cells, min_size=queries, max_size=queries))
    some = st.lists(st.integers(0, candidates - 1), min_size=1, max_size=3, unique=True)
    return np.array(rows, dtype=np.float32), draw(
        st.lists(some, min_size=queries, max_size=queries)
    )


@settings(deadline=None, max_examples=150)
@given(matrices(), st.integers(1, 4))
def test_chunked_ranks_equal_the_loop(case: tuple[np.ndarray, list[list[int]]], chunk: int) -> None:
    scores, targets = case
    found = ranks_from_scores(scores, targets, chunk)
    for row, wanted, rank, tied in zip(scores, targets, found.rank_Q, found.tied_Q, strict=True):
        assert (rank, tied) == looped_rank(row.tolist(), set(wanted))


@settings(deadline=None, max_examples=100)
@given(matrices(), st.randoms(use_true_random=False))
def test_ranking_in_any_order_equals_the_matrix(
    case: tuple[np.ndarray, list[list[int]]], random: "np.random.Generator"
) -> None:
    scores, targets = case
    pairs = [[str(c), float(s)] for c, s in enumerate(scores[0])]
    random.shuffle(pairs)
    wanted = frozenset(map(str, targets[0]))
    expected = looped_rank(scores[0].tolist(), set(targets[0]))
    assert rank_of(Ranking(pairs), wanted)[:2] == expected


def test_a_constant_scorer_hits_nothing() -> None:
    found = ranks_from_scores(np.zeros((4, 4)), [[i] for i in range(4)])
    assert (found.rank_Q == 4).all()
    assert found.tied_Q.all()


def test_bad_matrices_are_refused() -> None:
    with pytest.raises(PredictionError, match="NaN"):
        ranks_from_scores(np.array([[0.0, np.nan]]), [[0]])
    with pytest.raises(ValueError, match="target"):
        ranks_from_scores(np.zeros((2, 2)), [[0], []])


def split(images: int, captions: int) -> list[Record]:
    return [
        Record(
            f"i{i}", (), ("",) * captions,
            {"text_ids": [f"t{i}.{c}" for c in range(captions)]}, group=f"g{i}",
        )
        for i in range(images)
    ]  # fmt: skip


def both_ways(records: list[Record], scores_IT: np.ndarray) -> list[Prediction]:
    images = [r.id for r in records]
    texts = [t for r in records for t in r.target["text_ids"]]
    rows: list[Prediction] = [
        {"id": name, "ranking": {"text": [[t, float(s)] for t, s in zip(texts, row, strict=True)]}}
        for name, row in zip(images, scores_IT, strict=True)
    ]
    return rows + [
        {"id": t, "ranking": {"image": [[i, float(s)] for i, s in zip(images, row, strict=True)]}}
        for t, row in zip(texts, scores_IT.T, strict=True)
    ]


def test_scores_equal_a_plain_loop_over_the_matrix() -> None:
    records = split(20, 3)
    scores_IT = np.random.default_rng(0).integers(0, 30, (20, 60)) / 7
    scores_IT += 2.0 * np.repeat(np.eye(20), 3, axis=1)
    found = retrieval.score(records, both_ways(records, scores_IT), ranks=True)
    text = [looped_rank(list(scores_IT[i]), {3 * i, 3 * i + 1, 3 * i + 2}) for i in range(20)]
    image = [looped_rank(list(scores_IT[:, t]), {t // 3}) for t in range(60)]
    recalls = []
    for way, ranks in (("text", text), ("image", image)):
        for k in (1, 5, 10):
            expected = 100 * sum(rank <= k for rank, _ in ranks) / len(ranks)
            recalls.append(expected)
            assert found[f"{way}_r{k}"].value == pytest.approx(expected)
            assert found[f"{way}_r{k}"].n == len(ranks)
        assert found[f"{way}_median_rank"].value == np.median([rank for rank, _ in ranks])
        assert found[f"{way}_mean_rank"].value == pytest.approx(np.mean([r for r, _ in ranks]))
        assert found[f"{way}_median_rank"].standard_error is not None
    assert found["mean_recall"].value == pytest.approx(np.mean(recalls))
    assert found["mean_recall"].standard_error > 0
    assert found["ties"].value == sum(tied for _, tied in text + image) > 0
    assert found["ties"].n == 80


def test_places_are_all_that_the_scores_need() -> None:
    records = split(8, 2)
    scores_IT = np.random.default_rng(1).integers(0, 9, (8, 16)) / 3
    rows = both_ways(records, scores_IT)
    reduced = list(placed(records, rows))
    assert retrieval.score(records, reduced, ranks=True) == retrieval.score(
        records, rows, ranks=True
    )
    assert {type(place) for row in reduced for place in row["ranking"].values()} == {Place}


def test_places_are_taken_one_by_one_and_among_the_queries_own_language() -> None:
    english, german = split(1, 1)[0], Record("d", (), ("",), {"text_ids": ["dt"]}, "de")

    def rows() -> Iterator[Prediction]:
        yield {"id": "i0", "ranking": {"text": [["t0.0", 1.0]]}}
        yield {"id": "other", "ranking": {"text": [["anything", 1.0]]}}
        yield {"id": "d", "ranking": {"text": [["t0.0", 1.0]]}}

    found = placed([english, german], rows())
    (place,) = next(found)["ranking"].values()
    assert place[:2] == (1, False)
    assert next(found) == {"id": "other", "ranking": {"text": None}}
    with pytest.raises(PredictionError, match=r"ranking of 'd' lists 't0\.0', which is not"):
        next(found)


def test_several_captions_count_once() -> None:
    records = split(2, 5)
    scores_IT = np.zeros((2, 10))
    scores_IT[0, :5] = [9, 8, 7, 6, 5]
    scores_IT[0, 5:] = 1
    scores_IT[1, 4], scores_IT[1, 9] = 3, 2
    found = retrieval.score(records, both_ways(records, scores_IT))
    assert (found["text_r1"].value, found["text_r5"].value) == (50.0, 100.0)


def test_a_target_outside_the_listed_candidates_is_a_miss() -> None:
    records = split(3, 1)
    listed = {"i0": ["t1.0", "t2.0"], "i1": ["t1.0"], "i2": ["t2.0"]}
    rows: list[Prediction] = [
        {"id": i, "ranking": {"text": [[t, 1.0 - n] for n, t in enumerate(texts)]}}
        for i, texts in listed.items()
    ]
    found = retrieval.score(records, rows, ranks=True)
    assert found["text_r10"].value == pytest.approx(200 / 3)
    assert found["text_mean_rank"].value == pytest.approx(5 / 3)
    assert "1 queries rank no target" in found["text_mean_rank"].note
    assert found["image_r1"].value is None
    assert found["mean_recall"].value is None


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([["t0.0", 1.0], ["t0.0", 2.0]], "twice"),
        ([["t9.0", 1.0]], "not a candidate"),
        ([["t0.0", float("nan")]], "NaN"),
    ],
)
def test_bad_rankings_are_refused(pairs: list[list[object]], message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        retrieval.score(split(1, 1), [{"id": "i0", "ranking": {"text": pairs}}])


def test_missing_queries_are_refused() -> None:
    rows: list[Prediction] = [{"id": "i0", "ranking": {"text": [["t0.0", 1.0]]}}]
    with pytest.raises(PredictionError, match="1 of 2 queries"):
        retrieval.score(split(2, 1), rows)


@pytest.mark.parametrize("language", ["en", "de"])
def test_published_recalls_of_published_places(language: str) -> None:
    golden = json.loads(GOLDEN.read_text())[language]
    records = split(2000, 1)
    rows: list[Prediction] = []
    for i, place in enumerate(golden["places"]):
        listed = [f"i{(i + j) % 2000}" for j in range(1, 21)]
        if place:
            listed[place - 1] = f"i{i}"
        pairs = [[name, float(-n)] for n, name in enumerate(listed)]
        rows.append({"id": f"t{i}.0", "ranking": {"image": pairs}})
    found = retrieval.score(records, rows)
    assert [f"{found[f'image_r{k}'].value:.3f}" for k in (1, 5, 10)] == golden["expected"]
    assert found["ties"].value == 0


def test_packed_rankings_read_as_pairs() -> None:
    names: dict[str, str] = {}
    one, two = Ranking([["a", 1], ["b", 0.5]], names), Ranking([["b", 2.0]], names)
    assert list(one) == [("a", 1.0), ("b", 0.5)]
    assert one.ids[1] is two.ids[0]
