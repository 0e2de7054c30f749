"""`python -m tests.stoppable FOLDER SECONDS`: the toy trained behind the door, in slow steps.

For tests that send signals, alone or under torchrun. Every step is printed as it begins.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests import toy
from x2vlm import cli, distributed
from x2vlm.config import TrainConfig
from x2vlm.locking import owned
from x2vlm.train.trainer import train
from x2vlm.types import Batch

TOTAL = 8
CONFIG = TrainConfig(steps=TOTAL, batch_size=6, lr=3e-3, drop_path=0.2, log_every=1, save_every=500)


class Slow(toy.Batches):
    """Batches that have to be waited for."""

    def __iter__(self) -> Iterator[list[Batch]]:
        for batches in super().__iter__():
            if distributed.is_main():
                print("step", self.step, flush=True)
            time.sleep(float(sys.argv[2]))
            yield batches


def command(_: list[str]) -> int:
    folder = Path(sys.argv[1])
    with distributed.processes(), owned(folder):
        result = train(toy.task(), Slow(), CONFIG, folder, total_steps=TOTAL, log=print)
        if result.stop is not None:
            raise result.stop
    return 0


if __name__ == "__main__":
    cli.COMMANDS["train"] = cli.Command("", "", "stoppable:command")
    sys.modules["x2vlm.cli.stoppable"] = sys.modules["__main__"]
    sys.exit(cli.main(["train"]))
