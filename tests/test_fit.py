"""Weights fitted to another resolution, another number of frames, and to every task."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small
import torch
from test_checkpoint import KINDS, saved

from x2vlm.errors import CheckpointError
from x2vlm.model import checkpoint
from x2vlm.model.config import TASK_HEADS
from x2vlm.model.positions import grid_of, resize_positions


def test_another_resolution_resizes_every_table(tmp_path: Path) -> None:
    model, path = saved(KINDS["one stack"], tmp_path)
    larger = checkpoint.load(path, image_size=48).model
    assert larger.config.vision.grid == 6
    for block, old in zip(larger.vision.blocks, model.vision.blocks, strict=True):
        table, before = block.attention.position_table, old.attention.position_table
        assert grid_of(table) == 6
        assert torch.equal(table[-3:], before[-3:])
        torch.testing.assert_close(table.data, resize_positions(before.data, 6))
    assert larger.encode_image(torch.zeros(1, 3, 48, 48)).shape == (1, 37, 32)
    assert larger.new_parameters == frozenset()


def test_resizing_keeps_the_middle_the_corners_and_the_extra_rows() -> None:
    table = torch.randn(13 * 13 + 3, 2)
    for grid in (4, 14):
        resized = resize_positions(table, grid)
        span = 2 * grid - 1
        assert len(resized) == span**2 + 3
        assert torch.equal(resized[-3:], table[-3:])
        middle = resized[span**2 // 2]
        torch.testing.assert_close(middle, table[13 * 13 // 2])
        if grid == 14:
            corner = resized[[0, span - 1, span**2 - 1]]
            torch.testing.assert_close(corner, table[[0, 12, 168]], atol=1e-3, rtol=0)
    assert resize_positions(table, 7) is table


def test_a_table_of_no_square_image_is_refused() -> None:
    with pytest.raises(CheckpointError, match="20 rows"):
        resize_positions(torch.zeros(20, 2), 3)


def test_fewer_frames_are_cut_and_more_start_anew(tmp_path: Path) -> None:
    config = replace(KINDS["one stack"], frames=3)
    model, path = saved(config, tmp_path)
    fewer = checkpoint.load(path, frames=2).model
    assert torch.equal(fewer.frame_positions, model.frame_positions[:, :2])
    assert fewer.new_parameters == frozenset()
    with pytest.raises(CheckpointError, match="frame_positions"):
        checkpoint.load(path, frames=5)
    more = checkpoint.load(path, frames=5, allow_new=("frames",)).model
    assert torch.equal(more.frame_positions[:, :3], model.frame_positions)
    assert more.frame_positions[:, 3:].abs().sum() > 0
    assert more.new_parameters == {"frame_positions"}
    assert not hasattr(checkpoint.load(path, frames=0).model, "frame_positions")


@pytest.mark.parametrize("task", TASK_HEADS)
@pytest.mark.parametrize("kind", ["one stack", "multilingual"])
def test_pretrained_weights_become_every_task(task: str, kind: str, tmp_path: Path) -> None:
    config = KINDS[kind]
    heads = TASK_HEADS[task]
    model, path = saved(config, tmp_path)
    fields: dict[str, Any] = {"heads": heads}
    found = checkpoint.load(path, fields, allow_new=heads).model
    assert found.config.heads == heads
    fresh = {name.split(".")[0] for name in found.new_parameters}
    part = {"classification": {"classifier"}, "pair_classification": {"classifier"},
            "answering": {"decoder"}}  # fmt: skip
    assert fresh == part.get(task, set())
    assert torch.equal(found.text.embeddings.word.weight, model.text.embeddings.word.weight)
    if fresh:
        with pytest.raises(CheckpointError, match="allow_new"):
            checkpoint.load(path, fields)


@pytest.mark.parametrize("kind", ["one stack", "multilingual"])
def test_the_answer_decoder_starts_as_the_fusion_layers(kind: str, tmp_path: Path) -> None:
    config = replace(KINDS[kind], vision=replace(small.VISION, width=24, heads=3))
    model, path = saved(config, tmp_path)
    decoder = checkpoint.load(path, {"heads": ("decoder",)}, allow_new=("decoder",)).model.decoder
    assert decoder is not None
    pairs = zip(decoder.layers, model.fusion.layers[-config.decoder_layers :], strict=True)
    for ours, source in pairs:
        for name, parameter in ours.named_parameters():
            assert torch.equal(parameter, source.get_parameter(name)), name
    first = config.text.first_position
    words, places = decoder.embeddings.word.weight, decoder.embeddings.position.weight
    assert torch.equal(words, model.text.embeddings.word.weight)
    assert torch.equal(places, model.text.embeddings.position.weight[first:])
    assert torch.equal(decoder.head.dense.weight, model.mlm_head.dense.weight)


def test_a_classifier_of_other_classes_starts_anew_where_it_differs(tmp_path: Path) -> None:
    _, path = saved(small.CONFIG.with_heads(heads=("classifier",), labels=4), tmp_path)
    to = {"heads": ("classifier",), "labels": 6}
    found = checkpoint.load(path, to, allow_new=("classifier",)).model
    assert found.new_parameters == {"classifier.3.weight", "classifier.3.bias"}
    assert found.classifier[3].out_features == 6
    with pytest.raises(CheckpointError, match=r"classifier\.3\.weight: expected \(6, 48\)"):
        checkpoint.load(path, to)
