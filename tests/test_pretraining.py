"""Pre-training: official losses, the plain twin, counts, switches, streams mixed and resumed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests import pretraining_world as world
from tests import twins_training as twins
from x2vlm.config import TrainConfig
from x2vlm.data.concepts import Concepts
from x2vlm.errors import ConfigError
from x2vlm.losses import contrastive
from x2vlm.model.checkpoint import load_official
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.pretraining import LOSSES, Pretraining, Regions, Texts
from x2vlm.tasks.pretraining_data import Collate
from x2vlm.train.trainer import train
from x2vlm.types import Batch


def new_task(**options: Any) -> Pretraining:
    torch.manual_seed(0)
    return Pretraining(X2VLM(world.CONFIG), world.TOKENIZER, **options)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def batches(shards: Path) -> dict[str, Batch]:
    """The first batch of every kind."""
    first = next(iter(world.source(shards)))
    return {str(batch.target["kind"]): batch for batch in first}


# -- losses -----------------------------------------------------------------------------------


def texts_of(given: Mapping[str, Tensor]) -> Texts:
    return Texts(
        given["in.text_ids"],
        given["in.text_atts"].bool(),
        given["in.text_ids_masked"],
        given["in.masked_pos"],
        given["in.masked_ids"],
    )


def official(shared: Path, case: str) -> tuple[Pretraining, dict[str, Tensor]]:
    folder = shared / "goldens/a"
    model = load_official(folder / f"{case}.weights.safetensors", text_heads=4).eval()
    return Pretraining(model, world.TOKENIZER), load_file(folder / f"{case}.io.safetensors")


def check(found: Mapping[str, Tensor], given: Mapping[str, Tensor], names: str) -> None:
    for pair in names.split():
        ours, theirs = pair.split("=")
        torch.testing.assert_close(found[ours], given[f"out.{theirs}"], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_official_losses_of_images_and_regions(shared: Path) -> None:
    task, given = official(shared, "pretrain")
    negatives = given["in.neg_image"], given["in.neg_text"]
    found = task.image_losses(given["in.image"], texts_of(given), negatives)
    check(found, given, "contrastive=image.loss_itc matching=image.loss_itm mlm=image.loss_mlm")
    regions = Regions(
        given["in.idx_to_group_img"],
        given["in.image_atts"].bool(),
        given["in.target_bbox"],
        given["in.is_image"] == 0,
    )
    found = task.region_losses(given["in.region_images"], regions, texts_of(given), negatives)
    names = "contrastive=region.loss_itc matching=region.loss_itm mlm=region.loss_mlm "
    check(found, given, names + "box=region.loss_bbox giou=region.loss_giou")


@torch.no_grad()
def test_official_losses_of_parallel_texts(shared: Path) -> None:
    task, given = official(shared, "cross_view_pretrain")
    negatives = given["in.neg_image"], given["in.neg_text"]
    other = given["in.text_ids_2"], given["in.text_atts_2"].bool()
    found = task.parallel_losses(texts_of(given), *other, negatives)
    check(
        found,
        given,
        "contrastive=parallel.loss_ttc matching=parallel.loss_ttm mlm=parallel.loss_mlm",
    )
    found = task.image_losses(given["in.image"], texts_of(given), negatives)
    check(found, given, "contrastive=image.loss_itc matching=image.loss_itm mlm=image.loss_mlm")


def parts_of(batch: Batch) -> tuple[Texts, Regions | None]:
    target = batch.target
    assert batch.text_BL is not None
    assert batch.mask_BL is not None
    hidden = target["hidden_BL"], target["positions_BM"], target["targets_BM"]
    texts = Texts(batch.text_BL, batch.mask_BL, *hidden)
    if "patches_BV" not in target:
        return texts, None
    names = ("rows_B", "patches_BV", "box_B4", "is_box_B")
    return texts, Regions(*(target[name] for name in names))


@pytest.mark.parametrize("kind", ["image", "region"])
def test_sharing_changes_neither_losses_nor_gradients(batches: dict[str, Batch], kind: str) -> None:
    task = new_task()
    texts, regions = parts_of(batches[kind])
    count = len(texts.text_BL)
    image = batches[kind].image
    assert image is not None
    negatives = torch.arange(count).roll(1), torch.arange(count).roll(-2)
    gradients = []
    found: list[dict[str, Tensor]] = []
    if regions is None:
        found = [
            task.image_losses(image, texts, negatives),
            twins.image_losses(task.model, image, texts, negatives),
        ]
    else:
        found = [
            task.region_losses(image, regions, texts, negatives),
            twins.region_losses(task.model, image, regions, texts, negatives),
        ]
    for losses in found:
        task.model.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        gradients.append([p.grad.clone() for p in task.model.parameters() if p.grad is not None])
    assert found[0].keys() == found[1].keys()
    for name, loss in found[0].items():
        torch.testing.assert_close(loss, found[1][name], rtol=1e-4, atol=1e-5, msg=name)
    assert len(gradients[0]) == len(gradients[1])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_an_image_is_encoded_once(batches: dict[str, Batch]) -> None:
    task, sizes = new_task(), []
    task.model.vision.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    task.loss(batches["region"])
    assert sizes == [len(batches["region"].ids)]
    assert len(parts_of(batches["region"])[0].text_BL) > sizes[0]


def test_the_answer_is_hidden_behind_its_question(batches: dict[str, Batch]) -> None:
    batch, tokenizer = batches["question"], world.TOKENIZER
    texts, _ = parts_of(batch)
    rows_B = batch.target["rows_B"]
    assert rows_B.tolist() == [g for g in range(len(batch.ids)) for _ in range(2)]
    said = [
        (tokenizer.decode(text), tokenizer.decode(targets[targets >= 0]), hidden[positions])
        for text, targets, hidden, positions in zip(
            texts.text_BL, texts.targets_BM, texts.hidden_BL, texts.positions_BM, strict=True
        )
    ]
    assert {text.removesuffix(answer).strip() for text, answer, _ in said} == {
        "what is in the picture", "what color is it"}  # fmt: skip
    assert {answer for _, answer, _ in said} <= {"square", *world.NAMES}
    assert all(bool((hidden == tokenizer.mask).all()) for _, _, hidden in said)
    kept = texts.hidden_BL != tokenizer.mask
    assert torch.equal(texts.hidden_BL[kept], texts.text_BL[kept])


def test_questions_share_an_image_and_an_answer_is_never_cut(batches: dict[str, Batch]) -> None:
    task, batch, sizes = new_task(), batches["question"], []
    task.model.vision.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    shared = task.loss(batch)["question_mlm"]
    assert sizes == [len(batch.ids)]
    texts, _ = parts_of(batch)
    assert batch.image is not None
    rows_B = batch.target["rows_B"]
    alone = task.question_losses(batch.image[rows_B], texts, torch.arange(len(rows_B)))
    torch.testing.assert_close(shared, alone["mlm"])

    collate = Collate("question", world.TOKENIZER, max_tokens=8)
    whole = (0.5, 0.5, 1.0, 1.0)
    long = Concepts(None, ("what " * 20, "red square"), (whole,) * 2, (False,) * 2, 0, "row")
    row = replace(long, image=torch.zeros(3, 32, 32))
    cut = collate([row])
    assert cut.text_BL is not None
    assert cut.text_BL.shape == (1, 8)
    assert world.TOKENIZER.decode(cut.target["targets_BM"][0]) == "red square"


def test_names_counts_and_weights_agree(batches: dict[str, Batch]) -> None:
    task = new_task(weights={"region": 0.5, "region_box": 4})
    assert set(batches) == set(LOSSES)
    for kind, batch in batches.items():
        found = task.loss(batch)
        assert set(found) == set(task.counts(batch))
        assert all(name.startswith(kind) and loss.isfinite() for name, loss in found.items())
        for name in found:
            expected = {"region_box": 2.0}.get(name, 0.5 if kind == "region" else 1.0)
            assert task.weights[name] == expected
    counts = task.counts(batches["region"])
    assert counts["region_box"] == int(batches["region"].target["is_box_B"].sum())
    assert counts["region_matching"] == 3 * counts["region_contrastive"]


def test_switches_of_the_ablation(batches: dict[str, Batch]) -> None:
    region = batches["region"]
    assert set(new_task(localise=False).loss(region)) == {
        "region_contrastive", "region_matching", "region_mlm"}  # fmt: skip
    assert set(new_task(align_regions=False).loss(region)) == {"region_box", "region_giou"}
    located = new_task(align_regions=False).loss(region)
    torch.testing.assert_close(located["region_box"], new_task().loss(region)["region_box"])
    boxes_only = replace(region, target={**region.target, "align": False})
    assert set(new_task().loss(boxes_only)) == {"region_box", "region_giou"}
    assert set(new_task().counts(boxes_only)) == {"region_box", "region_giou"}
    torch.testing.assert_close(new_task().loss(boxes_only)["region_box"], located["region_box"])
    with pytest.raises(ConfigError, match="nothing"):
        new_task(localise=False, align_regions=False).loss(region)


@pytest.mark.parametrize("kind", ["image", "region", "video"])
def test_what_is_told_apart_only_is_not_fused(batches: dict[str, Batch], kind: str) -> None:
    """Every text is read with its own row here; equal ones are one group."""
    task, batch = new_task(), batches[kind]
    texts, regions = parts_of(batch)
    model, target = task.model, batch.target
    assert batch.image is not None
    kinds = torch.arange(len(texts.text_BL)) % 2
    extra = {"kind_B": kinds} if kind == "region" else {}
    apart = replace(batch, target={**target, **extra, "fuse": False})
    model.fusion.register_forward_hook(lambda *_: pytest.fail("nothing is to be fused"))
    with torch.no_grad():
        found = task.loss(apart)
        image_BVD = model.encode_visual(batch.image)
        if regions is not None:
            image_BVD = model.regions(image_BVD, regions.patches_BV, regions.rows_B)
        text_BE = model.text_feature(model.encode_text(texts.text_BL, texts.mask_BL))
        words = [tuple(row[row != world.TOKENIZER.pad].tolist()) for row in texts.text_BL]
        groups = torch.tensor([words.index(row) for row in words])
        expected = contrastive(
            model.image_feature(image_BVD), text_BE, model.temperature, groups,
            kinds if regions is not None else None,
        )  # fmt: skip
    assert set(found) == set(task.counts(apart)) == {f"{kind}_contrastive"}
    torch.testing.assert_close(found[f"{kind}_contrastive"], expected)
    assert len(set(words)) < len(words) or kind != "region", "some texts are equal"


def test_matching_may_be_left_out(batches: dict[str, Batch]) -> None:
    batch = batches["image"]
    quiet = Batch(
        batch.ids, batch.image, batch.text_BL, batch.mask_BL, {**batch.target, "matching": False}
    )
    assert set(new_task().loss(quiet)) == {"image_contrastive", "image_mlm"}


def test_a_batch_of_one_has_no_negatives(shards: Path) -> None:
    for batch in next(iter(world.source(shards, batch_size=1))):
        found = new_task().loss(batch)
        assert all(bool(loss.isfinite()) for loss in found.values())


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Batch]:
    """A batch of every kind in which no two texts are the same."""
    folder = world.write_shards(tmp_path_factory.mktemp("colours"), count=6)
    return {str(batch.target["kind"]): batch for batch in next(iter(world.source(folder)))}


LEARNED: list[tuple[str, dict[str, bool]]] = [
    *((kind, {}) for kind in LOSSES),
    ("region", {"align": False}), ("region", {"fuse": False}), ("image", {"fuse": False}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "switches"), LEARNED)
def test_one_batch_is_learned_by_heart(
    colours: dict[str, Batch], kind: str, switches: dict[str, bool], tmp_path: Path
) -> None:
    """Every objective falls close to nothing when the same batch comes again and again.

    Contrastive losses start above 1.7; two boxes over the same patches keep them above 0.
    """

    class Same:
        steps_per_epoch = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            return itertools.repeat([batch])

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, position: Mapping[str, Any]) -> None:
            del position

        def halve(self) -> bool:
            return False

    task, batch = new_task(), colours[kind]
    batch = replace(batch, target={**batch.target, **switches})
    config = TrainConfig(
        steps=200, lr=5e-3, drop_path=0, warmup=20, log_every=40, weight_decay=0, seed=1
    )
    result = train(task, Same(), config, tmp_path, total_steps=200)
    names = set(result.losses) - {"loss"}
    assert names == set(task.counts(batch))
    limits = {"contrastive": 0.3, "matching": 0.25, "mlm": 0.1, "box": 0.1, "giou": 0.2}
    for name, value in result.losses.items():
        if name != "loss":
            assert value < limits[name.split("_")[1]], (name, result.losses)


# -- batches ----------------------------------------------------------------------------------


def concepts(seed: int, words: int = 1) -> Concepts:
    texts = tuple(f"the {world.NAMES[(seed + i) % 6]} square" for i in range(words))
    boxes = ((0.5, 0.5, 1.0, 1.0), (0.25, 0.5, 0.5, 0.5), (0.8, 0.2, 0.1, 0.1))[:words]
    is_box = (False, True, True)[:words]
    return Concepts(torch.full((3, 32, 32), float(seed)), texts, boxes, is_box, seed, f"f:{seed}")


def test_masks_do_not_depend_on_the_company() -> None:
    collate = Collate("image", world.TOKENIZER, 32, 8)
    alone, together = collate([concepts(3)]), collate([concepts(1), concepts(3)])
    length = int(together.mask_BL[1].sum())  # type: ignore[index]
    assert torch.equal(
        alone.target["hidden_BL"][0, :length], together.target["hidden_BL"][1, :length]
    )
    masks = alone.target["positions_BM"].shape[1]
    assert torch.equal(alone.target["targets_BM"][0], together.target["targets_BM"][1, :masks])


def test_regions_of_a_batch() -> None:
    batch = Collate("region", world.TOKENIZER, 32, 8)([concepts(0, 3), concepts(1, 2)])
    assert batch.target["rows_B"].tolist() == [0, 0, 0, 1, 1]
    assert batch.target["is_box_B"].tolist() == [False, True, True, False, True]
    patches = batch.target["patches_BV"]
    assert patches.shape == (5, 17)
    assert patches[0].all()
    grid = patches[1, 1:].reshape(4, 4)  # box (0.25, 0.5, 0.5, 0.5): columns 0-1, rows 1-2
    expected = np.zeros((4, 4), dtype=bool)
    expected[1:3, 0:2] = True
    assert np.array_equal(grid.numpy(), expected)
    assert batch.ids == ("f:0", "f:1")


def test_a_limit_of_concepts_takes_from_the_richest() -> None:
    collate = Collate("region", world.TOKENIZER, 32, 8, max_concepts=4)
    assert collate([concepts(0, 3), concepts(1, 1), concepts(2, 1)]).target["rows_B"].tolist() == [
        0, 0, 1, 2]  # fmt: skip


# -- streams mixed ----------------------------------------------------------------------------


def equal(one: Batch, other: Batch) -> bool:
    same = one.ids == other.ids and one.target["kind"] == other.target["kind"]
    tensors = [k for k, v in one.target.items() if isinstance(v, Tensor)]
    return same and all(torch.equal(one.target[k], other.target[k]) for k in tensors)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mixture_resumes_exactly(shards: Path, workers: int) -> None:
    whole = list(itertools.islice(iter(world.source(shards)), 7))
    source = world.source(shards, workers=workers)
    steps = iter(source)
    for _ in range(4):
        next(steps)
    position = source.state_dict()
    again = world.source(shards, workers=workers)
    again.load_state_dict(position)
    for expected, found in zip(whole[4:], iter(again), strict=False):
        assert len(expected) == len(found) == 5
        assert all(equal(*pair) for pair in zip(expected, found, strict=True))


def test_training_resumes_bit_equal(shards: Path, tmp_path: Path) -> None:
    def fit(name: str, *stops: int) -> list[Tensor]:
        for stop in stops:
            task = new_task()
            config = TrainConfig(steps=6, lr=1e-3, log_every=1, save_every=3, drop_path=0.1)
            source = world.source(shards, batch_size=3)
            if stop < 6:  # killed after the checkpoint of step 3
                source = Dying(source, stop)  # type: ignore[assignment]
            try:
                train(task, source, config, tmp_path / name, total_steps=6)
            except KeyboardInterrupt:
                continue
        return [p.detach() for p in task.model.parameters()]

    for ours, theirs in zip(fit("cut", 4, 6), fit("whole", 6), strict=True):
        assert torch.equal(ours, theirs)


class Dying:
    """A source that ends in an interrupt."""

    def __init__(self, source: Any, steps: int) -> None:
        self.source, self.steps = source, steps
        self.steps_per_epoch = 0

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from itertools.islice(iter(self.source), self.steps)
        raise KeyboardInterrupt

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self.source, name)  # type: ignore[no-any-return]


def test_halved_batches_hold_the_same_rows(shards: Path) -> None:
    whole, halved = world.source(shards, batch_size=4), world.source(shards, batch_size=4)
    assert halved.halve()
    one, two = next(iter(whole)), next(iter(halved))
    assert (len(one), len(two)) == (5, 10)
    assert [i for b in one for i in b.ids] == [i for b in two for i in b.ids]


@pytest.mark.parametrize("micro", [0, 2])
def test_rows_together_share_a_micro_batch(tmp_path: Path, micro: int) -> None:
    """Two images a row: a part of four rows is eight samples, or twice four."""
    rows = world.rows("image", 16)
    pairs = [{"together": rows[i : i + 2]} for i in range(0, 16, 2)]
    (tmp_path / "image").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in pairs)
    (tmp_path / "image/0.jsonl").write_text(lines)
    source = world.source(tmp_path, batch_size=4, micro_batch=micro)
    for batches in itertools.islice(iter(source), 3):
        assert [len(batch.ids) for batch in batches] == ([4, 4] if micro else [8])
        for batch in batches:
            assert batch.ids[::2] == batch.ids[1::2]
            assert len(set(batch.ids)) == len(batch.ids) // 2
            counts = new_task().counts(batch)
            assert counts["image_contrastive"] == len(batch.ids)
    task = new_task()
    config = TrainConfig(steps=2, lr=1e-3, log_every=1, drop_path=0)
    result = train(task, source, config, tmp_path / "run", total_steps=2)
    assert result.samples == 16


def test_matching_ends_after_a_step(shards: Path) -> None:
    source = world.source(shards, matching_until=2)
    found = [
        [bool(batch.target["matching"]) for batch in batches]
        for batches in itertools.islice(iter(source), 4)
    ]
    assert found == [[True] * 5] * 2 + [[False] * 5] * 2


def test_parts_of_a_choice_take_turns_by_their_shares(shards: Path) -> None:
    source = world.source(shards)
    clean = source.parts["image"]
    parts = {
        "clean": replace(clean, choice="image", share=3),
        "noisy": replace(
            clean, choice="image", share=1, collate=replace(clean.collate, matching=False)
        ),
    }
    mixed = type(source)(parts, seed=0)
    noisy = [not b[0].target["matching"] for b in itertools.islice(iter(mixed), 200)]
    assert 30 < sum(noisy) < 70
    assert mixed.state_dict()["step"] == 200


def test_a_part_may_start_later(shards: Path) -> None:
    source = world.source(shards)
    clean = source.parts["image"]
    parts = {
        "first": replace(clean, choice="image", share=1),
        "later": replace(clean, choice="image", share=1, start=10),
        "always": replace(clean, start=5),
    }
    mixed = type(source)(parts, seed=0)
    taken = []
    for step in range(40):
        mixed.step = step
        taken.append(mixed._taking_part())
    assert taken[:5] == [["first"]] * 5
    assert taken[5:10] == [["first", "always"]] * 5
    assert {names[0] for names in taken[10:]} == {"first", "later"}
    with pytest.raises(ConfigError, match="start later"):
        type(source)({"late": replace(clean, start=1)}, seed=0)


def test_shares_below_one_leave_steps_without_a_choice(shards: Path) -> None:
    source = world.source(shards)
    parts = {
        "image": source.parts["image"],
        "video": replace(source.parts["video"], choice="second", share=0.25),
    }
    mixed = type(source)(parts, seed=0)
    kinds = [[b.target["kind"] for b in step] for step in itertools.islice(iter(mixed), 200)]
    assert all(step[0] == "image" for step in kinds)
    assert 30 < sum(len(step) == 2 for step in kinds) < 70
    with pytest.raises(ConfigError, match="left without any stream"):
        type(source)({"video": parts["video"]}, seed=0)


def test_other_streams_refuse_to_resume(shards: Path) -> None:
    position = world.source(shards).state_dict()
    del position["streams"]["video"]
    with pytest.raises(ConfigError, match="saved with streams"):
        world.source(shards).load_state_dict(position)
