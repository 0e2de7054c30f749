"""Predictions on their way to the file: from any number of processes, killed or not, row by row."""

import contextlib
import logging
import re
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.asking import Asking, unfinished
from benchmarks.base import Benchmark
from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.predictions import read, stream
from benchmarks.score import score_split
from tests import processes, synthetic_runs
from x2vlm import distributed
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.data.image import Sample
from x2vlm.errors import MediaError
from x2vlm.tasks.base import silent
from x2vlm.types import Batch, Prediction, Record


class Answers:
    """Answers with the number of the batch's first record; may be killed, may meet bad records."""

    def __init__(self, kill_after: int | None = None, bad: Sequence[str] = ()) -> None:
        self.kill_after, self.bad, self.asked = kill_after, bad, []
        self.progress, self.cache = silent, ""

    def transform(self, train: bool) -> Any:
        del train

        def prepare(record: Record, *_: object) -> Sample:
            if record.id in self.bad:
                raise MediaError("cannot be read", source=record.id)
            return Sample(record, ())

        return prepare

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        del train
        return Batch(tuple(sample.record.id for sample in samples))

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        for batch in loader:
            for id_ in batch.ids:
                if len(self.asked) == self.kill_after:
                    raise KeyboardInterrupt
                self.asked.append(id_)
                yield {"id": id_, "answer": f"{batch.ids[0]} of {len(batch.ids)}"}


class Rankings(Answers):
    """Ranks `k` candidates for every query of its share; rows are made as they are asked for."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def predict(self, loader: Any) -> Iterator[Prediction]:
        names = [record.id for record in loader.records]
        for n, name in enumerate(names):
            listed = [
                (f"t{(n + shift) % len(names)}", 0.5 / (1 + shift)) for shift in range(self.k)
            ]
            yield {"id": name, "ranking": {"text": [[text, score] for text, score in listed]}}


def asking(task: Any, **changes: Any) -> Asking:
    data = DataConfig(on_error=changes.pop("on_error", "raise"))
    plan = Plan(
        "vqav2", ModelChoice(), data, TrainConfig(steps=1), PredictConfig(batch_size=3, **changes)
    )
    model: Any = SimpleNamespace(autocast=contextlib.nullcontext)
    return Asking(plan, synthetic_runs.make_benchmark(task), model)


RECORDS = [Record(str(n), (), ("?",)) for n in range(20)]


def answered(folder: Path, kill_after: int | None, key: Any, bad: Sequence[str]) -> Any:
    """(asked, count, skipped) of this process; rank 1 alone is killed."""
    task = Answers(kill_after if distributed.rank() == distributed.world() - 1 else None, bad)
    made: Any = task
    try:
        found = asking("answering", on_error="skip").write(
            folder / "predictions.jsonl", made, RECORDS, key
        )
    except KeyboardInterrupt:
        return task.asked, None, None
    return task.asked, *found


@pytest.mark.parametrize("world", [1, 2, 3])
def test_rows_come_in_the_order_of_the_records_from_any_number_of_processes(
    world: int, tmp_path: Path
) -> None:
    results = processes.run(answered, world, tmp_path / "all", tmp_path, None, 1, ("5", "18"))
    rows = read(tmp_path / "predictions.jsonl", "answering")
    assert [row["id"] for row in rows] == [r.id for r in RECORDS if r.id not in ("5", "18")]
    for _, count, skipped in results:
        assert count in (18, 0)  # the main process knows
        assert [item["id"] for item in skipped] == ["5", "18"]
    assert results[0][1] == 18
    assert not (tmp_path / "predictions.part").exists()


def test_a_killed_process_asks_only_what_is_missing_and_cuts_batches_as_before(
    tmp_path: Path,
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    answered(whole, None, "a", ())
    assert answered(broken, 10, "a", ())[1] is None
    assert not (broken / "predictions.jsonl").exists()
    (part,) = (broken / "predictions.part").iterdir()
    with part.open("a") as file:
        file.write('{"id": "10", "answ')
    asked, count, _ = answered(broken, None, "a", ())
    assert (asked, count) == ([str(n) for n in range(9, 20)], 20)
    names = [folder / "predictions.jsonl" for folder in (whole, broken)]
    assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize(("then", "now"), [("a", "b"), ("a", None), (None, None)])
def test_rows_made_from_something_else_are_thrown_away(then: Any, now: Any, tmp_path: Path) -> None:
    answered(tmp_path, 10, then, ())
    asked, count, _ = answered(tmp_path, None, now, ())
    assert (len(asked), count) == (20, 20)


def test_complete_shares_are_put_together_without_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("benchmarks.asking.merge", killed)
        assert answered(tmp_path, None, "a", ())[1] is None
    assert answered(tmp_path, None, "a", ()) == ([], 20, [])


def test_only_whole_batches_are_finished() -> None:
    done = {(name, "") for name in ("0", "1", "2", "3", "5", "18", "19")}
    left = unfinished(RECORDS, 3, done)
    assert [r.id for r in left] == [str(n) for n in range(3, 18)]  # the last is a short one


def ranked(path: Path, queries: int, k: int) -> tuple[int, int]:
    """Peak bytes while rankings of `queries` are written, and while they are scored."""
    records = [Record(f"i{n}", (), ("",), {"text_ids": [f"t{n}"]}) for n in range(queries)]
    task: Any = Rankings(k)
    ask = asking("retrieval")
    benchmark: Benchmark = ask.benchmark

    def peak(work: Any) -> tuple[int, Any]:
        tracemalloc.start()
        try:
            result = work()
            return tracemalloc.get_traced_memory()[1], result
        finally:
            tracemalloc.stop()

    written, _ = peak(lambda: ask.write(path, task, records))
    scored, scores = peak(lambda: score_split(benchmark, records, stream(path, "retrieval")))
    assert scores["text_r1"].value == 100.0
    return written, scored


def test_memory_does_not_grow_with_the_rankings(tmp_path: Path) -> None:
    """300 queries × 300 candidates as Python objects are 12 MB; with 10 candidates 0.4 MB."""
    short = ranked(tmp_path / "short.jsonl", 300, 10)
    long = ranked(tmp_path / "long.jsonl", 300, 300)
    sizes = [(tmp_path / name).stat().st_size for name in ("short.jsonl", "long.jsonl")]
    assert sizes[1] > 20 * sizes[0]
    for stage, few, many in zip(("written", "scored"), short, long, strict=True):
        assert many - few < 1_000_000, stage


def test_the_share_of_waiting_for_pictures_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Answers):
        def transform(self, train: bool) -> Any:
            prepare = super().transform(train)

            def slowly(record: Record, *rest: object) -> Sample:
                time.sleep(0.005)
                sample: Sample = prepare(record, *rest)
                return sample

            return slowly

    task: Any = Slow()
    with caplog.at_level(logging.INFO, "x2vlm"):
        asking("answering").write(tmp_path / "predictions.jsonl", task, RECORDS)
    (told,) = [text for text in caplog.messages if "waiting for pictures" in text]
    share = re.fullmatch(r"20 records asked in [\d.]+ s, (\d+) % of it .*workers=0\)", told)
    assert share is not None
    assert 50 <= int(share[1]) <= 100
