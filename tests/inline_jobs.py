"""Jobs of the suite and the ablation in this process, one after another, for speed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout

from x2vlm.cli import main
from x2vlm.cli.jobs import Job


def run_here(jobs: Sequence[Job], _: int) -> list[Job]:
    """Stands in for `run_jobs`; the jobs that failed."""
    failed = []
    for job in jobs:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("w", encoding="utf-8") as log, redirect_stdout(log):
            failed += [job] if main(list(job.words)) else []
    return failed
