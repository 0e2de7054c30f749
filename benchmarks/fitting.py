"""Which annotations a foreign predictions file answers: the whole split, or one of its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import formats, predictions
from benchmarks.base import Benchmark
from benchmarks.facts import expected
from benchmarks.files import Extent, Files
from benchmarks.prediction_checks import ContentError
from benchmarks.predictions import MisfitError
from benchmarks.score import ScoredFile, score_file, score_split
from x2vlm.errors import NoFileError, PredictionError
from x2vlm.types import Record

EXTENTS: tuple[Extent, ...] = ("whole", "available", "cut")


def score_fitting(
    benchmark: Benchmark, split: str, path: Path | str, files: Files, **settings: Any
) -> tuple[ScoredFile, Files]:
    """`score_file` against the first of whole, available and cut annotations whose ids fit.

    A path with "{language}" in it stands for the languages named, else for those it exists in.

    Returns the scores and the files they were made with (`partial`, `notes`, `skipped` tell).
    A part of the annotations is taken only when it answers for every prediction that the whole
    knows: what is incomplete is an error, not the score of a part. When nothing fits, raises what
    was wrong with the file that fits best. A file that is itself broken is an error at once.
    """
    misfit: PredictionError | NoFileError | None = None
    fit = 0
    if "{language}" in str(path) and not settings.get("languages"):
        settings["languages"] = _languages(benchmark, str(path))
    scoring = bool(settings.get("languages"))
    for prefer in EXTENTS:
        tried = replace(files, prefer=prefer, used={}, notes=[], skipped=[], scoring=scoring)
        try:
            result = score_file(benchmark, split, path, tried, **settings)
            if result.n >= fit:
                return result, tried
        except ContentError:
            raise
        except (PredictionError, NoFileError) as error:
            if misfit is None or _nearer(error, misfit):
                misfit = error
            fit = max(fit, error.fit if isinstance(error, MisfitError) else 0)
    assert misfit is not None
    fact = expected(benchmark.name, split, "en")
    if benchmark.task == "matching" and fact is not None and not fit:
        return _alone(benchmark, Path(path), fact.records, files, settings)
    raise misfit


def _nearer(error: Exception, than: Exception) -> bool:
    """Whether these annotations fit the predictions better than those of the error before."""
    if isinstance(than, NoFileError):
        return True
    if not isinstance(error, MisfitError) or not isinstance(than, MisfitError):
        return False
    return error.fit > 0 and (error.fit, -error.faults) > (than.fit, -than.faults)


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
    benchmark: Benchmark, path: Path, count: int, files: Files, settings: dict[str, Any]
) -> tuple[ScoredFile, Files]:
    """Score pairs of captions and images without the (gated) examples: nothing but the four scores
    of each is needed, only the tags are missed."""
    loaded = formats.load(path, benchmark.task, ())
    rows = list(loaded.predictions)
    names = dict.fromkeys(row["id"] for row in rows)
    if len(names) != count:
        raise PredictionError(
            f"{path}: {len(names)} examples, {benchmark.name} has {count}\n"
            "  to do: score all of them, or name the examples that these answer (file.test=PATH)"
        )
    records = [Record(name, (), (), group=name) for name in names]
    for note in loaded.notes:
        files.note(f"{path}: {note}")
    joined, _ = predictions.join(benchmark.task, records, rows, extra="raise", note=files.note)
    files.note(
        f"no annotations of {benchmark.name} fit: scored from the predictions alone, without tags"
    )
    options = {k: v for k, v in settings.items() if k not in ("languages", "limit", "extra")}
    scores = score_split(benchmark, records, joined, limited=False, **options)
    return ScoredFile(scores, len(records), loaded.format), files
