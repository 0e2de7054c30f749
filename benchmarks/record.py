"""The result record: what was measured, on what, with what, and where it came from. No torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.metrics.stats import Measure, Scores
from benchmarks.record_fields import RECORD
from x2vlm import plain
from x2vlm.errors import RecordError
from x2vlm.writing import write_json

SCHEMA = 1
PACKAGES = ("x2vlm", "torch", "transformers", "datasets", "pycocoevalcap", "pandas", "hydra-core",
            "decord", "jsonlines", "numpy", "pillow", "safetensors", "scipy")  # fmt: skip


@dataclass(frozen=True)
class ResultRecord:
    """One evaluated split. Written as record.json of a run folder; the source of every table.

    protocol: how the score came about ("zero-shot", "fine-tuned", "fine-tuned:en", "few-shot:48",
    "translate-test", …, with "+crop" and the like for variants); boards never mix two in one
    column. metrics: name -> Measure. limit: n records were asked for on purpose (None: all).
    skipped: rows left out by on_error=skip. model: {"name", "parameters", "resolution",
    "weights_sha256", "checkpoint", "pretraining", "label", "source_sha256"} and "source_recipe" of
    seeded weights (source: what the run started from; hashes are of the content of the weights, or
    "random"). revision: of `x2vlm.provenance`. predictions: {"file", "sha256", "count"}. suite:
    "mini" for the embedded world, "official" for files of its release, "own" for a user's own data.
    lower_is_better: the metrics of which less is better, such as ranks.
    floor: what the mini suite expects of the headline, {"value", "met"} or None. identity: hash of
    what decides the result apart from the seed (benchmarks/identity.py), for other tools: boards
    compute it from the other fields.
    training: None of zero-shot results. Of a run that trained {"split", "languages", "n",
    "fingerprint", "overlap"}, of weights that were trained before {"trained_on" ("unknown" when
    nobody says), "source", "overlap"}; overlap: None, or see `benchmarks.training_overlap.Overlap`.
    Of a record that was read, and not in the file: path; altered: how its predictions contradict it
    (`benchmarks.recompute`), "" if they do not.
    """

    benchmark: str
    benchmark_version: int
    split: str
    protocol: str
    headline: str
    metrics: Scores
    n: int
    limit: int | None
    seed: int
    model: Mapping[str, Any]
    predictions: Mapping[str, Any]
    config: Mapping[str, Any]
    revision: Mapping[str, Any]
    packages: Mapping[str, str]
    hardware: Mapping[str, Any]
    created: str
    suite: str = "official"
    chance: Mapping[str, float] = field(default_factory=dict)
    perfect: float | None = None
    lower_is_better: tuple[str, ...] = ()
    floor: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[Mapping[str, str], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    video: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None
    identity: str = ""
    schema: int = SCHEMA
    path: str = field(default="", compare=False)
    altered: str = field(default="", compare=False)

    @property
    def training_unknown(self) -> bool:
        """Whether nobody says what evaluated weights were fine-tuned on; old records never do."""
        if self.training is None:
            return str(self.config.get("protocol", "")).startswith("evaluate")
        return self.training.get("trained_on") == "unknown"

    def to_json(self) -> dict[str, Any]:
        """Plain values in a fixed order; NaN cannot occur (Measure refuses it)."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        row["metrics"] = {name: measure.to_json() for name, measure in self.metrics.items()}
        row["skipped"] = [dict(item) for item in self.skipped]
        row["lower_is_better"] = list(self.lower_is_better)
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any], path: str = "") -> ResultRecord:
        """The inverse of `to_json`; RecordError names a field that is missing, unknown, too new or
        not what `record_fields` says."""
        values = dict(row)
        if type(values.get("schema")) is not int or values["schema"] != SCHEMA:
            raise RecordError(
                f"{path or 'record'}: schema {values.get('schema')!r}, this version reads {SCHEMA}"
                "; score the run's predictions.jsonl again (x2vlm score) to rewrite it"
            )
        plain.conform(values, RECORD, path or "record", RecordError)
        if unknown := set(values) - {f.name for f in fields(cls) if f.compare}:
            raise RecordError(f"{path or 'record'}: unknown fields {sorted(unknown)}")
        values["metrics"] = {k: Measure.from_json(v) for k, v in values["metrics"].items()}
        values["skipped"] = tuple(values.get("skipped", ()))
        values["lower_is_better"] = tuple(values.get("lower_is_better", ()))
        return cls(**values, path=path)

    def predictions_path(self) -> Path | None:
        """The predictions beside the record's file; None for a record that was not read."""
        name = self.predictions.get("file", "predictions.jsonl")
        return Path(self.path).with_name(name) if self.path else None

    def write(self, path: Path) -> None:
        """Write beside and rename, so that a reader never sees half a record."""
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> ResultRecord:
        """Read record.json; RecordError names the file when it is no record."""
        return cls.from_json(plain.read(path, RecordError), str(path))


def packages(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of the installed ones of `names`."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware(device: str = "cpu", device_name: str = "") -> dict[str, Any]:
    """The machine: processor count, architecture, system, and the device that computed."""
    return {
        "device": device,
        "device_name": device_name or platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def json_ready(value: Any) -> Any:
    """`value` with dataclasses, mappings and tuples as plain JSON containers."""
    if hasattr(value, "__dataclass_fields__"):
        return json_ready(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [json_ready(v) for v in value]
    return value
