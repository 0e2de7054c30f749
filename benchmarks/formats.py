"""Result files of others, recognised by content, as our predictions. Ids are compared as strings.

    vqa            VQA / EvalAI results      [{"question_id", "answer"}, …]
    gqa            GQA and IGLUE dumps       [{"questionId", "prediction"}, …]
    coco_captions  COCO and NoCaps results   [{"image_id", "caption"}, …]
    x2vlm_boxes    X²-VLM grounding results  [{"ref_id", "pred": (cx, cy, w, h) in 0..1}, …]
    nlvr2          official CSV              identifier,True|False
    winoground     per-example scores        {"label": "ID_c0_i0", "score"} per line
    iglue_lists    image retrieval           [[image number, …] per text], the best first
    predictions    ours                      {"id", …} per line
    aliases        other names of the same   see `benchmarks.aliases`

Each may come as a JSON array, JSON lines, a JSON object by id or with the rows inside, or a table
(`benchmarks.carriers`), and with ids as neighbours spell them (`benchmarks.id_spellings`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.aliases import IDS, WINOGROUND, Fields, choose, names_of, value_reader
from benchmarks.carriers import Carried, read_carried
from benchmarks.id_spellings import IdSpellings, spellings_of, text_of
from benchmarks.metrics.retrieval import Ranking, query_targets
from benchmarks.metrics.winoground import PAIRS
from benchmarks.prediction_kinds import VALUES, check
from benchmarks.predictions import Extra, MisfitError, stream
from benchmarks.referred_boxes import are_fractions, by_reference
from benchmarks.sourced import SourcedPrediction, replaced, where
from x2vlm import plain
from x2vlm.errors import PredictionError
from x2vlm.types import Prediction, Record

FORMATS = (
    "vqa",
    "gqa",
    "coco_captions",
    "x2vlm_boxes",
    "nlvr2",
    "winoground",
    "iglue_lists",
    "predictions",
    "aliases",
)


@dataclass(frozen=True)
class Loaded:
    """format: one of FORMATS. predictions: unjoined, to be walked once: rankings are read as they
    are asked for. extra: what join does with other ids; IGLUE's dumps hold the whole of GQA testdev
    while its score leaves out the few-shot questions, and X²-VLM's boxes are of testA and testB.
    notes: how the file was read, complete when the predictions were walked."""

    format: str
    predictions: Iterable[Prediction]
    extra: Extra = "raise"
    notes: list[str] = field(default_factory=list)


def load(path: Path, task: str, records: Sequence[Record]) -> Loaded:
    """Read any of FORMATS. records: of one language when the file's ids carry none.

    Raises PredictionError naming the file (and row) when it is none of them or malformed.
    """
    notes: list[str] = []
    if task == "retrieval" and _is_stream(path):
        return Loaded("predictions", _ranked(stream(path, task), records, notes), notes=notes)
    carried = read_carried(path, names_of(task))
    first = carried.values[0] if carried.values else None
    if carried.carrier == "table" and not carried.head:
        return _found("nlvr2", task, _nlvr2(carried), records)
    if isinstance(first, list) and first and all(type(item) is int for item in first):
        return Loaded("iglue_lists", _iglue_lists(path, carried, records))
    if not isinstance(first, dict):
        raise PredictionError(
            f"{path}: not a predictions file that is known here; its first row is "
            f"{json.dumps(first)[:120]}\n"
            "  expected: objects with an id and a prediction, lists of image numbers, or a table"
        )
    if task == "matching" and set(WINOGROUND) <= set(first):
        return _found("winoground", task, _winoground(carried, notes), records, notes=notes)
    return _objects(task, carried, records)


def _is_stream(path: Path) -> bool:
    """Whether this is JSON lines of our own, to be read one at a time: rankings may be huge."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = next((line for line in iter(file.readline, "") if line.strip()), "")
        row = plain.loads(first)
    except (OSError, ValueError):
        return False  # `read_carried` says what is wrong
    return isinstance(row, dict) and {"id", "ranking"} <= set(row)


def _objects(task: str, carried: Carried, records: Sequence[Record]) -> Loaded:
    ids = spellings_of(task, records)
    for value, source in zip(carried.values, carried.sources, strict=True):
        if not isinstance(value, dict):
            raise PredictionError(
                f"{source}: {json.dumps(value)[:120]}\n  expected: an object, as in the first row"
            )
    fields = choose(task, carried, ids)
    rows = list(_renamed(task, carried, fields))
    notes = [text for text in [fields.note(task)] if text]
    if task == "retrieval":
        return Loaded(
            fields.format(task), _ranked(map(_packed, rows), records, notes), "raise", notes
        )
    name = fields.format(task)
    if fields.id == "ref_id":
        fractions = fields.value == "pred" and are_fractions(rows)
        found = by_reference(rows, records, fractions=fractions, note=notes.append)
        return Loaded(name, found, "ignore", notes)
    extra: Extra = "ignore" if name == "gqa" else "raise"
    return _found(name, task, rows, records, extra, notes, ids)


def _renamed(task: str, carried: Carried, fields: Fields) -> Iterator[SourcedPrediction]:
    """Rows under our own names, each checked. Of rows of ours all other fields are kept, too."""
    ours = fields.format(task) == "predictions"
    read_value = value_reader(task, carried, fields) if fields.value else None
    for row, source in zip(carried.values, carried.sources, strict=True):
        id_ = text_of(row.get(fields.id))
        if id_ is None:
            raise PredictionError(
                f"{source}: no {task} prediction: {fields.id!r} is {row.get(fields.id)!r} "
                f"(fields: {', '.join(map(str, row))})\n"
                f"  expected: {fields.id!r} is a text or a whole number in every row"
            )
        kept = row if ours or read_value is None else {}
        value = {VALUES[task][0]: read_value(row, source)} if read_value else {}
        if not ours and str(value.get("label")).lower() in ("true", "false"):
            value["label"] = str(value["label"]).capitalize()
        if carried.carrier == "table" and read_value is None:
            value = {name: _number(row[name]) for name in VALUES[task] if name in row}
        yield SourcedPrediction(check(task, {**kept, **value, "id": id_}, source), source)


def _number(cell: str) -> Any:
    try:
        return plain.loads(cell, finite=False)
    except ValueError:
        return cell


def _found(
    name: str,
    task: str,
    rows: Iterable[SourcedPrediction],
    records: Sequence[Record],
    extra: Extra = "raise",
    notes: list[str] | None = None,
    ids: IdSpellings | None = None,
) -> Loaded:
    """Rows under the ids of the records."""
    ids = ids or spellings_of(task, records)
    ids.respelt.clear()  # what `choose` looked up
    checked = [SourcedPrediction(check(task, row, row.source), row.source) for row in rows]
    found = [replaced(row, id=ids.name(row["id"])) for row in checked]
    notes = notes if notes is not None else []
    notes += [text for text in [ids.note()] if text]
    return Loaded(name, found, extra, notes)


def _packed(row: SourcedPrediction) -> Prediction:
    return replaced(row, ranking={way: Ranking(pairs) for way, pairs in row["ranking"].items()})


def _ranked(
    rows: Iterable[Prediction], records: Sequence[Record], notes: list[str]
) -> Iterator[Prediction]:
    """Rankings under the ids of the records, queries and candidates alike."""
    images = spellings_of("retrieval", records)
    texts = IdSpellings(query_targets(records, "image"))
    sides = {"text": (images, texts), "image": (texts, images)}
    for row in rows:
        queries = [sides[way][0].find(row["id"]) for way in row["ranking"]]
        ranking = {way: _respelt(pairs, sides[way][1]) for way, pairs in row["ranking"].items()}
        yield replaced(row, id=queries[0] or row["id"], ranking=ranking)
    notes += [text for side in (images, texts) if (text := side.note())]


def _respelt(ranking: Ranking, candidates: IdSpellings) -> Ranking:
    if not candidates.ids.issuperset(ranking.ids):
        ranking.ids = tuple(candidates.find(name) or name for name in ranking.ids)
    return ranking


def _winoground(carried: Carried, notes: list[str]) -> list[SourcedPrediction]:
    found: dict[str, SourcedPrediction] = {}
    repeated = 0
    for row, source in zip(carried.values, carried.sources, strict=True):
        label = row.get("label") if isinstance(row, dict) else None
        if not isinstance(label, str) or "score" not in row:
            raise PredictionError(
                f"{source}: expected an object with 'label' and 'score', "
                f"found {json.dumps(row)[:120]}"
            )
        name, _, pair = label.rpartition("_c")
        pair = f"c{pair}"
        if pair not in PAIRS:
            raise PredictionError(f"{source}: label {label!r}, expected ID_c0_i0 and so on")
        example = found.setdefault(name, SourcedPrediction({"id": name}, source))
        score = _number(row["score"]) if isinstance(row["score"], str) else row["score"]
        repeated += pair in example
        if example.setdefault(pair, score) != score:
            raise PredictionError(
                f"{source}: label {label!r} occurs twice (of {where(example)}), with two scores"
            )
    if repeated:
        notes.append(f"{repeated} scores repeat an earlier one of their pair and were dropped")
    return list(found.values())


def _nlvr2(carried: Carried) -> list[SourcedPrediction]:
    found: list[SourcedPrediction] = []
    for row, source in zip(carried.values, carried.sources, strict=True):
        if len(row) != 2 or row[1].lower() not in ("true", "false"):
            raise PredictionError(
                f"{source}: {','.join(row)[:120]!r}\n"
                "  expected: identifier,True or identifier,False (NLVR2), JSON, or a table with "
                f"the names of its columns first, such as {IDS['answering'][1]},answer"
            )
        found.append(SourcedPrediction({"id": row[0], "label": row[1].capitalize()}, source))
    return found


def _iglue_lists(path: Path, carried: Carried, records: Sequence[Record]) -> list[Prediction]:
    """Query i is the i-th text; the numbers count the records (one per image) from 0."""
    texts = [str(text) for record in records for text in record.target["text_ids"]]
    if len(carried.values) != len(texts):
        raise MisfitError(
            f"{path}: {len(carried.values)} lists for {len(texts)} texts; score the whole split, "
            "one language (languages=de, or {language} in the file's name)"
        )
    found: list[Prediction] = []
    for text, row, source in zip(texts, carried.values, carried.sources, strict=True):
        if (
            not isinstance(row, list)
            or not row
            or not all(type(i) is int and 0 <= i < len(records) for i in row)
            or len(set(row)) < len(row)
        ):
            raise PredictionError(
                f"{source}: expected different image numbers from 0 to {len(records) - 1}, "
                f"found {json.dumps(row)[:120]}"
            )
        pairs = [[records[i].id, float(-place)] for place, i in enumerate(row)]
        found.append(SourcedPrediction({"id": text, "ranking": {"image": pairs}}, source))
    return found
