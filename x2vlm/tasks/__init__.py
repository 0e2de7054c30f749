"""The tasks by name, and how to build one. Resolved lazily: listing the names imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from x2vlm.errors import ConfigError, unknown
from x2vlm.settings import described
from x2vlm.tasks.options import OPTIONS

if TYPE_CHECKING:
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.config import ModelConfig
    from x2vlm.model.x2vlm import X2VLM
    from x2vlm.tasks.base import Task

TASKS: dict[str, str] = {
    "retrieval": "x2vlm.tasks.retrieval:Retrieval",
    "grounding": "x2vlm.tasks.grounding:Grounding",
    "classification": "x2vlm.tasks.classification:Classification",
    "answering": "x2vlm.tasks.answering:Answering",
    "captioning": "x2vlm.tasks.captioning:Captioning",
    "matching": "x2vlm.tasks.matching:Matching",
    "attributes": "x2vlm.tasks.attributes:Attributes",
    "pretraining": "x2vlm.tasks.pretraining:Pretraining",
}
"""name -> "module:Class\""""


def task_class(name: str) -> type[Task]:
    """The class behind a name; ConfigError names the close ones when there is none."""
    if name not in TASKS:
        raise ConfigError(unknown("task", name, TASKS))
    module, kind = TASKS[name].split(":")
    found: type[Task] = getattr(importlib.import_module(module), kind)
    return found


def build(name: str, config: ModelConfig, tokenizer: Tokenizer, **options: Any) -> Task:
    """A task on a new model: towers of `config` with the heads the task needs, random weights.

    options: the task's own (k, prompt, labels, …); ConfigError for one that it does not have.
    """
    from x2vlm.model.x2vlm import X2VLM

    kind = task_class(name)
    check_options(name, options)
    model = X2VLM(config.with_heads(**kind.heads(**options)))
    return build_on(name, model, tokenizer, **options)


def build_on(name: str, model: X2VLM, tokenizer: Tokenizer, **options: Any) -> Task:
    """A task on a model that exists and has the heads already (zero-shot, loaded weights)."""
    kind = task_class(name)
    check_options(name, options)
    wanted = kind.heads(**options).get("heads")
    for head in wanted if isinstance(wanted, tuple) else ():
        if head not in model.config.heads:
            raise ConfigError(
                f"task {name!r} needs the head {head!r}; the model has "
                f"{', '.join(model.config.heads)}\n  to do: load weights fine-tuned for "
                f"{name}, or convert them: x2vlm convert IN OUT --to TASK"
            )
    return kind(model, tokenizer, **options)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """ConfigError for an option that the task does not have, or a value it cannot have."""
    if name not in OPTIONS:
        raise ConfigError(unknown("task", name, OPTIONS))
    known = {option.name for option in described(OPTIONS[name])}
    for option in options:
        if option not in known:
            raise ConfigError(unknown(f"option of task {name!r}", option, known))
    OPTIONS[name].from_dict(options)
