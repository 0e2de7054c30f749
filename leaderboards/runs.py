"""Run folders opened again: the record, what was asked and answered, how each answer scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import predictions
from benchmarks.base import Benchmark
from benchmarks.metrics.attributes import average_precision, by_box
from benchmarks.metrics.stats import clusters, resamples
from benchmarks.per_sample import SampleScores, per_sample
from benchmarks.plan import ModelChoice, Plan
from benchmarks.recompute import hash_fault, metrics_fault, remember, remembered
from benchmarks.record import ResultRecord
from benchmarks.records import load_records, without
from benchmarks.score import numbered
from leaderboards.aggregate import find_records
from leaderboards.compare import Comparison, bootstrap_p, compare_scores, with_holm
from leaderboards.row_names import names_of
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.errors import ConfigError, Error, PredictionError, RecordError
from x2vlm.types import Prediction, Record

DataRoot = Callable[[Plan], Path]
"""Plan -> the folder its data is in (`benchmarks.run.data_root`, which needs torch)."""


@dataclass(frozen=True)
class Run:
    """One evaluated run. samples and rows belong together as the scorer needs them; labels: names
    of the classes or candidate answers. name: the folder's, longer where another run has the same.
    model: what tables call its model (row_names.py). roots: the folders of its data, outside of
    which no picture is shown; None: the samples were made by the caller, who is trusted."""

    name: str
    record: ResultRecord
    benchmark: Benchmark
    samples: Sequence[Record]
    rows: Sequence[Prediction]
    labels: Sequence[str] = ()
    folder: Path | None = None
    model: str = ""
    roots: tuple[Path, ...] | None = None

    def scores(self) -> list[SampleScores]:
        """The score of every sample."""
        return per_sample(self.benchmark, self.samples, self.rows)


def slug(name: str) -> str:
    """A name fit for a file: a user's own benchmark may be called "file.py:NAME"."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def open_runs(paths: Sequence[Path], data_root: DataRoot) -> list[Run]:
    """`open_run` of each, told apart."""
    return told_apart([open_run(path, data_root) for path in paths])


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The same runs with another name for each, as texts and as file names: the end of its folder's
    path that no other has, numbered where there is none; and with what tables call their models."""
    names, folders = [run.name for run in runs], [_folder_parts(run) for run in runs]
    for count in range(2, max(map(len, folders), default=0) + 1):
        taken = Counter(slug(name).lower() for name in names)
        names = [
            "/".join(folder[-count:]) if folder and taken[slug(name).lower()] > 1 else name
            for name, folder in zip(names, folders, strict=True)
        ]
    used: set[str] = set()
    for place, name in enumerate(names):
        numbered = (f"{name}-{number}" for number in range(2, len(names) + 2))
        names[place] = next(n for n in (name, *numbered) if slug(n).lower() not in used)
        used.add(slug(names[place]).lower())
    models = names_of([run.record for run in runs])
    return [
        replace(run, name=name, model=model)
        for run, name, model in zip(runs, names, models, strict=True)
    ]


def _folder_parts(run: Run) -> tuple[str, ...]:
    folder = Path(run.record.path).parent if run.record.path else run.folder
    return () if folder is None else tuple(part for part in folder.parts if part != folder.anchor)


def open_run(path: Path, data_root: DataRoot) -> Run:
    """Read one run folder (or its record.json) and the data it was evaluated on.

    What the record names is only looked up: a benchmark in a Python file must have been named by
    the user (`benchmarks.registry.get`), and the predictions lie in the run folder. RecordError
    otherwise.
    """
    (path,) = find_records([path])
    record = ResultRecord.read(path)
    plan = plan_of(record)
    benchmark = plan.value()
    if benchmark.name != record.benchmark:
        raise RecordError(
            f"{path}: the record is of {record.benchmark!r}, but its settings name "
            f"{plan.benchmark!r}, which is {benchmark.name!r}\n"
            "  to do: name the benchmark it was made with (benchmark=FILE.py:NAME), or run it again"
        )
    files = plan.files(data_root(plan))
    samples = load_records(benchmark, files, record.split, plan.languages or None, record.limit)
    samples = without(samples, record.skipped)
    named = benchmark.labels is not None and benchmark.task in ("classification", "attributes")
    labels = list(benchmark.labels(files)) if benchmark.labels and named else []
    altered, scored = hash_fault(record), record.predictions_path()
    assert scored is not None  # the record was read
    rows = predictions.read(scored, benchmark.task)
    joined, _ = predictions.join(benchmark.task, samples, rows)
    if not altered and not remembered(record):
        altered = metrics_fault(record, plan, benchmark, files, samples, rows)
        if not altered:
            remember(record)
    record = replace(record, altered=altered)
    if benchmark.task == "classification":
        joined = numbered(joined, labels)
    (model,) = names_of([record])
    roots = (files.root, *(files.root / given for given in files.given.values()))
    name = path.resolve().parent.name
    return Run(name, record, benchmark, samples, joined, labels, path.parent, model, roots)


def recomputed(
    records: Sequence[ResultRecord], data_root: DataRoot
) -> tuple[list[ResultRecord], list[str]]:
    """The same records, marked as altered where their predictions give other numbers; and why
    others could not be recomputed here: predictions or data that are on another machine."""
    found, unknown = [], []
    for record in records:
        path = record.predictions_path()
        if path is None or not path.is_file():
            unknown.append(f"{record.path}: no {record.predictions.get('file')} beside it")
        elif not record.altered and not remembered(record):
            try:
                record = open_run(Path(record.path), data_root).record
            except PredictionError as error:
                record = replace(record, altered=str(error).partition("\n")[0])
            except Error as error:
                unknown.append(f"{record.path}: {str(error).partition(chr(10))[0]}")
        found.append(record)
    return found, unknown


def unaltered(runs: Sequence[Run]) -> Sequence[Run]:
    """The same runs; RecordError when the predictions of one contradict its record."""
    for run in runs:
        if run.record.altered:
            raise RecordError(
                f"{run.record.path}: altered: {run.record.altered}\n"
                "  to do: get the whole run folder again, or score its predictions: x2vlm score"
            )
    return runs


def plan_of(record: ResultRecord) -> Plan:
    """The plan a record was made by, from its resolved settings. RecordError when this version does
    not know them, or its benchmark is code that the user has not named."""
    config = dict(record.config)
    try:
        config["model"] = ModelChoice.from_dict(config.get("model", {}))
        config["data"] = DataConfig.from_dict(config.get("data", {}))
        config["train"] = TrainConfig.from_dict(config.get("train", {}))
        config["predict"] = PredictConfig.from_dict(config.get("predict", {}))
        plan = Plan.from_dict(config)
    except ConfigError as error:
        raise RecordError(
            f"{record.path or 'record'}: its settings are not those of this version: {error}\n"
            "  to do: run it again, or use the version that made it"
        ) from error
    try:
        plan.value()
    except ConfigError as error:
        raise RecordError(f"{record.path or 'record'}: {error}") from error
    return plan


def compare_runs(
    groups: Sequence[Sequence[Run]], names: Sequence[str] = (), seed: int = 0
) -> list[Comparison]:
    """Every pair of groups on every benchmark they share, corrected together.

    A group is one side: a run, or the runs of one model over many benchmarks. names: of the groups;
    by default a lone run's own, else A, B, C. RecordError when two groups share nothing, a group
    holds two runs of one split, or a shared split was read from different data.
    """
    flat = iter(told_apart([run for group in groups for run in group]))
    groups = [[next(flat) for _ in group] for group in groups]
    called = list(names) or [
        group[0].name if len(group) == 1 else chr(ord("A") + place)
        for place, group in enumerate(groups)
    ]
    found = []
    for i, first in enumerate(groups):
        for j, second in enumerate(groups[i + 1 :], i + 1):
            pairs = _pairs(first, second)
            if not pairs:
                raise RecordError(
                    "the runs have no benchmark and split in common: "
                    f"{_what(first)} against {_what(second)}"
                )
            for a, b in pairs:
                found += _compare_pair(a, b, (called[i], called[j]), seed)
    return with_holm(found)


def _what(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.record.benchmark} {run.record.split}" for run in runs)


def _pairs(first: Sequence[Run], second: Sequence[Run]) -> list[tuple[Run, Run]]:
    ours, theirs = _by_split(first), _by_split(second)
    return [(ours[key], theirs[key]) for key in ours if key in theirs]


def _by_split(group: Sequence[Run]) -> dict[tuple[str, str, str], Run]:
    found: dict[tuple[str, str, str], Run] = {}
    for run in group:
        key = run.record.suite, run.record.benchmark, run.record.split
        if other := found.get(key):
            raise RecordError(
                f"{other.name} and {run.name} are both of {' '.join(key)}; "
                "one side of a comparison holds each split once: name the run that is meant"
            )
        found[key] = run
    return found


def _compare_pair(a: Run, b: Run, names: tuple[str, str], seed: int) -> list[Comparison]:
    if [sample.id for sample in a.samples] != [sample.id for sample in b.samples]:
        raise RecordError(
            f"{a.name} and {b.name} were evaluated on different samples of "
            f"{a.record.benchmark} {a.record.split} ({len(a.samples)} and {len(b.samples)}); "
            "evaluate both with the same limit and data"
        )
    if a.benchmark.task == "attributes":
        return [_compare_attributes(a, b, names, seed)]
    theirs = {one.metric: one for one in b.scores()}
    pairs = [(one, theirs[one.metric]) for one in a.scores() if one.metric in theirs]
    if not pairs:
        raise RecordError(
            f"{a.name} and {b.name} have no score of {a.record.benchmark} {a.record.split} in "
            "common: one ranks texts, the other images"
        )
    return [
        compare_scores(x, y, benchmark=a.benchmark.name, names=names, seed=seed) for x, y in pairs
    ]


def _compare_attributes(a: Run, b: Run, names: tuple[str, str], seed: int) -> Comparison:
    """mAP on the same resamples of images; flips are judged by each box's own ranking."""
    (boxes_a,), (boxes_b,) = a.scores(), b.scores()
    flips = compare_scores(boxes_a, boxes_b, benchmark=a.benchmark.name, names=names)
    groups = clusters(a.samples)
    counts_SN = resamples(len(groups), groups, samples=500, seed=seed)
    once = np.ones((1, len(groups)), dtype=np.int64)
    counts_NS = by_box(np.concatenate([once, counts_SN]))
    a_S, b_S = _maps(a, counts_NS), _maps(b, counts_NS)
    drawn_S = (b_S - a_S)[1:]
    low, high = np.quantile(drawn_S, [0.025, 0.975])
    return Comparison(
        a.benchmark.name, "map", *names, len(groups), len(set(groups)), float(a_S[0]),
        float(b_S[0]), float(b_S[0] - a_S[0]), float(low), float(high), "paired bootstrap",
        bootstrap_p(float(b_S[0] - a_S[0]), drawn_S), flips.gained, flips.lost,
    )  # fmt: skip


def _maps(run: Run, counts_NS: np.ndarray[tuple[int, int], np.dtype[np.int32]]) -> np.ndarray[
    tuple[int], np.dtype[np.float64]
]:  # fmt: skip
    """mAP in percent under each column of counts; attributes without a positive are left out."""
    labels_NA = np.array([sample.target["labels"] for sample in run.samples])
    scores_NA = np.array([row["scores"] for row in run.rows], dtype=np.float64)
    columns = []
    for labels_N, scores_N in zip(labels_NA.T, scores_NA.T, strict=True):
        known_N = labels_N >= 0
        present_N = labels_N[known_N] == 1
        if present_N.any():
            columns.append(average_precision(scores_N[known_N], present_N, counts_NS[known_N]))
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = 100 * np.nanmean(columns, axis=0)
    return found
