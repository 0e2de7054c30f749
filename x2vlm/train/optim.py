"""AdamW over named groups, and the learning-rate schedule (docs/model.md, 3)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from x2vlm.config import TrainConfig
from x2vlm.model.x2vlm import X2VLM

PARTS = {
    "vision": ("vision.",),
    "text": ("text.", "fusion.", "mlm_head."),
}
"""prefixes of the parts that may have a rate of their own, where text and fusion are one stack"""
SEPARATE = {"vision": ("vision.",), "text": ("text.",)}
"""the same where fusion is a module of its own (CCLM gives it the rate of the rest)"""
BIASES = ("bias", "position_table")
"""endings of parameters that are biases: the vision table biases attention by position"""
MLP_HEADS = ("matching_head.", "box_head.", "classifier.")
"""prefixes of the heads whose LayerNorm weights decay officially: its rule goes by names, and there
they have a number ("itm_head.1.weight")"""


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a decay. name: "part", "part new", "… no decay"."""

    name: str
    lr: float
    weight_decay: float
    parameters: tuple[tuple[str, nn.Parameter], ...]

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for _, parameter in self.parameters)


def named_groups(model: X2VLM, config: TrainConfig, new: Collection[str] = ()) -> tuple[Group, ...]:
    """Split what is trained by part (vision, text, other), by new or not, and by decay.

    new: names of parameters that start from scratch; their rate is `lr * lr_new`, unless they
    belong to vision or text and that part has a rate of its own. Biases and norms do not decay,
    but for the norms inside MLP heads with `decay_head_norms`.
    """
    parts = SEPARATE if model.config.separate_fusion else PARTS
    norms = {
        f"{name}.{parameter}"
        for name, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for parameter, _ in module.named_parameters(recurse=False)
    }
    members: dict[tuple[str, float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = next((part for part, starts in parts.items() if name.startswith(starts)), "other")
        own = {"vision": config.lr_vision, "text": config.lr_text, "other": None}[part]
        lr = config.lr if own is None else own
        label = part
        if name in new and own is None:
            lr, label = lr * config.lr_new, f"{part}, new"
        spared = name in norms and not (config.decay_head_norms and name.startswith(MLP_HEADS))
        no_decay = spared or name.endswith(BIASES)
        key = (
            label + (", no decay" if no_decay else ""),
            lr,
            0.0 if no_decay else config.weight_decay,
        )
        members.setdefault(key, []).append((name, parameter))
    return tuple(Group(*key, tuple(members[key])) for key in sorted(members))


def table(groups: Collection[Group]) -> str:
    """The groups for people: name, peak rate, decay, tensors, numbers."""
    rows = [("group", "lr", "decay", "tensors", "parameters")]
    rows += [
        (g.name, f"{g.lr:g}", f"{g.weight_decay:g}", str(len(g.parameters)), f"{g.size:,}")
        for g in groups
    ]
    rows.append(("total", "", "", str(sum(len(g.parameters) for g in groups)),
                 f"{sum(g.size for g in groups):,}"))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def adamw(groups: Collection[Group], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with one entry per group, which keeps its peak rate under "peak"."""
    entries = [
        {
            "params": [parameter for _, parameter in group.parameters],
            "name": group.name,
            "lr": group.lr,
            "peak": group.lr,
            "weight_decay": group.weight_decay,
        }
        for group in groups
    ]
    return torch.optim.AdamW(entries, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def linear_schedule(step: int, steps: int, warmup: float) -> float:
    """Factor on the peak rate at optimiser step `step` (from 0) of `steps`.

    Rises linearly from 0 over the warm-up (a fraction of the steps when below 1, else steps), then
    falls linearly to 0 at the end, as in the official schedule.
    """
    rise = int(steps * warmup) if warmup < 1 else int(warmup)
    if step < rise:
        return step / max(1, rise)
    return max(0.0, (steps - step) / max(1, steps - rise))


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Put every group's rate at `factor` of its peak."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
