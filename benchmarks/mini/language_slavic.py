"""Czech (Russian shares its grammar): genders, cases and agreement, no articles."""

from __future__ import annotations

from benchmarks.mini.language import Language
from benchmarks.mini.world import Thing

CASES = ("nom", "gen", "acc", "ins")


class Slavic(Language):
    """nouns: gender, then singular nom gen acc ins, plural nom gen. adjectives: stems.

    endings: gender -> singular nom gen acc ins; "p" -> plural nom gen.
    """

    nouns: dict[str | None, tuple[str, str]]
    adjectives: dict[str, str]
    endings: dict[str, str]
    numbers: tuple[str, ...]

    def agreement(self, thing: Thing) -> str:
        """m, f or n; p for plurals."""
        return "p" if thing.count > 1 else self.nouns[thing.shape][0]

    def adjective(self, value: str, key: str, place: int) -> str:
        """Stem and ending."""
        return self.adjectives[value] + self.endings[key].split()[place]

    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Number, adjectives, noun; all in one case. `article` has no counterpart here."""
        gender, forms = self.nouns[thing.shape]
        if plural:
            place = 1 if case == "gen" else 0
            key, noun, first = self.plural_key(gender, place), forms.split()[4 + place], []
        elif thing.count > 1:
            key, place, noun = self.counted(gender, forms.split())
            first = [self.number(thing)]
        else:
            place = CASES.index(case or "nom")
            key, noun, first = gender, forms.split()[place], []
        adjectives = [self.adjective(value, key, place) for value in thing.words()]
        return " ".join([*first, *adjectives, noun])

    def plural_key(self, gender: str, place: int) -> str:
        """Which row of `endings` a plural takes."""
        return "pn" if gender == "n" and "pn" in self.endings and place == 0 else "p"

    def counted(self, gender: str, forms: list[str]) -> tuple[str, int, str]:
        """Row of endings, place in it, and noun form after two, three and four."""
        return self.plural_key(gender, 0), 0, forms[4]

    def predicate(self, value: str, thing: Thing) -> str:
        """The adjective in the nominative."""
        return self.adjective(value, self.nouns[thing.shape][0], 0)

    def number(self, thing: Thing) -> str:
        """One to four, agreeing in gender where the language does so."""
        forms = self.numbers[thing.count - 1].split("/")
        return forms["mfn".index(self.nouns[thing.shape][0])] if len(forms) > 1 else forms[0]


class Czech(Slavic):
    """Hard adjectives throughout; inanimate masculines."""

    code = "cs"
    nouns = {
        "ball": ("m", "míč míče míč míčem míče míčů"),
        "cube": ("f", "kostka kostky kostku kostkou kostky kostek"),
        "cone": ("m", "kužel kuželu kužel kuželem kužely kuželů"),
        "star": ("f", "hvězda hvězdy hvězdu hvězdou hvězdy hvězd"),
        "heart": ("n", "srdce srdce srdce srdcem srdce srdcí"),
        "ring": ("m", "prsten prstenu prsten prstenem prsteny prstenů"),
        "cross": ("m", "kříž kříže kříž křížem kříže křížů"),
        "moon": ("m", "měsíc měsíce měsíc měsícem měsíce měsíců"),
        None: ("m", "předmět předmětu předmět předmětem předměty předmětů"),
    }
    adjectives = {
        "red": "červen",
        "green": "zelen",
        "blue": "modr",
        "yellow": "žlut",
        "orange": "oranžov",
        "purple": "fialov",
        "white": "bíl",
        "black": "čern",
        "striped": "pruhovan",
        "dotted": "puntíkovan",
        "checked": "kostkovan",
        "small": "mal",
        "big": "velk",
        "matte": "matn",
        "shiny": "leskl",
        "new": "nov",
        "old": "star",
        "heavy": "těžk",
        "expensive": "drah",
    }
    endings = {
        "m": "ý ého ý ým",
        "f": "á é ou ou",
        "n": "é ého é ým",
        "p": "é ých",
        "pn": "á ých",
    }
    numbers = ("jeden/jedna/jedno", "dva/dvě/dvě", "tři", "čtyři")
    relations = {
        "left": "vlevo od {b:gen}",
        "right": "vpravo od {b:gen}",
        "above": "nad {b:ins}",
        "below": "pod {b:ins}",
    }
    grounds = {"grass": "na trávě", "sand": "na písku", "water": "na vodě", "road": "na silnici"}
    moves = {"left": "doleva", "right": "doprava", "up": "nahoru", "down": "dolů"}
    joints = (", ", " a ")
    templates = {
        "list": (
            "{all:nom}",
            "na obrázku je {all:nom}",
            "vidíme {all:acc}",
            "obrázek ukazuje {all:acc}",
        ),
        "list_ground": ("{all:nom} {ground}", "{ground} je {all:nom}", "vidíme {all:acc} {ground}"),
        "relation": (
            "{a:nom} je {rel}",
            "{a:nom} {rel}",
            "{rel} je {a:nom}",
            "vidíme {a:acc} {rel}",
        ),
        "count": ("na obrázku [a?p:jsou|:je] {a:nom}", "vidíme {a:acc}"),
        "q_colour": ("jakou barvu má {a:nom}?", "jaké barvy je {a:nom}?"),
        "q_pattern": ("jaký vzor má {a:nom}?",),
        "q_what": ("co je {rel}?", "co se nachází {rel}?"),
        "q_exists": ("je na obrázku {a:nom}?", "je vidět {a:nom}?"),
        "q_is": ("je {a:nom} {value}?",),
        "q_relation": ("je {a:nom} {rel}?", "nachází se {a:nom} {rel}?"),
        "q_count": ("kolik {a:pl.gen} je na obrázku?", "kolik {a:pl.gen} je vidět?"),
        "q_choose": ("je {a:nom} {value}, nebo {other}?",),
        "s_left": ("levý obrázek ukazuje {a:acc}", "na levém obrázku je {a:nom}"),
        "s_right": ("pravý obrázek ukazuje {a:acc}", "na pravém obrázku je {a:nom}"),
        "s_both": ("oba obrázky ukazují {a:acc}", "na obou obrázcích je {a:nom}"),
        "s_one": ("právě jeden z obrázků ukazuje {a:acc}",),
        "s_sides": ("na levém obrázku je {a:nom} a na pravém {b:nom}",),
        "is": ("{a:nom} je {value}",),
        "not": ("není tu [a?f:žádná|n:žádné|:žádný] {a:nom}",),
        "moves": ("{a:nom} se pohybuje {move}",),
        "hits": ("{a:nom} naráží do {b:gen}",),
    }


LANGUAGES: dict[str, Language] = {"cs": Czech()}
