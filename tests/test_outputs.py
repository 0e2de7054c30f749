"""What a model puts out must be finite: every task, every head, the record and the output named."""

import math

import pytest
import small
import torch
from PIL import Image
from small_tasks import make, records
from torch import Tensor, nn

from x2vlm.api import Pretrained
from x2vlm.data.loader import evaluation_loader
from x2vlm.errors import OutputError
from x2vlm.tasks import TASKS
from x2vlm.tasks.outputs import Outputs

PREDICTING = tuple(name for name in TASKS if name != "pretraining")
PICTURE = Image.new("RGB", (40, 30), (200, 30, 30))
HEADS = {
    "retrieval": ("vision_proj", "text_proj", "matching_head"),
    "grounding": ("box_head",),
    "classification": ("classifier",),
    "answering": ("decoder.head",),
    "captioning": ("mlm_head",),
    "matching": ("vision_proj", "text_proj", "matching_head"),
    "attributes": ("vision_proj", "text_proj"),
}


def spoil(module: nn.Module, value: float, rows: slice) -> None:
    """Let a head put out `value` for some rows of its batch."""

    def change(_module: nn.Module, _given: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[rows] = value
        return output

    module.register_forward_hook(change)


def test_every_task_is_covered() -> None:
    assert set(HEADS) == set(PREDICTING)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("name", "head"), [(name, head) for name, heads in HEADS.items() for head in heads]
)
def test_no_prediction_comes_of_what_is_not_finite(name: str, head: str, value: float) -> None:
    task = make(name)
    spoil(dict(task.model.named_modules())[head], value, slice(0, 1))
    rows = records(name, 6)
    with pytest.raises(OutputError, match="output is not finite") as error:
        list(task.predict(evaluation_loader(task, rows, batch_size=4)))
    assert any(repr(row.id) in str(error.value) for row in rows) or "compared" in str(error.value)


@pytest.mark.parametrize("name", ["grounding", "classification", "answering", "captioning"])
def test_the_record_and_the_output_are_named(name: str) -> None:
    task, rows = make(name), records(name, 8)
    spoil(dict(task.model.named_modules())[HEADS[name][0]], math.nan, slice(1, 2))
    done = []
    with pytest.raises(OutputError, match=repr(rows[1].id)) as error:
        done += list(task.predict(evaluation_loader(task, rows, batch_size=4)))
    assert repr(rows[0].id) not in str(error.value)
    assert done == [], "nothing of a batch is written before the batch is checked"


@pytest.mark.parametrize("name", PREDICTING)
def test_predictions_leave_no_hook_behind(name: str) -> None:
    task = make(name)
    assert list(task.predict(evaluation_loader(task, records(name, 4), batch_size=4)))
    hooks = [hook for module in task.model.modules() for hook in module._forward_hooks]
    assert hooks == []


def test_large_finite_outputs_are_fine() -> None:
    outputs = Outputs(small.model("matching"))
    outputs.ids = ("a", "b")
    with outputs.watched():
        for _ in range(3):
            outputs.model.matching_head[3].weight.data.fill_(1e30)
            outputs.model.match(torch.ones(2, 1, 24) * torch.arange(24))
    outputs.check()


@pytest.mark.parametrize("call", ["match", "encode_images", "encode_texts", "locate"])
def test_the_api_checks_too(call: str) -> None:
    model = small.model("contrastive", "matching", "box", frames=0)
    heads = {"match": "matching_head", "encode_images": "vision_proj",
             "encode_texts": "text_proj", "locate": "box_head"}  # fmt: skip
    spoil(getattr(model, heads[call]), math.nan, slice(None))
    pretrained = Pretrained(model, small.tokenizer())
    given = {
        "match": (PICTURE, "red square"),
        "encode_images": ([PICTURE],),
        "encode_texts": (["red square"],),
        "locate": (PICTURE, "red square"),
    }[call]
    with pytest.raises(OutputError, match="output is not finite"):
        getattr(pretrained, call)(*given)
