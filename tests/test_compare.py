import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ztest
from synthetic_runs import SCORERS, make_run

from benchmarks.metrics.languages import by_language
from benchmarks.per_sample import SampleScores, per_sample
from leaderboards.compare import (
    bootstrap_interval,
    bootstrap_p,
    compare_scores,
    holm,
    mcnemar,
    sign_flip,
    to_markdown,
)  # fmt: skip
from leaderboards.runs import compare_runs
from x2vlm.errors import RecordError


def scores(values, groups=None, metric="accuracy"):
    names = [str(i) for i in range(len(values))]
    return SampleScores(
        metric, dict(zip(names, map(float, values), strict=True)),
        dict(zip(names, map(str, groups or names), strict=True)),
    )  # fmt: skip


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 15), (30, 30), (100, 61)])
def test_mcnemar_equals_statsmodels(gained, lost):
    table = [[10, gained], [lost, 10]]
    expected = reference_mcnemar(table, exact=True).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_holm_equals_statsmodels(seed):
    p_values = np.random.default_rng(seed).random(9) ** 3
    assert holm(list(p_values)) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []


def test_sign_flip_of_few_clusters_tries_all():
    sums = np.array([0.5, -0.25, 1.0, 0.75, 0.0, 0.3])
    total = abs(sums.sum())
    flips = [abs((np.array(s) * sums).sum()) >= total - 1e-12
             for s in itertools.product((1, -1), repeat=len(sums))]  # fmt: skip
    assert sign_flip(sums) == (pytest.approx(np.mean(flips)), True)
    assert sign_flip(np.zeros(4)) == (1.0, True)
    tied = np.array([0.3, 0.3, 0.3, -0.9, 0.6, -0.6, 0.9, -0.9])  # 5.6e-17 in floats
    assert sign_flip(tied) == (1.0, True)


def test_sign_flip_of_many_clusters_agrees_with_scipy():
    x = np.random.default_rng(0).normal(0.25, 1.0, 60)
    p, complete = sign_flip(x)
    expected = stats.permutation_test(
        (x,), lambda s, axis: s.sum(axis=axis), permutation_type="samples",
        n_resamples=9999, rng=np.random.default_rng(1), vectorized=True,
    ).pvalue  # fmt: skip
    assert not complete
    assert p == pytest.approx(expected, abs=0.015)


def test_bootstrap_interval_agrees_with_scipy_without_clusters():
    x = np.random.default_rng(3).normal(1.0, 2.0, 80)
    low, high = bootstrap_interval(x, np.ones(80), samples=4000)
    expected = stats.bootstrap(
        (x,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.05)
    assert high == pytest.approx(expected.high, abs=0.05)


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(2)
    image = np.repeat(rng.normal(0.2, 1.0, 40), 5)
    alone = bootstrap_interval(image, np.ones(200))
    sums = image.reshape(40, 5).sum(axis=1)
    together = bootstrap_interval(sums, np.full(40, 5.0))
    assert (together[1] - together[0]) > 1.8 * (alone[1] - alone[0])


def test_bootstrap_p_of_a_mean_is_that_of_the_z_test():
    x = np.random.default_rng(4).normal(0.2, 1.0, 150)
    drawn = np.random.default_rng(5).choice(x, (4000, 150)).mean(axis=1)
    assert bootstrap_p(x.mean(), drawn) == pytest.approx(ztest(x)[1], rel=0.15)
    assert bootstrap_p(0.0, drawn) == 1.0
    assert bootstrap_p(1.0, np.ones(99)) == 1.0


def test_a_plain_difference_of_map_survives_a_whole_suite():
    a, b = (make_run("attributes", n=120, seed=s, skill=k) for s, k in ((1, 0.3), (2, 0.95)))
    (found,) = compare_runs([[a], [b]])
    assert 30 * found.p < 0.05


def test_runs_that_rank_one_direction_are_compared_in_it():
    both, texts = make_run("retrieval", n=20), make_run("retrieval", n=20, seed=1)
    rows = [row for row in texts.rows if "text" in row["ranking"]]
    texts = dataclasses.replace(texts, rows=rows)
    assert [one.metric for one in compare_runs([[both], [texts]])] == ["text_r1"]
    images = dataclasses.replace(both, rows=[r for r in both.rows if "image" in r["ranking"]])
    with pytest.raises(RecordError, match="one ranks texts, the other images"):
        compare_runs([[images], [texts]])


def test_right_or_wrong_takes_mcnemar_and_names_the_flips():
    found = compare_scores(scores([1, 1, 0, 0, 1]), scores([1, 0, 1, 1, 1]))
    assert found.test == "McNemar, exact"
    assert (found.gained, found.lost) == (("2", "3"), ("1",))
    assert (found.a, found.b, found.effect) == pytest.approx((60.0, 80.0, 20.0))
    assert found.p == mcnemar(2, 1)


def test_shared_images_take_the_clustered_test():
    a, b = scores([0, 1, 0, 1], "aabb"), scores([1, 1, 1, 1], "aabb")
    found = compare_scores(a, b)
    assert (found.test, found.clusters) == ("sign-flip, all", 2)
    assert found.p == 0.5


def test_different_samples_are_refused():
    with pytest.raises(ValueError, match="different samples"):
        compare_scores(scores([1, 0]), scores([1, 0, 1]))


@pytest.mark.parametrize("task", [task for task in SCORERS if task != "captioning"])
def test_sample_scores_average_to_the_metric(task):
    run = make_run(task, n=40)
    for one in run.scores():
        if one.metric == "box_ap":
            assert all(0 <= value <= 1 for value in one.values.values())
            continue
        mean = one.scale * np.mean(list(one.values.values()))
        assert mean == pytest.approx(run.record.metrics[one.metric].value)
        assert set(one.groups) == set(one.values)


@pytest.mark.slow
def test_caption_scores_average_to_cider():
    run = make_run("captioning", n=6)
    (one,) = run.scores()
    whole = SCORERS["captioning"][0](run.samples, run.rows)
    assert np.mean(list(one.values.values())) == pytest.approx(whole["cider"].value)


def test_languages_are_scored_sample_by_sample():
    run = make_run("classification", n=20)
    many = dataclasses.replace(run.benchmark, score=by_language(run.benchmark.score))
    (one,) = per_sample(many, run.samples, run.rows)
    (plain,) = run.scores()
    assert one.values == plain.values


@pytest.mark.parametrize("task", ["classification", "grounding", "retrieval", "attributes"])
def test_a_planted_difference_is_found_and_equal_runs_are_not_told_apart(task):
    weak = make_run(task, n=120, skill=0.4, seed=1, name="weak")
    strong = make_run(task, n=120, skill=0.9, seed=2, name="strong")
    for one in compare_runs([[weak], [strong]]):
        assert one.verdict() == "strong is better"
        assert one.low > 0
        assert len(one.gained) > len(one.lost)
    for one in compare_runs([[weak], [weak]]):
        assert one.verdict() == "no difference shown"
        assert (one.effect, one.gained, one.lost) == (0.0, (), ())


def test_map_of_the_comparison_is_that_of_the_record():
    a, b = make_run("attributes", seed=1), make_run("attributes", seed=2, skill=0.2)
    (found,) = compare_runs([[a], [b]])
    assert found.a == pytest.approx(a.record.metrics["map"].value)
    assert found.b == pytest.approx(b.record.metrics["map"].value)
    assert found.test == "paired bootstrap"


def test_holm_runs_over_all_benchmarks_of_the_call():
    tasks = ("classification", "grounding", "answering")
    a = [make_run(task, n=60, skill=0.5, seed=1) for task in tasks]
    b = [make_run(task, n=60, skill=0.7, seed=2) for task in tasks]
    found = compare_runs([a, b])
    assert [one.p_holm for one in found] == pytest.approx(holm([one.p for one in found]))
    assert len(compare_runs([a, b, a])) == 9
    text = to_markdown(found)
    assert text.count("\n| ") == 5
    assert "gained: " in text
    assert {(one.name_a, one.name_b) for one in found} == {("A", "B")}
    named = compare_runs([a, b], ["old", "new"])
    assert "A is old, B is new." in to_markdown(named)


def test_of_three_runs_every_row_stands_below_its_pair():
    runs = [[make_run("grounding", n=30, seed=seed, skill=0.2 * seed)] for seed in (1, 2, 3)]
    found = compare_runs(runs, ["x|1", "two", "three"])
    parts = to_markdown(found).split("A is ")[1:]
    assert [part.splitlines()[0] for part in parts] == [
        "x|1, B is two.", "x|1, B is three.", "two, B is three."
    ]  # fmt: skip
    for one, part in zip(found, parts, strict=True):
        assert part.count("| refcoco_plus |") == 1
        assert f"| {one.a:.2f} | {one.b:.2f} |" in part
        assert f"gained: {one.gained[0]}" in part
        assert len({line.replace(r"\|", "").count("|") for line in part.splitlines()
                    if line.startswith("|")}) == 1  # fmt: skip


def test_runs_that_share_nothing_are_refused():
    with pytest.raises(RecordError, match="no benchmark and split in common"):
        compare_runs([[make_run("grounding")], [make_run("answering")]])
    with pytest.raises(RecordError, match="different samples"):
        compare_runs([[make_run("grounding", n=9)], [make_run("grounding", n=8)]])


def test_random_flips_never_claim_certainty() -> None:
    assert sign_flip(np.ones(40), flips=99) == (pytest.approx(1 / 100), False)
