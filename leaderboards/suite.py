"""The table at the end of a suite of runs: one row per record, its headline, what it must beat."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.record import ResultRecord
from leaderboards.aggregate import Refusal, long_table
from leaderboards.export import escape_markdown
from leaderboards.plain_text import csv_text, visible
from x2vlm.writing import write_atomically

COLUMNS = ("benchmark", "split", "metric", "value", "n", "standard_error", "chance", "floor",
           "floor_met", "protocol", "model", "seed", "flags")  # fmt: skip


def suite_frame(
    records: Sequence[ResultRecord], allow: Collection[str] = ()
) -> tuple[pd.DataFrame, tuple[Refusal, ...]]:
    """The headline of every admitted record (columns COLUMNS), and the refused ones."""
    long = long_table(records, allow)
    rows = long.rows[long.rows["headline"].astype(bool)].copy()
    rows["flags"] = [" ".join(flags) for flags in rows["flags"]]
    return rows[list(COLUMNS)].reset_index(drop=True), long.refused


def suite_markdown(frame: pd.DataFrame, refused: Sequence[Refusal] = ()) -> str:
    """Markdown with one row per benchmark; a missed floor is in bold and counted below."""
    lines = ["| " + " | ".join(COLUMNS).replace("_", " ") + " |"]
    numbers = {"value", "n", "standard_error", "chance", "floor", "seed"}
    lines.append("|" + "".join(" --: |" if name in numbers else " :-- |" for name in COLUMNS))
    for row in frame.to_dict("records"):
        texts = [_text(str(name), value) for name, value in row.items()]
        lines.append("| " + " | ".join(texts) + " |")
    missed = [name for name, met in zip(frame["benchmark"], frame["floor_met"], strict=True)
              if not pd.isna(met) and not met]  # fmt: skip
    expected = int(frame["floor_met"].notna().sum())
    if expected:
        lines += ["", f"{expected - len(missed)} of {expected} floors met"
                  + (f"; missed: {', '.join(missed)}." if missed else ".")]  # fmt: skip
    lines += [f"Refused: {escape_markdown(str(refusal))}." for refusal in refused]
    return visible("\n".join(lines) + "\n")


def suite_csv(frame: pd.DataFrame) -> str:
    """The same as CSV, with all digits."""
    known = frame.astype(object).where(frame.notna(), "")
    return csv_text(COLUMNS, known.itertuples(index=False))


def suite_table(records: Sequence[ResultRecord], folder: Path, allow: Collection[str] = ()) -> str:
    """Write suite.md and suite.csv into `folder`; return the Markdown and where they are."""
    frame, refused = suite_frame(records, allow)
    text = suite_markdown(frame, refused)
    paths = (folder / "suite.md", folder / "suite.csv")
    write_atomically(paths[0], text)
    write_atomically(paths[1], suite_csv(frame))
    return f"{text}\nwritten: {paths[0]}, {paths[1]}\n"


def _text(name: str, value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    if name == "floor_met":
        return "yes" if value else "**no**"
    return f"{value:.2f}" if isinstance(value, float) else escape_markdown(str(value))
