"""The same predictions, however they are written, have the same score."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_files import (
    ALIASES,
    ALONE,
    COUNT,
    IDS,
    NOTES,
    TASKS,
    Row,
    lines,
    rows_of,
    scored,
    values,
)


def table(rows: list[Row], separator: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator)
    writer.writerow(rows[0])
    writer.writerows(
        [v if isinstance(v, str) else json.dumps(v) for v in row.values()] for row in rows
    )
    return out.getvalue()


WRITINGS: dict[str, Callable[[list[Row]], str]] = {
    "json lines": lines,
    "array": json.dumps,
    "indented array": lambda rows: json.dumps(rows, indent=1),
    "results": lambda rows: json.dumps({"info": {"by": "us"}, "results": rows}),
    "annotations": lambda rows: json.dumps({"annotations": rows}),
    "predictions by any name": lambda rows: json.dumps({"ours": rows, "n": len(rows)}),
    "blank lines": lambda rows: "\n\n" + lines(rows, "\n \n\n"),
    "crlf": lambda rows: lines(rows, "\r\n"),
    "no last line end": lambda rows: lines(rows).rstrip("\n"),
    "byte order mark": lambda rows: "\ufeff" + lines(rows),
    "repeated rows": lambda rows: lines([*rows, *rows[:3]]),
    "more fields": lambda rows: lines([{**row, "model": "x", "question": "?"} for row in rows]),
}
BY_ID: dict[str, Callable[[list[Row]], str]] = {
    "object by id": lambda rows: json.dumps(
        {row["id"]: {k: v for k, v in row.items() if k != "id"} for row in rows}
    ),
    "comma": lambda rows: table(rows, ","),
    "semicolon": lambda rows: table(rows, ";"),
    "tab": lambda rows: table(rows, "\t"),
    "bar": lambda rows: table(rows, "|"),
}
SPELT: dict[str, Callable[[str], Any]] = {
    "number": int,
    "float": float,
    "padded": lambda name: name.zfill(12),
    "coco": lambda name: f"COCO_val2014_{int(name):012d}",
    "file": lambda name: f"COCO_val2014_{int(name):012d}.jpg",
    "folder": lambda name: f"val2014/COCO_val2014_{int(name):012d}.jpg",
    "lavis": lambda name: f"coco_{name}",
    "numpy": lambda name: f"np.int64({name})",
    "tensor": lambda name: f"tensor({name})",
}


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_same_predictions_however_written_have_the_same_score(
    task: str, data: st.DataObject
) -> None:
    rows = data.draw(st.permutations(rows_of(task)))
    write = data.draw(st.sampled_from([*WRITINGS, *(BY_ID if task in ALONE else ())]))
    name = data.draw(st.sampled_from(["r.json", "r.jsonl", "r.csv", "r"]))
    found = scored(task, {**WRITINGS, **BY_ID}[write](rows), name)
    assert values(found) == values(scored(task, lines(rows_of(task))))
    assert found.n == COUNT


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("spelling", SPELT)
def test_ids_are_matched_however_spelt(task: str, spelling: str) -> None:
    spell = SPELT[spelling]
    rows = rows_of(task)
    if task == "retrieval":  # images as queries, and as candidates of texts
        for row in rows:
            for pairs in row["ranking"].get("image", ()):
                pairs[0] = str(spell(pairs[0]))
    written = [row | {"id": spell(row["id"]) if row["id"] in IDS else row["id"]} for row in rows]
    if task == "retrieval" and spelling == "float":
        return  # our own rankings have texts or whole numbers as ids
    found = scored(task, lines(written))
    assert values(found) == values(scored(task, lines(rows)))


def test_an_odd_spelling_is_noted() -> None:
    rows = [row | {"id": f"coco_{row['id']}"} for row in rows_of("captioning")]
    scored("captioning", lines(rows))
    assert any(
        "8 ids are spelt otherwise" in note and "'coco_1000' is '1000'" in note for note in NOTES
    )


@pytest.mark.parametrize(("task", "id_name", "value_name"), ALIASES)
def test_other_names_of_fields_are_read_and_noted(task: str, id_name: str, value_name: str) -> None:
    rows = [dict(zip((id_name, value_name), row.values(), strict=True)) for row in rows_of(task)]
    expected = values(scored(task, lines(rows_of(task))))
    found = scored(task, json.dumps(rows))
    assert values(found) == expected
    if found.format == "aliases":
        assert any(repr(id_name) in note and repr(value_name) in note for note in NOTES)
