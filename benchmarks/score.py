"""Records and predictions -> scores: of a run, or of any predictions file. No torch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from benchmarks import formats, predictions
from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.metrics import retrieval
from benchmarks.metrics.stats import Scores
from benchmarks.prediction_checks import check_boxes, check_scores, numbered
from benchmarks.predictions import Extra, MisfitError, Note
from benchmarks.records import load_records
from benchmarks.score_notes import noted
from x2vlm.errors import ConfigError, PredictionError, unknown
from x2vlm.types import Prediction, Record


def score_split(
    benchmark: Benchmark,
    records: Sequence[Record],
    rows: Iterable[Prediction],
    *,
    labels: Sequence[str] | None = None,
    extra: Extra = "raise",
    limited: bool = False,
    **options: Any,
) -> Scores:
    """Join by id and apply the benchmark's metric. Rows may come from a stream: of a ranking only
    the place of its target is kept.

    labels: names of the classes, when predictions name them. limited: the records are not the whole
    split. options: the metric's own, such as variant="x2vlm". Raises PredictionError when an id is
    missing, double or (extra="raise") foreign.
    """
    joined, _ = _joined(benchmark, records, rows, extra)
    return _score(benchmark, records, joined, labels, limited=limited, **options)


def _joined(
    benchmark: Benchmark,
    records: Sequence[Record],
    rows: Iterable[Prediction],
    extra: Extra,
    note: Note | None = None,
) -> tuple[list[Prediction], int]:
    """Rows by record, rankings already reduced to what the metric needs; how many were ignored."""
    if benchmark.task == "retrieval":
        rows = retrieval.placed(records, rows)
    return predictions.join(benchmark.task, records, rows, extra=extra, note=note)


def _score(
    benchmark: Benchmark,
    records: Sequence[Record],
    joined: Sequence[Prediction],
    labels: Sequence[str] | None,
    *,
    limited: bool,
    **options: Any,
) -> Scores:
    if benchmark.task == "classification":
        joined = numbered(joined, labels)
    check_scoring(benchmark, options)
    if limited:
        options["limited"] = True
    scores = benchmark.score(records, joined, **options)
    return noted(benchmark, records, joined, scores, options)


def check_scoring(benchmark: Benchmark, options: Mapping[str, Any]) -> None:
    """ConfigError for an option the metric does not have (one that takes **_ ignores the rest)."""
    parameters = inspect.signature(benchmark.score).parameters
    if "_" not in parameters:
        return
    known = [p.name for p in parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise ConfigError(unknown(f"option of the {benchmark.name} metric", name, known))


def class_names(benchmark: Benchmark, files: Files) -> Sequence[str] | None:
    """Names of the classes, which predictions may use; None elsewhere: a list of candidate answers
    is needed to ask, not to score."""
    if benchmark.task != "classification" or benchmark.labels is None:
        return None
    return benchmark.labels(files)


@dataclass(frozen=True)
class ScoredFile:
    """scores of one file; format: what it was recognised as; ignored: rows of other ids."""

    scores: Scores
    n: int
    format: str
    ignored: int = 0


def score_file(
    benchmark: Benchmark,
    split: str,
    path: Path | str,
    files: Files,
    *,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    extra: Extra | None = None,
    **options: Any,
) -> ScoredFile:
    """Score our predictions.jsonl or an official result file (see `formats`).

    path: one file, or with "{language}" in it one per language. languages, limit: as for
    `load_records`; a limit, or skipped rows, take the whole split's predictions too. extra: what to
    do with ids that are not of the split (default: what the format and these suggest).
    """
    if not benchmark.split(split).scored:
        raise ConfigError(
            f"the labels of {benchmark.name} {split} are not public; "
            "write its submission file instead: x2vlm submit RUN"
        )
    records = load_records(benchmark, files, split, languages, limit)
    parts = _parts(str(path), records)
    loaded = [formats.load(Path(name), benchmark.task, rows) for name, rows in parts.items()]
    if len(parts) == 1 and not languages and any(one.format != "predictions" for one in loaded):
        _one_language(benchmark, split, path)
    rows = (row for one in loaded for row in one.predictions)
    lenient = limit is not None or files.skipped or any(one.extra == "ignore" for one in loaded)
    if extra not in (None, *get_args(Extra)):
        what = unknown("value", str(extra), get_args(Extra))
        raise ConfigError(f"extra is {' or '.join(get_args(Extra))}: {what}")
    chosen: Extra = extra or ("ignore" if lenient else "raise")
    try:
        joined, ignored = _joined(benchmark, records, rows, chosen, files.note)
    except PredictionError as error:
        if not any(name in str(error) for name in parts):  # join knows rows only
            error.args = (f"{path}: {error}",)
        if isinstance(error, MisfitError) and files.used:
            error.args = (
                f"{error}\n  expected: ids of {', '.join(map(str, files.used.values()))}",
            )
        raise
    for note in (note for one in loaded for note in one.notes):
        files.note(f"{path}: {note}")
    if benchmark.task == "grounding":
        check_boxes(records, joined)
    if benchmark.task == "attributes":
        check_scores(records, joined)
    scores = _score(
        benchmark,
        records,
        joined,
        class_names(benchmark, files),
        limited=limit is not None,
        **options,
    )
    return ScoredFile(scores, len(records), loaded[0].format, ignored)


def _one_language(benchmark: Benchmark, split: str, path: Path | str) -> None:
    """PredictionError when the ids of a file could be of several languages: none is guessed."""
    known = benchmark.split(split).languages or benchmark.languages
    if len(known) > 1:
        raise PredictionError(
            f"{path}: its ids do not say which of {', '.join(known)} they answer\n"
            "  to do: name it, languages=de; or a file per language, predictions=…_{language}.json"
        )


def _parts(path: str, records: Sequence[Record]) -> dict[str, list[Record]]:
    """File -> the records it answers."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        parts.setdefault(path.replace("{language}", record.language), []).append(record)
    return parts
