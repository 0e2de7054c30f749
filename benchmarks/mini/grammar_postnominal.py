"""Languages whose adjectives follow the noun and agree with its class.

French, Spanish, Portuguese (two genders), Arabic (two genders; things in the plural count as
feminine), Swahili (noun classes 3/4, 9/10, 7/8 as m, n, k), Indonesian and Vietnamese (no
agreement). Data: nouns [class, "singular plural"]; adjectives one form, or one per class, singular
then plural, joined by "/"; `before` names attributes that stand before the noun.
"""

from __future__ import annotations

from typing_extensions import override

from benchmarks.mini.language import Language
from benchmarks.mini.world import Thing


class Postnominal(Language):
    """Noun and agreeing adjectives; without articles, as in Swahili."""

    @override
    def agreement(self, thing: Thing) -> str:
        """The noun's class."""
        return str(self.data["nouns"][thing.shape or "object"][0])

    def agreeing(self, value: str, thing: Thing, plural: bool) -> str:
        """The form of an adjective for a thing's class and number."""
        forms = self.adjective(value).split("/")
        return forms[self.column(thing, plural)] if len(forms) > 1 else forms[0]

    def column(self, thing: Thing, plural: bool) -> int:
        """Place of a class and number in rows of forms."""
        classes = self.data["classes"]
        return int(classes.index(self.agreement(thing))) + len(classes) * plural

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Adjectives before the noun, noun, the other adjectives, and an article around them."""
        noun = self.data["nouns"][thing.shape or "object"][1].split()[plural]
        before: list[str] = []
        after: list[str] = []
        for value in self.said(thing):
            first = any(getattr(thing, name) == value for name in self.data.get("before", ()))
            (before if first else after).append(self.agreeing(value, thing, plural))
        return " ".join(self.articled([*before, noun, *after], article, thing, plural))

    def articled(
        self, words: list[str], _article: str, _thing: Thing, _plural: bool, /
    ) -> list[str]:
        """The words of a phrase with the article where the language puts it."""
        return words

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """In the thing's class, singular."""
        return self.agreeing(value, thing, False)


class Romance(Postnominal):
    """Articles agree and come first."""

    @override
    def articled(self, words: list[str], article: str, thing: Thing, plural: bool) -> list[str]:
        """le, la, un, une; indefinite plurals stay bare."""
        if article == "0" or (article == "i" and plural):
            return words
        return [self.data["articles"][article].split()[self.column(thing, plural)], *words]


class Indonesian(Postnominal):
    """An indefinite word before the phrase, a definite one after it."""

    @override
    def articled(self, words: list[str], article: str, thing: Thing, plural: bool) -> list[str]:
        """sebuah bola merah; bola merah itu."""
        if article == "i":
            return [self.data["articles"]["i"], *words]
        return [*words, self.data["articles"]["d"]] if article == "d" else words


class Arabic(Postnominal):
    """The definite article is a prefix of the noun and of every adjective."""

    @override
    def articled(self, words: list[str], article: str, thing: Thing, plural: bool) -> list[str]:
        """الكرة الحمراء; prepositional adjuncts (بمربعات) stay as they are."""
        return [self.data["articles"]["d"] + word for word in words] if article == "d" else words
