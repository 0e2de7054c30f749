"""Results in the forms other tools read: lm-evaluation-harness files, and a model card's index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.record import ResultRecord
from benchmarks.registry import BENCHMARKS
from leaderboards.aggregate import Refusal, long_table
from leaderboards.plain_text import visible
from leaderboards.row_names import names_of
from leaderboards.runs import Run, slug
from leaderboards.sample_data import items_of
from x2vlm.errors import RecordError
from x2vlm.writing import write_atomically

HUB_TASKS = {
    "retrieval": "image-text-retrieval",
    "answering": "visual-question-answering",
    "classification": "image-classification",
    "grounding": "visual-grounding",
    "captioning": "image-to-text",
    "matching": "image-text-matching",
    "attributes": "zero-shot-image-classification",
}
"""Our tasks -> task types of the Hugging Face hub, where it has one, else plain words."""


def harness_results(runs: Sequence[Run]) -> dict[str, Any]:
    """One results.json of lm-evaluation-harness's shape: metrics as "NAME,none" with "_stderr".

    RecordError when two runs are of one benchmark and split (the format holds one), or of two
    models. Undefined values are "N/A", as that harness writes them.
    """
    tasks = {_task_name(run): run for run in runs}
    models = set(names_of([run.record for run in runs]))
    if len(tasks) < len(runs) or len(models) != 1:
        raise RecordError(
            "one results.json holds one model and each benchmark once; "
            f"got {len(runs)} runs of {len(tasks)} benchmarks and models {sorted(models)}"
        )
    first = runs[0].record
    by_task = sorted(tasks.items())
    return {
        "results": {name: _harness_metrics(run.record) for name, run in by_task},
        "group_subtasks": {name: [] for name, _ in by_task},
        "configs": {name: {"task": name, "metadata": {"version": run.record.benchmark_version},
                           "protocol": run.record.protocol} for name, run in by_task},
        "versions": {name: run.record.benchmark_version for name, run in by_task},
        "n-shot": {name: 0 for name, _ in by_task},
        "higher_is_better": {
            name: {metric: metric not in run.record.lower_is_better
                   for metric in run.record.metrics} for name, run in by_task
        },
        "n-samples": {
            name: {"original": None if run.record.limit else run.record.n,
                   "effective": run.record.n} for name, run in by_task
        },
        "config": {
            "model": "x2vlm", "model_args": str(first.model.get("checkpoint") or ""),
            "model_num_parameters": first.model.get("parameters"),
            "model_sha": first.model.get("weights_sha256"), "limit": first.limit,
            "random_seed": first.seed,
        },
        "git_hash": first.revision.get("commit"),
        "date": max(run.record.created for run in runs),
        "model_name": models.pop(),
    }  # fmt: skip


def _task_name(run: Run) -> str:
    return slug(f"{run.record.benchmark}_{run.record.split}")


def _harness_metrics(record: ResultRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"alias": record.benchmark}
    for name, measure in record.metrics.items():
        found[f"{name},none"] = "N/A" if measure.value is None else measure.value
        error = measure.standard_error
        found[f"{name}_stderr,none"] = "N/A" if error is None else error
    return found


def harness_samples(run: Run) -> list[dict[str, Any]]:
    """One row per sample: document, target, response, and its score under the metric's name."""
    retrieval = run.benchmark.task == "retrieval"
    scores = {}
    for one in run.scores():
        way = one.metric.partition("_")[0] if retrieval else ""
        scores.update({(item, way, one.metric): value for item, value in one.values.items()})
    metrics = list(dict.fromkeys(name for _, _, name in scores))
    rows = {(row["id"], way): row for row in run.rows for way in row.get("ranking", ("",))}
    found = []
    for number, item in enumerate(items_of(run)):
        document = {"id": item.id, "texts": list(item.texts), "language": item.sample.language,
                    "images": [Path(media.path).name for media in item.sample.images]}  # fmt: skip
        target = _json(item.sample.target)
        response = _json({key: value for key, value in rows[item.id, item.way].items()
                          if key != "id"})  # fmt: skip
        own = {name: scores[item.id, item.way, name] for name in metrics
               if (item.id, item.way, name) in scores}  # fmt: skip
        found.append(
            {"doc_id": number, "doc": document, "target": target, "arguments": list(item.texts),
             "resps": [[response]], "filtered_resps": [response], "filter": "none",
             "metrics": list(own), "doc_hash": _hash(document), "target_hash": _hash(target), **own}
        )  # fmt: skip
    return found


def _json(value: Any) -> Any:
    """Plain JSON; a packed ranking becomes its pairs again."""
    if isinstance(value, Mapping):
        return {str(key): _json(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_json(part) for part in value]
    return value


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_harness(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write results.json and samples_TASK.jsonl into `folder`; their paths."""
    paths = [folder / "results.json"]
    text = json.dumps(harness_results(runs), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(paths[0], visible(text) + "\n")
    for run in runs:
        lines = [
            json.dumps(row, ensure_ascii=False, allow_nan=False) for row in harness_samples(run)
        ]
        paths.append(folder / f"samples_{_task_name(run)}.jsonl")
        write_atomically(paths[-1], visible("".join(line + "\n" for line in lines)))
    return paths


def model_index(
    records: Sequence[ResultRecord], name: str, allow: Collection[str] = ()
) -> tuple[str, tuple[Refusal, ...]]:
    """The `model-index` block of a model card (YAML front matter), and the refused records.

    name: of the model on the card. One result per record, its headline first; undefined metrics
    are left out. RecordError when no record is admitted.
    """
    long = long_table(records, allow)
    if not long.records:
        raise RecordError(
            "no record may stand on a model card: " + "; ".join(map(str, long.refused))
        )
    results = [
        _card_result(record, row) for record, row in zip(long.records, long.names, strict=True)
    ]
    value = {"model-index": [{"name": name, "results": results}]}
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return visible(text), long.refused


def _card_result(record: ResultRecord, row: str) -> dict[str, Any]:
    """row: what tables call the record's model: results that differ in it are no seeds."""
    entry = next((entry for entry in BENCHMARKS if entry.name == record.benchmark), None)
    names = sorted(record.metrics, key=lambda metric: metric != record.headline)
    metrics = []
    for name in names:
        measure = record.metrics[name]
        if measure.value is not None:
            arguments = {
                "n": measure.n,
                "standard_error": measure.standard_error,
                "protocol": record.protocol,
                "model": row,
                "seed": record.seed,
            }
            value = round(measure.value, 4)
            metrics.append({"type": name, "value": value, "name": name, "args": arguments})
    title = entry.title if entry else record.benchmark
    return {
        "task": {"type": HUB_TASKS[entry.task] if entry else "other", "name": title},
        "dataset": {"type": record.benchmark, "name": f"{title} ({record.suite})",
                    "split": record.split},
        "metrics": metrics,
    }  # fmt: skip
