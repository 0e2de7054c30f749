"""Official result files, recognised by content, as our predictions. Ids are compared as strings.

    vqa            VQA / EvalAI results      [{"question_id", "answer"}, …]
    gqa            GQA and IGLUE dumps       [{"questionId", "prediction"}, …]
    coco_captions  COCO and NoCaps results   [{"image_id", "caption"}, …]
    nlvr2          official CSV              identifier,True|False
    winoground     per-example scores        {"label": "ID_c0_i0", "score"} per line
    iglue_lists    image retrieval           [[image number, …] per text], the best first
    predictions    ours                      {"id", …} per line

A JSON array and JSON lines are both read, whatever the format.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.metrics.winoground import PAIRS
from benchmarks.predictions import Extra, check, stream
from x2vlm.errors import PredictionError
from x2vlm.types import Prediction, Record

FORMATS = ("vqa", "gqa", "coco_captions", "nlvr2", "winoground", "iglue_lists", "predictions")


@dataclass(frozen=True)
class Loaded:
    """format: one of FORMATS. predictions: unjoined, to be walked once: our own rows are read as
    they are asked for. extra: what join does with other ids; IGLUE's dumps hold the whole of GQA
    testdev while its score leaves out the few-shot questions."""

    format: str
    predictions: Iterable[Prediction]
    extra: Extra = "raise"


def load(path: Path, task: str, records: Sequence[Record]) -> Loaded:
    """Read any of FORMATS. records: of one language when the file's ids carry none.

    Raises PredictionError naming the file (and row) when it is none of them or malformed.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.read(4096).lstrip()
    except OSError as error:
        raise PredictionError(
            f"{path}: cannot be read ({error.strerror})\n  to do: name a predictions file"
        ) from error
    except UnicodeDecodeError as error:
        raise PredictionError(f"{path}: not readable as UTF-8 text ({error})") from error
    if not head:
        raise PredictionError(f"{path}: the file is empty; predict again")
    if head[0] not in "[{":
        return Loaded("nlvr2", _checked(path, task, _nlvr2(path), records))
    if head[0] == "{" and re.search(r'"id"\s*:', head.partition("\n")[0]):
        return Loaded("predictions", stream(path, task))
    rows = _json_rows(path)
    name = _recognise(path, rows)
    if name == "iglue_lists":
        return Loaded(name, _checked(path, task, _iglue_lists(path, rows, records), records))
    converted = _CONVERT[name](path, task, rows)
    extra: Extra = "ignore" if name == "gqa" else "raise"
    return Loaded(name, _checked(path, task, converted, records), extra)


def _json_rows(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        if text.lstrip().startswith("["):
            rows: list[Any] = json.loads(text)
            return rows
    except (ValueError, RecursionError) as error:
        raise PredictionError(f"{path}: not complete JSON ({error}); fetch it again") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                found.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise PredictionError(f"{path}:{number}: not a line of JSON ({error})") from error
    return found


_KEYS = {
    "vqa": {"question_id", "answer"},
    "gqa": {"questionId", "prediction"},
    "coco_captions": {"image_id", "caption"},
    "winoground": {"label", "score"},
    "predictions": {"id"},
}


def _recognise(path: Path, rows: Sequence[Any]) -> str:
    """The format of the first row; every row must be of it, which the conversions check."""
    first = rows[0] if rows else None
    if isinstance(first, dict):
        for name, wanted in _KEYS.items():
            if wanted <= set(first):
                return name
    if isinstance(first, list) and all(isinstance(item, int) for item in first):
        return "iglue_lists"
    known = "; ".join(f"{name}: {', '.join(sorted(keys))}" for name, keys in _KEYS.items())
    raise PredictionError(
        f"{path}: not a predictions file that is known here; its first row is "
        f"{json.dumps(first, ensure_ascii=False)[:120]}\n"
        f"  expected: rows with these keys ({known}), lists of image numbers, or NLVR2's CSV"
    )


def _pick(path: Path, rows: Sequence[Any], id_key: str, value_key: str) -> list[tuple[str, Any]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not {id_key, value_key} <= set(row):
            raise PredictionError(
                f"{path}:{number}: expected an object with {id_key!r} and {value_key!r}, "
                f"found {json.dumps(row, ensure_ascii=False)[:120]}"
            )
    return [(str(row[id_key]), row[value_key]) for row in rows]


def _answers(id_key: str, value_key: str) -> Callable[[Path, str, Sequence[Any]], list[Prediction]]:
    def convert(path: Path, task: str, rows: Sequence[Any]) -> list[Prediction]:
        field = {"classification": "label", "captioning": "caption"}.get(task, "answer")
        return [{"id": name, field: v} for name, v in _pick(path, rows, id_key, value_key)]

    return convert


def _winoground(path: Path, _: str, rows: Sequence[Any]) -> list[Prediction]:
    found: dict[str, Prediction] = {}
    for number, (label, value) in enumerate(_pick(path, rows, "label", "score"), 1):
        name, _, pair = label.rpartition("_c")
        pair = f"c{pair}"
        if pair not in PAIRS:
            raise PredictionError(f"{path}:{number}: label {label!r}, expected ID_c0_i0 and so on")
        row = found.setdefault(name, {"id": name})
        if pair in row:
            raise PredictionError(f"{path}:{number}: label {label!r} occurs twice")
        row[pair] = value
    return list(found.values())


def _nlvr2(path: Path) -> list[Prediction]:
    found: list[Prediction] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or (number == 1 and ",".join(row).lower() == "identifier,prediction"):
                continue
            if len(row) != 2 or row[1].strip().lower() not in ("true", "false"):
                raise PredictionError(
                    f"{path}:{number}: {','.join(row)[:120]!r}\n"
                    "  expected: identifier,True or identifier,False (NLVR2), or JSON"
                )
            found.append({"id": row[0].strip(), "label": row[1].strip().capitalize()})
    return found


def _iglue_lists(path: Path, rows: Sequence[Any], records: Sequence[Record]) -> list[Prediction]:
    """Query i is the i-th text; the numbers count the records (one per image) from 0."""
    texts = [str(text) for record in records for text in record.target["text_ids"]]
    if len(rows) != len(texts):
        raise PredictionError(
            f"{path}: {len(rows)} lists for {len(texts)} texts; score the whole split, one "
            "language (languages=de, or {language} in the file's name)"
        )
    found: list[Prediction] = []
    for number, (text, row) in enumerate(zip(texts, rows, strict=True), 1):
        if (
            not isinstance(row, list)
            or not row
            or not all(type(i) is int and 0 <= i < len(records) for i in row)
            or len(set(row)) < len(row)
        ):
            raise PredictionError(
                f"{path}:{number}: expected different image numbers from 0 to {len(records) - 1}, "
                f"found {json.dumps(row)[:120]}"
            )
        pairs = [[records[i].id, float(-place)] for place, i in enumerate(row)]
        found.append({"id": text, "ranking": {"image": pairs}})
    return found


def _ours(_: Path, __: str, rows: Sequence[Any]) -> list[Prediction]:
    return list(rows)


_CONVERT: Mapping[str, Callable[[Path, str, Sequence[Any]], list[Prediction]]] = {
    "vqa": _answers("question_id", "answer"),
    "gqa": _answers("questionId", "prediction"),
    "coco_captions": _answers("image_id", "caption"),
    "winoground": _winoground,
    "predictions": _ours,
}


def _checked(
    path: Path, task: str, rows: Sequence[Prediction], records: Sequence[Record]
) -> list[Prediction]:
    """Rows of this task; ids get the language in front where the records' ids have it."""
    checked = [check(task, row, f"{path}:{number}") for number, row in enumerate(rows, 1)]
    languages = {record.language for record in records}
    prefix = f"{min(languages)}:" if len(languages) == 1 else ""
    if task == "retrieval" or not prefix or not records[0].id.startswith(prefix):
        return checked
    known = {record.id for record in records}
    return [row if row["id"] in known else row | {"id": prefix + row["id"]} for row in checked]
