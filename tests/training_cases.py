"""Small training runs of every task, and their goldens: `python -m tests.training_cases`.

Weights and batches are drawn by numpy from their names, so that they are the same everywhere;
dropout is off and the wrong pair of a pair is the next one. The goldens hold what the official
trainer (`official_trainer`) makes of them: the loss of each step, and of each final tensor its
projections onto two fixed random directions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import small
from tests.official_trainer import official_training
from x2vlm import losses as losses_module
from x2vlm.cli.compose import compose, plan, pretrain_plan
from x2vlm.config import TrainConfig
from x2vlm.data.masking import prepend_at
from x2vlm.model.fit import HEAD_PARTS
from x2vlm.tasks import build
from x2vlm.tasks import retrieval as retrieval_module
from x2vlm.tasks.base import Task
from x2vlm.types import Batch

GOLDEN = Path(__file__).parent / "golden" / "official_training.json"
STEPS, ROWS, LENGTH, WORDS, STD = 6, 4, 7, 97, 0.2
TOKENIZER = small.tokenizer()
EXPERIMENTS = {
    "retrieval": "coco_retrieval_base",
    "answering": "vqav2_base",
    "classification": "nlvr2_base",
    "grounding": "refcoco_plus_base",
    "captioning": "coco_captioning_base",
    "pretraining": "pretrain_base_4m",
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "classification": {"labels": ("no", "yes"), "images": 2}
}
FILES = ["pretrain.init_vision=none", "pretrain.init_text=none"]


def rng(name: str) -> np.random.Generator:
    """A generator that depends on a name alone."""
    return np.random.default_rng(crc32(name.encode()))


def config_of(name: str) -> TrainConfig:
    """The settings of the task's experiment, for a few steps in float32."""
    words = [f"experiment={EXPERIMENTS[name]}"]
    if name == "pretraining":
        found = pretrain_plan(compose([*words, *FILES])).train
    else:
        found = plan(compose(words)).train
    return replace(
        found,
        epochs=None,
        steps=STEPS,
        warmup=2,
        precision="float32",
        drop_path=0.0,
        checkpoint_gradients=False,
        workers=0,
        save_every=0,
        log_every=1,
    )


def task_of(name: str) -> Task:
    """A small model with fixed weights; the new heads of fine-tuning count as new."""
    task = build(name, small.CONFIG, TOKENIZER, **OPTIONS.get(name, {}))
    with torch.no_grad():
        for key, weight in task.model.named_parameters():
            drawn = torch.from_numpy(rng(key).normal(size=tuple(weight.shape))).float()
            ones = float(key.endswith(("norm.weight", "norm1.weight", "norm2.weight", ".1.weight")))
            weight.copy_(ones + drawn * (STD if weight.dim() > 1 else 0.1))
        if "contrastive" in task.model.config.heads:
            task.model.temperature.fill_(0.9)  # to be clamped to 0.5
    heads = () if name in ("pretraining", "captioning") else task.model.config.heads
    new = tuple(part for head in heads for part in HEAD_PARTS[head])
    task.model.new_parameters = frozenset(
        key for key, _ in task.model.named_parameters() if key.partition(".")[0] in new
    )
    return task


def _tensor(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(rng(name).normal(size=shape)).float()


def _texts(name: str, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    text_BL = torch.from_numpy(rng(name).integers(5, WORDS, (rows, LENGTH)))
    text_BL[:, 0] = TOKENIZER.cls
    mask_BL = torch.ones(rows, LENGTH, dtype=torch.bool)
    mask_BL[0, LENGTH - 2 :] = False
    return text_BL * mask_BL, mask_BL


def batches_of(name: str, step: int) -> list[Batch]:
    """The micro-batches of a step; answering has two, pre-training one of each kind."""
    if name == "pretraining":
        return [_image_batch(f"{step} image"), _region_batch(f"{step} region")]
    parts = 2 if name == "answering" else 1
    return [_batch(name, f"{name} {step} {part}") for part in range(parts)]


def _batch(name: str, seed: str) -> Batch:
    images = 2 * ROWS if name == "classification" else ROWS
    image = _tensor(f"{seed} image", images, 3, small.SIZE, small.SIZE)
    text_BL, mask_BL = _texts(seed)
    ids = tuple(f"{seed} {row}" for row in range(ROWS))
    target: dict[str, Any] = {"rows": torch.arange(images)}
    if name == "retrieval":
        target = {"image_B": torch.tensor([0, 1, 1, 2])}
    elif name == "classification":
        target["label_B"] = torch.tensor([0, 1, 1, -100])
    elif name == "grounding":
        target["box_B4"] = torch.from_numpy(rng(f"{seed} box").uniform(0.3, 0.5, (ROWS, 4))).float()
    elif name == "answering":
        answer_XA, seen_XA = _texts(f"{seed} answer", 6)
        target |= {
            "answer_XA": answer_XA[:, :4],
            "seen_XA": seen_XA[:, :4],
            "weight_X": torch.tensor([0.4, 0.6, 1.0, 0.5, 0.7, 0.3]),
            "question_X": torch.tensor([0, 0, 1, 2, 3, 3]),
        }
    elif name == "captioning":
        chosen = [[2, 4], [1, 3, 5], [3], [5, 6]]
        made = prepend_at(text_BL.tolist(), chosen, TOKENIZER.mask, TOKENIZER.pad)
        kept = ("position_BL", "positions_BM", "targets_BM", "weights_BM")
        target = {key: getattr(made, key) for key in kept}
        text_BL, mask_BL = made.text_BL, made.mask_BLL
    return Batch(ids, image, text_BL, mask_BL, target)


def _image_batch(seed: str) -> Batch:
    image = _tensor(seed, ROWS, 3, small.SIZE, small.SIZE)
    return _masked(seed, image, ROWS, {"kind": "image"})


def _region_batch(seed: str) -> Batch:
    grid = (small.SIZE // 8) ** 2
    patches_BV = torch.from_numpy(rng(f"{seed} patches").random((ROWS, 1 + grid)) < 0.4)
    patches_BV[:, :2] = True
    boxes = torch.from_numpy(rng(f"{seed} box").uniform(0.3, 0.5, (ROWS, 4))).float()
    target = {
        "kind": "region",
        "rows_B": torch.tensor([0, 0, 1, 1]),
        "patches_BV": patches_BV,
        "box_B4": boxes,
        "is_box_B": torch.tensor([False, True, True, True]),
        "kind_B": torch.zeros(ROWS, dtype=torch.int64),
    }
    return _masked(seed, _tensor(seed, 2, 3, small.SIZE, small.SIZE), ROWS, target)


def _masked(seed: str, image: Tensor, rows: int, target: dict[str, Any]) -> Batch:
    text_BL, mask_BL = _texts(seed, rows)
    positions_BM = torch.tensor([[1, 3], [2, 5], [4, 6], [1, 0]])
    targets_BM = text_BL.gather(1, positions_BM)
    targets_BM[3, 1] = -100
    hidden_BL = text_BL.scatter(1, positions_BM[:, :1], TOKENIZER.mask)
    ids = tuple(f"{seed} {row}" for row in range(len(image)))
    masks = {"hidden_BL": hidden_BL, "positions_BM": positions_BM, "targets_BM": targets_BM}
    return Batch(ids, image, text_BL, mask_BL, target | masks)


def next_rows(image_BE: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    """Instead of drawn negatives: the pair two further on."""
    rows = torch.arange(len(image_BE)).roll(2)
    return rows, rows


@contextmanager
def same_negatives() -> Iterator[None]:
    """`next_rows` in place of drawn negatives for the block."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (losses_module, retrieval_module):
            patch.setattr(module, "hard_negatives", next_rows)
        yield


class CaseSource:
    """A `Source` of the steps of a case."""

    steps_per_epoch = 0

    def __init__(self, steps: Sequence[Sequence[Batch]]) -> None:
        self.steps, self.step = steps, 0

    def __iter__(self) -> Iterator[Sequence[Batch]]:
        while True:
            self.step += 1
            yield self.steps[(self.step - 1) % len(self.steps)]

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, position: Mapping[str, Any]) -> None:
        self.step = int(position["step"])

    def halve(self) -> bool:
        return False


def projections(weights: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Of every tensor: its scalar products with two fixed random directions of length 1."""
    found = {}
    for name, weight in weights.items():
        drawn = rng(f"direction {name}").normal(size=(2, weight.numel()))
        unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        found[name] = (unit @ weight.detach().double().numpy().ravel()).tolist()
    return found


def official(
    name: str, *, clip: float | Literal["official"] | None = "official", eps_first: bool = True
) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and final weights of the official trainer; see `official_training`."""
    task = task_of(name)
    if clip == "official":
        clip = 1.0 if name == "pretraining" else None
    steps = [batches_of(name, step) for step in range(STEPS)]
    losses = official_training(task, steps, config_of(name), clip, eps_first=eps_first)
    return losses, {key: weight.detach() for key, weight in task.model.named_parameters()}


def main() -> None:
    """Write the goldens."""
    made = {}
    for name in EXPERIMENTS:
        with same_negatives():
            losses, weights = official(name)
        rounded = {k: [round(v, 9) for v in row] for k, row in projections(weights).items()}
        made[name] = {"losses": losses, "weights": rounded}
    GOLDEN.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
