"""The model of a run: which weights, with which heads, on which device."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.identity import recipe
from benchmarks.plan import Plan
from x2vlm.errors import ConfigError
from x2vlm.model import checkpoint
from x2vlm.model.config import PRESETS, ModelConfig
from x2vlm.model.x2vlm import count_parameters
from x2vlm.provenance import sha256
from x2vlm.tasks import build_on, task_class
from x2vlm.tasks.base import Task
from x2vlm.weights import ASSETS, find_device, find_weights, load_weights, new_model, source_sha256

log = logging.getLogger("x2vlm")


class ModelOfRun:
    """Builds the task of a plan and tells where its weights come from.

    options: of the task, the names of its classes or candidates among them.
    """

    def __init__(self, plan: Plan, benchmark: Benchmark, files: Files) -> None:
        self.plan, self.choice, self.benchmark = plan, plan.model, benchmark
        self.device = find_device(plan.device)
        self.options: dict[str, Any] = {
            "max_tokens": self.choice.max_tokens, **benchmark.options,
            **(benchmark.file_options(files) if benchmark.file_options else {}), **plan.options,
        }  # fmt: skip
        if benchmark.labels is not None:
            name = "candidates" if benchmark.task == "answering" else "labels"
            self.options.setdefault(name, tuple(benchmark.labels(files)))
        if self.choice.seeded:  # before hours of training and not after
            self._recipe(self.start())

    def start(self) -> Path | None:
        """The weights file the run starts from; None for random weights, on purpose."""
        if self.choice.random:
            return None
        if self.choice.checkpoint:
            return find_weights(self.choice.checkpoint)
        folder = Path(self.choice.shipped) if self.choice.shipped else ASSETS
        return find_weights(self.choice.name, folder)

    def source(self, weights: Path | None = None) -> str:
        """Hash of the content of `weights` (just trained), or of those the run starts from."""
        if weights is not None:
            return source_sha256(weights)
        path, named = self.start(), self.choice.tokenizer
        return source_sha256(path, named) if path else f"random:{self.choice.name}:{self.plan.seed}"

    def former_source(self, weights: Path | None = None) -> str:
        """What `source` was in earlier versions: the hash of the file."""
        path = weights or self.start()
        return sha256(path) if path else self.source()

    def facts(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """The model of the record: as `describe` noted it when it predicted, with what it started
        from and what the plan calls it. ConfigError when model.seeded is set and the weights are
        not so."""
        path = self.start()
        seeded = {"source_recipe": self._recipe(path)} if self.choice.seeded else {}
        return {
            **described,
            "pretraining": self.choice.pretrained_on,
            "label": self.choice.label,
            "source_sha256": self.source() if path else "random",
            **seeded,
        }

    def _recipe(self, path: Path | None) -> str:
        """How seeded weights were trained, from the note that `x2vlm train` or `run` left."""
        fix = "  to do: name the weights of this seed, or model.seeded=false"
        if path is None:
            raise ConfigError(f"model.seeded=true, but the run starts from random weights\n{fix}")
        tuned = path.with_name("train.done.json")
        note = tuned if path.name == "model.safetensors" else path.with_suffix(".json")
        if not note.is_file():
            raise ConfigError(
                f"model.seeded=true, but no {note} says how the weights were trained\n{fix}"
            )
        try:
            made = json.loads(note.read_text(encoding="utf-8"))
            seed = (made["plan"] if "plan" in made else made["key"])["train"]["seed"]
            found, same = recipe(made), made.get("sha256") in (None, sha256(path))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{note}: not the note of a training ({error!r})\n{fix}") from error
        if seed != self.plan.seed or not same:
            what = f"seed {seed}, and this run of {self.plan.seed}" if same else "other weights"
            raise ConfigError(f"model.seeded=true, but {note} is of {what}\n{fix}")
        return found

    def shape(self) -> dict[str, Any]:
        """What else decides the model, for the keys of stages."""
        names = ("name", "image_size", "frames", "temporal_positions", "tokenizer", "max_tokens")
        return {name: getattr(self.choice, name) for name in names}

    def task(self, weights: Path | None) -> Task:
        """The task on `weights` (just trained), or on those the run starts from."""
        heads = task_class(self.benchmark.task).heads(**self.options)
        positions = self.choice.frames if self.choice.temporal_positions else 0
        frames = positions if self.benchmark.media == "video" else None
        changes: dict[str, Any] = {
            "tokenizer": self.choice.tokenizer, "image_size": self.choice.image_size,
            "frames": frames,
        }  # fmt: skip
        torch.manual_seed(self.plan.seed)
        path = weights or self.start()
        if path is None:
            model, text = new_model(self.choice.name, heads, **changes)
        else:
            made = weights is not None or self.plan.protocol.startswith("evaluate")
            model, text = load_weights(path, heads, new_heads=not made, **changes)
            if note := other_size(self.choice.name, model.config):
                log.warning("%s", note)
        return build_on(self.benchmark.task, model.to(self.device), text, **self.options)

    def told_training(self) -> tuple[str, str]:
        """What the weights the run starts from were fine-tuned on, and who says so: "user",
        "weights" (the run that made them), or "official" for public ones; ("", "") when nobody."""
        if self.choice.trained_on:
            return self.choice.trained_on, "user"
        path = self.start()
        if path is None or not self.plan.protocol.startswith("evaluate"):
            return "", ""
        if checkpoint.is_ours(path):
            told = checkpoint.read_extra(path).get("trained_on", "")
            return (told, "weights") if isinstance(told, str) and told else ("", "")
        # An official file that is evaluated as it is has the benchmark's head: it was fine-tuned.
        public = self.benchmark.public_training
        return (public, "official") if public else ("", "")

    def describe(self, task: Task, weights: str, trained: bool) -> dict[str, Any]:
        """The model as a record tells it. weights: hash of their content."""
        return {
            "name": self.choice.name,
            "parameters": count_parameters(task.model),
            "resolution": task.model.config.vision.image_size,
            "weights_sha256": weights,
            "checkpoint": self.choice.checkpoint or "shipped",
            "pretraining": self.choice.pretrained_on,
            "new_heads": [] if trained else sorted({n.partition(".")[0] for n in
                                                     task.model.new_parameters}),
        }  # fmt: skip

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The precision of predictions."""
        names = {"bfloat16": torch.bfloat16, "float16": torch.float16}
        kind = names.get(self.plan.predict.precision)
        with torch.autocast(self.device.type, kind) if kind else nullcontext():
            yield


def other_size(name: str, config: ModelConfig) -> str:
    """What to say of weights that are no model of this name, by which tables call them; or ""."""

    def size(model: ModelConfig) -> tuple[str, int, int, int]:
        return model.text.kind, model.vision.width, model.vision.depth, model.text.layers

    if name not in PRESETS or size(PRESETS[name]) == size(config):
        return ""
    fits = [other for other, preset in PRESETS.items() if size(preset) == size(config)]
    return (
        f"the weights are no {name} model (vision: {config.vision.depth} layers of "
        f"{config.vision.width}), but tables will call them so; "
        + (f"say model={fits[0]}" if fits else "no preset has their size")
    )


def device_name(device: torch.device) -> str:
    """The name of the GPU; empty for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""
