"""What tables call the model of a record: short, and another name for everything that differs.

The model's name, and in brackets what a reader must know to tell its rows apart: the user's own
label, the checkpoint, and where one score would have several rows of that name, the settings or the
data in which they differ.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any

from benchmarks.identity import checkpoint_of, facts
from benchmarks.record import ResultRecord
from benchmarks.stages import digest

Facts = Mapping[str, Any]
FIRST = ("source", "resolution")
LAST = ("trained", "benchmark_version", "limit", "missing", "data", "train_data", "train_skipped")
"""facts that tell rows apart, by preference: FIRST, then settings, then LAST"""
AT_ONCE = 3
"""so many facts are tried together before all that differ are named"""


def names_of(records: Sequence[ResultRecord]) -> list[str]:
    """`row_names` of records that stand side by side, on whatever page."""
    return row_names(records, [facts(record) for record in records])


def row_names(
    records: Sequence[ResultRecord],
    known: Sequence[Facts],
    replaced: Collection[int] = (),
) -> list[str]:
    """The name of each record's row: within one score, records of different facts have different
    names, and those of equal facts one.

    known: the facts of each record (benchmarks/identity.py). replaced: positions of superseded
    records that are shown nevertheless; each has a row of its own.
    """
    sources = Sources(records, known)
    scores: dict[tuple[Any, ...], dict[str, list[int]]] = {}
    for number, found in enumerate(known):
        rows = scores.setdefault((_score(found), _model(found)), {})
        rows.setdefault(digest(found), []).append(number)
    told: list[list[str]] = [[] for _ in records]
    for rows in scores.values():
        parts = _told({mark: known[numbers[0]] for mark, numbers in rows.items()}, sources)
        for mark, numbers in rows.items():
            for number in numbers:
                told[number] = parts[mark]
    seen: Counter[tuple[Any, ...]] = Counter()
    for number in sorted(replaced):
        date = records[number].created[:19].replace("T", " ")
        key = _score(known[number]), _model(known[number]), *told[number], date
        seen[key] += 1  # of those made in one second each has a number
        again = [str(seen[key])] if seen[key] > 1 else []
        told[number] = [*told[number], f"superseded, {date}", *again]
    names = [found["model.name"] for found in known]
    return [
        f"{n} ({', '.join(parts)})" if parts else n for n, parts in zip(names, told, strict=True)
    ]


def _score(found: Facts) -> tuple[str, ...]:
    return tuple(found[name] for name in ("suite", "benchmark", "split", "protocol"))


def _model(found: Facts) -> tuple[str, str, str]:
    return found["suite"], found["model.name"], found["pretraining"]


def _told(rows: Mapping[str, Facts], sources: Sources) -> dict[str, list[str]]:
    """What stands in the brackets of the rows of one score: as few facts as tell them apart."""
    fixed = {mark: sources.fixed(found) for mark, found in rows.items()}
    texts = {name: _texts(name, rows, sources) for name in _differing(list(rows.values()))}
    for names in _choices(list(texts)):
        told = {
            mark: list(dict.fromkeys([*fixed[mark], *(texts[n][mark] for n in names)]))
            for mark in rows
        }
        told = {mark: [part for part in parts if part] for mark, parts in told.items()}
        if len({", ".join(parts) for parts in told.values()}) == len(rows):
            return told
    return {mark: [*parts, f"identity {mark}"] for mark, parts in told.items()}


def _differing(rows: Sequence[Facts]) -> list[str]:
    """Names of the facts that are not the same in all rows, by preference."""
    names = dict.fromkeys(name for found in rows for name in found)
    found = [name for name in names if len({_key(row, name) for row in rows}) > 1]

    def place(name: str) -> tuple[int, int]:
        if name in FIRST:
            return 0, FIRST.index(name)
        return (2, LAST.index(name)) if name in LAST else (1, 0)

    return sorted(found, key=place)


def _key(found: Facts, name: str) -> str:
    return json.dumps(found.get(name), sort_keys=True)


def _choices(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Sets of facts to try, the smallest first; the last has all of them."""
    for size in range(min(len(names), AT_ONCE) + 1):
        yield from combinations(names, size)
    yield names


def _texts(name: str, rows: Mapping[str, Facts], sources: Sources) -> dict[str, str]:
    """mark -> the text of one fact, another text for every value."""
    newest = max(found["benchmark_version"] for found in rows.values())
    shown = {mark: _text(name, found, sources, newest) for mark, found in rows.items()}
    values: dict[str, set[str]] = {}
    for mark, found in rows.items():
        values.setdefault(shown[mark], set()).add(_key(found, name))
    return {
        mark: text
        if len(values[text]) == 1
        else f"{text} {digest(rows[mark].get(name))[:8]}".strip()
        for mark, text in shown.items()
    }


def _text(name: str, found: Facts, sources: Sources, newest: int) -> str:
    value = found.get(name)
    if name == "source":
        return sources.text(found)
    if name == "resolution":
        return "resolution unknown" if value is None else f"{value} px"
    if name == "trained":
        return "" if value else "evaluated as it was"
    if name == "benchmark_version":
        return "" if value == newest else f"version {value}"
    if name == "limit":
        return "" if value is None else f"limit {value}"
    if name == "missing":
        return ", ".join(found["missing"])
    if name in ("data", "train_data"):
        what = "data" if name == "data" else "training data"
        return f"{what} {value[:8]}" if value else f"{what} unknown"
    if name == "train_skipped":
        return f"{len(value)} training rows skipped" if value else ""
    if name == "model.label":
        return str(value)
    return f"{name}={setting_text(value)}"


def setting_text(value: Any) -> str:
    """A setting as a user writes it: 3e-5, true, null, 0.9,0.98."""
    if isinstance(value, list):
        return ",".join(map(setting_text, value))
    if isinstance(value, float):
        return re.sub(r"e([+-])0*", lambda found: f"e{found[1].strip('+')}", f"{value:g}")
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


class Sources:
    """What the weights that runs started from are called, over all records of a table."""

    def __init__(self, records: Sequence[ResultRecord], known: Sequence[Facts]) -> None:
        paths: dict[tuple[str, str, str], dict[str, str]] = {}
        for record, found in zip(records, known, strict=True):
            own, path = paths.setdefault(_model(found), {}), checkpoint_of(record)
            own[found["source"]] = min(path, own.get(found["source"], path))
        self._texts = {model: _source_texts(own) for model, own in paths.items()}
        started: dict[tuple[str, str, str], set[str]] = {}
        for found in known:
            if not _made_elsewhere(found):
                started.setdefault(_model(found), set()).add(self.text(found))
        self._several = {model for model, texts in started.items() if len(texts) > 1}

    def text(self, found: Facts) -> str:
        """Another text for every source of one model, apart from unrecorded ones: those may be a
        recorded one of the same name. "" for the weights that ship with the model."""
        return self._texts[_model(found)][found["source"]]

    def fixed(self, found: Facts) -> list[str]:
        """What is said of a record in every score: its label, and its source when runs of its model
        started from several. Weights that were fine-tuned elsewhere differ from one benchmark to
        the next, so they are named only where one score has several."""
        told = [found["model.label"], ""]
        several = _model(found) in self._several and not _made_elsewhere(found)
        if found["source"] == "random" or several:
            told[1] = self.text(found)
        return told


def _made_elsewhere(found: Facts) -> bool:
    """Whether the record is of weights that another program, or another run, fine-tuned."""
    return not found["trained"] and str(found["protocol"]).startswith(("fine-tuned", "few-shot"))


def _source_texts(paths: Mapping[str, str]) -> dict[str, str]:
    texts = {source: _short(source, path, paths) for source, path in paths.items()}
    hashed = [source for source in texts if not source.startswith(("unrecorded", "random"))]
    counts = Counter(texts[source] for source in hashed)
    for source in hashed:
        if counts[texts[source]] > 1:
            short = source.removeprefix("recipe ")[:8]
            texts[source] = f"{texts[source] or 'weights'} {short}"
    return texts


def _short(source: str, path: str, paths: Mapping[str, str]) -> str:
    """The end of a checkpoint's path that no other checkpoint has; a run folder for its weights."""
    if source == "random":
        return "random weights"
    if source.startswith("recipe ") or not path:
        return ""
    parts = _parts(path)
    others = {_parts(other) for other in paths.values()} - {parts}
    ends = (parts[-count:] for count in range(1, len(parts) + 1))
    fitting = (end for end in ends if all(other[-len(end) :] != end for other in others))
    return "/".join(next(fitting, parts))


def _parts(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    return parts[:-1] if len(parts) > 1 and parts[-1] == "model.safetensors" else parts
