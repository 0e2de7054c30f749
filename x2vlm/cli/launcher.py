"""Commands handed to a cluster: `launcher=submitit` queues them, each run as one job."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LAUNCHERS = ("submitit",)


def queue(command: str, words: Sequence[str], tree: dict[str, Any]) -> int:
    """Queue `x2vlm COMMAND WORDS` instead of running it here; says which job it is.

    tree: the composed settings; cluster holds the parameters of `x2vlm.train.launch.submit`, and
    the jobs' logs go to OUT/jobs. Raises ConfigError for an unknown parameter.
    """
    from x2vlm.train.launch import submit

    own = ("launcher=", "cluster.", "cluster=")
    # The job runs where it is started, even if an experiment's file names the launcher.
    argv = [command, *(word for word in words if not word.startswith(own)), "launcher="]
    job = submit(argv, Path(tree["out"]), **tree["cluster"])
    print(f"queued as job {job.job_id}: x2vlm {shlex.join(argv)}\n  log: {job.paths.stdout}")
    return 0
