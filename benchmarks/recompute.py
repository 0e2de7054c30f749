"""What stands in a record can be computed again from its predictions, or the record is altered.

Two questions, asked by whoever opens a run: does predictions.jsonl have the hash that the record
says, and do the predictions give the record's metrics? The second costs a scoring, so that the
answer "yes" is remembered on this machine by the bytes of the record. No torch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.metrics.stats import Measure
from benchmarks.per_sample import per_sample
from benchmarks.plan import Plan
from benchmarks.record import ResultRecord
from benchmarks.score import class_names, score_split
from x2vlm.cache import cache_folder
from x2vlm.provenance import sha256
from x2vlm.types import Prediction, Record

log = logging.getLogger("x2vlm")
TOLERANCE = 1e-6
"""relative: the order of a sum differs between versions of numpy"""


def hash_fault(record: ResultRecord) -> str:
    """Why predictions.jsonl is not the file that was scored; "" when it is, or is not there."""
    path, stated = record.predictions_path(), record.predictions.get("sha256")
    if path is None or not path.is_file():
        return ""
    found = sha256(path)
    if found == stated:
        return ""
    return f"{path.name} has the hash {found[:12]}…, the record says {str(stated)[:12]}…"


def metrics_fault(
    record: ResultRecord,
    plan: Plan,
    benchmark: Benchmark,
    files: Files,
    samples: Sequence[Record],
    rows: Sequence[Prediction],
) -> str:
    """How the record's metrics differ from those of its predictions; "" when they do not.

    rows: as the file has them. Captions: CIDEr alone, the others take minutes of Java. A record of
    another version of the benchmark, or of a split whose answers are not public, is not compared.
    """
    if record.benchmark_version != benchmark.version or not benchmark.split(record.split).scored:
        return ""
    if benchmark.task == "captioning":
        found = _cider(benchmark, samples, rows)
    else:
        found = score_split(
            benchmark,
            samples,
            rows,
            labels=class_names(benchmark, files),
            limited=record.limit is not None,
            **plan.scoring,
        )
    for name, now in found.items():
        then = record.metrics.get(name)
        if then is not None and not _same(then, now):
            return f"its predictions give {name} {_text(now)}, the record says {_text(then)}" + (
                "" if then.n == now.n else f" (n {now.n} and {then.n})"
            )
    return ""


def _cider(
    benchmark: Benchmark, samples: Sequence[Record], rows: Sequence[Prediction]
) -> dict[str, Measure]:
    by_id = {row["id"]: row for row in rows}
    (scores,) = per_sample(benchmark, samples, [by_id[sample.id] for sample in samples])
    values = list(scores.values.values())
    mean = scores.scale * math.fsum(values) / len(values) if values else None
    return {scores.metric: Measure(mean, len(values))}


def _same(then: Measure, now: Measure) -> bool:
    if then.value is None or now.value is None:
        return then.value is now.value
    return then.n == now.n and math.isclose(
        then.value, now.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE
    )


def _text(measure: Measure) -> str:
    return "undefined" if measure.value is None else f"{measure.value:.2f}"


def remembered(record: ResultRecord) -> bool:
    """Whether this very record was found to agree with its predictions on this machine. To be asked
    where `hash_fault` found none: the record's bytes hold the hash of the predictions."""
    return bool(record.path) and _mark(record).is_file()


def remember(record: ResultRecord) -> None:
    """The record agrees with its predictions: one was computed here from the other."""
    mark = _mark(record)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        log.debug("not remembered that %s can be recomputed: %s", record.path, error)


def _mark(record: ResultRecord) -> Path:
    return cache_folder() / "recomputed" / sha256(Path(record.path))
