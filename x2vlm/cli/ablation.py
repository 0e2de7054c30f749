"""The paper's ablation (section 4.6): variants of a pre-training, fine-tuned, in one table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leaderboards.aggregate import read_records
from leaderboards.board import ABLATION, BoardTable, boards_of
from leaderboards.export import to_csv, to_markdown
from x2vlm.cli.jobs import Job, processes, run_jobs
from x2vlm.cli.suite import PREFIX, suite_names
from x2vlm.config import Settings
from x2vlm.errors import ConfigError, unknown
from x2vlm.writing import write_atomically

SHOWN = ("dirty", "limited")
"""flags of records that the table shows, each with its mark"""


@dataclass(frozen=True, slots=True)
class Variant(Settings):
    """One row of the table: what it changes, in words of the command line."""

    pretrain: tuple[str, ...] = ()
    """of its pre-training"""
    run: tuple[str, ...] = ()
    """of its fine-tuning and evaluation"""
    benchmarks: tuple[str, ...] = ()
    """evaluated on these of the ablation's only; empty: on all"""
    places: bool = True
    """whether it learns places; without them it needs no `places_first`"""


@dataclass(frozen=True, slots=True)
class AblationPlan(Settings):
    """Variants by name, each pre-trained and fine-tuned with every seed."""

    variants: Mapping[str, Variant]
    pretrain: str
    """experiment that pre-trains"""
    benchmarks: tuple[str, ...]
    """of the embedded suite"""
    seeds: tuple[int, ...]
    steps: int | None = None
    """of pre-training; None: the experiment's own"""
    places_first: int = 0
    """first steps of the pre-training in which nothing but places is learned"""
    fine_tune_steps: int | None = None
    """of every fine-tuning; None: its experiment's own"""
    jobs: int | None = None
    """processes at a time; None: one per core, one on a GPU"""
    out: str = "runs"
    name: str = "ablation"
    device: str = "auto"
    common: tuple[str, ...] = ()
    """words of every command, such as data=DIR"""

    def __post_init__(self) -> None:
        known = suite_names()
        for name in {*self.benchmarks, *(b for v in self.variants.values() for b in v.benchmarks)}:
            if name not in known:
                raise ConfigError(unknown("benchmark of the suite", name, known))
        if self.places_first and (self.steps is None or self.steps <= self.places_first):
            raise ConfigError(
                f"ablation.steps is {self.steps}, but the first {self.places_first} "
                "(ablation.places_first) are about places alone: give more"
            )
        if not (self.variants and self.benchmarks and self.seeds):
            raise ConfigError("an ablation needs variants, benchmarks and seeds")

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
            "model.seeded=true",
            f"model.pretraining='{ABLATION} {variant}'", f"device={self.device}", *steps,
            *self.variants[variant].run, *self.common,
        ), self.folder / name / "console.txt")  # fmt: skip


def _slug(variant: str) -> str:
    return variant.replace(" ", "-")


def ablation_plan(tree: Mapping[str, Any]) -> AblationPlan:
    """The plan of an ablation out of the composed tree."""
    values = dict(tree["ablation"])
    variants = {name: Variant.from_dict(row) for name, row in values.pop("variants").items()}
    common = tuple(f"{name}={tree[name]}" for name in ("data", "limit") if tree[name])
    return AblationPlan.from_dict({
        **values, "variants": variants, "out": tree["out"], "name": tree["name"],
        "device": tree["device"], "common": common,
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
