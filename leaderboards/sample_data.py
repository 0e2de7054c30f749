"""What the sample browser shows, as paged script files: it opens from disk without a server.

A data set (one split read in one way) has an index with everything filters need, and pages of PAGE
items; each run on it has an index of scores and pages of predictions. The browser draws any task
from the same few parts: texts, pictures, a truth, a prediction, each with lines, a box, or a list.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.metrics.retrieval import rank_of
from benchmarks.metrics.winoground import PAIRS
from leaderboards.runs import Run, slug
from leaderboards.thumbnails import Thumbnails
from x2vlm.types import Prediction, Record

PAGE = 100
RANKED = 6
DIRECTIONS = {"text": "image → text", "image": "text → image"}
Json = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """One row of the browser: a sample, or in retrieval one query. way: "text" or "image" there."""

    id: str
    sample: Record
    texts: tuple[str, ...]
    way: str = ""

    @property
    def tags(self) -> Json:
        """What it can be filtered by."""
        tags = {name: value for name, value in self.sample.tags.items() if _plain(value)}
        if self.way:
            tags["direction"] = DIRECTIONS[self.way]
        return tags


def _plain(value: Any) -> bool:
    return isinstance(value, (str, int, bool))


def items_of(run: Run) -> list[Item]:
    """All rows of a run's data set, in its order; both directions of retrieval."""
    if run.benchmark.task != "retrieval":
        return [Item(sample.id, sample, sample.texts) for sample in run.samples]
    items = []
    ways = {way for row in run.rows for way in row["ranking"]}
    if "text" in ways:
        items += [Item(sample.id, sample, (), "text") for sample in run.samples]
    if "image" in ways:
        items += [
            Item(str(name), sample, (text,), "image")
            for sample in run.samples
            for name, text in zip(sample.target["text_ids"], sample.texts, strict=True)
        ]
    return items


def data_key(run: Run) -> str:
    """A name shared by runs on the same samples, fit for a folder."""
    record = run.record
    ids = "\x1f".join(f"{item.way}{item.id}" for item in items_of(run))
    mark = hashlib.sha256(ids.encode()).hexdigest()[:6]
    return slug(f"{record.suite}-{record.benchmark}-{record.split}-{mark}")


def write_data_set(out: Path, key: str, runs: Sequence[Run], thumbnails: Thumbnails) -> Json:
    """Write index and pages of one data set and all its runs; what the pages need to know of it."""
    run = runs[0]
    items = items_of(run)
    folder = out / "data" / key
    index = {
        "title": run.benchmark.title, "benchmark": run.benchmark.name, "task": run.benchmark.task,
        "split": run.record.split, "suite": run.record.suite, "n": len(items), "page": PAGE,
        "ids": [item.id for item in items],
        "text": [" / ".join(item.texts)[:160] for item in items],
        "length": [sum(len(text.split()) for text in item.texts) for item in items],
        "fields": _fields(items),
        "runs": [
            {"name": one.name, "label": run_label(one), "page": f"run-{slug(one.name)}.html"}
            for one in runs
        ],
    }  # fmt: skip
    _put(folder / "index.js", f"{key}/index", index)
    describe = _describer(run, thumbnails)
    for number, page in _pages([describe(item) for item in items]):
        _put(folder / f"{number}.js", f"{key}/{number}", page)
    for place, one in enumerate(runs):
        _write_run(folder, key, place, one, items, thumbnails)
    return index


def run_label(run: Run) -> str:
    """A run in a few words."""
    record = run.record
    return f"{run.model} · {record.protocol} · seed {record.seed}"


def _write_run(
    folder: Path, key: str, place: int, run: Run, items: Sequence[Item], thumbnails: Thumbnails
) -> None:
    scores = run.scores()
    metrics = []
    for one in scores:
        way = one.metric.partition("_")[0] if run.benchmark.task == "retrieval" else ""
        metrics.append(
            {
                "name": one.metric,
                "binary": one.binary,
                "values": [
                    _rounded(one.values.get(item.id)) if item.way == way else None for item in items
                ],
            }
        )
    if run.benchmark.task == "retrieval":  # one column: each query has one direction only
        metrics = [_merged(metrics)]
    metrics.sort(key=lambda metric: metric["name"] != run.benchmark.headline)
    _put(folder / f"run{place}.js", f"{key}/run{place}", {"metrics": metrics})
    answer = _answerer(run, thumbnails)
    for number, page in _pages([answer(item) for item in items]):
        _put(folder / f"run{place}-{number}.js", f"{key}/run{place}/{number}", page)


def _merged(metrics: Sequence[Json]) -> Json:
    values = [
        next((v for v in row if v is not None), None)
        for row in zip(*(metric["values"] for metric in metrics), strict=True)
    ]
    return {"name": "hit@1", "binary": True, "values": values}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _fields(items: Sequence[Item]) -> list[Json]:
    """Filters with between 2 and 40 values: languages and tags, as codes into their values."""
    columns: dict[str, list[str]] = {"language": [item.sample.language for item in items]}
    for name in dict.fromkeys(name for item in items for name in item.tags):
        columns[name] = [str(item.tags.get(name, "")) for item in items]
    fields = []
    for name, values in columns.items():
        known = sorted(set(values))
        if 2 <= len(known) <= 40:
            codes = {value: code for code, value in enumerate(known)}
            coded = [codes[value] for value in values]
            fields.append({"name": name, "values": known, "codes": coded})
    return fields


def _describer(run: Run, thumbnails: Thumbnails) -> Callable[[Item], Json]:
    """item -> its texts, pictures and truth."""

    def describe(item: Item) -> Json:
        sample = item.sample
        shown: Json = {"texts": list(item.texts), "language": sample.language, "pictures": [],
                       "truth": thumbnails.over(sample, _truth(run, item))}  # fmt: skip
        if item.way == "image":
            shown["truth"] = {"pictures": [thumbnails(media) for media in sample.images]}
        else:
            shown["pictures"] = [thumbnails(media) for media in sample.images]
        if run.benchmark.task == "captioning":
            shown["texts"] = []
        return shown

    return describe


def _truth(run: Run, item: Item) -> Json:
    target, task = item.sample.target, run.benchmark.task
    if task == "answering":
        answers = Counter(target.get("annotators") or target.get("answers") or ())
        many = sum(answers.values()) > 1
        return {"lines": [f"{a} ({n})" if many else a for a, n in answers.most_common()]}
    if task == "classification":
        return {"lines": [_name(run.labels, target["label"])]}
    if task == "grounding":
        return {"box": list(target["box"])}
    if task == "attributes":
        present = [i for i, label in enumerate(target["labels"]) if label == 1]
        return {"box": list(target["box"]), "lines": [_name(run.labels, i) for i in present]}
    if task == "captioning" or item.way == "text":
        return {"lines": list(item.sample.texts)}
    return {}


def _name(labels: Sequence[str], label: int | str | None) -> str:
    """What a class is called, given its number or, as our own predictions have it, its name."""
    if label is None:
        return "outside the vocabulary"
    if isinstance(label, str):
        return label
    return labels[label] if label < len(labels) else f"class {label}"


def _answerer(run: Run, thumbnails: Thumbnails) -> Callable[[Item], Json]:
    """item -> its prediction in the browser's parts."""
    task = run.benchmark.task
    rows = {(row["id"], way): row for row in run.rows for way in row.get("ranking", ("",))}
    texts: dict[str, str] = {}
    images: dict[str, Record] = {}
    if task == "retrieval":
        for sample in run.samples:
            images[sample.id] = sample
            texts.update(zip(map(str, sample.target["text_ids"]), sample.texts, strict=True))

    def answer(item: Item) -> Json:
        row = rows[item.id, item.way]
        if task == "retrieval":
            return _ranked(item, row, texts, images, thumbnails)
        return thumbnails.over(item.sample, _answer(run, row, item.sample))

    return answer


def _answer(run: Run, row: Prediction, sample: Record) -> Json:
    task = run.benchmark.task
    if task == "answering":
        return {"lines": [row["answer"]]}
    if task == "captioning":
        return {"lines": [row["caption"]]}
    if task == "grounding":
        return {"box": row["box"]}
    if task == "matching":
        return {"matrix": [row[pair] for pair in PAIRS]}
    scores = row.get("scores") or ()  # a list in the order of the names, or by name
    named = scores.items() if isinstance(scores, Mapping) else enumerate(scores)
    best = sorted(named, key=lambda pair: -pair[1])[:RANKED]
    if task == "attributes":
        marks = sample.target["labels"]
        words = {1: True, 0: False}
        return {"list": [_entry(_name(run.labels, i), score, words.get(marks[i]))
                         for i, score in best]}  # fmt: skip
    right = _name(run.labels, sample.target["label"])
    shown: Json = {"lines": [_name(run.labels, row["label"])]}
    if best:
        names = [(_name(run.labels, label), score) for label, score in best]
        shown["list"] = [_entry(name, score, name == right) for name, score in names]
    return shown


def _entry(text: str, score: float, right: bool | None) -> Json:
    return {"text": text, "score": float(f"{score:.4g}"), "right": right}


def _ranked(
    item: Item,
    row: Prediction,
    texts: Mapping[str, str],
    images: Mapping[str, Record],
    thumbnails: Thumbnails,
) -> Json:
    ranking = row["ranking"][item.way]
    if item.way == "text":
        targets = frozenset(map(str, item.sample.target["text_ids"]))
    else:
        targets = frozenset({item.sample.id})
    rank = rank_of(ranking, targets).rank
    entries = []
    for name, score in sorted(ranking, key=lambda pair: -pair[1])[:RANKED]:
        entry = _entry(texts.get(name, name), score, name in targets)
        if item.way == "image":
            entry |= {"text": "", "picture": thumbnails(images[name].images[0])}
        entries.append(entry)
    return {"list": entries, "rank": rank}


def _pages(rows: Sequence[Json]) -> Iterator[tuple[int, Sequence[Json]]]:
    for start in range(0, len(rows), PAGE):
        yield start // PAGE, rows[start : start + PAGE]


def _put(path: Path, key: str, value: Any) -> None:
    """A script that hands `value` to the browser; ASCII, so that no character can break it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    path.write_text(f"X2VLM.put({json.dumps(key)},{text});\n", encoding="ascii", newline="\n")
