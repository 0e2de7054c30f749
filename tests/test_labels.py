"""Accuracy and NLVR2's consistency."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.metrics import labels
from x2vlm.types import Record

GOLDEN = Path(__file__).parent / "golden" / "scores" / "nlvr2.json"


def test_official_nlvr2_numbers() -> None:
    golden = json.loads(GOLDEN.read_text())
    records, predictions = [], []
    for identifier, label, predicted in golden["rows"]:
        split, place, _, sentence = identifier.split("-")
        tags = {"sentence": f"{split}-{place}-{sentence}"}
        records.append(Record(identifier, (), (), {"label": label.lower() == "true"}, tags=tags))
        predictions.append({"id": identifier, "label": int(predicted.lower() == "true")})
    found = labels.score(records, predictions, consistency_by="sentence")
    for name in ("accuracy", "consistency"):
        value = found[name].value
        assert value is not None
        assert value / 100 == pytest.approx(float(golden["expected"][name]), abs=1e-15)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1))
def test_consistency_equals_a_plain_loop(rows: list[tuple[int, int, int]]) -> None:
    records = [
        Record(str(i), (), (), {"label": t}, tags={"s": s}) for i, (t, _, s) in enumerate(rows)
    ]
    predictions = [{"id": str(i), "label": p} for i, (_, p, _) in enumerate(rows)]
    found = labels.score(records, predictions, consistency_by="s")
    sentences = {s for _, _, s in rows}
    whole = sum(all(t == p for t, p, s in rows if s == sentence) for sentence in sentences)
    assert found["consistency"].value == pytest.approx(100 * whole / len(sentences))
    assert found["consistency"].n == len(sentences)
    assert found["consistency"].value <= 100 * len(sentences)


def test_answers_outside_the_vocabulary_are_wrong() -> None:
    records = [Record("1", (), (), {"label": None}), Record("2", (), (), {"label": 0})]
    found = labels.score(records, [{"id": "1", "label": 0}, {"id": "2", "label": 0}])
    assert found["accuracy"].value == 50.0


def test_accuracy_per_tag() -> None:
    records = [
        Record(str(i), (), (), {"label": 0}, tags={"type": kind}) for i, kind in enumerate("aab")
    ]
    rows = [{"id": str(i), "label": label} for i, label in enumerate((0, 1, 0))]
    found = labels.score(records, rows, tags=("type",))
    assert (found["accuracy/a"].value, found["accuracy/b"].value) == (50.0, 100.0)
