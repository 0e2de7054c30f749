"""Runs a function in several processes joined by gloo on the CPU, as torchrun would."""

from __future__ import annotations

import faulthandler
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from x2vlm import distributed

PRELOADED = ["tests.pretraining_world", "tests.toy", "x2vlm.train.trainer"]


def run(function: Callable[..., Any], world: int, folder: Path, *args: Any) -> list[Any]:
    """`function(*args)` in `world` processes; its results by rank. One: in this process.

    The function is found by its name in the others: not one made inside a test.
    """
    if world == 1:
        return [function(*args)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    # Forked, as importing torch anew takes longer than the tests; but from a server that has only
    # imported: a fork of this process would share the locks and thread pools of what it has run.
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    multiprocessing.start_processes(
        _enter, (function, world, port, folder, args), nprocs=world, start_method="forkserver"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world)]


def _enter(
    rank: int, function: Callable[..., Any], world: int, port: int, folder: Path, args: Any
) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    faulthandler.enable()
    torch.set_num_threads(1)
    with distributed.processes():
        torch.save(function(*args), folder / f"{rank}.pt")
