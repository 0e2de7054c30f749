import dataclasses

import pytest
from synthetic_runs import make_record

from benchmarks.metrics.stats import Measure
from benchmarks.registry import NAMES
from leaderboards.board import Cell, Column, boards_of
from leaderboards.difference import (
    Z95,
    difference,
    differences,
    differences_of,
    to_markdown,
    tolerances,
)
from leaderboards.published import Number, numbers

COLUMN = Column("official", "coco_retrieval", "test", "fine-tuned", "text_r1")
PAPER = Number("coco_retrieval", "test", "text_r1", "fine-tuned", "X2-VLM base", 255_000_000, "4M",
               "base/4M", 80.5, "80.5", "verified", "S")  # fmt: skip
RULE = {"tolerance": 0.5, "why": "a reason"}


def verdict(value, error=0.1, column=COLUMN, paper=PAPER, rule=None, **cell):
    return difference(column, Cell(value, error, **cell), paper, tolerance=rule or RULE)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (80.9, 0.1, "reproduced"),
        (80.0, 0.1, "reproduced"),
        (80.5 + 0.1 + 0.4 + 1e-14, 0.1, "reproduced"),
        (81.5, 0.2, "above"),
        (79.0, 0.2, "below"),
        (81.5, 0.9, "undecided"),
        (79.0, 0.9, "undecided"),
        (79.0, None, "below"),
    ],
)
def test_verdicts(value, error, expected):
    found = verdict(value, error)
    assert found.verdict == expected
    assert "a reason" in found.why


def test_a_verdict_without_an_interval_says_so():
    assert "without a standard error" in verdict(79.0, None).why
    assert "without" not in verdict(79.0, 0.2).why


def test_names_of_models_stay_text_in_the_table():
    model = {"name": "base", "pretraining": "4M a|b <i>"}
    table = next(t for t in boards_of([make_record("nlvr2", suite="official", model=model)])
                 if t.board.name == "understanding")  # fmt: skip
    assert r"| base 4M a\|b &lt;i&gt; |" in to_markdown(differences(table))


def test_the_interval_is_that_of_our_value():
    found = verdict(81.5, 0.25)
    assert found.value == pytest.approx(1.0)
    assert (found.low, found.high) == (
        pytest.approx(1.0 - Z95 * 0.25), pytest.approx(1.0 + Z95 * 0.25)
    )  # fmt: skip
    assert verdict(81.5, None).low is None


def test_less_is_better_for_ranks():
    column = dataclasses.replace(COLUMN, higher_is_better=False)
    assert verdict(90.0, column=column).verdict == "above"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"column": dataclasses.replace(COLUMN, protocol="zero-shot")},
            "other protocol: ours zero",
        ),
        ({"column": dataclasses.replace(COLUMN, suite="mini")}, "mini suite"),
        ({"column": dataclasses.replace(COLUMN, split="val")}, "other split"),
        ({"flags": ("limited",)}, "our record is limited"),
        ({"flags": ("partial",)}, "our record is partial"),
        ({"value": None}, "ours is undefined"),
        ({"paper": dataclasses.replace(PAPER, value=None)}, "misprint"),
        ({"paper": dataclasses.replace(PAPER, state="memory")}, "no source"),
    ],
)
def test_what_does_not_measure_the_same_is_not_compared(change, why):
    found = verdict(**{"value": 80.5, **change})
    assert found.verdict == "not comparable"
    assert why in found.why


def test_counting_one_too_many_may_explain_a_small_lead():
    rule = {**RULE, "phantom": 0.25}
    assert verdict(81.2, 0.01, rule=rule).verdict == "not comparable"
    assert "one sample too many" in verdict(81.2, 0.01, rule=rule).why
    assert verdict(81.3, 0.01, rule=rule).verdict == "above"
    assert verdict(79.8, 0.01, rule=rule).verdict == "below"


def test_every_benchmark_has_a_tolerance_with_a_reason():
    assert set(tolerances()) == {*NAMES, "default"}
    assert all(rule["tolerance"] > 0 and rule["why"] for rule in tolerances().values())


def test_differences_of_a_board_use_the_papers_own_row():
    model = {"name": "base", "pretraining": "4M", "parameters": 255_000_000}
    records = [
        make_record("nlvr2", suite="official", value=86.0, error=0.4, model=model),
        make_record("vqav2", suite="official", split="val", value=77.0, model=model),
        make_record("nlvr2", suite="official", value=50.0, model={"name": "tiny"}),
    ]
    table = next(t for t in boards_of(records) if t.board.name == "understanding")
    (found,) = differences(table)
    assert found.published.printed == "86.1"
    assert found.verdict == "reproduced"
    text = to_markdown([found])
    assert "| 86.00 | 86.1 | verified | -0.10 | -0.88 to +0.68 | reproduced |" in text


def test_all_boards_are_compared_and_a_score_on_two_boards_once():
    model = {"name": "base", "pretraining": "4M", "parameters": 255_000_000}
    values = {name: Measure(80.0, 1000, 0.5) for name in ("text_r1", "text_r5", "image_r1")}
    record = make_record(
        "coco_retrieval", suite="official", headline="text_r1", metrics=values, model=model
    )
    tables = boards_of([record])
    boards = {table.board.name: len(differences(table)) for table in tables}
    assert boards == {"overview": 1, "retrieval": 3}
    found = differences_of(tables)
    assert [one.column.metric for one in found] == ["text_r1", "text_r5", "image_r1"]


def test_no_reference_is_a_memory():
    assert not [n for n in numbers() if n.state == "memory" and n.ours and n.value is None]
