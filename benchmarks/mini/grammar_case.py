"""European languages whose adjectives agree before the noun: in gender, case or definiteness.

German, Czech, Russian, Danish, Bulgarian, Greek, Estonian.

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
        case = case or "nom"
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


class Danish(Language):
    """Two genders; the article is a suffix, or a word before adjectives.

    Noun forms: indefinite, definite, plural. Adjectives: common, neuter, definite, plural.
    """

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """en rød kugle; den røde kugle; kuglen; røde kugler."""
        gender, forms = self.data["nouns"][thing.shape or "object"]
        place = "cn".index(gender)
        column = 3 if plural else 2 if article == "d" else place
        words = [_pick(self.adjective(value), column) for value in self.said(thing)]
        if article == "d" and not words:
            return str(forms.split()[1])
        words.append(forms.split()[2 if plural else 0])
        if article != "0" and not plural:
            words.insert(0, self.data["articles"][article].split()[place])
        return " ".join(words)

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """Common or neuter."""
        gender = self.data["nouns"][thing.shape or "object"][0]
        return _pick(self.adjective(value), "cn".index(gender))


class Bulgarian(Language):
    """No cases, but a short masculine article away from the subject (case "obl").

    Noun forms: indefinite, definite, definite oblique, plural. Adjectives: m, f, n, plural; the
    article goes to the first word of the phrase.
    """

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """една червена топка; червената топка; над червения куб."""
        gender, forms = self.data["nouns"][thing.shape or "object"]
        place = GENDERS.index(gender)
        adjectives = [self.adjective(value).split("/") for value in self.said(thing)]
        words = [forms_of[3 if plural else place] for forms_of in adjectives]
        if article == "d" and words:
            ending = ("ят", "та", "то")[place] if case != "obl" else ("я", "та", "то")[place]
            words[0] = adjectives[0][3 if gender == "m" else place] + ending
        definite = article == "d" and not words
        words.append(forms.split()[3 if plural else (1 + (case == "obl")) * definite])
        if article == "i":
            words.insert(0, self.data["articles"]["i"].split()[place])
        return " ".join(words)

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """In the gender of the thing."""
        gender = self.data["nouns"][thing.shape or "object"][0]
        return self.adjective(value).split("/")[GENDERS.index(gender)]


class Greek(Language):
    """Three genders, nominative and accusative.

    Noun forms: nominative, accusative, plural. Adjectives and articles: masculine nominative and
    accusative, feminine, neuter; adjectives then the plurals of m, f, n.
    """

    @override
    def agreement(self, thing: Thing) -> str:
        """m, f or n."""
        return str(self.data["nouns"][thing.shape or "object"][0])

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """ένας κόκκινος κύβος; τον κόκκινο κύβο; κόκκινοι κύβοι."""
        accusative = case == "acc"
        gender, forms = self.data["nouns"][thing.shape or "object"]
        column = {"m": int(accusative), "f": 2, "n": 3}[gender]
        place = 4 + GENDERS.index(gender) if plural else column
        words = [_pick(self.adjective(value), place) for value in self.said(thing)]
        words.append(forms.split()[2 if plural else int(accusative)])
        if article != "0" and not plural:
            feminine = article == "d" and accusative and gender == "f"
            articles = self.data["articles"]
            words.insert(0, articles["acc"] if feminine else articles[article].split()[column])
        return " ".join(words)

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """In the nominative."""
        return _pick(self.adjective(value), {"m": 0, "f": 2, "n": 3}[self.agreement(thing)])


class Estonian(Language):
    """Adjective and noun in one case; forms: nominative, genitive, partitive.

    The elative ("ela") is the genitive with -st.
    """

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """punane pall; punase palli; punast palli; punasest pallist."""
        entries = [self.adjective(value) for value in self.said(thing)]
        entries.append(self.data["nouns"][thing.shape or "object"])
        place = ("nom", "gen", "par", "ela").index(case or "nom")
        if place == 3:
            return " ".join(entry.split()[1] + "st" for entry in entries)
        return " ".join(entry.split()[place] for entry in entries)

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """In the nominative."""
        return self.adjective(value).split()[0]


def _pick(forms: str, place: int) -> str:
    """One of the forms joined by "/"; a single one never changes."""
    return forms.split("/")[place] if "/" in forms else forms
