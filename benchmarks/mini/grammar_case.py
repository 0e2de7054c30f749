"""Languages with cases: German (articles decide the ending), Czech and Russian (no articles).

Data: nouns [gender, forms]; adjectives are stems.
"""

from __future__ import annotations

from typing_extensions import override

from benchmarks.mini.language import Language
from benchmarks.mini.world import Thing

GENDERS = "mfn"


class German(Language):
    """Noun forms: singular, plural. Endings are strong (0), mixed (i) or weak (d)."""

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Article, adjectives with the ending that article, gender and case ask for, noun.

        Plurals come without article, in the nominative or accusative.
        """
        gender, forms = self.data["nouns"][thing.shape or "object"]
        singular, several = forms.split()
        if plural:
            return " ".join([*(self._inflected(v, "e") for v in self.said(thing)), several])
        place = GENDERS.index(gender)
        ending = self.data["endings"][article][case].split()[place]
        words = [self._inflected(value, ending) for value in self.said(thing)]
        if article != "0":
            words.insert(0, self.data["articles"][article][case].split()[place])
        return " ".join([*words, "Herzen" if singular == "Herz" and case == "dat" else singular])

    def _inflected(self, value: str, ending: str) -> str:
        stem = self.adjective(value)
        return ("teur" if stem == "teuer" else stem) + ending

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """The bare stem."""
        return self.adjective(value)


class Slavic(Language):
    """Noun forms: nominative, genitive, accusative, instrumental; genitive plural.

    Adjectives are "stem:paradigm"; a paradigm lists the four endings for m, f, n, and the one of
    the genitive plural, joined by "|".
    """

    CASES = ("nom", "gen", "acc", "ins")

    @override
    def agreement(self, thing: Thing) -> str:
        """m, f or n."""
        return str(self.data["nouns"][thing.shape or "object"][0])

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Adjectives and noun in one case; plurals are genitive, as after "how many"."""
        gender, forms = self.data["nouns"][thing.shape or "object"]
        place = 0 if plural else self.CASES.index(case or "nom")
        words = [self._inflected(value, gender, place, plural) for value in self.said(thing)]
        return " ".join([*words, forms.split()[4 if plural else place]])

    def _inflected(self, value: str, gender: str, place: int, plural: bool) -> str:
        stem, paradigm = self.adjective(value).split(":")
        row = self.data["endings"][paradigm].split("|")[3 if plural else GENDERS.index(gender)]
        return stem + str(row.split()[place])

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """In the nominative."""
        return self._inflected(value, self.agreement(thing), 0, False)
