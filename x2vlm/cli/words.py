"""Words of commands that hydra does not compose: split, held against what is known, and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.files import OnError
from x2vlm.cli.arguments import split
from x2vlm.cli.values import home
from x2vlm.errors import ConfigError, unknown
from x2vlm.settings import SettingsError

Settings = dict[str, str]
ON_ERROR: dict[str, OnError] = {"raise": "raise", "skip": "skip"}


def split_words(words: Sequence[str], names: Sequence[str]) -> tuple[list[str], Settings]:
    """Plain words and key=value settings, by the grammar of all commands; "~/" in front of a value
    is the home folder. names: the keys that the command has. ConfigError for flags."""
    line = split(words, lambda key: key in names or key.startswith("file."), names)
    if line.problems:
        raise SettingsError(line.problems)
    return line.words, {key: home(text) for key, text in line.given}


def take(settings: Iterable[str], *known: str) -> None:
    """ConfigError for a setting the command does not have."""
    for name in settings:
        if name not in known:
            raise ConfigError(unknown("setting", name, known))


def listed(
    settings: Mapping[str, str], name: str, what: str = "", known: Iterable[str] = ()
) -> tuple[str, ...]:
    """The parts of a comma list, in brackets or not: "de,ru" and "[de,ru]" (as hydra wants it) are
    one. ConfigError for a part that is not among `known`, if given."""
    text = settings.get(name, "").removeprefix("[").removesuffix("]")
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    known = tuple(known)
    for part in found:
        if known and part not in known:
            raise ConfigError(unknown(what, part, known))
    return found


def below(settings: Settings, prefix: str) -> dict[str, str]:
    """The settings whose names start with `prefix`, without it; taken out of `settings`."""
    names = [name for name in settings if name.startswith(prefix)]
    return {name.removeprefix(prefix): settings.pop(name) for name in names}


def plain_value(text: str) -> Any:
    """The value that a setting's text stands for: a number, a switch, null, a list, or the text."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def whole(settings: Mapping[str, str], name: str, default: int = 0) -> int:
    """A whole number from 0."""
    text = settings.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"{name} is a whole number from 0, not {text!r}")
    return int(text)


def yes(settings: Mapping[str, str], name: str, default: bool) -> bool:
    """true or false."""
    text = settings.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise ConfigError(f"{name} is true or false, not {text!r}")
    return text == "true"


def on_error(settings: Mapping[str, str]) -> OnError:
    """What to do about a bad row: raise or skip."""
    text = settings.get("on_error", "raise")
    if text not in ON_ERROR:
        raise ConfigError(f"on_error is raise or skip, not {text!r}")
    return ON_ERROR[text]
