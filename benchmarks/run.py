"""The meeting point: fine-tune, predict, score, record. Each stage is restartable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import predictions
from benchmarks.asking import Asking
from benchmarks.base import Benchmark
from benchmarks.bounds import bounds, coverage
from benchmarks.facts import check_facts
from benchmarks.files import Files
from benchmarks.identity import identity
from benchmarks.media import check_media
from benchmarks.metrics.stats import Measure, Scores
from benchmarks.mini.home import chance_levels, data_root, floor_of
from benchmarks.plan import ZERO_SHOT, Plan
from benchmarks.recompute import remember
from benchmarks.record import ResultRecord, hardware, packages
from benchmarks.records import fingerprint, load_records, missing_languages, without
from benchmarks.score import class_names, score_split
from benchmarks.stages import Stage, trained_on
from benchmarks.training_facts import TrainingFacts
from benchmarks.weights import ModelOfRun, device_name
from x2vlm import distributed
from x2vlm.config import TrainConfig
from x2vlm.data.video import decoder_info
from x2vlm.errors import ConfigError, DataError, NoFileError, unknown
from x2vlm.locking import owned
from x2vlm.model import checkpoint
from x2vlm.model.metadata import FORMAT
from x2vlm.provenance import revision, sha256
from x2vlm.tasks.base import Task
from x2vlm.train.source import RecordSource
from x2vlm.train.trainer import TrainResult, train
from x2vlm.types import Record

log = logging.getLogger("x2vlm")


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
        self.model = ModelOfRun(self.plan, self.benchmark, self.files())
        self.asking = Asking(self.plan, self.benchmark, self.model)
        self.training = TrainingFacts(self)

    def files(self) -> Files:
        """A fresh view of the data folder; it gathers what this reading skipped and noted."""
        return self.plan.files(self.root)

    def _protocol(self) -> str:
        """The plan's protocol, with "auto" decided by what the data folder holds. A training file
        that is there and broken is an error, not a reason to go without."""
        if self.plan.protocol != "auto":
            return self.plan.protocol
        if self.benchmark.task in ZERO_SHOT:
            return "zero-shot"
        split = self.plan.train_split or self.benchmark.first("train")
        try:
            language = self.plan.training_languages()[0]
            rows = self.benchmark.read(self.files(), split, language) if split else ()
            if next(iter(rows), None) is not None:
                return "fine-tuned"
        except NoFileError as error:
            log.info("no training split here (%s): evaluating without fine-tuning", error.what)
        return "zero-shot"

    def _read(self, split: str, limit: int | None, files: Files | None = None) -> list[Record]:
        """Records to train on, or to select weights by. files: gathers what is left out."""
        languages = self.plan.training_languages()
        return load_records(self.benchmark, files or self.files(), split, languages, limit)

    def _evaluated(self) -> tuple[list[Record], Files]:
        """The records of the evaluated split, held against the official counts, and their files."""
        files, split = self.files(), self.plan.test_split()
        records = load_records(
            self.benchmark, files, split, self.plan.languages or None, self.plan.data.limit
        )
        files.notes += bounds(self.benchmark, split, records, self.model.options)
        if self.plan.suite == "official" and self.plan.data.limit is None:
            files.notes += check_facts(self.benchmark, split, records, files)
        return records, files

    def check(self) -> None:
        """Raise what evaluation would complain of now, before hours of training and not after."""
        split = self.plan.test_split()
        known = self.benchmark.split(split).languages or self.benchmark.languages
        for language in self.plan.languages:
            if language not in known:
                raise ConfigError(unknown(f"language of {self.benchmark.name}", language, known))
        self.training.check_steps()
        if self.plan.trains and not self.trained():
            check_media(*self._evaluated())

    def trained(self) -> bool:
        """Whether the folder holds a finished training stage."""
        return bool(Stage(self.folder, "train", {}).note())

    # -- stages ------------------------------------------------------------------------------

    def train(self) -> Path | None:
        """The training stage: weights in the run folder, or None for runs without one."""
        if not self.plan.trains:
            return None
        split, files = self.training.split(), self.files()
        records = check_media(self._read(split, self.plan.data.limit, files), files)
        log.info("%s", coverage(self.benchmark, records, self.model.options))
        settings = replace(self.plan.train, seed=self.plan.seed)
        # How the model is spread over processes changes no result.
        decisive = {name: v for name, v in settings.to_dict().items() if name != "shard"}
        stage = Stage(self.folder, "train", {
            "benchmark": [self.benchmark.name, self.benchmark.version], "split": split,
            "data": fingerprint(records), "weights": self.model.source(),
            "model": self.model.shape(), "train": decisive, "options": self.model.options,
            "code": FORMAT,
        }, self.model.former_source)  # fmt: skip
        out = self.folder / "model.safetensors"
        if stage.finished() and out.is_file():
            log.info("%s: trained already", self.folder)
            return out
        training = self.training.of_training(records, self._evaluated()[0])
        task = self.model.task(None)
        task.model.train()
        about = {name: value for name, value in stage.key.items() if name != "train"}
        result, unreadable = self._fit(task, records, settings, about)
        if result.finished and distributed.is_main():
            made = {"trained_on": f"{self.benchmark.name}:{split}"}
            checkpoint.save(task.model, out, tokenizer=task.tokenizer.to_json(), extra=made)
            stage.finish(
                seconds=result.seconds, steps=result.step, best=result.best,
                skipped=[*files.skipped, *unreadable], training=training,
            )  # fmt: skip
        distributed.barrier()
        if result.stop is not None:
            raise result.stop
        return out

    def _fit(
        self, task: Task, records: Sequence[Record], settings: TrainConfig, about: Mapping[str, Any]
    ) -> tuple[TrainResult, list[dict[str, str]]]:
        """The result of training, and the records no process could read, each once. about: what
        else decides it; a state of other data or weights is not gone on from."""
        source = RecordSource(
            task, records, settings, frames=self.plan.model.frames,
            on_error=self.plan.data.on_error,
        )  # fmt: skip
        steps = settings.steps
        if steps is None:
            assert settings.epochs is not None
            steps = max(1, round(settings.epochs * source.steps_per_epoch))
        result = train(
            task, source, settings, self.folder, total_steps=steps, about=about, log=log.info,
            validate=self._validation(task) if settings.eval_every else None,
            higher_is_better=self.benchmark.headline not in self.benchmark.lower_is_better,
        )  # fmt: skip
        shares = distributed.all_gather_objects(source.skipped)
        return result, list({row["id"]: row for share in shares for row in share}.values())

    def _validation(self, task: Task) -> Callable[[], float] | None:
        """The headline metric on the validation split, to select weights by; test stays unseen."""
        split = self.benchmark.first("validation")
        if not split:
            name = self.benchmark.name
            log.warning("%s has no validation split: train.eval_every is of no effect", name)
            return None
        records = self._read(split, self.plan.data.limit)

        def validate() -> float:
            out = self.folder / "validation.jsonl"
            _, skipped = self.asking.write(out, task, records)
            value = self._scores(without(records, skipped), out)[self.benchmark.headline].value
            distributed.barrier()  # every process has read it
            if distributed.is_main():
                out.unlink()
            if value is None:
                raise DataError(f"{self.benchmark.headline} is undefined on {split}")
            return value

        return validate

    def predict(self, weights: Path | None = None) -> Path:
        """The prediction stage: predictions.jsonl of the evaluated split."""
        split = self.plan.test_split()
        records, files = self._evaluated()
        source = self.model.source(weights)
        settings = replace(self.plan.predict, cache="", workers=0).to_dict()
        settings.pop("batch_size")
        stage = Stage(self.folder, "predict", {
            "benchmark": [self.benchmark.name, self.benchmark.version], "split": split,
            "data": fingerprint(records), "weights": source, "model": self.model.shape(),
            "predict": settings, "options": self.model.options, "code": FORMAT,
        }, lambda: self.model.former_source(weights))  # fmt: skip
        out = self.folder / "predictions.jsonl"
        noted = stage.finished()
        if noted and out.is_file() and sha256(out) == noted["sha256"]:
            log.info("%s: predicted already", self.folder)
            return out
        started = time.monotonic()
        for note in files.notes:
            log.warning("%s", note)
        task = self.model.task(weights)
        kept = check_media(records, files)
        there = {record.id for record in kept}
        missing = [
            {"id": record.id, "source": record.source, "reason": "its image or video is missing"}
            for record in records
            if record.id not in there
        ]
        count, unreadable = self.asking.write(out, task, kept, [stage.key, fingerprint(kept)])
        if distributed.is_main():
            model = self.model.describe(task, source, weights is not None)
            watched = self.benchmark.media == "video"
            video = {**decoder_info(), "frames": self.plan.model.frames} if watched else None
            stage.finish(
                seconds=time.monotonic() - started, sha256=sha256(out), count=count,
                skipped=[*missing, *unreadable], model=model, video=video,
                waited=self.asking.waited,
            )  # fmt: skip
        distributed.barrier()
        return out

    def score(self) -> ResultRecord:
        """The scoring stage: record.json out of predictions.jsonl. Needs no model."""
        split = self.plan.test_split()
        records, files = self._evaluated()
        noted = Stage(self.folder, "predict", {}).note()
        tuned = Stage(self.folder, "train", {}).note()
        records = without(records, noted["skipped"])
        started = time.monotonic()
        scores = {self.benchmark.headline: Measure(None, 0, None, "for the server: x2vlm submit")}
        if self.benchmark.split(split).scored:
            scores = self._scores(records, self.folder / "predictions.jsonl")
        training = self.training.behind(records)
        record = ResultRecord(
            benchmark=self.benchmark.name, benchmark_version=self.benchmark.version, split=split,
            protocol=self.plan.told_protocol + self.training.mark(training), metrics=scores,
            headline=self.benchmark.headline, training=training,
            n=len(records), limit=self.plan.data.limit, seed=self.plan.seed,
            model=self.model.facts(noted["model"]),
            predictions={
                "file": "predictions.jsonl", "sha256": noted["sha256"],
                "count": noted["count"],
            },
            config=self.plan.to_dict(), revision=revision(), packages=packages(),
            hardware=hardware(self.model.device.type, device_name(self.model.device)),
            created=datetime.now(UTC).isoformat(timespec="seconds"), suite=self.plan.suite,
            lower_is_better=tuple(sorted(self.benchmark.lower_is_better)),
            chance=chance_levels(self.plan), perfect=self.benchmark.perfect,
            floor=floor_of(self.plan, scores[self.benchmark.headline]),
            seconds={
                "train": tuned.get("seconds", 0.0),
                "predict": noted["seconds"], "waiting for data": noted.get("waited", 0.0),
                "score": time.monotonic() - started,
            },
            skipped=(*files.skipped, *noted["skipped"]), video=noted["video"],
            data={"fingerprint": fingerprint(records), "notes": files.notes,
                  **trained_on(tuned),
                  "partial": {role: path.name for role, path in files.partial().items()},
                  "missing_languages": missing_languages(self.benchmark, split, records)},
        )  # fmt: skip
        record = replace(record, identity=identity(record))
        record.write(self.folder / "record.json")
        remember(replace(record, path=str(self.folder / "record.json")))
        return record

    def _scores(self, records: Sequence[Record], path: Path) -> Scores:
        rows = predictions.stream(path, self.benchmark.task)
        labels = class_names(self.benchmark, self.files())
        limited = self.plan.data.limit is not None
        return score_split(
            self.benchmark, records, rows, labels=labels, limited=limited, **self.plan.scoring
        )


def run(plan: Plan) -> ResultRecord:
    """All stages of one plan; finished ones are reused. Returns the record (also in the folder)."""
    revision()  # of the code that runs: it may be edited while the run trains
    work = Run(plan, data_root(plan))
    work.check()
    with owned(work.folder):
        weights = work.train()
        work.predict(weights)
        return work.score()
