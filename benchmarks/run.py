"""The meeting point: fine-tune, predict, score, record. Each stage is restartable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import predictions as lines
from benchmarks.base import Benchmark, Role
from benchmarks.files import Files
from benchmarks.metrics.stats import Measure, Scores
from benchmarks.mini.home import mini_root
from benchmarks.plan import Plan
from benchmarks.record import ResultRecord, hardware, packages, revision, sha256
from benchmarks.records import fingerprint, load_records
from benchmarks.score import score_split
from benchmarks.stages import Stage
from x2vlm import distributed
from x2vlm.config import TrainConfig
from x2vlm.data.loader import evaluation_loader
from x2vlm.data.video import decoder_info
from x2vlm.errors import ConfigError, DataError
from x2vlm.model import checkpoint
from x2vlm.model.x2vlm import count_parameters
from x2vlm.tasks import build_on, task_class
from x2vlm.tasks.base import Task
from x2vlm.tasks.features import largest_batch
from x2vlm.train.source import RecordSource
from x2vlm.train.trainer import train
from x2vlm.types import Record
from x2vlm.watch import watch
from x2vlm.weights import load_weights, starting_point

log = logging.getLogger("x2vlm")
ZERO_SHOT = frozenset({"matching", "attributes"})
"""tasks that are never fine-tuned"""


@dataclass
class Run:
    """One plan being carried out, and what its stages share."""

    plan: Plan
    root: Path
    benchmark: Benchmark = field(init=False)
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.benchmark = self.plan.value()
        self.plan = self.plan.with_protocol(self._protocol())
        self.folder = self.plan.folder()
        self.device = _device(self.plan.device)

    def files(self) -> Files:
        """A fresh view of the data folder; it gathers what this reading skipped and noted."""
        return self.plan.files(self.root)

    def _protocol(self) -> str:
        """The plan's protocol, with "auto" decided by what the data folder holds."""
        if self.plan.protocol != "auto":
            return self.plan.protocol
        if self.benchmark.task in ZERO_SHOT:
            return "zero-shot"
        split = self.plan.train_split or self.benchmark.first("train")
        try:
            if split and next(iter(self._read(split, 1)), None) is not None:
                return "fine-tuned" + self._languages_note()
        except DataError as error:
            log.info("no training split here (%s): evaluating without fine-tuning", error.what)
        return "zero-shot"

    def _languages_note(self) -> str:
        languages = self.plan.train_languages
        return f":{'+'.join(languages)}" if languages and len(self.benchmark.languages) > 1 else ""

    def _read(self, split: str, limit: int | None, train: bool = True) -> list[Record]:
        languages = self.plan.train_languages if train else self.plan.languages
        return load_records(self.benchmark, self.files(), split, languages or None, limit)

    # -- stages ------------------------------------------------------------------------------

    def fine_tuned(self) -> bool:
        """Whether this run has a training stage."""
        return self.plan.protocol.startswith(("fine-tuned", "few-shot"))

    def train(self) -> Path | None:
        """The training stage: weights in the run folder, or None for runs without one."""
        if not self.fine_tuned():
            return None
        split = self.plan.train_split or self.benchmark.first("train")
        if not split:
            raise ConfigError(
                f"{self.benchmark.name} has no training split; use protocol=zero-shot"
            )
        records = self._read(split, self.plan.data.limit)
        settings = replace(self.plan.train, seed=self.plan.seed)
        stage = Stage(self.folder, "train", {
            "benchmark": [self.benchmark.name, self.benchmark.version], "split": split,
            "data": fingerprint(records), "weights": self._source(), "model": self._shape(),
            "train": settings, "options": self._options(), "code": checkpoint.FORMAT,
        })  # fmt: skip
        out = self.folder / "model.safetensors"
        if stage.finished() and out.is_file():
            log.info("%s: trained already", self.folder)
            return out
        started = time.monotonic()
        task = self._task(None)
        task.model.train()
        result = self._fit(task, records, settings)
        if not result.finished:
            raise KeyboardInterrupt
        if distributed.is_main():
            checkpoint.save(task.model, out, tokenizer=task.tokenizer.to_json())
            stage.finish(seconds=time.monotonic() - started, steps=result.step, best=result.best)
        distributed.barrier()
        return out

    def _fit(self, task: Task, records: Sequence[Record], settings: TrainConfig) -> Any:
        source = RecordSource(
            task, records, settings, frames=self.plan.model.frames,
            on_error=self.plan.data.on_error,
        )  # fmt: skip
        steps = settings.steps
        if steps is None:
            assert settings.epochs is not None
            steps = max(1, round(settings.epochs * source.steps_per_epoch))
        return train(
            task, source, settings, self.folder, total_steps=steps, log=log.info,
            validate=self._validation(task) if settings.eval_every else None,
            higher_is_better=self.benchmark.headline not in self.benchmark.lower_is_better,
        )  # fmt: skip

    def _validation(self, task: Task) -> Callable[[], float] | None:
        """The headline metric on the validation split, to select weights by; test stays unseen."""
        split = self.benchmark.first("validation")
        if not split:
            return None
        records = self._read(split, self.plan.data.limit)

        def validate() -> float:
            rows = self._ask(task, records)
            scores = self._scores(records, rows)
            value = scores[self.benchmark.headline].value
            if value is None:
                raise DataError(f"{self.benchmark.headline} is undefined on {split}")
            return value

        return validate

    def predict(self, weights: Path | None = None) -> Path:
        """The prediction stage: predictions.jsonl of the evaluated split."""
        split = self.plan.test_split()
        files = self.files()
        records = load_records(
            self.benchmark, files, split, self.plan.languages or None, self.plan.data.limit
        )
        source = sha256(weights) if weights else self._source()
        settings = replace(self.plan.predict, cache="", workers=0).to_dict()
        settings.pop("batch_size")
        stage = Stage(self.folder, "predict", {
            "benchmark": [self.benchmark.name, self.benchmark.version], "split": split,
            "data": fingerprint(records), "weights": source, "model": self._shape(),
            "predict": settings, "options": self._options(), "code": checkpoint.FORMAT,
        })  # fmt: skip
        out = self.folder / "predictions.jsonl"
        noted = stage.finished()
        if noted and out.is_file() and sha256(out) == noted["sha256"]:
            log.info("%s: predicted already", self.folder)
            return out
        started = time.monotonic()
        skipped: list[dict[str, str]] = []
        task = self._task(weights)
        rows = self._ask(task, records, skipped)
        if distributed.is_main():
            out.with_name(out.name + ".part").unlink(missing_ok=True)  # of a killed run
            lines.write(out, self.benchmark.task, rows)
            model = self._describe(task, source)
            stage.finish(
                seconds=time.monotonic() - started, sha256=sha256(out), count=len(rows),
                skipped=skipped, model=model, video=self._video(),
            )  # fmt: skip
        distributed.barrier()
        return out

    def _ask(
        self, task: Task, records: Sequence[Record], skipped: list[dict[str, str]] | None = None
    ) -> list[dict[str, Any]]:
        """Predictions of this process's share, gathered from all of them."""
        settings, frames = self.plan.predict, self.plan.model.frames
        size = settings.batch_size
        if size == "auto":
            size = largest_batch(task.model, frames if self.benchmark.media == "video" else 0)
        loader = evaluation_loader(
            task, records, batch_size=size, workers=settings.workers, frames=frames,
            rank=distributed.rank(), world=distributed.world(),
            on_error=self.plan.data.on_error, skipped=[] if skipped is None else skipped,
        )  # fmt: skip
        task.progress = watch
        with torch.inference_mode(), task.evaluating(), self._autocast():
            rows = list(task.predict(loader))
        return [row for share in distributed.all_gather_objects(rows) for row in share]

    def score(self) -> ResultRecord:
        """The scoring stage: record.json out of predictions.jsonl. Needs no model."""
        split = self.plan.test_split()
        files = self.files()
        records = load_records(
            self.benchmark, files, split, self.plan.languages or None, self.plan.data.limit
        )
        noted = Stage(self.folder, "predict", {}).note()
        left_out = {row["id"] for row in noted["skipped"] if "id" in row}
        records = [record for record in records if record.id not in left_out]
        started = time.monotonic()
        rows = lines.read(self.folder / "predictions.jsonl", self.benchmark.task)
        scores = self._scores(records, rows)
        record = ResultRecord(
            benchmark=self.benchmark.name, benchmark_version=self.benchmark.version, split=split,
            protocol=self.plan.protocol, headline=self.benchmark.headline, metrics=scores,
            n=len(records), limit=self.plan.data.limit, seed=self.plan.seed, model=noted["model"],
            predictions={
                "file": "predictions.jsonl", "sha256": noted["sha256"], "count": len(rows),
            },
            config=self.plan.to_dict(), revision=revision(), packages=packages(),
            hardware=hardware(self.device.type, _device_name(self.device)),
            created=datetime.now(UTC).isoformat(timespec="seconds"), suite=self.plan.suite,
            chance=dict(self.benchmark.chance), perfect=self.benchmark.perfect,
            floor=self._floor(scores[self.benchmark.headline]),
            seconds={
                "train": Stage(self.folder, "train", {}).note().get("seconds", 0.0),
                "predict": noted["seconds"], "score": time.monotonic() - started,
            },
            skipped=(*files.skipped, *noted["skipped"]), video=noted["video"],
            data={"fingerprint": fingerprint(records), "notes": files.notes,
                  "partial": {role: path.name for role, path in files.partial().items()}},
        )  # fmt: skip
        record.write(self.folder / "record.json")
        return record

    def _scores(self, records: Sequence[Record], rows: Sequence[dict[str, Any]]) -> Scores:
        labels = self.benchmark.labels(self.files()) if self.benchmark.labels else None
        limited = self.plan.data.limit is not None
        return score_split(self.benchmark, records, rows, labels=labels, limited=limited)

    def _floor(self, headline: Measure) -> Mapping[str, Any] | None:
        """What the embedded suite expects: the plan's floor, or two standard errors over chance."""
        floor = self.plan.floor
        if floor is None:
            if self.plan.suite != "mini" or headline.standard_error is None:
                return None
            floor = self.benchmark.chance[self.benchmark.headline] + 2 * headline.standard_error
        return {"value": floor, "met": headline.value is not None and headline.value >= floor}

    # -- the model ---------------------------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        """Options of the task, the names of its classes or candidates among them."""
        options = self.plan.task_options()
        options.setdefault("max_tokens", self.plan.model.max_tokens)
        if self.benchmark.labels is not None:
            name = "candidates" if self.benchmark.task == "answering" else "labels"
            options.setdefault(name, tuple(self.benchmark.labels(self.files())))
        return options

    def _task(self, weights: Path | None) -> Task:
        """The task on the weights of this run: those just trained, or those it starts from."""
        kind = task_class(self.benchmark.task)
        options = self._options()
        model, tokenizer = load_weights(
            weights or starting_point(self.plan.model.name, self.plan.model.checkpoint),
            kind.heads(**options), self.plan.model.to_dict(), new_heads=weights is None,
        )  # fmt: skip
        torch.manual_seed(self.plan.seed)
        return build_on(self.benchmark.task, model.to(self.device), tokenizer, **options)

    def _source(self) -> str:
        """Identity of the weights this run starts from."""
        choice = self.plan.model
        if choice.random:
            return f"random:{choice.name}:{self.plan.seed}"
        return sha256(starting_point(choice.name, choice.checkpoint))

    def _shape(self) -> dict[str, Any]:
        choice = self.plan.model
        return {"name": choice.name, "image_size": choice.image_size, "frames": choice.frames,
                "tokenizer": choice.tokenizer, "max_tokens": choice.max_tokens}  # fmt: skip

    def _describe(self, task: Task, source: str) -> dict[str, Any]:
        choice = self.plan.model
        return {
            "name": choice.name, "parameters": count_parameters(task.model),
            "resolution": task.model.config.vision.image_size, "weights_sha256": source,
            "checkpoint": choice.checkpoint or "shipped", "pretraining": choice.pretraining,
            "new_heads": sorted(task.model.new_parameters) if not self.fine_tuned() else [],
        }  # fmt: skip

    def _video(self) -> dict[str, Any] | None:
        if self.benchmark.media != "video":
            return None
        return {**decoder_info(), "frames": self.plan.model.frames}

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        kind = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(
            self.plan.predict.precision
        )
        with torch.autocast(self.device.type, kind) if kind else nullcontext():
            yield


def run(plan: Plan) -> ResultRecord:
    """All stages of one plan; finished ones are reused. Returns the record (also in the folder)."""
    work = Run(plan, data_root(plan))
    weights = work.train()
    work.predict(weights)
    return work.score()


def data_root(plan: Plan) -> Path:
    """The user's data folder, or the embedded world, written on first use."""
    if not plan.data.root:
        return mini_root()
    root = Path(plan.data.root)
    if not root.is_dir():
        raise DataError(
            "no such folder", source=str(root), expected="the folder of the official files",
            fix="correct data=DIR; without data= the embedded mini world is used",
        )  # fmt: skip
    return root


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but torch finds no GPU; use device=cpu or device=auto")
    return device


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def role_of(benchmark: Benchmark, split: str) -> Role:
    """What a split may be used for."""
    return benchmark.split(split).role
