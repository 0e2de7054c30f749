"""The official trainer as a plain loop: the reference implementation of `x2vlm.train`.

Written from the description of the official code: groups by official names, AdamW as `transformers`
had it (eps is added before the correction of the bias, the weights decay after the update), a
linear schedule that counts steps from 0, no clipping but in pre-training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from x2vlm.config import TrainConfig
from x2vlm.model.names import official_name
from x2vlm.tasks.base import Task
from x2vlm.types import Batch

NO_DECAY = ("bias", "LayerNorm.weight", "norm.weight", "norm1.weight", "norm2.weight")


@dataclass
class OfficialAdamW:
    """AdamW over parameters with a rate and a decay each. eps_first: eps is added before the
    second moment is corrected (official); False: after it, as torch does."""

    parameters: Sequence[tuple[Tensor, float, float]]
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    eps_first: bool = True
    count: int = 0
    moments: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def step(self, factor: float) -> None:
        """One update at `factor` times the peak rates."""
        self.count += 1
        one, two = (1 - beta**self.count for beta in self.betas)
        for place, (weight, peak, decay) in enumerate(self.parameters):
            if weight.grad is None:
                continue
            zeros = torch.zeros_like(weight), torch.zeros_like(weight)
            first, second = self.moments.setdefault(place, zeros)
            first.mul_(self.betas[0]).add_(weight.grad, alpha=1 - self.betas[0])
            second.mul_(self.betas[1]).addcmul_(weight.grad, weight.grad, value=1 - self.betas[1])
            eps = self.eps if self.eps_first else self.eps * math.sqrt(two)
            rate = peak * factor
            weight.addcdiv_(first, second.sqrt() + eps, value=-rate * math.sqrt(two) / one)
            weight.add_(weight, alpha=-rate * decay)


def rates(task: Task, config: TrainConfig) -> list[tuple[Tensor, float, float]]:
    """Every parameter with its peak rate and decay, told by its official name."""
    found = []
    for ours, weight in task.model.named_parameters():
        name = official_name(ours, task.model.config)
        decay = 0.0 if any(part in name for part in NO_DECAY) else config.weight_decay
        new = config.lr_new if ours in task.model.new_parameters else 1.0
        rate = config.lr * new
        if config.lr_vision is not None and "vision_encoder" in name:
            rate = config.lr_vision
        if config.lr_text is not None and ("text_encoder" in name):
            rate = config.lr_text
        found.append((weight, rate, decay))
    return found


def schedule(step: int, steps: int, warmup: float) -> float:
    """The official multiplier: up to 1 over the warm-up, then down to 0."""
    rise = int(steps * warmup) if isinstance(warmup, float) else warmup
    if step < rise:
        return step / max(1, rise)
    return max(0.0, (steps - step) / max(1, steps - rise))


def official_training(
    task: Task,
    steps: Sequence[Sequence[Batch]],
    config: TrainConfig,
    clip: float | None,
    *,
    eps_first: bool = True,
) -> list[float]:
    """Train in place, a list of equal micro-batches per step; the loss of each step."""
    task.model.train()
    optimiser = OfficialAdamW(rates(task, config), eps_first=eps_first)
    losses = []
    for step, batches in enumerate(steps):
        if "contrastive" in task.model.config.heads:
            with torch.no_grad():
                task.model.temperature.clamp_(0.001, 0.5)
        total = 0.0
        for batch in batches:
            share = 1 if _mixed(batches) else len(batches)
            loss = torch.stack(list(task.loss(batch).values())).sum() / share
            torch.autograd.backward(loss)
            total += loss.item()
        losses.append(total)
        with torch.no_grad():
            if clip is not None:
                _clip(task, clip)
            optimiser.step(schedule(step, len(steps), config.warmup))
        task.model.zero_grad()
    return losses


def _mixed(batches: Sequence[Batch]) -> bool:
    """Whether the batches of a step are of several kinds, whose losses are summed."""
    return len({batch.target.get("kind") for batch in batches}) > 1


def _clip(task: Task, largest: float) -> None:
    """Scale the whole gradient down to the norm `largest`."""
    gradients = [w.grad for w in task.model.parameters() if w.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    for gradient in gradients:
        gradient.mul_(min(1.0, largest / (norm.item() + 1e-6)))
