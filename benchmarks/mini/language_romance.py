"""French (Spanish and Portuguese share its grammar)."""

from __future__ import annotations

import re

from benchmarks.mini.language import Language
from benchmarks.mini.world import Thing


class Romance(Language):
    """Two genders; size before the noun, colour, material and pattern after it, all agreeing.

    nouns: gender, singular, plural. adjectives: masculine and feminine singular, masculine and
    feminine plural; or one word that never changes.
    """

    nouns: dict[str | None, tuple[str, str, str]]
    adjectives: dict[str, str]
    articles: dict[str, str]
    numbers: tuple[str, ...]
    before: tuple[str, ...] = ()
    """attributes that stand before the noun"""

    def agreement(self, thing: Thing) -> str:
        """m, f, or p for plurals."""
        return "p" if thing.count > 1 else self.nouns[thing.shape][0]

    def adjective(self, value: str, gender: str, plural: bool) -> str:
        """The form of an adjective for gender and number."""
        forms = self.adjectives[value].split("/")
        return forms[0] if len(forms) == 1 else forms["mf".index(gender) + 2 * plural]

    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Article or number, size, noun, colour, material, pattern."""
        gender, singular, several = self.nouns[thing.shape]
        many = plural or thing.count > 1
        said = {
            name: self.adjective(value, gender, many)
            for name in ("size", "colour", "material", "pattern")
            if (value := getattr(thing, name)) is not None
        }
        words = [said[name] for name in said if name in self.before]
        words.append(several if many else singular)
        words += [said[name] for name in said if name not in self.before]
        if article == "d":
            words.insert(0, self.articles["d"].split()["mf".index(gender) + 2 * many])
        if thing.count > 1 and not plural:
            words.insert(1 if article == "d" else 0, self.number(thing))
        elif article == "i" and not plural:
            words.insert(0, self.articles["i"].split()["mf".index(gender)])
        return " ".join(words)

    def predicate(self, value: str, thing: Thing) -> str:
        """The adjective in the gender and number of the thing."""
        return self.adjective(value, self.nouns[thing.shape][0], thing.count > 1)

    def number(self, thing: Thing) -> str:
        """One to four; one (and two, where the language does so) agree in gender."""
        forms = self.numbers[thing.count - 1].split("/")
        return forms["mf".index(self.nouns[thing.shape][0])] if len(forms) > 1 else forms[0]


class French(Romance):
    """With elision (l'étoile, d'un) and contraction (du)."""

    code = "fr"
    nouns = {
        "ball": ("f", "balle", "balles"),
        "cube": ("m", "cube", "cubes"),
        "cone": ("m", "cône", "cônes"),
        "star": ("f", "étoile", "étoiles"),
        "heart": ("m", "cœur", "cœurs"),
        "ring": ("m", "anneau", "anneaux"),
        "cross": ("f", "croix", "croix"),
        "moon": ("f", "lune", "lunes"),
        None: ("m", "objet", "objets"),
    }
    adjectives = {
        "red": "rouge/rouge/rouges/rouges",
        "green": "vert/verte/verts/vertes",
        "blue": "bleu/bleue/bleus/bleues",
        "yellow": "jaune/jaune/jaunes/jaunes",
        "orange": "orange",
        "purple": "violet/violette/violets/violettes",
        "white": "blanc/blanche/blancs/blanches",
        "black": "noir/noire/noirs/noires",
        "striped": "rayé/rayée/rayés/rayées",
        "dotted": "à pois",
        "checked": "à carreaux",
        "small": "petit/petite/petits/petites",
        "big": "grand/grande/grands/grandes",
        "matte": "mat/mate/mats/mates",
        "shiny": "brillant/brillante/brillants/brillantes",
        "new": "neuf/neuve/neufs/neuves",
        "old": "vieux/vieille/vieux/vieilles",
        "heavy": "lourd/lourde/lourds/lourdes",
        "expensive": "cher/chère/chers/chères",
    }
    articles = {"d": "le la les les", "i": "un une"}
    numbers = ("un/une", "deux", "trois", "quatre")
    before = ("size",)
    relations = {
        "left": "à gauche de {b:*}",
        "right": "à droite de {b:*}",
        "above": "au-dessus de {b:*}",
        "below": "au-dessous de {b:*}",
    }
    grounds = {
        "grass": "sur l'herbe",
        "sand": "sur le sable",
        "water": "sur l'eau",
        "road": "sur la route",
    }
    moves = {
        "left": "vers la gauche",
        "right": "vers la droite",
        "up": "vers le haut",
        "down": "vers le bas",
    }
    joints = (", ", " et ")
    templates = {
        "list": (
            "{all:i}",
            "il y a {all:i}",
            "une image avec {all:i}",
            "on voit {all:i}",
            "l'image montre {all:i}",
        ),
        "list_ground": (
            "{all:i} {ground}",
            "{ground}, il y a {all:i}",
            "on voit {all:i} {ground}",
        ),
        "relation": (
            "{a:i} est {rel:i}",
            "{a:i} {rel:i}",
            "il y a {a:i} {rel:i}",
            "{rel:i} se trouve {a:i}",
        ),
        "count": ("il y a {a:i}", "on voit {a:i}"),
        "q_colour": ("de quelle couleur est {a:d}?", "quelle est la couleur de {a:d}?"),
        "q_pattern": ("quel est le motif de {a:d}?",),
        "q_what": ("qu'est-ce qui est {rel:d}?", "qu'y a-t-il {rel:d}?"),
        "q_exists": ("y a-t-il {a:i}?", "est-ce qu'il y a {a:i}?", "voit-on {a:i}?"),
        "q_is": ("est-ce que {a:d} est {value}?",),
        "q_relation": ("est-ce que {a:d} est {rel:d}?",),
        "q_count": ("combien de {a:pl} y a-t-il?", "combien de {a:pl} voit-on?"),
        "q_choose": ("est-ce que {a:d} est {value} ou {other}?",),
        "s_left": ("l'image de gauche montre {a:i}", "il y a {a:i} dans l'image de gauche"),
        "s_right": ("l'image de droite montre {a:i}", "il y a {a:i} dans l'image de droite"),
        "s_both": ("les deux images montrent {a:i}", "il y a {a:i} dans chaque image"),
        "s_one": ("une seule des images montre {a:i}",),
        "s_sides": ("l'image de gauche montre {a:i} et celle de droite {b:i}",),
        "is": ("{a:d} est {value}",),
        "not": ("il n'y a pas de {a:0}", "on ne voit pas de {a:0}"),
        "moves": ("{a:i} se déplace {move}", "{a:i} bouge {move}"),
        "hits": ("{a:i} heurte {b:i}", "{a:i} touche {b:i}"),
    }

    def finish(self, text: str) -> str:
        """Le étoile -> l'étoile, de un -> d'un, de le -> du; a space before the question mark."""
        text = re.sub(r"\b([Ll])[ea] (?=[aeiouéèêœ])", r"\1'", text)
        text = re.sub(r"\b([Dd])e (?=[aeiouéèêœ])", r"\1'", text)
        text = re.sub(r"\bde le\b", "du", text)
        text = re.sub(r"\bde les\b", "des", text)
        return text.replace("?", " ?")


LANGUAGES: dict[str, Language] = {"fr": French()}
