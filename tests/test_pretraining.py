"""Pre-training's losses: official numbers, the plain twin, counts, switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests import pretraining_world as world
from tests import twins_training as twins
from x2vlm.data.concepts import Concepts
from x2vlm.errors import ConfigError
from x2vlm.losses import contrastive
from x2vlm.model.checkpoint import load_official
from x2vlm.tasks.pretraining import LOSSES, Pretraining
from x2vlm.tasks.pretraining_data import Collate, Regions, Texts
from x2vlm.types import Batch


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def batches(shards: Path) -> dict[str, Batch]:
    return world.first_batches(shards)


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


@pytest.mark.parametrize("kind", ["image", "region"])
def test_sharing_changes_neither_losses_nor_gradients(batches: dict[str, Batch], kind: str) -> None:
    task = world.task()
    texts, regions = world.parts_of(batches[kind])
    count = len(texts.text_BL)
    image = batches[kind].image
    assert image is not None
    negatives = torch.arange(count).roll(1), torch.arange(count).roll(-2)
    gradients = []
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


def images_encoded(task: Pretraining) -> list[int]:
    """How many images each call of the vision tower will get."""
    sizes: list[int] = []
    task.model.vision.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    return sizes


def test_an_image_is_encoded_once(batches: dict[str, Batch]) -> None:
    task = world.task()
    sizes = images_encoded(task)
    task.loss(batches["region"])
    assert sizes == [len(batches["region"].ids)]
    assert len(world.parts_of(batches["region"])[0].text_BL) > sizes[0]


def test_questions_share_an_image_and_an_answer_is_never_cut(batches: dict[str, Batch]) -> None:
    task, batch = world.task(), batches["question"]
    sizes = images_encoded(task)
    shared = task.loss(batch)["question_mlm"]
    assert sizes == [len(batch.ids)]
    texts, _ = world.parts_of(batch)
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
    task = world.task(weights={"region": 0.5, "region_box": 4})
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


def test_switches_of_the_ablation_leave_losses_out(batches: dict[str, Batch]) -> None:
    region = batches["region"]
    assert set(world.task(localise=False).loss(region)) == {
        "region_contrastive", "region_matching", "region_mlm"}  # fmt: skip
    assert set(world.task(align_regions=False).loss(region)) == {"region_box", "region_giou"}
    located = world.task(align_regions=False).loss(region)
    torch.testing.assert_close(located["region_box"], world.task().loss(region)["region_box"])
    boxes_only = replace(region, target={**region.target, "align": False})
    assert set(world.task().loss(boxes_only)) == {"region_box", "region_giou"}
    assert set(world.task().counts(boxes_only)) == {"region_box", "region_giou"}
    torch.testing.assert_close(world.task().loss(boxes_only)["region_box"], located["region_box"])
    with pytest.raises(ConfigError, match="nothing"):
        world.task(localise=False, align_regions=False).loss(region)


@pytest.mark.parametrize("kind", ["image", "region", "video"])
def test_what_is_told_apart_only_is_not_fused(batches: dict[str, Batch], kind: str) -> None:
    """Every text is read with its own row here; equal ones are one group."""
    task, batch = world.task(), batches[kind]
    texts, regions = world.parts_of(batch)
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
    quiet = replace(batch, target={**batch.target, "matching": False})
    assert set(world.task().loss(quiet)) == {"image_contrastive", "image_mlm"}


def test_a_batch_of_one_has_no_negatives(shards: Path) -> None:
    alone = world.first_batches(shards, batch_size=1)
    assert set(alone) == set(LOSSES)
    for kind, batch in alone.items():
        found = world.task().loss(batch)
        assert all(bool(loss.isfinite()) for loss in found.values())
        if kind in ("image", "video", "parallel"):  # one pair: nothing to be told from
            assert found[f"{kind}_contrastive"] == 0
