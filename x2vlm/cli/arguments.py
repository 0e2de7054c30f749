"""The grammar of the command line, one for all commands: KEY=VALUE, and words where a command
takes some. What is not used is refused, with the likely spelling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_origin

from x2vlm.cli.values import ANYTHING, is_there, read_value
from x2vlm.errors import close, unknown
from x2vlm.ranges import Problem, SettingField
from x2vlm.settings import Settings, SettingsError, described

S = TypeVar("S", bound=Settings)
_KEY = re.compile(r"([A-Za-z_][^\s=/\\]*)=")
_FLAG = re.compile(r"--?(?=[A-Za-z])")


@dataclass(frozen=True)
class CommandLine:
    """words: arguments that are not KEY=VALUE. given: (key, text), in order. problems: of flags."""

    words: list[str]
    given: list[tuple[str, str]]
    problems: list[Problem]


def split(
    arguments: Sequence[str], known: Callable[[str], bool], names: Iterable[str]
) -> CommandLine:
    """Arguments told apart. known: whether a key is one of the command; names: all of them.

    A word may hold "=": one with a separator or a blank before it, or one that exists as a file or
    folder and whose key is not of the command. "--limit=3" and "--limit 3" are refused.
    """
    line, rest = CommandLine([], [], []), list(arguments)
    while rest:
        argument = rest.pop(0)
        flag = _FLAG.match(argument)
        if flag is not None:
            line.problems.append(_flag(argument, rest, names))
            continue
        found = _KEY.match(argument)
        if found is None or (not known(found[1]) and is_there(argument)):
            line.words.append(argument)
        else:
            line.given.append((found[1], argument[found.end() :]))
    return line


def _flag(argument: str, rest: list[str], names: Iterable[str]) -> Problem:
    """The problem of "--key=value" or "--key value" (whose value is taken out of `rest`)."""
    name, sign, value = argument.lstrip("-").partition("=")
    shown = argument
    if not sign and rest and "=" not in rest[0] and not rest[0].startswith("-"):
        value = rest.pop(0)
        shown = f"{argument} {value}"
    return Problem(
        "", f"unexpected {shown!r}; arguments are KEY=VALUE\n{likely(name, value, names)}"
    )


def likely(name: str, value: str, names: Iterable[str]) -> str:
    """What was probably meant by a key that does not exist, as a line of a message."""
    names, name = list(names), name.replace("-", "_")
    near = [name] if name in names else close(name, names)
    if not near:
        return "  to do: --help lists what the command takes"
    meant = [one for one in near if one.endswith(f".{name}")] or near[:1]
    return f"  to do: {' or '.join(f'{one}={value}' if value else f'{one}=…' for one in meant)}"


def unknown_key(key: str, value: str, names: Iterable[str]) -> Problem:
    """The problem of a key that a command does not have."""
    names = list(names)
    return Problem("", f"{unknown('setting', key, names)}\n{likely(key, value, names)}")


def parse(kind: type[S], arguments: Sequence[str], usage: str = "") -> tuple[list[str], S]:
    """The words and the settings of a command whose settings are the dataclass `kind`.

    usage: shown beside problems. SettingsError with every problem.
    """
    fields = {field.key: field for field in described(kind)}
    line = split(arguments, lambda key: _field(fields, key) is not None, fields)
    values: dict[str, Any] = {}
    problems = list(line.problems)
    for key, text in line.given:
        field = _field(fields, key)
        if field is None:
            problems.append(unknown_key(key, text, fields))
        elif field.key == key:
            values[field.name] = read_value(field, text)
        else:
            values.setdefault(field.name, {})[key.removeprefix(f"{field.key}.")] = read_value(
                member(field), text
            )
    try:
        made = kind.from_dict(values)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems if not usage else [*problems, Problem("", usage)])
    return line.words, made


def no_words(words: Sequence[str], names: Iterable[str] = ()) -> None:
    """SettingsError for words that a command does not take."""
    if words:
        raise SettingsError([stray(word, names) for word in words])


def stray(word: str, names: Iterable[str] = ()) -> Problem:
    """The problem of a word where KEY=VALUE is due."""
    near = close(word, names)
    hint = f"\n  to do: {' or '.join(near)}" if near else ""
    return Problem("", f"unexpected {word!r}; arguments are KEY=VALUE{hint}")


def member(field: SettingField) -> SettingField:
    """What one entry of a mapping holds: a field of that type, called KEY.NAME."""
    inner = field.kind.__args__[1]
    return ANYTHING if inner is Any else field._replace(kind=inner, optional=False)


def _field(fields: Mapping[str, SettingField], key: str) -> SettingField | None:
    """The setting called `key`, or the mapping that KEY.NAME is an entry of."""
    if key in fields:
        return fields[key]
    above = fields.get(key.partition(".")[0])
    return above if above and "." in key and get_origin(above.kind) is Mapping else None
