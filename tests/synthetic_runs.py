"""Small made-up records and run folders, so that boards and site are tested without a model."""

import json
from pathlib import Path
from typing import Any

from benchmarks.metrics.stats import Measure
from benchmarks.record import ResultRecord


def make_record(benchmark: str = "nlvr2", **changes: Any) -> ResultRecord:
    """A clean, complete record. changes: any field; `value` and `error` are the headline's."""
    value, error = changes.pop("value", 70.0), changes.pop("error", 0.5)
    headline = changes.pop("headline", "accuracy")
    model = {"name": "tiny", "parameters": 1_800_000, "resolution": 64, "pretraining": "mini world"}
    fields: dict[str, Any] = {
        "benchmark": benchmark,
        "benchmark_version": 1,
        "split": "test",
        "protocol": "fine-tuned",
        "headline": headline,
        "metrics": {headline: Measure(value, 1000, error)},
        "n": 1000,
        "limit": None,
        "seed": 42,
        "model": {**model, **changes.pop("model", {})},
        "predictions": {"file": "predictions.jsonl", "sha256": "0" * 64, "count": 1000},
        "config": {"benchmark": benchmark},
        "revision": {"commit": "a" * 40, "dirty": False},
        "packages": {"torch": "2.6.0"},
        "hardware": {"device": "cpu", "cpus": 2},
        "created": "2026-01-01T00:00:00+00:00",
        "suite": "mini",
        "chance": {headline: 50.0},
        "perfect": 100.0,
    }
    return ResultRecord(**{**fields, **changes})


def write_run(
    folder: Path, record: ResultRecord, predictions: list[dict[str, Any]] | None = None
) -> Path:
    """A run folder with record.json, predictions.jsonl and train.jsonl."""
    record.write(folder / "record.json")
    lines = "".join(json.dumps(row) + "\n" for row in predictions or [])
    (folder / "predictions.jsonl").write_text(lines, encoding="utf-8")
    steps = [{"step": n, "loss": 3.0 / (n + 1), "lr": 1e-4} for n in range(0, 50, 10)]
    train = "".join(json.dumps(row) + "\n" for row in steps)
    (folder / "train.jsonl").write_text(train, encoding="utf-8")
    return folder
