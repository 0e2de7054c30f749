"""Means, errors and averages: against plain formulas, and their promises as properties."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.metrics.languages import by_language
from benchmarks.metrics.stats import (
    Measure,
    Scores,
    average,
    bootstrap_error,
    clustered_error,
    mean,
    resamples,
    tagged_means,
)
from x2vlm.types import Prediction, Record

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@settings(deadline=None, max_examples=60)
@given(VALUES)
def test_error_of_a_mean_is_the_textbook_one(values: list[float]) -> None:
    found = mean(values, scale=100.0)
    assert found.value == pytest.approx(100 * statistics.fmean(values), abs=1e-9)
    textbook = 100 * statistics.stdev(values) / math.sqrt(len(values))
    assert found.standard_error == pytest.approx(textbook, rel=1e-9, abs=1e-9)
    assert found.n == len(values)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(0, 4)), min_size=2, max_size=30))
def test_clustered_error_equals_a_plain_loop(rows: list[tuple[float, int]]) -> None:
    values, groups = [v for v, _ in rows], [g for _, g in rows]
    centre = sum(values) / len(values)
    sums: dict[int, float] = {}
    for value, group in rows:
        sums[group] = sums.get(group, 0.0) + (value - centre) / len(values)
    found = mean(values, groups).standard_error
    if len(sums) < 2:
        assert found is None
    else:
        c = len(sums)
        expected = math.sqrt(c / (c - 1) * sum(s * s for s in sums.values()))
        assert found == pytest.approx(expected, abs=1e-9)


def test_copies_of_a_sample_add_no_certainty() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    once = mean(values, list("abcde")).standard_error
    often = mean(values * 10, list("abcde") * 10).standard_error
    assert often == pytest.approx(once)


def test_undefined_is_none() -> None:
    assert mean([]) == Measure(None, 0, None)
    assert mean([1.0]).standard_error is None
    assert average([]) == Measure(None, 0, None)
    assert average([Measure(1.0, 2), Measure(None, 0)]).value is None
    with pytest.raises(ValueError, match="finite"):
        Measure(float("nan"), 1)
    with pytest.raises(ValueError, match="groups"):
        clustered_error([1.0, 2.0], ["a"])


def test_average_bounds_the_error_of_dependent_measures() -> None:
    parts = [Measure(10.0, 5, 3.0), Measure(20.0, 5, 4.0)]
    assert average(parts) == Measure(15.0, 10, 2.5)
    assert average(parts, dependent=True) == Measure(15.0, 10, 3.5)


def test_resamples_draw_whole_groups() -> None:
    groups = ["a", "a", "b", "c", "c", "c"]
    counts = resamples(6, groups, samples=50, seed=1)
    assert counts.shape == (50, 6)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 3] == counts[:, 5]).all()
    assert (counts[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert (counts == resamples(6, groups, samples=50, seed=1)).all()


def test_bootstrap_error_of_a_mean_is_near_the_analytic_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    analytic = mean(values).standard_error
    found = bootstrap_error(lambda rows: float(values[rows].mean()), len(values), samples=500)
    assert found == pytest.approx(analytic, rel=0.15)
    assert bootstrap_error(lambda _: None, 5) is None
    assert bootstrap_error(lambda _: 1.0, 0) is None


def test_tags_split_a_mean_and_none_is_left_out() -> None:
    records = [
        Record("1", (), (), tags={"kind": "a"}),
        Record("2", (), (), tags={"kind": ["a", "b"]}),
        Record("3", (), ()),
    ]
    found = tagged_means("accuracy", [1.0, 0.0, None], records, ("kind",))
    assert {name: (m.value, m.n) for name, m in found.items()} == {
        "accuracy": (50.0, 2),
        "accuracy/a": (50.0, 2),
        "accuracy/b": (0.0, 1),
    }


def hits(records: list[Record], predictions: list[Prediction]) -> Scores:
    values = [float(p["right"]) for p in predictions]
    return {"accuracy": mean(values, [r.group for r in records], 100.0), "ties": Measure(2.0, 1)}


def in_languages(*names: str, shared: bool = True) -> tuple[list[Record], list[Prediction]]:
    records = [
        Record(f"{name}:{i}", (), (), {}, name, group=str(i) if shared else f"{name}{i}")
        for name in names
        for i in range(4)
    ]
    right = {"en": [1, 1, 1, 1], "de": [1, 0, 1, 0], "fr": [1, 1, 1, 0]}
    rows = [{"id": r.id, "right": right[r.language][i % 4]} for i, r in enumerate(records)]
    return records, rows


def test_by_language_leaves_english_out_and_says_so() -> None:
    found = by_language(hits)(*in_languages("en", "de", "fr"))
    values = {name: m.value for name, m in found.items() if name.startswith("accuracy")}
    assert values == {
        "accuracy": 62.5, "accuracy/en": 100.0, "accuracy/de": 50.0, "accuracy/fr": 75.0
    }  # fmt: skip
    assert "English is left out" in found["accuracy"].note
    assert found["ties"].value == 4.0
    parts = [found["accuracy/de"], found["accuracy/fr"]]
    assert found["accuracy"] == Measure(
        62.5, 8, average(parts, dependent=True).standard_error, found["accuracy"].note
    )
    alone = by_language(hits)(*in_languages("en", "de", "fr", shared=False))
    assert alone["accuracy"].standard_error == average(parts).standard_error


def test_english_alone_has_no_mean() -> None:
    found = by_language(hits)(*in_languages("en"))
    assert found["accuracy"].value is None
    assert found["accuracy/en"].value == 100.0


SIZES = (1, 3, 2, 4, 1)
GROUPS = [f"g{c}" for c, size in enumerate(SIZES) for _ in range(size)]


@pytest.mark.parametrize("groups", [None, []])
def test_nothing_is_resampled_from_nothing(groups: list[str] | None) -> None:
    assert resamples(0, groups).shape == (0, 0)
    asked: list[int] = []

    def statistic(drawn: np.ndarray) -> float:
        asked.append(len(drawn))
        return 1.0

    assert bootstrap_error(statistic, 0, groups) is None
    assert asked == []


def test_resamples_are_as_many_as_asked_and_draw_every_cluster() -> None:
    counts_SN = resamples(len(GROUPS), GROUPS, samples=400, seed=3)
    assert counts_SN.shape == (400, len(GROUPS))
    first = [GROUPS.index(name) for name in dict.fromkeys(GROUPS)]
    drawn_SC = counts_SN[:, first]
    assert (drawn_SC.sum(axis=1) == len(SIZES)).all()
    assert drawn_SC.mean(axis=0) == pytest.approx([1.0] * len(SIZES), abs=0.15)
    assert not (counts_SN == resamples(len(GROUPS), GROUPS, samples=400, seed=4)).all()
    assert resamples(3, samples=5).shape == (5, 3)


def test_a_bootstrap_leaves_out_what_is_undefined() -> None:
    values = [0.0, 1.0, 2.0, 3.0]

    def statistic(drawn: np.ndarray) -> float | None:
        return None if (drawn == 0).any() else float(np.mean([values[i] for i in drawn]))

    kept = [d for d in itertools.product(range(4), repeat=4) if 0 not in d]
    exact = float(np.std([np.mean([values[i] for i in d]) for d in kept]))
    assert bootstrap_error(statistic, 4, samples=4000) == pytest.approx(exact, rel=0.1)


def test_the_deviation_of_few_resamples_is_that_of_a_sample_and_one_has_none() -> None:
    values = np.array([0.0, 1.0, 5.0])
    means = [float(np.repeat(values, row).mean()) for row in resamples(3, samples=4, seed=2)]
    found = bootstrap_error(lambda drawn: float(values[drawn].mean()), 3, samples=4, seed=2)
    assert found == pytest.approx(statistics.stdev(means))
    assert bootstrap_error(lambda _: 1.0, 3, samples=1) is None
