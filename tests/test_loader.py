import itertools
import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from x2vlm.data.image import EvalTransform, Sample, TrainTransform
from x2vlm.data.loader import (
    TrainingLoader,
    costs,
    evaluation_loader,
    share_of,
    training_loader,
)
from x2vlm.errors import ConfigError, DataError, MediaError
from x2vlm.types import Batch, Media, Record


class Toy:
    """What a loader needs of a task."""

    def transform(self, train: bool) -> TrainTransform | EvalTransform:
        return TrainTransform(12) if train else EvalTransform(12)

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        images = [sample.images[0] for sample in samples]
        shared = sum(a is b for a, b in itertools.pairwise(images))
        target = {"shared": shared, "train": train}
        return Batch(tuple(s.record.id for s in samples), torch.stack(images), target=target)


class Blank(Toy):
    """As Toy, without pixels: for properties of order."""

    def transform(self, train: bool) -> "Blank":
        del train
        return self

    def __call__(self, record: Record, images: object, rng: np.random.Generator) -> Sample:
        del images
        return Sample(record, (torch.tensor(rng.random()),))


TASK = Toy()


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Seven images with three questions each."""
    found = []
    for i in range(7):
        pixels = np.random.default_rng(i).integers(0, 255, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        found += [
            Record(f"{i}:{q}", (Media(str(tmp_path / f"{i}.png")),), ("x" * (9 - i),),
                   source=f"questions.json:{3 * i + q}")
            for q in range(3)
        ]  # fmt: skip
    return found


def blanks(count: int) -> list[Record]:
    return [Record(str(i), (), ("x",)) for i in range(count)]


def take(loader: TrainingLoader, count: int) -> list[Batch]:
    iterator = iter(loader)
    batches = [next(iterator) for _ in range(count)]
    iterator.close()
    return batches


def same(ours: Sequence[Batch], theirs: Sequence[Batch]) -> bool:
    return all(
        a.ids == b.ids and torch.equal(a.image, b.image) for a, b in zip(ours, theirs, strict=True)
    )


# Evaluation


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_every_record_once_over_all_ranks(n: int, size: int, world: int) -> None:
    seen: list[str] = []
    for rank in range(world):
        loader = evaluation_loader(Blank(), blanks(n), batch_size=size, rank=rank, world=world)
        batches = list(loader)
        assert len(loader) == len(batches)
        seen += [index for batch in batches for index in batch.ids]
    assert seen == [record.id for record in blanks(n)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 200)), max_size=40), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_shares_cost_about_the_same(rows: list[tuple[int, int]], world: int) -> None:
    """rows: image and words of each question; images repeat where neighbours are of one."""
    asked = [
        Record(str(i), (Media(f"{image}.png"),), ("x " * words,))
        for i, (image, words) in enumerate(rows)
    ]
    shares = [share_of(asked, rank, world) for rank in range(world)]
    assert list(itertools.chain(*shares)) == asked
    cost = dict(zip([record.id for record in asked], costs(asked), strict=True))
    most = max(cost.values(), default=0.0)
    for share in shares:
        assert sum(cost[record.id] for record in share) <= sum(cost.values()) / world + most


def test_videos_cost_their_frames_and_images_are_paid_once() -> None:
    clip, photo = Media("a.mp4", "video"), Media("b.jpg")
    asked = [Record(str(i), (media,), ("what",)) for i, media in enumerate((clip, photo, photo))]
    video, image, again = costs(asked, frames=8)
    assert video - again == pytest.approx(8 * (image - again))
    assert image > again > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_keeps_order_and_shares_images(records: list[Record], workers: int) -> None:
    loader = evaluation_loader(TASK, records, batch_size=6, workers=workers)
    batches = list(loader)
    assert [i for batch in batches for i in batch.ids] == [record.id for record in records]
    assert [batch.target["shared"] for batch in batches] == [4, 4, 4, 2]
    assert not batches[0].target["train"]
    assert loader.samples == 21
    assert loader.wait_seconds > 0
    assert same(batches, list(loader)), "a loader may be walked again"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_stops_with_file_and_row(records: list[Record], workers: int) -> None:
    Path(records[9].images[0].path).write_bytes(b"")
    with pytest.raises(MediaError) as caught:
        list(evaluation_loader(TASK, records, batch_size=4, workers=workers))
    assert "3.png: file is empty (used by questions.json:9)" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_skipped_records_are_counted_and_named_once(records: list[Record], workers: int) -> None:
    Path(records[9].images[0].path).unlink()
    skipped: list[dict[str, str]] = []
    loader = evaluation_loader(
        TASK, records, batch_size=3, workers=workers, on_error="skip", skipped=skipped
    )
    for _ in range(2):
        ids = [index for batch in loader for index in batch.ids]
        assert len(ids) == 18
        assert not {"3:0", "3:1", "3:2"} & set(ids)
        assert [item["id"] for item in skipped] == ["3:0", "3:1", "3:2"]
    assert skipped[0]["source"] == "questions.json:9"
    assert "3.png: image file does not exist" in skipped[0]["reason"]


# Training


@given(
    st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(0, 99), st.integers(1, 9)
)
@settings(max_examples=60, deadline=None)
def test_each_epoch_is_a_permutation_whatever_the_split(
    n: int, micro: int, world: int, seed: int, more: int
) -> None:
    batches = -(-3 * n // (micro * world)) + more
    loaders = [
        training_loader(Blank(), blanks(n), micro_batch=micro, seed=seed, rank=rank, world=world)
        for rank in range(world)
    ]
    ranks = [take(loader, batches) for loader in loaders]
    order = [i for step in zip(*ranks, strict=True) for batch in step for i in batch.ids]
    epochs = [order[e * n : (e + 1) * n] for e in range(3)]
    assert all(sorted(epoch, key=int) == [str(i) for i in range(n)] for epoch in epochs)
    assert loaders[0].consumed == batches * micro * world
    alone = training_loader(Blank(), blanks(n), micro_batch=1, seed=seed)
    values = torch.cat([batch.image for step in zip(*ranks, strict=True) for batch in step])
    assert torch.equal(torch.cat([b.image for b in take(alone, len(order))]), values)


def test_epochs_and_seeds_differ_and_a_repeated_record_is_drawn_anew() -> None:
    batches = take(training_loader(Blank(), blanks(30), micro_batch=30, seed=1), 2)
    assert batches[0].ids != batches[1].ids
    assert not set(batches[0].image.tolist()) & set(batches[1].image.tolist())
    other = take(training_loader(Blank(), blanks(30), micro_batch=30, seed=2), 1)
    assert other[0].ids != batches[0].ids


def test_workers_change_nothing(records: list[Record]) -> None:
    alone = take(training_loader(TASK, records, micro_batch=4, seed=1), 9)
    helped = take(training_loader(TASK, records, micro_batch=4, seed=1, workers=2), 9)
    assert same(alone, helped)


def test_what_workers_need_can_be_sent_to_a_spawned_process(records: list[Record]) -> None:
    trainer = training_loader(TASK, records, micro_batch=4, seed=1)
    tester = evaluation_loader(TASK, records, batch_size=4)
    for make, index in ((partial(trainer._make, 0, 4), 2), (tester._make, 1)):
        there = pickle.loads(pickle.dumps(make))
        assert same([there(index).batch], [make(index).batch])


@pytest.mark.parametrize("stop", [0, 1, 5, 6, 11])
def test_resuming_is_going_on(records: list[Record], stop: int) -> None:
    whole = take(training_loader(TASK, records, micro_batch=4, seed=1), 12)
    first = training_loader(TASK, records, micro_batch=4, seed=1, workers=1)
    take(first, stop) if stop else None
    rest = training_loader(TASK, records, micro_batch=4, seed=1)
    rest.load_state_dict(first.state_dict())
    assert rest.epoch == 4 * stop // 21
    assert same(take(rest, 12 - stop), whole[stop:])
    jumped = training_loader(TASK, records, micro_batch=4, seed=1, epoch=1, start=3)
    assert same(take(jumped, 6), whole[6:])


def test_resuming_other_data_or_another_seed_is_refused(records: list[Record]) -> None:
    state = training_loader(TASK, records, micro_batch=4, seed=1).state_dict()
    with pytest.raises(ConfigError, match="saved with records=21, now records=20"):
        training_loader(TASK, records[:20], micro_batch=4, seed=1).load_state_dict(state)
    with pytest.raises(ConfigError, match="seed"):
        training_loader(TASK, records, micro_batch=4, seed=2).load_state_dict(state)


def test_a_bad_image_in_training_stops_or_is_replaced(records: list[Record]) -> None:
    Path(records[0].images[0].path).write_bytes(b"no image")
    with pytest.raises(MediaError, match=r"questions\.json:[012]\)"):
        take(training_loader(TASK, records, micro_batch=7, seed=1), 3)
    skipped: list[dict[str, str]] = []
    loader = training_loader(TASK, records, micro_batch=7, seed=1, on_error="skip", skipped=skipped)
    batches = take(loader, 3)
    assert [len(batch.ids) for batch in batches] == [7, 7, 7]
    assert {item["id"] for item in skipped} == {"0:0", "0:1", "0:2"}


def test_nothing_to_train_on_is_an_error(records: list[Record]) -> None:
    with pytest.raises(DataError, match="no record"):
        training_loader(TASK, [], micro_batch=4, seed=1)
    for record in records:
        Path(record.images[0].path).unlink(missing_ok=True)
    with pytest.raises(DataError, match="records in a row cannot be read"):
        take(training_loader(TASK, records, micro_batch=4, seed=1, on_error="skip"), 1)
