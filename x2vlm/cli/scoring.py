"""x2vlm score: a predictions file of any known kind against the official annotations. No torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from benchmarks.record import json_ready
from x2vlm.cli.arguments import no_words, parse
from x2vlm.errors import ConfigError, unknown
from x2vlm.ranges import Setting
from x2vlm.settings import Settings


@dataclass(frozen=True, slots=True)
class ScoreArguments(Settings):
    """Of x2vlm score."""

    benchmark: Annotated[str, Setting("name (x2vlm list) or FILE.py:NAME", required=True)]
    predictions: Annotated[str, Setting("file to score", form="path", required=True)]
    data: Annotated[str, Setting("folder of the official files", form="path", required=True)]
    split: Annotated[str, Setting("empty: the one that is evaluated by default")] = ""
    layout: Annotated[str, Setting("YAML file that says where files are", form="path")] = ""
    file: Annotated[
        Mapping[str, str], Setting("role -> path, stronger than the layout", form="path")
    ] = field(default_factory=dict)
    limit: Annotated[
        int | None, Setting("the first n records alone", "records", least=1, most=10**12)
    ] = None
    languages: Annotated[tuple[str, ...], Setting("empty: all")] = ()
    on_error: Annotated[
        Literal["raise", "skip"], Setting("what to do about a bad row of the data")
    ] = "raise"
    extra: Annotated[
        Literal["", "raise", "ignore"],
        Setting("what to do about predictions of ids that are not in the split"),
    ] = ""
    scoring: Annotated[Mapping[str, Any], Setting("options of the metric")] = field(
        default_factory=dict
    )


def score(arguments: list[str]) -> int:
    """x2vlm score: a predictions file of any known kind; one JSON object last. No torch."""
    from benchmarks.files import Files
    from benchmarks.fitting import score_fitting
    from benchmarks.layout import load_layout
    from benchmarks.registry import get

    plain, given = parse(ScoreArguments, arguments)
    no_words(plain)
    for name in ("limit", "languages", "extra", "labels"):
        if name in given.scoring:
            raise ConfigError(
                f"scoring.{name} is not an option of a metric; see x2vlm score --help"
            )
    benchmark = get(given.benchmark)
    split = given.split or benchmark.default_split()
    for language in given.languages:
        if language not in benchmark.languages:
            raise ConfigError(unknown("language", language, benchmark.languages))
    layout = load_layout(given.layout).get(benchmark.name, {}) if given.layout else {}
    result, files = score_fitting(
        benchmark,
        split,
        Path(given.predictions),
        Files(Path(given.data), {**layout, **given.file}, given.on_error),
        languages=given.languages or None,
        limit=given.limit,
        extra=given.extra or None,
        **given.scoring,
    )
    notes = dict.fromkeys(files.notes)
    notes |= {f"{name}: {m.note}": None for name, m in result.scores.items() if m.note}
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    metrics = {name: measure.to_json() for name, measure in result.scores.items()}
    print(json.dumps(json_ready({
        "benchmark": benchmark.name, "split": split, "headline": benchmark.headline,
        "scoring": given.scoring, "metrics": metrics, "n": result.n, "format": result.format,
        "ignored": result.ignored, "skipped": files.skipped,
        "partial": {role: path.name for role, path in files.partial().items()},
        "notes": list(notes),
    }), allow_nan=False))  # fmt: skip
    return 0
