"""Prediction files, changed at random: scored equal, refused with file and row, or noted.

Every kind of task has a good file. A harmless change (how the file is written) must not change the
score; a corruption must be refused by a PredictionError that names the file, or be noted.
"""

from __future__ import annotations

import csv
import io
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files
from benchmarks.metrics import answers, attributes, boxes, labels, retrieval, winoground
from benchmarks.metrics.stats import Measure, Scores
from benchmarks.score import ScoredFile, score_file
from x2vlm.errors import PredictionError
from x2vlm.types import Media, Record

Row = dict[str, Any]
COUNT = 8
WORDS = ("red", "blue", "green")
IDS = [str(1000 + 37 * i) for i in range(COUNT)]
TEXTS = [f"{name}#{k}" for name in IDS for k in (0, 1)]
SIZE = [640, 480]


def caption_stand_in(records: Any, rows: Any, **_: Any) -> Scores:
    """Java takes seconds; the mutations are about reading."""
    share = sum(row["caption"] in record.texts for record, row in zip(records, rows, strict=True))
    return {"cider": Measure(share / len(records), len(records))}


def box_of(i: int) -> list[float]:
    return [300 + 20 * i, 210.5 + 15 * i, 60 + 7 * i, 50 + 5 * i]


def target_of(task: str, i: int) -> dict[str, Any]:
    targets: dict[str, dict[str, Any]] = {
        "answering": {"annotators": [WORDS[i % 3]]},
        "classification": {"label": i % 3},
        "grounding": {"box": box_of(i), "size": SIZE},
        "retrieval": {"text_ids": TEXTS[2 * i : 2 * i + 2]},
        "attributes": {"labels": [1, 0, i % 2], "box": box_of(i)},
    }
    return targets.get(task, {})


def records_of(task: str) -> list[Record]:
    return [
        Record(
            name,
            (Media(f"/data/val2014/COCO_val2014_{int(name):012d}.jpg"),),
            (f"a {WORDS[i % 3]} thing, {i}", "it"),
            target_of(task, i),
        )
        for i, name in enumerate(IDS)
    ]


def values_of(task: str, i: int) -> Row:
    made: dict[str, Row] = {
        "answering": {"answer": WORDS[i % 3] if i else "blue"},
        "classification": {"label": WORDS[i % 3] if i else "blue"},
        "grounding": {"box": [*(v + (0 if i else 90) for v in box_of(i)[:2]), *box_of(i)[2:]]},
        "captioning": {"caption": f"a {WORDS[i % 3]} thing, {i}" if i else "nothing"},
        "matching": dict(zip(winoground.PAIRS, [2.0 + i, 0.5, 0.25, 2.0], strict=True)),
        "attributes": {"scores": [0.5 + i / 10, 0.25, i % 2 - 0.125 * i]},
    }
    return made[task]


def rows_of(task: str) -> list[Row]:
    if task != "retrieval":
        return [{"id": name, **values_of(task, i)} for i, name in enumerate(IDS)]
    rng = random.Random(0)
    images = [[[text, rng.random()] for text in TEXTS] for _ in IDS]
    texts = [[[name, rng.random()] for name in IDS] for _ in TEXTS]
    return [
        *({"id": name, "ranking": {"text": r}} for name, r in zip(IDS, images, strict=True)),
        *({"id": name, "ranking": {"image": r}} for name, r in zip(TEXTS, texts, strict=True)),
    ]


SCORERS: dict[str, tuple[Any, str]] = {
    "answering": (answers.score_exact, "accuracy"),
    "classification": (labels.score, "accuracy"),
    "grounding": (boxes.score, "accuracy"),
    "captioning": (caption_stand_in, "cider"),
    "matching": (winoground.score, "group"),
    "attributes": (attributes.score, "map"),
    "retrieval": (retrieval.score, "mean_recall"),
}
TASKS = tuple(SCORERS)
ALONE = tuple(task for task in TASKS if task != "retrieval")
IMAGES = ("captioning", "retrieval")


def scored(task: str, content: str | bytes, name: str = "results.json") -> ScoredFile:
    """The score of a file, and its notes."""
    score, headline = SCORERS[task]
    benchmark = Benchmark(
        "given", task, "", lambda *_: records_of(task), score, headline,  # type: ignore[arg-type]
        {"test": Split("test")}, labels=lambda _: WORDS,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path, files = Path(folder) / name, Files(Path(folder))
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        found = score_file(benchmark, "test", path, files)
        NOTES[:] = [*files.notes, *(m.note for m in found.scores.values() if m.note)]
        return found


NOTES: list[str] = []
"""of the last `scored`"""


def values(found: ScoredFile) -> dict[str, float | None]:
    return {name: measure.value for name, measure in found.scores.items()}


def lines(rows: list[Row], end: str = "\n") -> str:
    return "".join(json.dumps(row) + end for row in rows)


# -- harmless: how the same predictions may be written ---------------------------------------


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
ALIASES = [
    ("answering", "question_id", "prediction"), ("answering", "qid", "pred_ans"),
    ("answering", "questionId", "text"), ("answering", "id", "prediction"),
    ("classification", "question_id", "pred"), ("classification", "identifier", "prediction"),
    ("captioning", "image_id", "pred_caption"), ("captioning", "img_id", "caption"),
    ("captioning", "file_name", "caption"), ("captioning", "image", "text"),
    ("grounding", "sent_id", "bbox"), ("grounding", "id", "pred_box"),
    ("attributes", "ann_id", "logits"),
]  # fmt: skip


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
    assert any("8 ids are spelt otherwise" in note and "'coco_1000' is '1000'" in note
               for note in NOTES)  # fmt: skip


@pytest.mark.parametrize(("task", "id_name", "value_name"), ALIASES)
def test_other_names_of_fields_are_read_and_noted(task: str, id_name: str, value_name: str) -> None:
    rows = [dict(zip((id_name, value_name), row.values(), strict=True)) for row in rows_of(task)]
    expected = values(scored(task, lines(rows_of(task))))
    found = scored(task, json.dumps(rows))
    assert values(found) == expected
    if found.format == "aliases":
        assert any(repr(id_name) in note and repr(value_name) in note for note in NOTES)


# -- corruptions: refused with file and row, or noted ----------------------------------------

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
        ("retrieval", f"score {bad!r:.20}", ranked(lambda pairs, bad=bad: [[pairs[0][0], bad]]))  # type: ignore[misc]
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
        x * 1000 / 640, y * 1000 / 480, (x + w) * 1000 / 640, (y + h) * 1000 / 480,
    ],
}  # fmt: skip


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


# -- notes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "value", "note"),
    [
        ("answering", {"answer": "red"}, "all 8 predictions are the same answer: 'red'"),
        ("answering", {"answer": "RED "}, "2 answers would be right but for case"),
        ("answering", {"answer": "zzz"}, "8 of 8 answers are the right one of no question"),
        ("answering", {"answer": " "}, "8 answers are empty"),
        ("classification", {"label": "red"}, "all 8 predictions are the same label"),
        ("captioning", {"caption": "a dog"}, "all 8 predictions are the same caption"),
        ("captioning", {"caption": ""}, "8 captions are empty"),
        ("grounding", {"box": [-9, 5, 60, 60]}, "8 of 8 boxes reach beyond their image"),
        ("matching", dict.fromkeys(winoground.PAIRS, 0.5), "the four scores of each"),
        ("attributes", {"scores": [0.5] * 3}, "all 8 predictions are the same scores"),
    ],
)
def test_what_a_score_cannot_mean_is_noted(task: str, value: Row, note: str) -> None:
    scored(task, lines([row | value for row in rows_of(task)]))
    if note.startswith("2 answers"):
        note = f"{sum(i % 3 == 0 for i in range(COUNT))} answers{note[9:]}"
    assert any(note in found for found in NOTES), NOTES


def test_hits_among_few_candidates_and_ties_are_noted() -> None:
    rows = rows_of("retrieval")
    found = scored("retrieval", lines(rows))
    assert (
        found.scores["image_r10"].note == "only 8 candidates: any ranking of all of them is right"
    )
    assert found.scores["text_r10"].note == ""  # 16 texts
    for row in rows:
        for pairs in row["ranking"].values():
            pairs[:] = [[name, 0.5] for name, _ in pairs]
    scored("retrieval", lines(rows))
    assert any("each of the 24 queries ties" in note for note in NOTES)
