"""Pre-training data as a `Source`: several streams, each with its kind, mixed in every step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from x2vlm import distributed
from x2vlm.data.concepts import Parser
from x2vlm.data.streams import Stream, StreamLoader
from x2vlm.errors import ConfigError
from x2vlm.tasks.pretraining_data import Collate
from x2vlm.types import Batch
from x2vlm.writing import write_atomically


@dataclass(frozen=True)
class Part:
    """One stream of a mixture.

    batch_size: rows (images, not concepts) per step over all processes. choice: parts that name
    the same one take turns, in the ratio of their shares, such as clean and noisy images; where
    the shares add up to less than 1, the rest of the steps has none of them. Parts without a
    choice take part in every step. start: step from which it takes part; until then its rivals have
    its turns. workers: processes that decode this part.
    """

    stream: Stream
    parse: Parser
    collate: Collate
    batch_size: int
    choice: str = ""
    share: float = 1.0
    workers: int = 0
    max_bad: float = 0.01
    start: int = 0


def _check_negatives(name: str, part: Part, rows: int) -> None:
    """ConfigError for a stream of pairs whose forward passes see one row, without negatives."""
    seen = rows * distributed.world() if part.collate.negatives == "all" else rows
    if part.collate.negatives and seen < 2:
        raise ConfigError(
            f"stream {name}: with batch_size={part.batch_size}, {distributed.world()} processes "
            f"and train.micro_batch every forward pass sees {rows} row, which has no negatives: "
            "contrastive and matching losses would teach nothing\n"
            f"  to do: raise pretrain.streams.{name}.batch_size or train.micro_batch"
        )


class MixedSource:
    """Steps that mix one batch of each part. Exactly resumable, whatever the workers prefetch.

    parts: by name. micro_batch: most rows of a part per forward pass; 0: all of the process's.
    matching_until: optimiser step from which matching is left out; 0: never.
    Raises ConfigError when a batch does not divide among processes and micro-batches, or a step
    may be left without any.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        *,
        seed: int,
        micro_batch: int = 0,
        matching_until: int = 0,
    ) -> None:
        self.parts, self.seed, self.matching_until = dict(parts), seed, matching_until
        self.step = 0
        self._pieces: dict[str, int] = {}
        self._turns = self._take_turns()
        self.loaders: dict[str, StreamLoader] = {}
        for name, part in self.parts.items():
            share, rest = divmod(part.batch_size, distributed.world())
            pieces = -(-share // (micro_batch or share)) if share else 0
            if rest or not share or share % pieces:
                raise ConfigError(
                    f"stream {name}: batch_size={part.batch_size} does not divide into "
                    f"{distributed.world()} processes and micro-batches of {micro_batch or share}"
                )
            _check_negatives(name, part, share // pieces)
            self._pieces[name] = pieces
            self.loaders[name] = StreamLoader(
                part.stream,
                part.parse,
                part.collate,
                share // pieces,
                workers=part.workers,
                max_bad=part.max_bad,
            )

    @property
    def steps_per_epoch(self) -> int:
        """0: streams have no common epoch."""
        return 0

    def __iter__(self) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each further step, without end."""
        readers: dict[str, Iterator[Batch]] = {}
        while True:
            batches = []
            for name in self._taking_part():
                # Started when first needed: a stream that never takes its turn starts no workers.
                reader = readers.setdefault(name, iter(self.loaders[name]))
                batches += [next(reader) for _ in range(self._pieces[name])]
            if 0 < self.matching_until <= self.step:
                for batch in batches:
                    batch.target["matching"] = False
            self.step += 1
            yield batches

    def _take_turns(self) -> list[dict[str, float]]:
        """For each choice: its parts, and how often each has its turn ("": nobody has)."""
        rivals: dict[str, dict[str, float]] = {}
        for name, part in self.parts.items():
            share = part.share if part.choice else 1.0
            rivals.setdefault(part.choice or f"always {name}", {})[name] = share
        turns = list(rivals.values())
        for turn in turns:
            total = sum(turn.values())
            if total < 1 - 1e-6:
                turn[""] = 1 - total
        if not any("" not in turn and self._started(turn, 0) for turn in turns):
            raise ConfigError(
                "a step may be left without any stream: the shares of every choice add up to less "
                "than 1, or start later\n  to do: let one stream take part always, without a choice"
            )
        return turns

    def _started(self, turn: Mapping[str, float], step: int) -> dict[str, float]:
        """What of a choice takes part at a step."""
        return {n: share for n, share in turn.items() if not n or self.parts[n].start <= step}

    def _taking_part(self) -> list[str]:
        """Names of the parts of this step, the same on every process."""
        rng = np.random.default_rng((self.seed, self.step))
        chosen = []
        for turn in self._turns:
            if started := self._started(turn, self.step):
                shares = np.array(list(started.values()))
                chosen.append(list(started)[int(rng.choice(len(started), p=shares / shares.sum()))])
        return [name for name in chosen if name]

    def write_report(self, folder: Path) -> None:
        """What this process has read so far, rows that were bad by name: FOLDER/rows.json, of
        further processes rows-RANK.json."""
        rank, rows = distributed.rank(), {n: asdict(one.report) for n, one in self.loaders.items()}
        path = folder / (f"rows-{rank}.json" if rank else "rows.json")
        write_atomically(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")

    def state_dict(self) -> dict[str, Any]:
        """Position after the last step handed out."""
        streams = {name: loader.state_dict() for name, loader in self.loaders.items()}
        return {"step": self.step, "streams": streams}

    def load_state_dict(self, position: Mapping[str, Any]) -> None:
        """Go there; ConfigError when the streams are others."""
        if set(position["streams"]) != set(self.parts):
            raise ConfigError(
                f"saved with streams {sorted(position['streams'])}, now {sorted(self.parts)}"
            )
        self.step = int(position["step"])
        for name, state in position["streams"].items():
            self.loaders[name].load_state_dict(state)

    def halve(self) -> bool:
        """Cut the micro-batches in two, those of one row excepted; False when all are."""
        cut = [name for name, loader in self.loaders.items() if loader.batch_size % 2 == 0]
        for name in cut:
            self.loaders[name].batch_size //= 2
            self._pieces[name] *= 2
        return bool(cut)
