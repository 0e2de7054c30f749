"""Standard errors as strictly as the metrics: by the delta method, and by every resample there is.

The delta method asks a plain formula with a weight per cluster how much the value moves when the
weight of one cluster does. It knows nothing of influences, so that a factor too much or too little
is noticed. Clusters have unequal sizes, numbers of texts and answers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.metrics import answers, attributes, boxes, captions, labels, retrieval, winoground
from benchmarks.metrics.attributes import average_precision
from benchmarks.metrics.languages import by_language
from benchmarks.metrics.stats import Scores, average, mean
from x2vlm.types import Prediction, Record

SIZES = (1, 3, 2, 4, 1)
GROUPS = [f"g{c}" for c, size in enumerate(SIZES) for _ in range(size)]
N = len(GROUPS)
Weights = Mapping[str, float]


def delta_error(value: Callable[[Weights], float], groups: Sequence[str]) -> float:
    """Of a statistic of weighted clusters: sqrt(C / (C - 1) * sum of squared derivatives)."""
    names, small = sorted(set(groups)), 1e-5
    slopes = []
    for name in names:
        up, down = ({key: 1 + sign * small * (key == name) for key in names} for sign in (1, -1))
        slopes.append((value(up) - value(down)) / (2 * small))
    clusters = len(names)
    return math.sqrt(clusters / (clusters - 1) * sum(slope**2 for slope in slopes))


def weighted(values: Sequence[float], groups: Sequence[str], scale: float = 100.0) -> Any:
    """The mean of values as a function of the clusters' weights."""

    def value(weights: Weights) -> float:
        total = sum(weights[g] * v for v, g in zip(values, groups, strict=True))
        return scale * total / sum(weights[g] for g in groups)

    return value


def test_the_delta_method_knows_the_error_of_a_plain_mean() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    found = delta_error(weighted(values, "abcd", 1.0), "abcd")
    assert found == pytest.approx(np.std(values, ddof=1) / 2)
    assert mean(values).standard_error == pytest.approx(found)


def records(targets: Sequence[Mapping[str, Any]], **fields: Any) -> list[Record]:
    return [
        Record(f"r{i}", (), ("a text",), dict(target), group=GROUPS[i], **fields)
        for i, target in enumerate(targets)
    ]


def rows(field: str, values: Sequence[Any]) -> list[Prediction]:
    return [{"id": f"r{i}", field: value} for i, value in enumerate(values)]


def test_accuracy_of_labels_and_consistency() -> None:
    right = [1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0]
    given = records([{"label": 1}] * N)
    given = [
        Record(r.id, (), r.texts, r.target, group=r.group, tags={"sentence": f"{r.group}-{i % 2}"})
        for i, r in enumerate(given)
    ]
    found = labels.score(given, rows("label", right), consistency_by="sentence")
    error = delta_error(weighted(right, GROUPS), GROUPS)
    assert found["accuracy"].standard_error == pytest.approx(error)
    whole: dict[str, int] = {}
    for record, value in zip(given, right, strict=True):
        name = str(record.tags["sentence"])
        whole[name] = min(value, whole.get(name, 1))
    owners = [name.partition("-")[0] for name in whole]
    error = delta_error(weighted(list(whole.values()), owners), owners)
    assert found["consistency"].standard_error == pytest.approx(error)


def test_answers() -> None:
    pool = ["cat"] * 2 + ["dog"] * 8
    given = records([{"annotators": pool}] * N)
    said = ["cat", "dog", "cow"] * 4
    soft = [{"cat": 0.6, "dog": 1.0, "cow": 0.0}[word] for word in said[:N]]
    found = answers.score_vqa(given, rows("answer", said[:N]), tags=())
    assert found["accuracy"].value == pytest.approx(100 * sum(soft) / N)
    error = delta_error(weighted(soft, GROUPS), GROUPS)
    assert found["accuracy"].standard_error == pytest.approx(error)
    found = answers.score_exact(given, rows("answer", said[:N]))
    error = delta_error(weighted([float(word in pool) for word in said[:N]], GROUPS), GROUPS)
    assert found["accuracy"].standard_error == pytest.approx(error)


def test_boxes() -> None:
    widths = [10, 6, 9, 4, 5, 10, 2, 8, 10, 7, 3]
    given = records([{"box": [0, 0, 10, 10]}] * N)
    found = boxes.score(given, rows("box", [[0, 0, width, 10] for width in widths]))
    shares = [width / 10 for width in widths]
    for name, values in (
        ("mean_iou", shares),
        ("accuracy_plain_iou", [float(share >= 0.5) for share in shares]),
        ("accuracy", [float(share >= 0.5) for share in shares]),
    ):
        error = delta_error(weighted(values, GROUPS), GROUPS)
        assert found[name].standard_error == pytest.approx(error), name


def test_winoground() -> None:
    cases = [(9, 1, 1, 9), (9, 1, 9, 1), (9, 9, 1, 1), (9, 8, 1, 2)]
    drawn = [cases[i % 4] for i in range(N)]
    predictions: list[Prediction] = [
        {"id": f"r{i}", **dict(zip(winoground.PAIRS, case, strict=True))}
        for i, case in enumerate(drawn)
    ]
    found = winoground.score(records([{}] * N), predictions, tags=())
    for place, name in enumerate(("text", "image", "group")):
        values = [float(winoground.judge(row)[place]) for row in predictions]
        assert len(set(values)) == 2
        error = delta_error(weighted(values, GROUPS), GROUPS)
        assert found[name].standard_error == pytest.approx(error), name


def retrieved() -> tuple[list[Record], list[Prediction], dict[str, tuple[list[int], list[str]]]]:
    """A split of images with one to three texts; ranks and owners of both directions."""
    given = [
        Record(
            f"i{i}", (), (), {"text_ids": [f"t{i}.{n}" for n in range(1 + i % 3)]}, group=GROUPS[i]
        )
        for i in range(N)
    ]
    texts = [(str(t), r) for r in given for t in r.target["text_ids"]]
    scores = np.random.default_rng(4).normal(size=(N, len(texts)))
    for column, (_, record) in enumerate(texts):
        scores[given.index(record), column] += 1.5
    names = [name for name, _ in texts]
    predictions: list[Prediction] = []
    ranks: dict[str, tuple[list[int], list[str]]] = {"text": ([], []), "image": ([], [])}
    for i, record in enumerate(given):
        predictions.append(
            {"id": record.id, "ranking": {"text": list(zip(names, scores[i], strict=True))}}
        )
        best = max(scores[i, c] for c, (_, r) in enumerate(texts) if r is record)
        ranks["text"][0].append(1 + int((scores[i] > best).sum()))
        ranks["text"][1].append(record.group)
    for column, (name, record) in enumerate(texts):
        pairs = [(r.id, s) for r, s in zip(given, scores[:, column], strict=True)]
        predictions.append({"id": name, "ranking": {"image": pairs}})
        own = scores[given.index(record), column]
        ranks["image"][0].append(1 + int((scores[:, column] > own).sum()))
        ranks["image"][1].append(record.group)
    return given, predictions, ranks


@pytest.mark.parametrize("ks", [(1,), (1, 5, 10), (1, 2, 3, 4)])
def test_recalls_their_mean_and_the_mean_rank(ks: tuple[int, ...]) -> None:
    given, predictions, ranks = retrieved()
    found = retrieval.score(given, predictions, ks=ks, ranks=True)
    parts = []
    for way, (places, owners) in ranks.items():
        for k in ks:
            value = weighted([float(place <= k) for place in places], owners)
            parts.append(value)
            error = delta_error(value, owners)
            assert found[f"{way}_r{k}"].standard_error == pytest.approx(error, abs=1e-6)
        error = delta_error(weighted(places, owners, 1.0), owners)
        assert found[f"{way}_mean_rank"].standard_error == pytest.approx(error)

    def mean_recall(weights: Weights) -> float:
        return sum(part(weights) for part in parts) / len(parts)

    once = dict.fromkeys(GROUPS, 1.0)
    assert found["mean_recall"].value == pytest.approx(mean_recall(once))
    error = delta_error(mean_recall, GROUPS)
    assert error > 0
    assert found["mean_recall"].standard_error == pytest.approx(error)
    assert found["mean_recall"].n == sum(len(places) for places, _ in ranks.values())


def test_one_cluster_has_no_error_of_the_mean_recall() -> None:
    given = [Record("i", (), (), {"text_ids": ["t", "u"]}, group="g")]
    predictions: list[Prediction] = [
        {"id": "i", "ranking": {"text": [("t", 1.0)]}},
        {"id": "t", "ranking": {"image": [("i", 1.0)]}},
        {"id": "u", "ranking": {"image": [("i", 1.0)]}},
    ]
    found = retrieval.score(given, predictions)["mean_recall"]
    assert (found.value, found.standard_error, found.n) == (100.0, None, 3)


def exact_bootstrap(statistic: Callable[[list[int]], float], groups: Sequence[str]) -> float:
    """The deviation over every resample of the clusters that there is; NaN ones are left out."""
    names = list(dict.fromkeys(groups))
    members = {name: [i for i, g in enumerate(groups) if g == name] for name in names}
    values = [
        statistic([i for name in drawn for i in members[name]])
        for drawn in itertools.product(names, repeat=len(names))
    ]
    return float(np.nanstd(values))


def test_the_median_rank_is_bootstrapped_over_clusters() -> None:
    given, predictions, ranks = retrieved()
    found = retrieval.score(given, predictions, ranks=True)
    for way, (places, owners) in ranks.items():
        exact = exact_bootstrap(
            lambda drawn, p=places: float(np.median([p[i] for i in drawn])), owners
        )
        assert exact > 0
        assert found[f"{way}_median_rank"].standard_error == pytest.approx(exact, rel=0.15)


def test_average_precision_is_bootstrapped_over_images() -> None:
    rng = np.random.default_rng(5)
    known = rng.choice([1, 0], p=[0.5, 0.5], size=(N, 2))
    scores = rng.normal(size=(N, 2)) + known
    given = records([{"labels": row} for row in known.tolist()])
    found = attributes.score(given, rows("scores", scores.tolist()), samples=2000)["map"]

    def value(drawn: list[int]) -> float:
        present = known[drawn] == 1
        areas = [average_precision(scores[drawn, a], present[:, a])[0] for a in (0, 1)]
        defined = [area for area in areas if not np.isnan(area)]
        return float(np.mean(defined)) if defined else math.nan

    assert found.standard_error == pytest.approx(100 * exact_bootstrap(value, GROUPS), rel=0.1)


def test_caption_metrics_are_means_over_images_and_bleu_is_bootstrapped() -> None:
    rng = np.random.default_rng(6)
    cider = rng.random(N).tolist()
    lengths = [(20, 3 * int(group[1:])) for group in GROUPS]
    counts = [
        [n, n + 1, *(n - wrong - o for o in range(4)), *(n - o for o in range(4))]
        for n, wrong in lengths
    ]
    corpus = captions.bleu(np.array([np.sum(counts, axis=0)], dtype=float))[0].tolist()
    result = {"cider": cider, "bleu_counts": counts, "bleu": corpus}
    error = delta_error(weighted(cider, GROUPS, 1.0), GROUPS)
    assert captions._measure("cider", result, GROUPS).standard_error == pytest.approx(error)
    for order in (1, 4):
        found = captions._measure(f"bleu{order}", result, GROUPS)

        def value(drawn: list[int], order: int = order) -> float:
            summed = np.array([np.sum([counts[i] for i in drawn], axis=0)], dtype=float)
            return float(captions.bleu(summed)[0, order - 1])

        assert found.value == pytest.approx(value(list(range(N))))
        assert found.standard_error == pytest.approx(exact_bootstrap(value, GROUPS), rel=0.15)
    assert captions._measure("bleu1", result, ["one"] * N).standard_error is None


def test_the_mean_over_languages() -> None:
    given = [
        Record(f"{language}{i}", (), (), {}, language, group=f"{language}{GROUPS[i]}")
        for language in ("en", "de", "fr", "ru")
        for i in range(N)
    ]
    values = np.random.default_rng(7).random(len(given))

    def score(part: Sequence[Record], predictions: Sequence[Prediction]) -> Scores:
        return {"accuracy": mean([p["x"] for p in predictions], [r.group for r in part])}

    predictions: list[Prediction] = [
        {"id": r.id, "x": float(v)} for r, v in zip(given, values, strict=True)
    ]
    found = by_language(score)(given, predictions)
    errors = [found[f"accuracy/{language}"].standard_error or 0 for language in ("de", "fr", "ru")]
    expected = math.sqrt(sum(error**2 for error in errors)) / 3
    assert found["accuracy"].standard_error == pytest.approx(expected)
    parts = [found[f"accuracy/{language}"] for language in ("de", "fr", "ru")]
    assert average(parts, dependent=True).standard_error == pytest.approx(sum(errors) / 3)
