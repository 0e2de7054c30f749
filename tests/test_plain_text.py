"""Exports hold no formulas and no hidden characters."""

import csv
import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import make_record

from benchmarks.metrics.stats import Measure
from leaderboards.board import boards_of
from leaderboards.export import FORMATS
from leaderboards.plain_text import HIDDEN, csv_text, visible
from leaderboards.suite import suite_frame, suite_markdown

FORMULAS = ["=1+1", "+SUM(A1)", "-2+3", "@SUM(A1)", "=cmd|' /C calc'!A0", " =1", "\t=1", "\r=1",
            "＝1+1"]  # fmt: skip
NASTY = "=x\u202egnp.exe\u0007\u001b[31m\u200b\u2028\x85end"


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_become_text(text: str) -> None:
    (row,) = csv.reader(io.StringIO(csv_text(["a"], [[text]]).partition("\n")[2]))
    assert row[0].startswith("'")


@pytest.mark.parametrize("value", [-1.5, 3, "-1.5", "+2e3", "plain", "", None, True, "a=b", "a-b"])
def test_numbers_and_plain_texts_stay(value: object) -> None:
    (row,) = csv.reader(io.StringIO(csv_text(["a", "b"], [[value, "x"]]).partition("\n")[2]))
    assert row[0] == ("" if value is None else str(value))


@given(st.text())
def test_no_hidden_character_passes(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(c) for c in shown if c not in "\n\t"} & HIDDEN
    shown.encode("utf-8")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_keeps_its_value(text: str) -> None:
    assert json.loads(visible(json.dumps([text], ensure_ascii=False))) == [text]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_export_is_free_of_both(kind: str) -> None:
    record = make_record(
        model={"name": NASTY, "pretraining": "@SUM(1)"},
        metrics={"accuracy": Measure(70.0, 10, 1.0, NASTY)},
        path=f"runs/{NASTY}/record.json",
    )
    for table in boards_of([record], ()):
        text = FORMATS[kind][1](table)
        assert not {unicodedata.category(c) for c in text if c != "\n"} & HIDDEN
        if kind == "csv":
            cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
            assert not [cell for cell in cells if cell[:1] in ("=", "@")]
    frame, refused = suite_frame([record])
    text = suite_markdown(frame, refused)
    assert not {unicodedata.category(c) for c in text if c != "\n"} & HIDDEN
