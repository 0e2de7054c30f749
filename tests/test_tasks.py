"""What the single tasks compute: a batch learned by heart, predictions that mean what they say."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_tasks import (
    TOKENIZER,
    TRAINED,
    assert_close,
    make,
    predictions,
    records,
    training_batch,
)
from torch.profiler import ProfilerActivity, profile

from tests import processes, small
from x2vlm import distributed
from x2vlm.data.image import Sample
from x2vlm.data.loader import evaluation_loader
from x2vlm.errors import ConfigError, DataError
from x2vlm.tasks import build_on
from x2vlm.tasks.evaluation import predicting
from x2vlm.tasks.features import CPU_BATCH, _bytes_per_image, largest_batch, shared_images
from x2vlm.types import Prediction


@pytest.mark.parametrize("name", TRAINED)
def test_one_batch_is_learned_by_heart(name: str) -> None:
    task = make(name, **({"smoothing": 1e-6} if name == "captioning" else {}))
    task.model.train()
    batch = training_batch(task, name)
    if name == "answering":  # an answer that is only half right can never have loss 0
        target = batch.target
        first = torch.tensor([0, 2, 4, 6, 8, 10])
        for key in ("answer_XA", "seen_XA", "weight_X", "question_X"):
            target[key] = target[key][first]
        target["weight_X"].fill_(1)
    optimiser = torch.optim.AdamW(task.model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    torch.manual_seed(0)
    first_loss = last_loss = 0.0
    for step in range(150):
        losses = task.loss(batch)
        total = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimiser.step()
        if "contrastive" in losses:
            task.model.clamp_temperature_()
            total = total - _least_contrastive()
        first_loss, last_loss = (total.item() if step == 0 else first_loss), total.item()
    assert first_loss > 0.5
    assert last_loss < 0.1


def _least_contrastive() -> float:
    """Two captions of an image share its probability: log 2 remains, both ways."""
    return float(torch.tensor(2.0).log())


def rankings() -> list[Prediction]:
    """Predictions of all processes, each for its share of the images."""
    task, rows = make("retrieval", k=3), records("retrieval", 8)
    rank, world = distributed.rank(), distributed.world()
    loader = evaluation_loader(task, rows, batch_size=2, rank=rank, world=world)
    found = distributed.all_gather_objects(list(task.predict(loader)))
    return [row for part in found for row in part]


@pytest.mark.parametrize("world", [2, 3, 7])
def test_processes_change_nothing(world: int, tmp_path: Path) -> None:
    found, *_ = processes.run(rankings, world, tmp_path)
    expected = predictions(make("retrieval", k=3), records("retrieval", 8))
    assert len(found) == len(expected)
    assert_close({row["id"]: row for row in found}, expected)


@pytest.mark.parametrize("name", ["retrieval", "answering", "captioning"])
def test_no_batch_size_changes_a_prediction(name: str) -> None:
    """So the automatic one changes no metric."""
    task, rows = make(name), records(name, 5)
    one_by_one = predictions(task, rows, batch_size=1)
    for batch_size in (2, 5, 32):
        assert_close(predictions(task, rows, batch_size), one_by_one)


def test_a_box_is_in_pixels_of_the_original_image() -> None:
    task = make("grounding")
    row = records("grounding", 1)[0]
    with torch.inference_mode():
        batch = next(iter(evaluation_loader(task, [row], batch_size=1)))
        cx, cy, w, h = task.forward(batch)[0].tolist()  # type: ignore[attr-defined]
    box = predictions(task, [row])[row.id]["box"]
    expected = [(cx - w / 2) * 64, (cy - h / 2) * 48, w * 64, h * 48]
    assert box == pytest.approx(expected, abs=1e-3)


def test_grounding_needs_the_size_of_the_image() -> None:
    row = small.record("x", "the red one", box=[1, 1, 5, 5])
    row.target.pop("size", None)  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="size of the original image"):
        predictions(make("grounding"), [row])


def test_labels_outside_the_list_train_nothing() -> None:
    task = make("classification")
    batch = training_batch(task, "classification")
    label_B = batch.target["label_B"]
    whole = task.loss(batch)["classification"]
    batch.target["label_B"] = torch.where(torch.arange(6) < 2, label_B, -100)
    some = task.loss(batch)["classification"]
    assert task.counts(batch) == {"classification": 2}
    assert some != whole
    batch.target["label_B"] = torch.full_like(label_B, -100)
    none = task.loss(batch)["classification"]
    none.backward()
    assert none == 0


def test_two_images_are_told_apart() -> None:
    task = make("classification", images=2, labels=("no", "yes"))
    rows = records("matching", 3)
    swapped = [small.record(r.id, *r.texts, images=r.images[::-1]) for r in rows]
    found, other = predictions(task, rows), predictions(task, swapped)
    assert all(row["scores"].keys() == {"no", "yes"} for row in found.values())
    assert any(abs(found[id_]["scores"]["yes"] - other[id_]["scores"]["yes"]) > 1e-3
               for id_ in found)  # fmt: skip
    assert all(sum(row["scores"].values()) == pytest.approx(1) for row in found.values())


def test_questions_about_one_image_encode_it_once() -> None:
    task = make("answering")
    image = small.picture(1, "red")
    rows = [small.record(f"q{n}", f"what colour {n}", images=(image,)) for n in range(5)]
    batch = next(iter(evaluation_loader(task, rows, batch_size=5)))
    assert batch.image is not None
    assert len(batch.image) == 1
    assert batch.target["rows"].tolist() == [0] * 5


def test_shared_images_keep_the_order_of_first_use() -> None:
    class Fake:
        def __init__(self, *images: torch.Tensor) -> None:
            self.images = images

    a, b, c = (torch.full((3, 2, 2), float(n)) for n in range(3))
    stacked, rows = shared_images([Fake(a, b), Fake(a, c), Fake(b, a)], range(2))  # type: ignore[list-item]
    assert stacked[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert rows.tolist() == [0, 0, 1, 1, 2, 0]


def test_answering_needs_candidates() -> None:
    task = make("answering", candidates=())
    with pytest.raises(ConfigError, match="answer list"):
        predictions(task, records("answering", 1))


def test_captions_leave_the_prompt_out_and_end_in_time() -> None:
    task = make("captioning", max_length=4, prompt="a picture of")
    for row in predictions(task, records("captioning", 3)).values():
        assert not row["caption"].startswith("a picture of")
        assert len(row["caption"].split()) <= 4


def test_masks_of_a_caption_depend_on_its_seed_alone() -> None:
    task, (row,) = make("captioning"), records("captioning", 1)

    def hidden(*seeds: int) -> list[tuple[list[int], list[int]]]:
        """Positions and tokens that are hidden of one caption, by its seed."""
        rows = [replace(row, target={"seed": seed}) for seed in seeds]
        samples = [Sample(one, (torch.zeros(3, small.SIZE, small.SIZE),)) for one in rows]
        target = task.collate(samples, train=True).target
        return [
            (positions[there > 0].tolist(), tokens[there > 0].tolist())
            for positions, tokens, there in zip(
                target["positions_BM"], target["targets_BM"], target["weights_BM"], strict=True
            )
        ]

    together = hidden(*range(8))
    assert [hidden(seed) for seed in range(8)] == [[one] for one in together]
    assert all(tokens for _, tokens in together)
    assert len({tuple(tokens) for _, tokens in together}) > 1


def test_a_cpu_takes_an_eighth_of_the_free_memory_and_at_least_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = small.model("matching")
    assert 1 <= largest_batch(model) <= CPU_BATCH
    for free, images, videos in ((0, 1, 1), (9, 1, 1), (80, 10, 2), (10_000, 32, 32)):
        pages = {"SC_AVPHYS_PAGES": free * _bytes_per_image(model), "SC_PAGE_SIZE": 1}
        monkeypatch.setattr(os, "sysconf", pages.__getitem__)
        assert (largest_batch(model), largest_batch(model, frames=4)) == (images, videos)


@pytest.mark.parametrize(("room", "found"), [(5000, 512), (100, 32), (3, 1), (0, 1)])
def test_a_gpu_takes_half_of_what_fits(
    room: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Card:
        device = SimpleNamespace(type="cuda")
        config = small.CONFIG

        def encode_visual(self, images: int) -> None:
            if images > room:
                raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(torch, "zeros", lambda images, *_, **__: images)
    card: Any = Card()
    assert largest_batch(card) == found


def test_autocast_converts_each_weight_once_while_predicting() -> None:
    layer, x = torch.nn.Linear(8, 8), torch.randn(4, 8)
    with (
        torch.inference_mode(),  # as the caller may have it
        torch.autocast("cpu", torch.bfloat16),
        predicting("cpu"),
        profile(activities=[ProfilerActivity.CPU]) as seen,
    ):
        for _ in range(5):
            assert not layer(x).requires_grad
    (casts,) = [event.count for event in seen.key_averages() if event.key == "aten::_to_copy"]
    assert casts == 5 + 2  # the input each time; weight and bias once


def test_build_on_keeps_the_weights() -> None:
    model = small.model("contrastive", "matching")
    assert build_on("matching", model, TOKENIZER).model is model
