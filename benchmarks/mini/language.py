"""Saying things about the mini world in many languages, by grammar.

A `Message` is meaning without words. A `Language` holds templates per kind of message and a
grammar for noun phrases: gender, case, number, agreement, articles, classifiers, word order.

Templates. `{a:i.acc}` is the first thing as a noun phrase, indefinite (i), definite (d) or bare
(0, the default), in a case the language knows; `pl` makes it plural without a number. `{b…}` is
the second thing, `{all…}` all of them joined. `{rel:d}` is the relation to b, b in that
definiteness (in relation templates `*` stands for it). `{value}` and `{other}` are predicates that
agree with a; `{ground}`, `{move}` and `{n}` a place, a direction and a number word that agrees.
`[a?f:une|:un]` chooses by the agreement class of a thing; an empty key is the default.
"""

from __future__ import annotations

import importlib
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from benchmarks.mini.world import Thing

MODULES = {
    "en": "language_germanic",
    "de": "language_germanic",
    "fr": "language_romance",
    "cs": "language_slavic",
    "ja": "language_east_asian",
    "zh": "language_east_asian",
}
"""Which module of this package holds a language, as `LANGUAGES[code]`."""

KINDS = (
    *("list", "list_ground", "relation", "count"),
    *("q_colour", "q_pattern", "q_what", "q_exists", "q_is", "q_relation", "q_count", "q_choose"),
    *("s_left", "s_right", "s_both", "s_one", "s_sides"),
    *("is", "not", "moves", "hits"),
)
"""Kinds of messages; every language has templates for all of them.

list, list_ground: these things are there (on this ground). relation: a stands so to b. count:
there are n of a. q_*: questions. s_*: statements about a pair of pictures. is: a has this property.
not: there is no a. moves, hits: what happens in a video.
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
    """One language: words as data, grammar as a few methods."""

    code: str
    templates: Mapping[str, Sequence[str]]
    relations: Mapping[str, str]
    grounds: Mapping[str, str]
    moves: Mapping[str, str]
    joints: tuple[str, str]
    """between the members of a list, and before its last one"""
    stop: str = "."

    @abstractmethod
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """The noun phrase of a thing. article: "i", "d" or "0"; case: "" is the plain one."""

    @abstractmethod
    def predicate(self, value: str, thing: Thing) -> str:
        """An attribute value or property as it stands after "is", agreeing with the thing."""

    @abstractmethod
    def number(self, thing: Thing) -> str:
        """The number word for `thing.count`, agreeing with the thing."""

    def agreement(self, thing: Thing) -> str:
        """The class of a thing that `[a?…]` chooses by: "p" for plurals here."""
        return "p" if thing.count > 1 else "s"

    def finish(self, text: str) -> str:
        """Last changes to a whole sentence, such as contractions."""
        return text

    def say(self, message: Message, rng: random.Random) -> str:
        """One sentence for a message; `rng` chooses among the templates of its kind."""
        return self.fill(rng.choice(self.templates[message.kind]), message)

    def fill(self, template: str, message: Message) -> str:
        """A template with its slots and choices filled: capital first, full stop last."""
        text = self.finish(self._fill(template, message, "0")).strip()
        if text[-1] not in ".?!。？！؟۔।":
            text += self.stop
        return text[0].upper() + text[1:]

    def _fill(self, template: str, message: Message, article: str) -> str:
        def choice(found: re.Match[str]) -> str:
            options = dict(option.split(":", 1) for option in found[2].split("|"))
            key = self.agreement(self._thing(message, found[1]))
            return options[key] if key in options else options[""]

        def slot(found: re.Match[str]) -> str:
            return self._slot(found[1], (found[2] or "").replace("*", article), message)

        return _SLOT.sub(slot, _CHOICE.sub(choice, template))

    def _thing(self, message: Message, name: str) -> Thing:
        return message.things["ab".index(name)]

    def _slot(self, name: str, features: str, message: Message) -> str:
        given = features.split(".")
        article = next((f for f in given if f in ("i", "d", "0")), "0")
        case = next((f for f in given if f not in ("i", "d", "0", "pl", "")), "")
        if name == "all":
            return self.join([self.phrase(t, article, case, False) for t in message.things])
        if name in ("a", "b"):
            return self.phrase(self._thing(message, name), article, case, "pl" in given)
        if name == "rel":
            return self._fill(self.relations[message.relation], message, article)
        if name in ("value", "other"):
            return self.predicate(getattr(message, name), message.things[0])
        if name == "n":
            return self.number(message.things[0])
        return {"ground": self.grounds, "move": self.moves}[name][getattr(message, name)]

    def join(self, phrases: Sequence[str]) -> str:
        """A list in words: "a, b and c"."""
        if len(phrases) == 1:
            return phrases[0]
        return self.joints[0].join(phrases[:-1]) + self.joints[1] + phrases[-1]


@cache
def language(code: str) -> Language:
    """The language called `code`. Raises KeyError for one that the world does not speak."""
    module = importlib.import_module(f"benchmarks.mini.{MODULES[code]}")
    found: Language = module.LANGUAGES[code]
    return found
