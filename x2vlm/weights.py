"""From a name or a file to a model with the heads a task needs, and its tokenizer."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from x2vlm.data.text import Tokenizer, load_tokenizer
from x2vlm.errors import CheckpointError, ConfigError, DataError, unknown
from x2vlm.model import checkpoint
from x2vlm.model.config import PRESETS, ModelConfig, TextConfig
from x2vlm.model.metadata import embedded_tokenizer
from x2vlm.model.x2vlm import X2VLM
from x2vlm.storage.file_kinds import check_is_weights

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
        if any(path.glob("*.index.json")) and not (path / "model.safetensors").is_file():
            check_is_weights(path)
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
    check_tokenizer(text, loaded.model.config.text, str(path), own=not tokenizer)
    return loaded.model, text


SPECIAL_IDS: Mapping[tuple[str, int], Mapping[str, int]] = {
    ("bert", 30522): {"pad": 0, "unk": 100, "cls": 101, "sep": 102, "mask": 103},
    ("xlm-roberta", 250002): {"cls": 0, "pad": 1, "sep": 2, "unk": 3, "mask": 250001},
}
"""kind and vocabulary of the public text encoders -> their special tokens; another vocabulary has
the places that the kind fixes"""
_FIXED = {"bert": {"pad": 0}, "xlm-roberta": {"cls": 0, "pad": 1, "sep": 2}}
_PADDED = 128
"""rows that an embedding table may have beyond its tokenizer, for speed"""


def check_tokenizer(text: Tokenizer, config: TextConfig, where: str, *, own: bool = False) -> None:
    """CheckpointError unless the tokenizer is one that weights of `config` can have learned.

    Its kind, its number of tokens and the ids of its special tokens are compared. own: it was kept
    with the weights, which may know more tokens than it has.
    """
    ids = {name: getattr(text, name) for name in ("cls", "sep", "pad", "mask", "unk")}
    wanted = SPECIAL_IDS.get((config.kind, config.vocabulary), _FIXED[config.kind])
    most_unused = config.vocabulary if own else _PADDED
    fault = ""
    if text.kind != config.kind:
        fault = f"is of kind {text.kind}, these weights have a {config.kind} text encoder"
    elif not 0 <= config.vocabulary - text.vocabulary < most_unused:
        fault = f"has {text.vocabulary} tokens, these weights know {config.vocabulary}"
    elif wrong := [name for name, place in wanted.items() if ids[name] != place]:
        found = ", ".join(f"{name} {ids[name]}" for name in wrong)
        right = ", ".join(f"{name} {wanted[name]}" for name in wrong)
        fault = f"has special tokens at {found}, these weights expect {right}"
    if fault:
        usual = "xlm-roberta-base" if config.kind == "xlm-roberta" else "bert-base-uncased"
        raise CheckpointError(
            f"{where}: the tokenizer {'in it ' if own else ''}{fault}\n"
            "  to do: name the tokenizer that the weights were trained with: model.tokenizer=NAME "
            f"or PATH (of public weights {usual})"
        )


def convert(
    source: str | Path, out: str | Path, *, to: str, tokenizer: str = "", **sizes: Any
) -> str:
    """`checkpoint.convert` with a tokenizer by name or path, which must be of these weights; it is
    kept whole in the new file. Raises CheckpointError when it is not, or is missing."""

    def kept(inside: str, config: ModelConfig) -> str:
        if not (tokenizer or inside):
            return ""
        text = _tokenizer(tokenizer, str(source), inside)
        check_tokenizer(text, config.text, str(source), own=not tokenizer)
        return text.to_json()

    return checkpoint.convert(source, out, to=to, tokenizer=kept, **sizes)


def source_sha256(path: Path, tokenizer: str = "") -> str:
    """`checkpoint.weights_sha256` with a tokenizer by name or path; kept while the file stays."""
    facts = path.stat()
    return _source_sha256(str(path.resolve()), facts.st_size, facts.st_mtime_ns, tokenizer)


@functools.lru_cache(maxsize=64)
def _source_sha256(path: str, _size: int, _changed: int, tokenizer: str) -> str:
    text = _tokenizer(tokenizer, path).to_json() if tokenizer else ""
    return checkpoint.weights_sha256(path, text)


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
    check_tokenizer(text, config.text, f"model={preset} with random weights", own=True)
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
