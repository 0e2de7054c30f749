"""What settings are: dataclasses whose fields say their meaning, unit and range, checked once.

A field is `name: Annotated[TYPE, Setting("meaning", "unit", least=1)] = DEFAULT`. The type and the
limits (`x2vlm.ranges`) are checked when the dataclass is made, whoever makes it; `described` lists
the fields of a class, for checks, for the command line and for pages about settings.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from x2vlm.errors import ConfigError, unknown
from x2vlm.ranges import Problem, Setting, SettingField, shown

_DESCRIBED: dict[type, tuple[SettingField, ...]] = {}
"""what `described` found, for resolving annotations takes long"""


class SettingsError(ConfigError):
    """One or more settings are unknown, of the wrong kind, out of range, or contradict others."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[SettingsError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # as worker processes hand it over


class Settings:
    """Base of the dataclasses of settings. KEY: in front of the names of their fields."""

    KEY: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """SettingsError with every problem: of single fields, else of fields with one another."""
        values = [(field, getattr(self, field.name)) for field in described(type(self))]
        problems = [field.problem(value) for field, value in values if not field.fits(value)]
        if problems := problems or list(self.contradictions()):
            raise SettingsError(problems)

    def contradictions(self) -> Iterator[Problem]:
        """Problems of fields with one another, each of which is allowed by itself."""
        yield from ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, at: str = "", recorded: bool = False) -> Self:
        """Build from plain values, such as those of a YAML file or a record; settings within
        settings are mappings or made already.

        at: what stands in place of KEY in messages. recorded: the values were in use when a record
        or checkpoint was written: types are checked, ranges and contradictions are not, so that old
        files stay readable. Raises SettingsError with every problem found.
        """
        plain, problems = _read(cls, values, at or cls.KEY, recorded)
        if problems:
            raise SettingsError(problems)
        if recorded:
            made = object.__new__(cls)
            for field in described(cls):
                object.__setattr__(made, field.name, plain.get(field.name, field.default))
            return made
        try:
            return cls(**plain)
        except SettingsError as error:
            moved = [_moved(problem, cls.KEY, at) for problem in error.problems]
            raise SettingsError(moved) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, JSON-ready."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


def described(cls: type[Settings]) -> tuple[SettingField, ...]:
    """The fields of a class of settings. TypeError for one that does not say what it means."""
    if cls not in _DESCRIBED:
        _DESCRIBED[cls] = _describe(cls)
    return _DESCRIBED[cls]


def _describe(cls: type[Settings]) -> tuple[SettingField, ...]:
    hints = get_type_hints(cls, include_extras=True)
    found = []
    for field in fields(cls):  # type: ignore[arg-type]
        kind, *notes = get_args(hints[field.name])[:2] if _annotated(hints[field.name]) else ("",)
        if not notes or not isinstance(notes[0], Setting):
            raise TypeError(f"{cls.__name__}.{field.name} needs Annotated[TYPE, Setting(…)]")
        setting = notes[0]
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        key = setting.key or cls.KEY + field.name
        found.append(SettingField(field.name, key, *_without_none(kind), setting, default))
    return tuple(found)


# -- from mappings ---------------------------------------------------------------------------


def _annotated(hint: Any) -> bool:
    return get_origin(hint) is Annotated


def _without_none(kind: Any) -> tuple[Any, bool]:
    """A type without its None, and whether it had one."""
    if get_origin(kind) not in (Union, UnionType):
        return kind, False
    kinds = get_args(kind)
    rest = [one for one in kinds if one is not NoneType]
    return functools.reduce(operator.or_, rest), len(rest) < len(kinds)


def _read(
    cls: type[Settings], values: Any, here: str, recorded: bool
) -> tuple[dict[str, Any], list[Problem]]:
    """The values by field, lists as tuples and mappings as settings where they are due, and what is
    wrong with them. here: in front of the fields' names."""
    if not isinstance(values, Mapping):
        key = here.removesuffix(".") or cls.__name__
        return {}, [Problem(key, f"must be a mapping, got {shown(values)}")]
    known = {f.name: f._replace(key=f.setting.key or here + f.name) for f in described(cls)}
    plain: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.items():
        if name not in known:
            keys = [field.key for field in known.values()]
            problems.append(Problem("", unknown("setting", f"{here}{name}", keys)))
            continue
        field, found = known[name], list[Problem]()
        plain[name] = _nested(field, value, recorded, found)
        if not found and not field.fits(plain[name], ranges=not recorded):
            found.append(field.problem(plain[name]))
        problems += found
    for name, field in known.items():
        if field.default is MISSING and name not in values:
            problems.append(Problem("", f"{field.key}=… is missing"))
    return plain, problems


def _nested(field: SettingField, value: Any, recorded: bool, problems: list[Problem]) -> Any:
    """A value with its lists as tuples and its settings made; `problems` gathers what is wrong."""

    def make(kind: type[Settings], row: Any, at: str) -> Any:
        if isinstance(row, kind):
            return row
        try:
            return kind.from_dict(row, at=at, recorded=recorded)
        except SettingsError as error:
            problems.extend(error.problems)
            return None

    if isinstance(value, list) and get_origin(field.kind) is tuple:
        return tuple(value)
    if _is_settings(field.kind):
        return make(field.kind, value, "")
    inner = get_args(field.kind)[-1:] if isinstance(value, Mapping) else ()
    if inner and get_origin(inner[0]) is tuple:
        return {name: tuple(row) if isinstance(row, list) else row for name, row in value.items()}
    if inner and _is_settings(inner[0]):
        return {name: make(inner[0], row, f"{field.key}.{name}.") for name, row in value.items()}
    return value


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _moved(problem: Problem, key: str, at: str) -> Problem:
    """A problem of a class whose fields stand below `at` instead of its KEY."""
    if not at or not problem.key.startswith(key):
        return problem
    return problem._replace(key=at + problem.key.removeprefix(key))
