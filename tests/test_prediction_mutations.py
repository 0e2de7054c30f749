"""Prediction files, changed at random: scored equal, refused with file and row, or noted.

Every kind of task has a good file. A harmless change (how the file is written) must not change the
score; a corruption must be refused by a PredictionError that names the file, or be noted.
"""

from __future__ import annotations

import json
import random
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
    SIZE,
    TASKS,
    Row,
    box_of,
    lines,
    rows_of,
    scored,
    values,
)

from x2vlm.errors import PredictionError

Spoil = Callable[[Row, random.Random], None]


def put(key: str, *found: Any) -> Spoil:
    return lambda row, rng: row.__setitem__(key, rng.choice(found))


def at(key: str, place: int, *found: Any) -> Spoil:
    return lambda row, rng: row[key].__setitem__(place, rng.choice(found))


def ranked(change: Callable[[list[Any]], Any]) -> Spoil:
    def spoil(row: Row, _: random.Random) -> None:
        (way,) = row["ranking"]
        row["ranking"][way] = change(row["ranking"][way])

    return spoil


def scaled(row: Row, _: random.Random) -> None:
    row["box"] = [v / SIZE[i % 2] for i, v in enumerate(row["box"])]


NO_TEXT = (None, 5, 1.5, True, ["red"], {"a": "b"}, "\ud800")
NO_SCORE = (None, "0.5", True, float("nan"), float("inf"), 10**400, [1])
CORRUPTIONS: list[tuple[str, str, Spoil]] = [
    *((task, "no id", put("id", None, "", True, [1], {}, "  ")) for task in ALONE),
    *((task, "another id", put("id", "nobody", "999999", "-1")) for task in TASKS),
    ("answering", "no text", put("answer", *NO_TEXT)),
    ("captioning", "no text", put("caption", *NO_TEXT)),
    ("classification", "no label", put("label", None, True, 1.5, ["red"], "\ud800")),
    ("classification", "outside the list", put("label", "purple", "re", "", 3, -1, 10**30)),
    ("classification", "scores", put("scores", [0.5], ["a", "b", "c"], [float("nan")] * 3, 5)),
    ("grounding", "no box", put("box", None, [], [1, 2, 3], [1, 2, 3, 4, 5], "1 2 3 4")),
    *(("grounding", "no number", at("box", i, *NO_SCORE)) for i in range(4)),
    ("grounding", "negative", at("box", 2, -5, -300)),
    ("grounding", "empty", at("box", 3, 0, 0.0)),
    ("grounding", "left of the image", at("box", 0, -400, -1e6)),
    ("grounding", "below the image", at("box", 1, 700, 1e9)),
    ("grounding", "larger than the image", at("box", 2, 5000)),
    ("grounding", "fractions", scaled),
    ("matching", "no number", put("c1_i0", *NO_SCORE)),
    ("matching", "half of the features", put("feature_c0_i0", 0.5)),
    ("attributes", "no scores", put("scores", None, "0.5", {}, 5)),
    ("attributes", "no number", at("scores", 1, *NO_SCORE)),
    ("attributes", "number of scores", put("scores", [], [0.5], [0.5] * 4)),
    ("retrieval", "empty", ranked(lambda _: [])),
    ("retrieval", "no list", ranked(lambda _: {"a": 1})),
    ("retrieval", "twice", ranked(lambda pairs: [*pairs, pairs[0]])),
    ("retrieval", "no candidate", ranked(lambda pairs: [*pairs[:-1], ["nobody", 0.5]])),
    ("retrieval", "three", ranked(lambda pairs: [*pairs[:-1], [*pairs[-1], 1]])),
    *(
        ("retrieval", f"score {bad!r:.20}", ranked(lambda pairs, bad=bad: [[pairs[0][0], bad]]))
        for bad in NO_SCORE
    ),
    ("retrieval", "other way", put("ranking", {"video": [["a", 1]]}, {}, [])),
]


@pytest.mark.parametrize(
    ("task", "spoil"),
    [(task, spoil) for task, _, spoil in CORRUPTIONS],
    ids=[f"{task}: {what}" for task, what, _ in CORRUPTIONS],
)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_corrupted_row_is_refused_by_file_and_row(
    task: str, spoil: Spoil, data: st.DataObject
) -> None:
    rows, rng = rows_of(task), random.Random(data.draw(st.integers(0, 10**6)))
    place = data.draw(st.integers(0, len(rows) - 1))
    spoil(rows[place], rng)
    as_array = data.draw(st.booleans())
    with pytest.raises(PredictionError) as error:
        scored(task, json.dumps(rows) if as_array else lines(rows))
    text = str(error.value)
    misfit = "missing (" in text and "not in this split (" in text
    assert misfit or f"results.json:{place + 1}" in text, text


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_row_that_contradicts_another_is_refused_by_both_rows(
    task: str, data: st.DataObject
) -> None:
    rows = rows_of(task)
    half = COUNT if task == "retrieval" else len(rows)
    first, second = data.draw(st.permutations(range(half)))[:2]
    name = {"id": rows[first]["id"]}
    if task in ("answering", "classification") and len({first % 3, second % 3}) == 1:
        return  # they say the same
    if 0 in (first, second):
        return  # the first row is a wrong prediction, and may be that of another
    rows.append({**rows[second], **name})
    with pytest.raises(PredictionError, match="contradicts") as error:
        scored(task, lines(rows))
    assert f"results.json:{len(rows)}:" in str(error.value)
    assert f"results.json:{first + 1}:" in str(error.value)


@pytest.mark.parametrize("task", TASKS)
def test_a_missing_row_is_refused(task: str) -> None:
    with pytest.raises(PredictionError, match="1 missing"):
        scored(task, lines(rows_of(task)[1:]))


CONVENTIONS: dict[str, Callable[[float, float, float, float], list[float]]] = {
    "corners [": lambda x, y, w, h: [x, y, x + w, y + h],
    "centres": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    "fractions": lambda x, y, w, h: [x / 640, y / 480, w / 640, h / 480],
    "thousandths [x1": lambda x, y, w, h: [
        x * 1000 / 640,
        y * 1000 / 480,
        (x + w) * 1000 / 640,
        (y + h) * 1000 / 480,
    ],
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_boxes_in_another_convention_are_refused_and_it_is_named(convention: str) -> None:
    rows = [{"id": name, "box": CONVENTIONS[convention](*box_of(i))} for i, name in enumerate(IDS)]
    with pytest.raises(PredictionError, match=r"results\.json:\d") as error:
        scored("grounding", lines(rows))
    assert convention in str(error.value)


@pytest.mark.parametrize(("task", "id_name", "value_name"), ALIASES)
def test_two_names_with_different_values_are_refused(
    task: str, id_name: str, value_name: str
) -> None:
    others = {
        "answering": "response",
        "classification": "pred_label",
        "captioning": "generated_caption",
        "grounding": "prediction",
        "attributes": "probs",
    }
    other = others[task]
    rows = [dict(zip((id_name, value_name), row.values(), strict=True)) for row in rows_of(task)]
    same = [row | {other: row[value_name]} for row in rows]
    assert values(scored(task, lines(same))) == values(scored(task, lines(rows_of(task))))
    same[3][other] = "another"
    with pytest.raises(PredictionError, match=r"results\.json:4: both") as error:
        scored(task, lines(same))
    assert repr(other) in str(error.value)
    assert repr(value_name) in str(error.value)


def test_two_ids_that_both_fit_are_refused() -> None:
    shifted = zip(rows_of("captioning"), [*IDS[1:], IDS[0]], strict=True)
    rows = [
        {"image_id": row["id"], "id": other, "caption": row["caption"]} for row, other in shifted
    ]
    with pytest.raises(PredictionError, match=r"results\.json:1: both 'id'.*and 'image_id'"):
        scored("captioning", json.dumps(rows))
    numbered = [row | {"id": 7 + place} for place, row in enumerate(rows)]
    found = scored("captioning", json.dumps(numbered))
    assert values(found) == values(scored("captioning", lines(rows_of("captioning"))))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_bytes_end_in_a_score_or_a_named_error(data: st.DataObject) -> None:
    """0 tracebacks: cut, doubled and overwritten stretches of good files."""
    task = data.draw(st.sampled_from(TASKS))
    good = lines(rows_of(task)).encode()
    if data.draw(st.booleans()):
        good = json.dumps(rows_of(task)).encode()
    first = data.draw(st.integers(0, len(good)))
    last = data.draw(st.integers(first, min(len(good), first + 40)))
    content = good[:first] + data.draw(st.binary(max_size=12)) + good[last:]
    try:
        outcome = f"{scored(task, content).n} rows of results.json"
    except PredictionError as error:
        outcome = str(error)
    assert "results.json" in outcome
