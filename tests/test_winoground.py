"""Winoground's three scores: official per-example scores, ties, tags, features beside."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.metrics import winoground
from benchmarks.metrics.winoground import PAIRS
from x2vlm.types import Prediction, Record

GOLDEN = Path(__file__).parent / "golden" / "scores" / "winoground.json"


def rows_of(orders: list[str]) -> tuple[list[Record], list[Prediction]]:
    records = [Record(str(i), (), ()) for i in range(len(orders))]
    rows: list[Prediction] = [
        {"id": str(i), **dict(zip(PAIRS, map(float, order), strict=True))}
        for i, order in enumerate(orders)
    ]
    return records, rows


@pytest.mark.parametrize("model", ["albef_14m", "blip_14m", "clip", "human", "uniter_large"])
def test_official_scores_of_published_models(model: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    found = winoground.score(*rows_of(golden["orders"][model]))
    values = [found[name].value for name in ("text", "image", "group")]
    assert values == pytest.approx(golden["expected"][model], abs=1e-9)
    assert found["group"].n == 400
    assert found["group"].standard_error is not None


def test_published_embeddings_give_the_published_scores(shared: Path) -> None:
    folder = shared / "data/winoground"
    arrays = np.load(folder / "winoground_real_vitb32.npz", allow_pickle=False)
    image, caption = arrays["img"].reshape(400, 2, -1), arrays["cap"].reshape(400, 2, -1)
    similarity = np.einsum("nce,nie->nci", caption, image).reshape(400, 4)
    records = [Record(str(i), (), ()) for i in range(400)]
    rows: list[Prediction] = [
        {"id": str(i), **dict(zip(PAIRS, map(float, four), strict=True))}
        for i, four in enumerate(similarity)
    ]
    found = winoground.score(records, rows)
    expected = json.loads((folder / "EXPECTED_scores.json").read_text())["scores"]
    for name in ("text", "image", "group"):
        assert found[name].value == pytest.approx(100 * expected[f"{name}_score"], abs=1e-9)


def test_ties_are_wrong() -> None:
    found = winoground.score(*rows_of(["0000", "1001", "1100", "1010"]))
    assert [found[name].value for name in ("text", "image", "group")] == [25.0, 25.0, 25.0]


def test_features_beside_and_tags() -> None:
    records = [
        Record("1", (), (), tags={"collapsed_tag": "Object"}),
        Record("2", (), (), tags={"secondary_tag": ["Relation", "Both"]}),
    ]
    good = dict(zip(PAIRS, (2.0, 1.0, 1.0, 2.0), strict=True))
    bad = dict(zip(PAIRS, (1.0, 2.0, 2.0, 1.0), strict=True))
    rows: list[Prediction] = [
        {"id": "1", **good, **{f"feature_{k}": v for k, v in bad.items()}},
        {"id": "2", **bad, **{f"feature_{k}": v for k, v in bad.items()}},
    ]
    found = winoground.score(records, rows)
    assert (found["group"].value, found["group/Object"].value) == (50.0, 100.0)
    assert (found["text/Both"].value, found["text/Relation"].value) == (0.0, 0.0)
    assert found["feature_group"].value == 0.0
    assert "feature_group" not in winoground.score(records, [good | {"id": "1"}, bad | {"id": "2"}])
