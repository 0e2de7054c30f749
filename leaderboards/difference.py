"""Ours minus what a paper printed: with an interval, a verdict, and why the verdict is no other.

The paper's number is a point: its own error is unknown, so the interval is that of our value. The
tolerance per benchmark and its reason are `published/tolerances.json`, in the metric's own unit.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from leaderboards.board import OLDER, BoardTable, Cell, Column
from leaderboards.export import escape_markdown
from leaderboards.plain_text import visible
from leaderboards.published import FOLDER, Number, reference

Verdict = Literal["reproduced", "above", "below", "undecided", "not comparable"]
Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Difference:
    """value: ours - published, in the metric's unit; low, high: its 95 % interval (None without a
    standard error). reproduced: within the tolerance; above, below: outside it, and the interval
    (if there is one) leaves out zero; undecided: outside it, but the interval holds zero."""

    column: Column
    model: str
    pretraining: str
    ours: Cell
    published: Number
    value: float | None
    low: float | None
    high: float | None
    tolerance: float
    verdict: Verdict
    why: str


@functools.cache
def tolerances() -> dict[str, dict[str, Any]]:
    """benchmark -> {"tolerance", "why"} and "phantom" where the official code counts too little."""
    found: dict[str, dict[str, Any]] = json.loads(
        (FOLDER / "tolerances.json").read_text(encoding="utf-8")
    )
    return found


def difference(
    column: Column,
    ours: Cell,
    published: Number,
    model: str = "",
    pretraining: str = "",
    tolerance: Mapping[str, Any] | None = None,
) -> Difference:
    """Compare one of our cells with one published number of the same benchmark and metric."""
    rule = tolerance or tolerances().get(column.benchmark) or tolerances()["default"]
    limit = float(rule["tolerance"])
    value = low = high = None
    if ours.value is not None and published.value is not None:
        value = ours.value - published.value
        if ours.error is not None:
            low, high = value - Z95 * ours.error, value + Z95 * ours.error
    reasons = _reasons(column, ours, published)
    if value is None or reasons:
        verdict: Verdict = "not comparable"
        why = "; ".join(reasons)
    else:
        verdict, why = _verdict(value, low, high, column, rule)
    return Difference(
        column, model, pretraining, ours, published, value, low, high, limit, verdict, why
    )


def _reasons(column: Column, ours: Cell, published: Number) -> list[str]:
    """Why the two numbers do not measure the same thing."""
    reasons = []
    if column.suite != "official":
        reasons.append(f"measured on the {column.suite} suite, not on the official files")
    for name in ("benchmark", "split", "metric", "protocol"):
        mine, theirs = getattr(column, name), getattr(published, name)
        if mine != theirs:
            reasons.append(f"other {name}: ours {mine}, published {theirs}")
    reasons += [f"our record is {flag}" for flag in ours.flags if flag != "dirty"]
    if ours.state == OLDER:
        reasons.append("ours was measured by an older version of the benchmark")
    if ours.value is None:
        reasons.append("ours is undefined")
    if published.value is None:
        reasons.append("the published number is a misprint")
    if published.state == "memory":
        reasons.append("the published number has no source")
    return reasons


def _verdict(
    value: float, low: float | None, high: float | None, column: Column, rule: Mapping[str, Any]
) -> tuple[Verdict, str]:
    limit, why = float(rule["tolerance"]) + 1e-9, str(rule["why"])  # 86.6 - 86.1 > 0.5 in floats
    allowed = f"tolerance {limit * column.scale:g}: {why}"
    if abs(value) <= limit:
        return "reproduced", allowed
    if low is not None and high is not None and low <= 0 <= high:
        return "undecided", f"beyond the {allowed}; but the 95 % interval holds zero"
    better = (value > 0) == column.higher_is_better
    phantom = float(rule.get("phantom", 0.0))
    if better and abs(value) - phantom <= limit:
        return "not comparable", (
            "the official evaluation counts one sample too many and wrong per process, "
            f"which may explain {phantom:g} of it"
        )
    bare = "; without a standard error, so without an interval" if low is None else ""
    return ("above" if value > 0 else "below"), f"beyond the {allowed}{bare}"


def differences(table: BoardTable, among: Sequence[Number] | None = None) -> list[Difference]:
    """All cells of ours that have a number of the paper, in the order of the table."""
    found = []
    for row in table.rows:
        for column in table.columns:
            cell = row.cells.get(column)
            if row.kind == "ours" and cell is not None:
                number = reference(column, row.model, row.pretraining, among)
                if number is not None:
                    found.append(difference(column, cell, number, row.model, row.pretraining))
    return found


def differences_of(
    tables: Iterable[BoardTable], among: Sequence[Number] | None = None
) -> list[Difference]:
    """The differences of several boards in their order; a score that stands on two comes once."""
    found: dict[tuple[Column, str, str], Difference] = {}
    for table in tables:
        for one in differences(table, among):
            found.setdefault((one.column, one.model, one.pretraining), one)
    return list(found.values())


def to_markdown(found: Sequence[Difference]) -> str:
    """One row per difference, with the reason of the verdict."""
    heads = ("benchmark", "split", "metric", "protocol", "model", "ours", "published", "state",
             "difference", "95 % interval", "verdict", "why")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + " :-- |" * len(heads)]
    for one in found:
        scale = one.column.scale
        texts = [one.column.benchmark, one.column.split, one.column.metric, one.column.protocol,
                 f"{one.model} {one.pretraining}".strip(), _number(one.ours.value, scale),
                 one.published.printed, one.published.state, _signed(one.value, scale),
                 interval_text(one), one.verdict, one.why]  # fmt: skip
        lines.append("| " + " | ".join(map(escape_markdown, texts)) + " |")
    return visible("\n".join(lines) + "\n")


def interval_text(one: Difference) -> str:
    """The interval as papers' units, "" without one."""
    if one.low is None or one.high is None:
        return ""
    return f"{one.low * one.column.scale:+.2f} to {one.high * one.column.scale:+.2f}"


def _number(value: float | None, scale: float) -> str:
    return "" if value is None else f"{scale * value:.2f}"


def _signed(value: float | None, scale: float) -> str:
    return "" if value is None else f"{scale * value:+.2f}"
