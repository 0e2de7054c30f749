"""Languages whose adjectives stand before the noun and do not agree with it.

English, Japanese, Chinese, Korean, Turkish, Tamil and Bengali. Data: nouns are their forms in the
order of `cases` (one form without it); adjectives "attribute" or "attribute/predicate"; `article`
is the indefinite one, `definite` the endings of definite nouns, one per case.
"""

from __future__ import annotations

import re
from typing import ClassVar

from typing_extensions import override

from benchmarks.mini.language import Language
from benchmarks.mini.world import Thing


class Prenominal(Language):
    """Indefinite article, adjectives, noun in its case."""

    def noun(self, thing: Thing, case: str) -> str:
        """The noun in a case; "" is the first of the language."""
        forms = self.data["nouns"][thing.shape or "object"].split()
        return str(forms[self.data["cases"].index(case) if case else 0])

    def attributes(self, thing: Thing) -> list[str]:
        """Adjectives in the language's order."""
        return [self.adjective(value).partition("/")[0] for value in self.said(thing)]

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Plurals have a case of their own ("pl") where they differ."""
        plural = plural and "pl" in self.data["cases"]
        words = [*self.attributes(thing), self.noun(thing, "pl" if plural else case)]
        if article == "i" and self.data.get("article"):
            words.insert(0, self.data["article"])
        return " ".join(words)

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """The second form of an adjective that has two."""
        return self.adjective(value).rpartition("/")[2]


class English(Language):
    """Articles by sound, plurals by ending."""

    @override
    def adjective(self, value: str) -> str:
        """The world's values are English words."""
        return value

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Article, adjectives, noun; there are no cases."""
        noun = self.data["nouns"][thing.shape or "object"]
        if plural:
            noun += "es" if noun.endswith("s") else "s"
        words = " ".join([*self.said(thing), noun])
        if article == "i":
            return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
        return f"the {words}" if article == "d" else words

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """Unchanged."""
        return value


class Turkish(Prenominal):
    """The article stands between adjectives and noun; the question word follows vowel harmony."""

    _HARMONY: ClassVar[dict[str, str]] = dict(zip("aıoueiöü", "ııuuiiüü", strict=True))

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """büyük kırmızı bir top."""
        words = self.attributes(thing)
        if article == "i":
            words.append(self.data["article"])
        return " ".join([*words, self.noun(thing, case)])

    @override
    def finish(self, text: str) -> str:
        """MI -> mı, mi, mu, mü after the last vowel before it."""

        def question(found: re.Match[str]) -> str:
            vowel = next(c for c in reversed(found[1]) if c in self._HARMONY)
            return f"{found[1]} m{self._HARMONY[vowel]}"

        return re.sub(r"(\w+) mI\b", question, text)

    @override
    def capital(self, text: str) -> str:
        """A dotted i has a dotted capital."""
        return text.replace("i", "İ", 1) if text.startswith("i") else super().capital(text)


class Bengali(Prenominal):
    """Definite nouns take -টি, the genitive after it."""

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """লাল বলটি; লাল বলটির."""
        if article != "d":
            return super().phrase(thing, article, case, plural)
        ending = self.data["definite"][self.data["cases"].index(case or "nom")]
        return " ".join([*self.attributes(thing), self.noun(thing, "") + ending])


class Korean(Prenominal):
    """Particles have two forms, after a consonant and after a vowel."""

    @override
    def finish(self, text: str) -> str:
        """ "공이/가" -> "공이", "고리이/가" -> "고리가"."""

        def particle(found: re.Match[str]) -> str:
            closed = (ord(found[1]) - 0xAC00) % 28 != 0
            return str(found[1] + found[2 if closed else 3])

        return re.sub(r"(\S)(이|은|을|과)/(가|는|를|와)", particle, text)


class Japanese(Language):
    """No spaces; i-adjectives, and nouns with の; particles stand in the templates."""

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Neither article nor case nor plural."""
        words = [self.adjective(value) for value in self.said(thing)]
        return "".join([*words, self.data["nouns"][thing.shape or "object"]])

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """I-adjectives stay; の and な fall away."""
        word = self.adjective(value)
        return word if word.endswith("い") else word[:-1]


class Chinese(Language):
    """Classifiers by noun; size stands next to the noun; 的 after the other modifiers."""

    @override
    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """一 or 这 with the classifier; material, colour and pattern, size, noun.

        Case "how" has the classifier alone, as after 几.
        """
        classifier, noun = self.data["nouns"][thing.shape or "object"].split()
        look = "".join(self.adjective(v) for v in (thing.colour, thing.pattern) if v)
        words = f"{self.adjective(thing.material)}的" if thing.material else ""
        words += look + ("的" if look and not words else "")
        words += (self.adjective(thing.size) if thing.size else "") + noun
        first = {"i": "一", "d": "这"}.get(article, "")
        return f"{first}{classifier if first or case == 'how' else ''}{words}"

    @override
    def predicate(self, value: str, thing: Thing) -> str:
        """Adjective with 的."""
        return self.adjective(value) + "的"
