"""Quick products on a CPU: the same numbers, only where they are allowed."""

import pytest
import small
import torch
import torch.nn.functional as F
from torch import nn

from x2vlm.tasks.evaluation import products

LAYER = nn.Linear(24, 48)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every product that oneDNN was asked for."""
    from x2vlm.tasks import evaluation

    made: list[int] = []
    real = torch.ops.mkldnn._linear_pointwise

    def counted(x: torch.Tensor, *rest: object) -> torch.Tensor:
        made.append(x.shape[0])
        return real(x, *rest)  # type: ignore[no-any-return]

    monkeypatch.setattr(evaluation, "_onednn_linear", counted)
    return made


@pytest.mark.parametrize("shape", [(16, 24), (2, 8, 24), (2, 3, 4, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_equal(shape: tuple[int, ...], bias: bool, calls: list[int]) -> None:
    x = torch.randn(shape)
    with torch.inference_mode():
        plain = F.linear(x, LAYER.weight, LAYER.bias if bias else None)
        with products():
            quick = F.linear(x, LAYER.weight, LAYER.bias if bias else None)
    assert calls == [shape[0]]
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)


def test_gradients_autocast_and_single_rows_go_the_usual_way(calls: list[int]) -> None:
    x = torch.randn(16, 24, requires_grad=True)
    with products():
        LAYER(x).sum().backward()
        with torch.inference_mode():
            LAYER(torch.randn(1, 24))
            LAYER.double()(torch.randn(16, 24, dtype=torch.float64))
            LAYER.float()
            with torch.autocast("cpu", torch.bfloat16):
                assert LAYER(torch.randn(16, 24)).dtype == torch.bfloat16
    assert x.grad is not None
    assert calls == []


def test_a_model_computes_the_same() -> None:
    model = small.model("contrastive", "matching")
    text_BL, mask_BL = small.token_ids(6, 9)
    image_BCHW = torch.randn(6, 3, 32, 32)

    def scores() -> torch.Tensor:
        memory = model.memory(model.encode_image(image_BCHW))
        return model.match(model.fuse(model.encode_text(text_BL, mask_BL), mask_BL, memory))

    with torch.inference_mode():
        plain = scores()
        with products():
            quick = scores()
    torch.testing.assert_close(quick, plain, atol=1e-4, rtol=0)
