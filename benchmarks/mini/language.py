"""Saying things about the mini world in many languages, by grammar.

A `Message` is meaning without words. A `Language` is data (`language_CODE.json`: words, and
templates per kind of message) and a grammar for noun phrases: gender, case, number, agreement,
articles, classifiers, word order (`grammar_*.py`, one class per type of language).

Templates. `{a:i.acc}` is the first thing as a noun phrase, indefinite (i), definite (d) or bare
(0, the default), in a case the language knows; `pl` makes it plural. `{b…}` is the second thing,
`{all…}` all of them joined. `{rel:d}` is the relation to b, b in that definiteness (in relation
templates `*` stands for it). `{value}` and `{other}` are predicates that agree with a; `{ground}`
and `{move}` a place and a direction. `[a?f:une|:un]` chooses by the agreement class of a thing; an
empty key is the default.
"""

from __future__ import annotations

import importlib
import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.mini.world import Thing

GRAMMARS = {
    "en": "grammar_prenominal:English",
    "de": "grammar_case:German",
    "fr": "grammar_postnominal:Romance",
    "cs": "grammar_case:Slavic",
    "ja": "grammar_prenominal:Japanese",
    "zh": "grammar_prenominal:Chinese",
    "es": "grammar_postnominal:Romance",
    "pt": "grammar_postnominal:Romance",
    "ru": "grammar_case:Slavic",
    "id": "grammar_postnominal:Indonesian",
    "sw": "grammar_postnominal:Postnominal",
    "ar": "grammar_postnominal:Arabic",
    "tr": "grammar_prenominal:Turkish",
    "ta": "grammar_prenominal:Prenominal",
    "bn": "grammar_prenominal:Bengali",
    "ko": "grammar_prenominal:Korean",
    "bg": "grammar_case:Bulgarian",
    "da": "grammar_case:Danish",
    "el": "grammar_case:Greek",
    "et": "grammar_case:Estonian",
    "vi": "grammar_postnominal:Indonesian",
}
"""language code -> "module:class" of its grammar"""

KINDS = (
    *("list", "list_ground", "relation"),
    *("q_colour", "q_pattern", "q_what", "q_exists", "q_is", "q_relation", "q_count", "q_choose"),
    *("s_left", "s_right", "s_both", "s_one", "s_sides"),
    *("is", "not", "moves", "hits"),
)
"""Kinds of messages; every language has templates for all of them.

list, list_ground: these things are there (on this ground). relation: a stands so to b. q_*:
questions. s_*: statements about a pair of pictures. is: a has this property. not: there is no a.
moves, hits: what happens in a video.
"""

_SLOT = re.compile(r"\{(\w+)(?::([\w.*]*))?\}")
_CHOICE = re.compile(r"\[(\w)\?([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be said. value, other: attribute values or properties; move: left, right, up,
    down; ground and relation as in `world`."""

    kind: str
    things: tuple[Thing, ...] = ()
    relation: str = ""
    ground: str = ""
    value: str = ""
    other: str = ""
    move: str = ""


class Language(ABC):
    """One language. data: the content of its file."""

    def __init__(self, code: str, data: Mapping[str, Any]) -> None:
        self.code, self.data = code, data
        self.templates: Mapping[str, Sequence[str]] = data["templates"]
        self._contractions = [
            (re.compile(pattern), new) for pattern, new in data.get("contractions", ())
        ]

    @abstractmethod
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """The noun phrase of a thing. article: "i", "d" or "0"; case: "" is the plain one."""

    @abstractmethod
    def predicate(self, value: str, thing: Thing) -> str:
        """An attribute value or property as it stands after "is", agreeing with the thing."""

    def adjective(self, value: str) -> str:
        """The entry of an attribute value or property."""
        return str(self.data["adjectives"][value])

    def said(self, thing: Thing) -> list[str]:
        """The attribute values of a thing that are given, in the language's order."""
        values = (getattr(thing, name) for name in self.data["order"])
        return [value for value in values if value is not None]

    def agreement(self, _thing: Thing, /) -> str:
        """The class of a thing that `[a?…]` chooses by."""
        return ""

    def finish(self, text: str) -> str:
        """Last changes to a whole sentence: contractions."""
        for pattern, new in self._contractions:
            text = pattern.sub(new, text)
        return text

    def capital(self, text: str) -> str:
        """The first letter made a capital."""
        first = next((i for i, c in enumerate(text) if c.isalpha()), 0)
        return text[:first] + text[first].upper() + text[first + 1 :]

    def say(self, message: Message, rng: random.Random) -> str:
        """One sentence for a message; `rng` chooses among the templates of its kind."""
        return self.fill(rng.choice(self.templates[message.kind]), message)

    def fill(self, template: str, message: Message) -> str:
        """A template with its slots and choices filled: capital first, full stop last."""
        text = self.finish(self._fill(template, message, "0")).strip()
        if text[-1] not in "?？؟;":
            text += self.data.get("stop", ".")
        return self.capital(text)

    def _fill(self, template: str, message: Message, article: str) -> str:
        def choice(found: re.Match[str]) -> str:
            options = dict(option.split(":", 1) for option in found[2].split("|"))
            key = self.agreement(message.things["ab".index(found[1])])
            return options[key] if key in options else options[""]

        def slot(found: re.Match[str]) -> str:
            return self._slot(found[1], (found[2] or "").replace("*", article), message)

        return _SLOT.sub(slot, _CHOICE.sub(choice, template))

    def _slot(self, name: str, features: str, message: Message) -> str:
        given = features.split(".")
        article = next((f for f in given if f in ("i", "d", "0")), "0")
        case = next((f for f in given if f not in ("i", "d", "0", "pl", "")), "")
        if name == "all":
            return self._join([self.phrase(t, article, case, False) for t in message.things])
        if name in ("a", "b"):
            return self.phrase(message.things["ab".index(name)], article, case, "pl" in given)
        if name == "rel":
            return self._fill(self.data["relations"][message.relation], message, article)
        if name in ("value", "other"):
            return self.predicate(getattr(message, name), message.things[0])
        return str(self.data[f"{name}s"][getattr(message, name)])

    def _join(self, phrases: Sequence[str]) -> str:
        """A list in words: "a, b and c"."""
        if len(phrases) == 1:
            return phrases[0]
        between, last = self.data["joints"]
        return str(between.join(phrases[:-1]) + last + phrases[-1])


@cache
def language(code: str) -> Language:
    """The language called `code`. Raises KeyError for one that the world does not speak."""
    module, _, name = GRAMMARS[code].partition(":")
    grammar = getattr(importlib.import_module(f"benchmarks.mini.{module}"), name)
    text = (Path(__file__).parent / f"language_{code}.json").read_text(encoding="utf-8")
    found: Language = grammar(code, json.loads(text))
    return found
