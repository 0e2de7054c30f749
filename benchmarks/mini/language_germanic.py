"""English and German."""

from __future__ import annotations

from benchmarks.mini.language import Language
from benchmarks.mini.world import Thing


class English(Language):
    """Articles by sound; adjectives in the order size, material, pattern, colour."""

    code = "en"
    nouns = {
        "ball": "ball",
        "cube": "cube",
        "cone": "cone",
        "star": "star",
        "heart": "heart",
        "ring": "ring",
        "cross": "cross",
        "moon": "moon",
        None: "object",
    }
    relations = {
        "left": "to the left of {b:*}",
        "right": "to the right of {b:*}",
        "above": "above {b:*}",
        "below": "below {b:*}",
    }
    grounds = {
        "grass": "on the grass",
        "sand": "on the sand",
        "water": "on the water",
        "road": "on the road",
    }
    moves = {"left": "to the left", "right": "to the right", "up": "up", "down": "down"}
    joints = (", ", " and ")
    templates = {
        "list": (
            "{all:i}",
            "there is {all:i}",
            "a picture of {all:i}",
            "{all:i} can be seen",
            "the picture shows {all:i}",
        ),
        "list_ground": (
            "{all:i} {ground}",
            "there is {all:i} {ground}",
            "{ground} there is {all:i}",
            "we see {all:i} {ground}",
        ),
        "relation": (
            "{a:i} is {rel:i}",
            "{a:i} {rel:i}",
            "there is {a:i} {rel:i}",
            "{rel:i} there is {a:i}",
        ),
        "count": ("there [a?p:are|:is] {a:i}", "we see {a:i}"),
        "q_colour": ("what color is {a:d}?", "which color does {a:d} have?"),
        "q_pattern": ("what pattern does {a:d} have?",),
        "q_what": ("what is {rel:d}?", "what kind of object is {rel:d}?"),
        "q_exists": ("is there {a:i}?", "do you see {a:i}?", "is there {a:i} in the picture?"),
        "q_is": ("is {a:d} {value}?", "does {a:d} look {value}?"),
        "q_relation": ("is {a:d} {rel:d}?",),
        "q_count": ("how many {a:pl} are there?", "how many {a:pl} do you see?"),
        "q_choose": ("is {a:d} {value} or {other}?",),
        "s_left": ("the left image contains {a:i}", "there is {a:i} in the left image"),
        "s_right": ("the right image contains {a:i}", "there is {a:i} in the right image"),
        "s_both": ("both images contain {a:i}", "there is {a:i} in each image"),
        "s_one": ("exactly one of the images contains {a:i}", "only one image shows {a:i}"),
        "s_sides": ("the left image contains {a:i} and the right one {b:i}",),
        "is": ("{a:d} is {value}",),
        "not": ("there is no {a:0}", "no {a:0} can be seen"),
        "moves": ("{a:i} moves {move}", "{a:i} is moving {move}"),
        "hits": ("{a:i} hits {b:i}", "{a:i} bumps into {b:i}"),
    }

    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Article or number, adjectives, noun."""
        noun = self.nouns[thing.shape]
        if plural or thing.count > 1:
            noun += "es" if noun.endswith("s") else "s"
        words = " ".join([*thing.words(), noun])
        if thing.count > 1 and not plural:
            words = f"{self.number(thing)} {words}"
            return f"the {words}" if article == "d" else words
        if article == "d":
            return f"the {words}"
        if article == "i" and not plural:
            return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
        return words

    def predicate(self, value: str, thing: Thing) -> str:
        """Adjectives do not change."""
        return value

    def number(self, thing: Thing) -> str:
        """One to four."""
        return ("one", "two", "three", "four")[thing.count - 1]


class German(Language):
    """Three genders, three cases; strong, mixed and weak endings of the adjective."""

    code = "de"
    nouns = {
        "ball": ("f", "Kugel", "Kugeln"),
        "cube": ("m", "Würfel", "Würfel"),
        "cone": ("m", "Kegel", "Kegel"),
        "star": ("m", "Stern", "Sterne"),
        "heart": ("n", "Herz", "Herzen"),
        "ring": ("m", "Ring", "Ringe"),
        "cross": ("n", "Kreuz", "Kreuze"),
        "moon": ("m", "Mond", "Monde"),
        None: ("m", "Gegenstand", "Gegenstände"),
    }
    adjectives = {
        "red": "rot",
        "green": "grün",
        "blue": "blau",
        "yellow": "gelb",
        "orange": "orangefarben",
        "purple": "violett",
        "white": "weiß",
        "black": "schwarz",
        "striped": "gestreift",
        "dotted": "gepunktet",
        "checked": "kariert",
        "small": "klein",
        "big": "groß",
        "matte": "matt",
        "shiny": "glänzend",
        "new": "neu",
        "old": "alt",
        "heavy": "schwer",
        "expensive": "teuer",
    }
    relations = {
        "left": "links von {b:*.dat}",
        "right": "rechts von {b:*.dat}",
        "above": "über {b:*.dat}",
        "below": "unter {b:*.dat}",
    }
    grounds = {
        "grass": "auf dem Gras",
        "sand": "auf dem Sand",
        "water": "auf dem Wasser",
        "road": "auf der Straße",
    }
    moves = {"left": "nach links", "right": "nach rechts", "up": "nach oben", "down": "nach unten"}
    joints = (", ", " und ")
    templates = {
        "list": (
            "{all:i.nom}",
            "es gibt {all:i.acc}",
            "ein Bild mit {all:i.dat}",
            "man sieht {all:i.acc}",
            "das Bild zeigt {all:i.acc}",
        ),
        "list_ground": (
            "{all:i.nom} {ground}",
            "{ground} gibt es {all:i.acc}",
            "man sieht {all:i.acc} {ground}",
        ),
        "relation": (
            "{a:i.nom} ist {rel:i}",
            "{a:i.nom} {rel:i}",
            "{rel:i} ist {a:i.nom}",
            "es gibt {a:i.acc} {rel:i}",
        ),
        "count": ("es gibt {a:i.acc}", "man sieht {a:i.acc}"),
        "q_colour": ("welche Farbe hat {a:d.nom}?",),
        "q_pattern": ("welches Muster hat {a:d.nom}?",),
        "q_what": ("was ist {rel:d}?", "was befindet sich {rel:d}?"),
        "q_exists": ("gibt es {a:i.acc}?", "ist {a:i.nom} zu sehen?"),
        "q_is": ("ist {a:d.nom} {value}?",),
        "q_relation": ("ist {a:d.nom} {rel:d}?", "befindet sich {a:d.nom} {rel:d}?"),
        "q_count": ("wie viele {a:pl.acc} gibt es?", "wie viele {a:pl.acc} sieht man?"),
        "q_choose": ("ist {a:d.nom} {value} oder {other}?",),
        "s_left": ("das linke Bild zeigt {a:i.acc}", "im linken Bild gibt es {a:i.acc}"),
        "s_right": ("das rechte Bild zeigt {a:i.acc}", "im rechten Bild gibt es {a:i.acc}"),
        "s_both": ("beide Bilder zeigen {a:i.acc}", "in beiden Bildern gibt es {a:i.acc}"),
        "s_one": ("genau eines der Bilder zeigt {a:i.acc}",),
        "s_sides": ("das linke Bild zeigt {a:i.acc} und das rechte {b:i.acc}",),
        "is": ("{a:d.nom} ist {value}",),
        "not": ("es gibt k{a:i.acc}", "man sieht k{a:i.acc}"),
        "moves": ("{a:i.nom} bewegt sich {move}",),
        "hits": ("{a:i.nom} trifft {b:i.acc}", "{a:i.nom} stößt gegen {b:i.acc}"),
    }
    articles = {
        "d": {"nom": "der die das", "acc": "den die das", "dat": "dem der dem"},
        "i": {"nom": "ein eine ein", "acc": "einen eine ein", "dat": "einem einer einem"},
    }
    endings = {
        "d": {"nom": "e e e", "acc": "en e e", "dat": "en en en"},
        "i": {"nom": "er e es", "acc": "en e es", "dat": "en en en"},
        "0": {"nom": "er e es", "acc": "en e es", "dat": "em er em"},
    }

    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Article, adjectives with the ending that article, gender and case ask for, noun."""
        case = case or "nom"
        gender, singular, several = self.nouns[thing.shape]
        if plural or thing.count > 1:
            ending = "en" if article == "d" or case == "dat" else "e"
            first = {"d": ["die" if case != "dat" else "den"]}.get(article, [])
            if thing.count > 1 and not plural:
                first = [*first, self.number(thing)]
            noun = several + ("n" if case == "dat" and several[-1] not in "ns" else "")
        else:
            place = "mfn".index(gender)
            ending = self.endings[article][case].split()[place]
            first = [self.articles[article][case].split()[place]] if article != "0" else []
            noun = "Herzen" if singular == "Herz" and case == "dat" else singular
        adjectives = [self.inflected(value, ending) for value in thing.words()]
        return " ".join([*first, *adjectives, noun])

    def inflected(self, value: str, ending: str) -> str:
        """An adjective with its ending; "teuer" loses its inner vowel."""
        stem = self.adjectives[value]
        return ("teur" if stem == "teuer" else stem) + ending

    def predicate(self, value: str, thing: Thing) -> str:
        """Bare stem."""
        return self.adjectives[value]

    def number(self, thing: Thing) -> str:
        """One to four; "ein" agrees through the article instead."""
        return ("ein", "zwei", "drei", "vier")[thing.count - 1]


LANGUAGES = {"en": English(), "de": German()}
