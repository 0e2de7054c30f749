"""Runs on a cluster: the command line is handed to SLURM by submitit (extra `cluster`).

A job that is preempted or out of time hands SIGTERM on to the command, which saves its state; the
job is queued again, and the same command resumes where it stood.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2vlm.errors import ConfigError
from x2vlm.stopping import EXIT_CODES


@dataclass
class Command:
    """`x2vlm ARGV` as a job. processes: per node; above one, or on several nodes, by torchrun."""

    argv: tuple[str, ...]
    processes: int = 1
    nodes: int = 1
    child: int = 0
    """process id while the command runs"""

    def words(self) -> list[str]:
        """The command line; on a node of several it also says where they meet."""
        if self.processes == 1 and self.nodes == 1:
            return [sys.executable, "-m", "x2vlm", *self.argv]
        meeting = ["--standalone"]
        if self.nodes > 1:
            from submitit.helpers import TorchDistributedEnvironment

            first = TorchDistributedEnvironment()
            meeting = [
                "--rdzv-backend=c10d",
                f"--rdzv-endpoint={first.master_addr}:{first.master_port}",
            ]
        return [
            sys.executable, "-m", "torch.distributed.run", *meeting, f"--nnodes={self.nodes}",
            f"--nproc-per-node={self.processes}", "-m", "x2vlm", *self.argv,
        ]  # fmt: skip

    def __call__(self) -> int:
        """Run it to the end; the exit status. RuntimeError on any but 0 and those of a stop."""
        with subprocess.Popen(self.words()) as process:
            self.child = process.pid
            status = process.wait()
        self.child = 0
        if status not in (0, *EXIT_CODES):
            raise RuntimeError(f"x2vlm {' '.join(self.argv)} ended with status {status}")
        return status

    def checkpoint(self) -> Any:
        """Called by submitit before the job is queued again: let the command save, then repeat."""
        from submitit.helpers import DelayedSubmission

        if self.child:
            os.kill(self.child, signal.SIGTERM)
            # Not Popen.wait: `__call__` is inside it, and this runs in a signal handler.
            os.waitpid(self.child, 0)
        return DelayedSubmission(Command(self.argv, self.processes, self.nodes))


def submit(
    argv: Sequence[str], folder: Path, executor: str = "slurm", processes: int = 1, **slurm: Any
) -> Any:
    """Queue `x2vlm ARGV`; returns submitit's job, whose logs are in folder/jobs.

    executor: "slurm", or "local" for this machine. processes: GPUs of each node. slurm: submitit's
    parameters, such as nodes=2, timeout_min=1440, slurm_partition="gpu".
    Raises ConfigError when submitit or the executor is missing, or a parameter is unknown.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigError("launcher=submitit needs: pip install 'x2vlm[cluster]'") from error
    if executor not in ("slurm", "local"):
        raise ConfigError(f"no executor {executor!r}; there are slurm and local")
    try:
        queue = submitit.AutoExecutor(folder=folder / "jobs", cluster=executor)
        queue.update_parameters(name="x2vlm", **slurm)
    except (RuntimeError, NameError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{error}\n  to do: submit on a machine with SLURM's srun, with submitit's parameters "
            "(executor=local runs here)"
        ) from error
    return queue.submit(Command(tuple(argv), processes, int(slurm.get("nodes", 1))))
