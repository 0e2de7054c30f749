"""OVAD's mean average precision against scikit-learn and a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from benchmarks.metrics import attributes
from benchmarks.metrics.attributes import average_precision, by_box
from benchmarks.metrics.stats import resamples
from x2vlm.errors import DataError, PredictionError
from x2vlm.types import Prediction, Record


def looped(scores: list[float], present: list[bool]) -> float:
    """Average precision threshold by threshold."""
    area, seen = 0.0, 0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [p for s, p in zip(scores, present, strict=True) if s >= threshold]
        area += sum(chosen) / len(chosen) * (sum(chosen) - seen)
        seen = sum(chosen)
    return area / sum(present)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25))
def test_average_precision_equals_loop_and_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, present = [float(s) for s, _ in rows], [p for _, p in rows]
    found = average_precision(np.array(scores), np.array(present))[0]
    if not any(present):
        assert np.isnan(found)
    else:
        assert found == pytest.approx(looped(scores, present), abs=1e-12)
        assert found == pytest.approx(average_precision_score(present, scores), abs=1e-12)


def test_counted_boxes_equal_repeated_boxes() -> None:
    rng = np.random.default_rng(0)
    scores, present = rng.integers(0, 9, 40).astype(float), rng.random(40) < 0.3
    counts = resamples(40, samples=20)
    found = average_precision(scores, present, by_box(counts))
    for row, value in zip(counts, found, strict=True):
        rows = np.repeat(np.arange(40), row)
        if not present[rows].any():
            assert np.isnan(value)
        else:
            assert value == pytest.approx(looped(list(scores[rows]), list(present[rows])))


def split(
    labels: np.ndarray, scores: np.ndarray, **target: object
) -> tuple[list[Record], list[Prediction]]:
    records = [
        Record(
            str(i), (), (), {"labels": row.tolist(), **target}, group=str(i // 3), source=f"f:{i}"
        )
        for i, row in enumerate(labels)
    ]
    return records, [{"id": str(i), "scores": row.tolist()} for i, row in enumerate(scores)]


def test_map_leaves_out_unknown_labels_and_undefined_attributes() -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice([1, 0, -1], p=[0.2, 0.5, 0.3], size=(120, 6))
    labels[:, 4] = np.where(labels[:, 4] == 1, 0, labels[:, 4])
    labels[:, 5] = -1
    scores = rng.normal(size=(120, 6)) + (labels == 1)
    sets = ("head", "head", "medium", "tail", "tail", "tail")
    found = attributes.score(*split(labels, scores, frequency=list(sets)))
    each = [
        100 * average_precision_score(labels[known, a], scores[known, a])
        for a in range(4)
        for known in [labels[:, a] != -1]
    ]
    assert found["map"].value == pytest.approx(np.mean(each))
    assert found["map/head"].value == pytest.approx(np.mean(each[:2]))
    assert found["map/medium"].value == pytest.approx(each[2])
    assert found["map/tail"].value == pytest.approx(each[3])
    assert "4 of 6" in found["map"].note
    assert found["map"].n == 120
    assert found["map"].standard_error is not None
    assert 0 < found["map"].standard_error < 10
    again = attributes.score(*split(labels, scores), frequency=sets)
    assert again == found


def test_no_positive_anywhere_is_undefined() -> None:
    found = attributes.score(*split(np.zeros((3, 2), int), np.ones((3, 2))))
    assert found["map"].value is None
    assert set(found) == {"map"}


def test_lengths_that_disagree_are_errors() -> None:
    records, rows = split(np.ones((2, 3), int), np.ones((2, 2)))
    with pytest.raises(PredictionError, match="2 scores for 3 attributes"):
        attributes.score(records, rows)
    with pytest.raises(DataError, match="2 frequency sets for 3 attributes"):
        attributes.score(*split(np.ones((2, 3), int), np.ones((2, 3))), frequency=("head", "tail"))


def test_official_size_takes_seconds() -> None:
    rng = np.random.default_rng(2)
    labels = rng.choice([1, 0, -1], p=[0.1, 0.6, 0.3], size=(14300, 4))
    found = attributes.score(*split(labels, rng.random((14300, 4))))
    assert found["map"].value == pytest.approx(14.3, abs=1.5)
