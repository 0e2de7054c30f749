"""IoU, plain and official."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.metrics import boxes
from x2vlm.types import Record

SIDE = st.floats(0, 50)
BOX = st.tuples(SIDE, SIDE, st.floats(1, 50), st.floats(1, 50))


def looped(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The official rule for one pair, term by term."""
    x1, y1 = max(a[0], b[0]), max(a[1], b[1])
    x2 = min(a[0] + a[2] - 1, b[0] + b[2] - 1)
    y2 = min(a[1] + a[3] - 1, b[1] + b[3] - 1)
    inside = (x2 - x1 + 1) * (y2 - y1 + 1) if x1 < x2 and y1 < y2 else 0
    return inside / (a[2] * a[3] + b[2] * b[3] - inside)


@settings(deadline=None, max_examples=200)
@given(BOX, BOX)
def test_official_iou_equals_the_loop(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    assert float(boxes.iou_official(a, b)) == pytest.approx(looped(a, b), abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(BOX, BOX)
def test_plain_iou_is_symmetric_bounded_and_one_with_itself(
    a: tuple[float, ...], b: tuple[float, ...]
) -> None:
    found = float(boxes.iou(a, b))
    assert found == pytest.approx(float(boxes.iou(b, a)))
    assert 0 <= found <= 1 + 1e-12
    assert float(boxes.iou(a, a)) == pytest.approx(1)


def test_hand_made_pairs() -> None:
    assert float(boxes.iou([0, 0, 10, 10], [5, 0, 10, 10])) == pytest.approx(1 / 3)
    assert float(boxes.iou_official([0, 0, 10, 10], [5, 0, 10, 10])) == pytest.approx(1 / 3)
    assert float(boxes.iou([0, 0, 10, 10], [9.5, 0, 10, 10])) > 0
    assert float(boxes.iou_official([0, 0, 10, 10], [9.5, 0, 10, 10])) == 0
    assert float(boxes.iou([0, 0, 0, 0], [0, 0, 0, 0])) == 0
    assert boxes.iou(np.zeros((3, 4)), np.ones((3, 4))).shape == (3,)


def test_official_iou_of_the_goldens(shared: Path) -> None:
    rows = json.loads((shared / "goldens/a/functions.json").read_text())["iou_official"]
    found = boxes.iou_official([r["a"] for r in rows], [r["b"] for r in rows])
    assert len(rows) > 10
    np.testing.assert_allclose(found, [r["iou"] for r in rows], rtol=0, atol=1e-12)


def test_accuracy_counts_iou_of_a_half_and_more() -> None:
    truth = [0, 0, 10, 10]
    guesses = [[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4.9], [50, 50, 5, 5]]
    records = [
        Record(str(i), (), (), {"box": truth, "size": [99, 99]}, group=str(i // 2))
        for i in range(4)
    ]
    found = boxes.score(records, [{"id": str(i), "box": box} for i, box in enumerate(guesses)])
    assert found["accuracy"].value == 50.0
    assert found["accuracy_plain_iou"].value == 50.0
    assert found["mean_iou"].value == pytest.approx(100 * (1 + 0.5 + 0.49 + 0) / 4)
    assert found["accuracy"].n == 4
    assert found["accuracy"].standard_error == pytest.approx(50.0)


def test_nothing_to_score_is_undefined() -> None:
    assert boxes.score([], [])["accuracy"].value is None
