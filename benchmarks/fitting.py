"""Which annotations a foreign predictions file answers: the whole split, or one of its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.files import Extent, Files
from benchmarks.score import ScoredFile, score_file
from x2vlm.errors import DataError, PredictionError

EXTENTS: tuple[Extent, ...] = ("whole", "available", "cut")


def score_fitting(
    benchmark: Benchmark, split: str, path: Path | str, files: Files, **settings: Any
) -> tuple[ScoredFile, Files]:
    """`score_file` against the first of whole, available and cut annotations whose ids fit.

    Returns the scores and the files they were made with (`partial`, `notes`, `skipped` tell).
    When nothing fits, raises what was wrong with the largest file that is there. A file that is
    itself broken is an error at once.
    """
    first: PredictionError | DataError | None = None
    for prefer in EXTENTS:
        tried = replace(files, prefer=prefer, used={}, notes=[], skipped=[])
        try:
            return score_file(benchmark, split, path, tried, **settings), tried
        except PredictionError as error:
            first = first or error
        except DataError as error:
            if not error.what.startswith("no file"):
                raise
            first = first or error
    assert first is not None
    raise first
