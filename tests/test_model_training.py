"""The model in training: drop path, activations computed anew, gradients of position biases."""

from dataclasses import replace

import pytest
import small
import torch
from torch.nn import functional as F

from x2vlm.model.layers import drop_path
from x2vlm.model.vision import _Biases
from x2vlm.model.x2vlm import X2VLM


def test_recomputing_activations_changes_no_gradient() -> None:
    text_BL, mask_BL = small.token_ids(2, 6)
    grads = []
    for on in (False, True):
        model = small.model("matching").train()
        model.set_training(gradient_checkpointing=on)
        image_BVD = model.encode_image(torch.ones(2, 3, small.SIZE, small.SIZE))
        text_BLD = model.encode_text(text_BL, mask_BL)
        fused = model.fuse(text_BLD, mask_BL, model.memory(image_BVD))
        model.match(fused).square().sum().backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], msg=name)


def test_drop_path_rises_linearly_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    kept_K2U = drop_path(0.5, 3, 2, 4000, torch.device("cpu"))
    for kept_2U, rate in zip(kept_K2U, (0, 0.25, 0.5), strict=True):
        assert kept_2U.unique().tolist() == pytest.approx(sorted({0, 1 / (1 - rate)})[not rate :])
        assert kept_2U.mean(1).tolist() == pytest.approx([1, 1], abs=0.06)
    assert not torch.equal(kept_K2U[2, 0], kept_K2U[2, 1])  # each branch by itself


def test_drop_path_leaves_out_whole_branches() -> None:
    """Of images in the vision encoder, of positions shared by the batch in text layers."""
    torch.manual_seed(0)
    block, kept_2B = small.model("matching").vision.blocks[0], torch.tensor([[0.0, 0], [2, 0]])
    index_VS = small.model("matching").vision.index_VS
    x_BVD = torch.randn(2, index_VS.shape[0], small.VISION.width)
    fed = block.fc2(F.gelu(block.fc1(block.norm2(x_BVD))))
    expected = x_BVD + torch.tensor([2.0, 0])[:, None, None] * block.gamma_2 * fed
    torch.testing.assert_close(block(x_BVD, index_VS, kept_2B), expected)
    layer = small.model("matching").text.layers[0].eval()
    text_BLD, kept_3L = torch.randn(2, 3, small.TEXT.width), torch.zeros(3, 3)
    kept_3L[2, 1] = 2
    alone_BLD = layer.attention.norm(text_BLD)
    fed = layer.fc2(F.gelu(layer.fc1(alone_BLD)))
    expected = layer.norm(alone_BLD + torch.tensor([0, 2.0, 0])[:, None] * fed)
    torch.testing.assert_close(layer(text_BLD, kept_3L=kept_3L), expected)


def test_a_model_that_is_evaluated_drops_nothing() -> None:
    image = torch.randn(2, 3, small.SIZE, small.SIZE)
    model = small.model("matching")
    model.set_drop_path(vision=0.9, text=0.9)
    text = torch.full((2, 5), 7), None
    assert torch.equal(model.encode_image(image), small.model("matching").encode_image(image))
    plain = small.model("matching").encode_text(*text)
    assert torch.equal(model.encode_text(*text), plain)
    model.train()
    assert not torch.allclose(model.encode_text(*text), plain)


def test_gradient_of_the_position_table_is_that_of_indexing() -> None:
    """The sums over diagonals, beside autograd's own sums by index."""
    attention = small.model("matching").vision.blocks[0].attention
    index_VS = small.model("matching").vision.index_VS
    table, tokens = attention.position_table, len(index_VS)
    weight_NVS = torch.randn(table.shape[1], tokens, tokens, dtype=torch.float64)
    found = []
    for own in (True, False):
        given = table.detach().double().requires_grad_()
        biases = _Biases.apply(given, index_VS) if own else given.t()[:, index_VS]
        (biases[:, :, :tokens] * weight_NVS).sum().backward()
        found.append((biases, given.grad))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


def test_drop_path_of_text_replaces_dropout() -> None:
    config = replace(small.CONFIG, text=replace(small.TEXT, dropout=0.1, attention_dropout=0.1))
    model = X2VLM(config)
    model.set_drop_path(vision=0.2, text=0.1)
    assert model.vision.drop_path == 0.2
    for stack in (model.text, model.fusion):
        assert stack.drop_path == 0.1
        for layer in stack.layers:
            assert {m.p for m in layer.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
            assert layer.attention.dropout == 0.1
    assert model.text.embeddings.drop.p == 0.1
