"""The paper's ablation (section 4.6): variants of a pre-training, fine-tuned, in one table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from leaderboards.aggregate import read_records
from leaderboards.board import ABLATION, BoardTable, boards_of
from leaderboards.export import to_csv, to_markdown
from x2vlm.cli.jobs import JOBS, Job, processes, run_jobs
from x2vlm.cli.suite import PREFIX, suite_names
from x2vlm.config import (
    DEVICE,
    LARGEST_SEED,
    MOST_STEPS,
    NAME,
    OUT,
    wrong_device,
)
from x2vlm.errors import unknown
from x2vlm.ranges import Problem, Setting, is_name
from x2vlm.settings import Settings
from x2vlm.writing import write_atomically

SHOWN = ("dirty", "limited")
"""flags of records that the table shows, each with its mark"""


@dataclass(frozen=True, slots=True)
class Variant(Settings):
    """One row of the table: what it changes, in arguments of the command line."""

    KEY: ClassVar[str] = "variant."

    pretrain: Annotated[tuple[str, ...], Setting("arguments of its pre-training")] = ()
    run: Annotated[tuple[str, ...], Setting("arguments of its fine-tuning and evaluation")] = ()
    benchmarks: Annotated[
        tuple[str, ...],
        Setting("evaluated on these of the ablation's only; empty: on all"),
    ] = ()
    places: Annotated[
        bool, Setting("whether it learns places; without them it needs no `places_first`")
    ] = True


@dataclass(frozen=True, slots=True)
class AblationPlan(Settings):
    """Variants by name, each pre-trained and fine-tuned with every seed."""

    KEY: ClassVar[str] = "ablation."

    variants: Annotated[Mapping[str, Variant], Setting("rows of the table by name", required=True)]
    pretrain: Annotated[str, Setting("experiment that pre-trains", required=True)]
    benchmarks: Annotated[
        tuple[str, ...],
        Setting("of the embedded suite", choices=tuple(suite_names()), required=True),
    ]
    seeds: Annotated[
        tuple[int, ...],
        Setting("of pre-training and fine-tuning alike", least=0, most=LARGEST_SEED, required=True),
    ]
    steps: Annotated[
        int | None,
        Setting("of pre-training; null: the experiment's own", "steps", least=1, most=MOST_STEPS),
    ] = None
    places_first: Annotated[
        int,
        Setting(
            "first steps of the pre-training in which nothing but places is learned",
            "steps",
            least=0,
            most=MOST_STEPS,
        ),
    ] = 0
    fine_tune_steps: Annotated[
        int | None,
        Setting(
            "of every fine-tuning; null: its experiment's own", "steps", least=1, most=MOST_STEPS
        ),
    ] = None
    jobs: Annotated[int | None, JOBS] = None
    out: Annotated[str, OUT] = "runs"
    name: Annotated[str, NAME] = "ablation"
    device: Annotated[str, DEVICE] = "auto"
    common: Annotated[tuple[str, ...], Setting("arguments of every command, such as data=DIR")] = ()

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another, and of names that become folders."""
        yield from wrong_device(self.device)
        known = suite_names()
        for name, variant in self.variants.items():
            if not is_name(name):
                yield Problem("ablation.variants", f"must be names of folders, got {name!r}")
            for benchmark in variant.benchmarks:
                if benchmark not in known:
                    key = f"ablation.variants.{name}.benchmarks"
                    yield Problem(key, unknown("benchmark of the suite", benchmark, known))
        if self.places_first and (self.steps is None or self.steps <= self.places_first):
            yield Problem(
                "ablation.steps",
                f"is {self.steps}, but the first {self.places_first} (ablation.places_first) are "
                "about places alone: give more",
            )

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return Path(self.out) / self.name

    def cells(self) -> list[tuple[str, int]]:
        """Every variant that is evaluated with every seed, one seed after another."""
        variants = [variant for variant in self.variants if self.evaluated(variant)]
        return [(variant, seed) for seed in self.seeds for variant in variants]

    def evaluated(self, variant: str) -> list[str]:
        """The benchmarks of a variant."""
        own = self.variants[variant].benchmarks
        return [name for name in self.benchmarks if not own or name in own]

    def pretraining(self, variant: str, seed: int) -> Job:
        """The job that writes FOLDER/VARIANT-sSEED.safetensors."""
        name = f"{_slug(variant)}-s{seed}"
        chosen = self.variants[variant]
        count = None if self.steps is None else self.steps - self.places_first * (not chosen.places)
        steps = () if count is None else (f"train.steps={count}",)
        return Job(f"pre-training {variant}, seed {seed}", (
            "train", f"experiment={self.pretrain}", f"seed={seed}", f"out={self.folder}",
            f"name={name}", f"device={self.device}", *steps, *chosen.pretrain, *self.common,
        ), self.folder / name / "console.txt")  # fmt: skip

    def run(self, variant: str, seed: int, benchmark: str) -> Job:
        """The job that fine-tunes and evaluates, in FOLDER/VARIANT-sSEED-BENCHMARK/."""
        name = f"{_slug(variant)}-s{seed}-{benchmark}"
        steps = () if self.fine_tune_steps is None else (f"train.steps={self.fine_tune_steps}",)
        return Job(f"{benchmark} {variant}, seed {seed}", (
            "run", f"experiment={PREFIX}{benchmark}", f"seed={seed}", f"out={self.folder}",
            f"name={name}", f"checkpoint={self.folder / f'{_slug(variant)}-s{seed}.safetensors'}",
            "model.seeded=true", f"model.pretraining={ABLATION} {variant}",
            f"device={self.device}", *steps,
            *self.variants[variant].run, *self.common,
        ), self.folder / name / "console.txt")  # fmt: skip


def _slug(variant: str) -> str:
    return variant.replace(" ", "-")


def ablation_plan(tree: Mapping[str, Any]) -> AblationPlan:
    """The plan of an ablation out of the composed tree."""
    values = dict(tree["ablation"])
    common = tuple(f"{name}={tree[name]}" for name in ("data", "limit") if tree[name])
    return AblationPlan.from_dict({
        **values, "out": tree["out"], "name": tree["name"], "device": tree["device"],
        "common": common,
    })  # fmt: skip


def ablate(plan: AblationPlan, words: Sequence[str]) -> int:
    """Pre-train, fine-tune and evaluate all variants, then write and print the table.

    Finished work is reused, so the same command goes on where it was. words: the command's, for
    the head of the table. Returns 1 when a job failed; what depends on it is left out.
    """
    if not plan.common:
        from benchmarks.mini.home import mini_root

        print(f"the embedded world: {mini_root(corpus=True)}", flush=True)
    count = plan.jobs or processes(plan.device)
    first = {plan.pretraining(*cell): cell for cell in plan.cells()}
    print(f"{len(first)} pre-trainings, {count} at a time, below {plan.folder}", flush=True)
    failed = run_jobs(list(first), count)
    runs = [
        plan.run(*cell, benchmark)
        for job, cell in first.items()
        if job not in failed
        for benchmark in plan.evaluated(cell[0])
    ]
    print(f"{len(runs)} fine-tunings and evaluations", flush=True)
    failed += run_jobs(runs, count)
    print(report(plan, words))
    for job in failed:
        print(f"\n{job.ending()}", file=sys.stderr)
    return 1 if failed else 0


def report(plan: AblationPlan, words: Sequence[str]) -> str:
    """Write ablation.md and ablation.csv of the records that are there; returns the Markdown."""
    table = _table(plan)
    if table is None:
        return "no record yet, so no table"
    steps = "" if plan.steps is None else f", {plan.steps} steps each"
    if plan.steps is not None and plan.places_first:
        steps += f" ({plan.steps - plan.places_first} where no places are learned)"
    tuned = "own" if plan.fine_tune_steps is None else f"{plan.fine_tune_steps} steps of"
    chance = [
        f"{column.benchmark} {column.metric} {column.scale * column.chance:.1f}"
        for column in table.columns
        if column.chance is not None
    ]
    text = "\n".join([
        "# Ablation of the pre-training", "",
        f"`x2vlm run {' '.join(words)}`", "",
        f"Pre-training by `{plan.pretrain}`{steps}; then every benchmark's {tuned} fine-tuning; "
        f"seeds {', '.join(map(str, plan.seeds))} for both. "
        f"Chance: {', '.join(chance) or 'unknown'}.",
        "", to_markdown(table),
    ])  # fmt: skip
    write_atomically(plan.folder / "ablation.md", text)
    write_atomically(plan.folder / "ablation.csv", to_csv(table))
    return f"{text}\nwritten: {plan.folder / 'ablation.md'}"


def _table(plan: AblationPlan) -> BoardTable | None:
    """The ablation board of this plan's records, its rows in the order of the variants."""
    jobs = [plan.run(*cell, name) for cell in plan.cells() for name in plan.evaluated(cell[0])]
    files = [job.log.with_name("record.json") for job in jobs]
    records = read_records([file for file in files if file.is_file()])
    order = [f"{ABLATION} {variant}" for variant in plan.variants]
    for table in boards_of(records, SHOWN):
        if table.board.ablation:
            rows = sorted(table.rows, key=lambda row: order.index(row.pretraining))
            return replace(table, rows=tuple(rows))
    return None
