"""From a name or a file to a model with the heads a task needs, and its tokenizer."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from x2vlm.data.text import Tokenizer, load_tokenizer
from x2vlm.errors import CheckpointError, ConfigError, DataError, unknown
from x2vlm.model import checkpoint
from x2vlm.model.config import PRESETS
from x2vlm.model.metadata import embedded_tokenizer
from x2vlm.model.x2vlm import X2VLM

ASSETS = Path(__file__).parent / "assets"
OFFICIAL_TOKENIZERS = (
    "bert-base-uncased",
    "bert-large-uncased",
    "xlm-roberta-base",
    "xlm-roberta-large",
)
"""of the published models, on the Hugging Face hub"""


def find_device(name: str) -> torch.device:
    """ "auto" is a GPU when there is one. ConfigError for a device that cannot be used."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name!r} cannot be used: {str(error).splitlines()[0]}\n"
            "  to do: use 'cpu', or 'auto'"
        ) from error


def find_weights(name: str | Path, folder: Path = ASSETS) -> Path:
    """The file behind a shipped name (in `folder`), a run folder or a path.

    CheckpointError when there is none.
    """
    path = Path(name)
    shipped = folder / f"{name}.safetensors"
    if not path.exists() and shipped.is_file():
        return shipped
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.safetensors"))
        close = difflib.get_close_matches(str(name), names, n=1)
        raise CheckpointError(
            f"no weights at {path}{f'; did you mean {close[0]!r}?' if close else ''}\n"
            "  expected: a file, a run folder that holds model.safetensors, or a shipped name "
            f"({', '.join(names) or 'none here'})\n  to do: name a file, checkpoint=FILE, or start "
            "from nothing on purpose: model.random=true"
        )
    return path


def load_weights(
    path: Path,
    heads: Mapping[str, Any] | None = None,
    *,
    tokenizer: str = "",
    image_size: int | None = None,
    frames: int | None = None,
    new_heads: bool = False,
) -> tuple[X2VLM, Tokenizer]:
    """A model of the file with the task's heads, and its tokenizer.

    heads: fields of the config, as `Task.heads` gives them. new_heads: heads that the file lacks
    start from random values; otherwise they are a CheckpointError. frames: temporal positions
    wanted, when the task reads videos.
    """
    allow: Collection[str] = ()
    if new_heads and heads:
        named = heads.get("heads", ())
        allow = (*named, *(("frames",) if frames else ())) if isinstance(named, tuple) else ()
    loaded = checkpoint.load_any(path, heads, image_size=image_size, frames=frames, allow_new=allow)
    text = _tokenizer(tokenizer, str(path), loaded.tokenizer)
    known = loaded.model.config.text.vocabulary
    if text.vocabulary > known:
        raise CheckpointError(
            f"the tokenizer has {text.vocabulary} tokens, the weights of {path} know {known}\n"
            "  to do: name the tokenizer that they were trained with: model.tokenizer=NAME or PATH"
        )
    return loaded.model, text


def new_model(
    preset: str,
    heads: Mapping[str, Any],
    *,
    tokenizer: str = "",
    image_size: int | None = None,
    frames: int | None = None,
) -> tuple[X2VLM, Tokenizer]:
    """A model of random weights, on purpose. tokenizer: name or path; empty: the preset's own."""
    if preset not in PRESETS:
        raise ConfigError(unknown("model", preset, PRESETS))
    config = checkpoint.target_config(PRESETS[preset], heads, image_size=image_size, frames=frames)
    own = ASSETS / f"{preset}-tokenizer.json"
    text = _tokenizer(tokenizer or (str(own) if own.is_file() else ""), preset)
    return X2VLM(config), text


def known_tokenizers() -> dict[str, str]:
    """Name that a weights file may use -> what it stands for: those in the package, and the
    official ones on the hub."""
    shipped = {name: ASSETS / f"{name}-tokenizer.json" for name in PRESETS}
    found = {name: str(path) for name, path in shipped.items() if path.is_file()}
    return found | {name: name for name in OFFICIAL_TOKENIZERS}


def _tokenizer(named: str, where: str, embedded: str = "") -> Tokenizer:
    """named: a name or path of the user's, or of the package. embedded: what the weights file holds
    or names; used when the user names none."""
    if not named and embedded:
        text = embedded_tokenizer(embedded, where, known_tokenizers())
        try:
            return load_tokenizer(text)
        except DataError as error:
            raise CheckpointError(f"{where}: the tokenizer in its metadata: {error}") from error
    if not named:
        raise CheckpointError(
            f"{where} carries no tokenizer\n  to do: name one: model.tokenizer=bert-base-uncased "
            "(xlm-roberta-base for multilingual weights), or a folder or vocab.txt"
        )
    return load_tokenizer(named)
