"""Which annotations a foreign predictions file answers: the whole split, or one of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import formats, predictions
from benchmarks.base import Benchmark
from benchmarks.facts import expected
from benchmarks.files import Extent, Files
from benchmarks.score import ScoredFile, score_file, score_split
from x2vlm.errors import NoFileError, PredictionError
from x2vlm.types import Prediction, Record

EXTENTS: tuple[Extent, ...] = ("whole", "available", "cut")


def score_fitting(
    benchmark: Benchmark, split: str, path: Path | str, files: Files, **settings: Any
) -> tuple[ScoredFile, Files]:
    """`score_file` against the first of whole, available and cut annotations whose ids fit.

    A path with "{language}" in it stands for the languages named, else for those it exists in.

    Returns the scores and the files they were made with (`partial`, `notes`, `skipped` tell).
    When nothing fits, raises what was wrong with the largest file that is there. A file that is
    itself broken is an error at once.
    """
    first: PredictionError | NoFileError | None = None
    if "{language}" in str(path) and not settings.get("languages"):
        settings["languages"] = _languages(benchmark, str(path))
    scoring = bool(settings.get("languages"))
    for prefer in EXTENTS:
        tried = replace(files, prefer=prefer, used={}, notes=[], skipped=[], scoring=scoring)
        try:
            return score_file(benchmark, split, path, tried, **settings), tried
        except (PredictionError, NoFileError) as error:
            first = first or error
    assert first is not None
    fact = expected(benchmark.name, split, "en")
    if benchmark.task == "matching" and fact is not None:
        loaded = formats.load(Path(path), benchmark.task, ())
        rows = list(loaded.predictions)
        if len(rows) == fact.records:
            return _alone(benchmark, loaded.format, rows, files, settings)
    raise first


def _languages(benchmark: Benchmark, path: str) -> tuple[str, ...]:
    """The languages whose predictions are there; PredictionError when none is."""
    found = tuple(
        language
        for language in benchmark.languages
        if Path(path.replace("{language}", language)).is_file()
    )
    if not found:
        raise PredictionError(
            f"no predictions file {path} in any of {', '.join(benchmark.languages)}"
        )
    return found


def _alone(
    benchmark: Benchmark,
    format_name: str,
    rows: Sequence[Prediction],
    files: Files,
    settings: dict[str, Any],
) -> tuple[ScoredFile, Files]:
    """Score pairs of captions and images without the (gated) examples: nothing but the four scores
    of each is needed, only the tags are missed."""
    records = [Record(str(row["id"]), (), (), group=str(row["id"])) for row in rows]
    joined, _ = predictions.join(benchmark.task, records, rows, extra="raise")
    files.note(
        f"no annotations of {benchmark.name} fit: scored from the predictions alone, without tags"
    )
    options = {k: v for k, v in settings.items() if k not in ("languages", "limit", "extra")}
    scores = score_split(benchmark, records, joined, limited=False, **options)
    return ScoredFile(scores, len(records), format_name), files
