"""Parameters, gradients and optimiser state cut over the processes (FSDP2, `fully_shard`).

For models that do not fit beside their gradients and optimiser state: each process keeps one part
of every tensor, and the weights of a block are gathered while it runs. Checkpoints hold whole
tensors, the same files as without, so that a run may go on either way.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from x2vlm import distributed
from x2vlm.model.layers import Layer
from x2vlm.model.vision import Block
from x2vlm.tasks.base import Task


class Shards:
    """The model of a task in two forms: cut, which trains, and whole, for everything else.

    The cut copy takes the whole model's place in the task at once; `cut` then spreads it. The whole
    model holds no memory but inside `together` and after `join`, when each process has all of it:
    weights alone, without gradients and optimiser state. All methods are collective.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.whole = task, task.model
        self.shapes = [parameter.shape for parameter in self.whole.parameters()]
        self.model = task.model = copy.deepcopy(self.whole)
        self._release()

    def cut(self, loss: nn.Module) -> None:
        """Spread the copy, by blocks of vision, text, fusion and decoder; the rest is one unit.

        loss: the module whose forward computes all losses; its forward gathers the rest (word
        embeddings, heads, norms), which stays until backward has ended.
        """
        mesh = init_device_mesh(self.model.device.type, (distributed.world(),))
        for name, parameter in list(self.model.named_parameters(recurse=False)):
            if parameter.dim() == 0:  # fully_shard takes no scalars (the temperature)
                setattr(self.model, name, nn.Parameter(parameter.detach().reshape(1)))
        for module in list(self.model.modules()):
            if isinstance(module, Layer) and module.cross is not None:
                # A memory is projected before its layer runs: these two are gathered by themselves.
                fully_shard(module.cross.key, mesh=mesh)
                fully_shard(module.cross.value, mesh=mesh)
            if isinstance(module, (Block, Layer)):
                fully_shard(module, mesh=mesh)
        fully_shard(loss, mesh=mesh)
        # Said in every step of the projections; nothing here changes keys or values in place.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")

    @contextmanager
    def together(self) -> Iterator[None]:
        """The whole model in the task for the block, with the weights of now."""
        self.join()
        try:
            yield
        finally:
            self.task.model = self.model
            self._release()

    @torch.no_grad()
    def join(self) -> None:
        """Put the whole model back into the task, with the weights of now."""
        for whole, part, shape in zip(
            self.whole.parameters(), self.model.parameters(), self.shapes, strict=True
        ):
            whole.data = _full(cast(DTensor, part), shape)
        self.task.model = self.whole

    @torch.no_grad()
    def take_weights(self) -> None:
        """Give the cut copy the weights of the whole model; inside `together`."""
        for whole, part in zip(self.whole.parameters(), self.model.parameters(), strict=True):
            _deal(whole, cast(DTensor, part))

    @torch.no_grad()
    def whole_state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """The optimiser's state dict as without shards, on the CPU of the main process; the others
        take part and get empty tensors."""
        saved = optimiser.state_dict()
        shapes = dict(zip(self.model.parameters(), self.shapes, strict=True))
        parameters = _in_order(optimiser)

        def full(index: int, value: Any) -> Any:
            if not isinstance(value, DTensor):
                return value
            tensor = _full(value, shapes[parameters[index]])
            return tensor.cpu() if distributed.is_main() else torch.empty(0)

        rows = {
            index: {name: full(index, value) for name, value in row.items()}
            for index, row in saved["state"].items()
        }
        return {**saved, "state": rows}

    @torch.no_grad()
    def load_state(self, optimiser: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
        """Undo `whole_state`, whatever the number of processes then and now."""
        parameters = _in_order(optimiser)
        rows: dict[int, dict[str, Any]] = {}
        for index, row in saved["state"].items():
            rows[index] = dict(row)
            for name in row.keys() - {"step"}:
                rows[index][name] = torch.zeros_like(parameters[index])
                _deal(row[name], rows[index][name])
        optimiser.load_state_dict({**saved, "state": rows})

    def _release(self) -> None:
        for parameter in self.whole.parameters():
            parameter.data = parameter.data.new_empty(0)


def _in_order(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters by their numbers in the state dict."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _full(part: DTensor, shape: torch.Size) -> Tensor:
    """All rows of all processes, in a storage without the padding of the last processes' rows."""
    return part.full_tensor().reshape(shape).clone()


def _deal(whole: Tensor, part: DTensor) -> None:
    """Copy our rows of a whole tensor; the last processes may have fewer, or none."""
    rows = whole.reshape(part.shape).chunk(distributed.world())
    if distributed.rank() < len(rows):
        part.to_local().copy_(rows[distributed.rank()])
