"""The mini world: scenes of a few objects, what is true of them, and which may be trained on.

A scene is pure content (no pixels, no words); `render` draws it, `planner` chooses what to say
about it, `language` says it. Everything is drawn from `random.Random("text")`, so that equal seeds
give equal worlds on every machine.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

SHAPES = ("ball", "cube", "cone", "star", "heart", "ring", "cross", "moon")
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "white", "black")
PATTERNS = ("plain", "striped", "dotted", "checked")
SIZES = ("small", "big")
MATERIALS = ("matte", "shiny")
GROUNDS = ("grass", "sand", "water", "road")
RELATIONS = ("left", "right", "above", "below")
FRAMES = ((96, 96), (112, 84), (84, 104))
"""image sizes in pixels: width, height"""

ATTRIBUTES = ("size", "material", "pattern", "colour")
Split = Literal["train", "val", "test"]

UNSEEN_COLOURS = frozenset((SHAPES[i], COLOURS[(3 * i + 2) % 8]) for i in range(8))
UNSEEN_PATTERNS = frozenset((("star", "checked"), ("ring", "dotted"), ("moon", "striped")))
"""Pairs (shape, colour) and (shape, pattern) that no training or validation scene holds."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object. x, y: its centre as fractions of width and height; radius: half of its extent
    as a fraction of the shorter side; angle: degrees; tone: small shift of its colour."""

    shape: str
    colour: str
    pattern: str
    size: str
    material: str
    x: float = 0.5
    y: float = 0.5
    radius: float = 0.2
    angle: float = 0.0
    tone: float = 0.0

    def looks(self) -> tuple[str, str, str, str, str]:
        """What can be said about it apart from where it is."""
        return self.shape, self.colour, self.pattern, self.size, self.material

    def unseen(self) -> bool:
        """True when it shows a combination that training never shows."""
        return (self.shape, self.colour) in UNSEEN_COLOURS or (
            self.shape,
            self.pattern,
        ) in UNSEEN_PATTERNS


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects on a ground. seed: of everything that has no name (noise, clutter, light)."""

    items: tuple[Item, ...]
    ground: str
    width: int
    height: int
    seed: str

    def key(self) -> str:
        """Content without positions: scenes with equal keys never stand in two splits."""
        return "|".join(sorted("/".join(item.looks()) for item in self.items)) + "|" + self.ground

    def unseen(self) -> bool:
        """True when any object shows a combination that training never shows."""
        return any(item.unseen() for item in self.items)

    def split(self) -> Split:
        """The split this content belongs to, by a hash of it; unseen combinations are test."""
        if self.unseen():
            return "test"
        share = int.from_bytes(hashlib.sha256(self.key().encode()).digest()[:4], "big") % 100
        return "train" if share < 74 else "val" if share < 84 else "test"


@dataclass(frozen=True, slots=True)
class Thing:
    """A description of an object, as words may give it: None is not said.

    shape None is "object".
    """

    shape: str | None = None
    colour: str | None = None
    pattern: str | None = None
    size: str | None = None
    material: str | None = None

    def fits(self, item: Item) -> bool:
        """Whether the description is true of the object."""
        return (
            self.shape in (None, item.shape)
            and self.colour in (None, item.colour)
            and self.pattern in (None, item.pattern)
            and self.size in (None, item.size)
            and self.material in (None, item.material)
        )


def related(relation: str, a: Item, b: Item, scene: Scene) -> bool:
    """Whether `a` is clearly left of, right of, above or below `b` (by centres, in pixels)."""
    if relation in ("right", "below"):
        return related("left" if relation == "right" else "above", b, a, scene)
    across = (b.x - a.x) * scene.width
    down = (b.y - a.y) * scene.height
    along, other = (across, down) if relation == "left" else (down, across)
    return along > 0.18 * min(scene.width, scene.height) and along > 1.1 * abs(other)


def relation_of(a: Item, b: Item, scene: Scene) -> str | None:
    """The relation of `a` to `b` that clearly holds, if one does (at most one can)."""
    return next((name for name in RELATIONS if related(name, a, b, scene)), None)


def matches(things: Sequence[Thing], items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """All ways to give each description an object of its own."""
    for chosen in itertools.permutations(items, len(things)):
        if all(thing.fits(item) for thing, item in zip(things, chosen, strict=True)):
            yield chosen


def count(thing: Thing, scene: Scene) -> int:
    """How many objects of the scene fit a description."""
    return sum(thing.fits(item) for item in scene.items)


def identify(item: Item, scene: Scene, rng: random.Random, *, extra: float = 0.0) -> Thing:
    """A description that fits this object alone: its shape, and attributes until it is unique.

    extra: chance of each further attribute. Colour always tells objects of one shape apart.
    """
    thing = Thing(shape=item.shape)
    values = {name: getattr(item, name) for name in ATTRIBUTES}
    names = ["colour", *rng.sample(("size", "material", "pattern"), 3)]
    if rng.random() < 0.3:
        names = rng.sample(names, 4)
    for name in names:
        if values[name] != "plain" and (count(thing, scene) > 1 or rng.random() < extra):
            thing = replace(thing, **{name: values[name]})
    return thing


def _item(rng: random.Random, unseen: bool, shape: str | None = None) -> Item:
    while True:
        item = Item(
            shape or rng.choice(SHAPES),
            rng.choice(COLOURS),
            rng.choice((*PATTERNS, "plain")),
            rng.choice(SIZES),
            rng.choice(MATERIALS),
        )
        if item.unseen() == unseen:
            return item


def _place(items: list[Item], width: int, height: int, rng: random.Random) -> list[Item] | None:
    """Positions without overlap, or None when this draw finds none."""
    side = min(width, height)
    placed: list[Item] = []
    for item in items:
        radius = rng.uniform(0.16, 0.18) if item.size == "small" else rng.uniform(0.235, 0.265)
        for _ in range(30):
            x = rng.uniform(radius * side, width - radius * side) / width
            y = rng.uniform(radius * side, height - radius * side) / height
            if all(
                abs(x - o.x) * width > 0.98 * (radius + o.radius) * side
                or abs(y - o.y) * height > 0.98 * (radius + o.radius) * side
                for o in placed
            ):
                break
        else:
            return None
        placed.append(
            replace(
                item,
                x=round(x, 4),
                y=round(y, 4),
                radius=round(radius, 4),
                angle=round(rng.uniform(-18, 18), 2),
                tone=round(rng.uniform(-1, 1), 3),
            )
        )
    return placed


def _draw(rng: random.Random, seed: str, split: Split, unseen: bool, sizes: Sequence[int]) -> Scene:
    width, height = rng.choice(FRAMES)
    number = rng.choice(sizes)
    items = [_item(rng, False) for _ in range(number)]
    if split == "test" and unseen:
        items[rng.randrange(number)] = _item(rng, True)
    if number > 2 and rng.random() < 0.4:  # alike objects, so that a noun alone is not enough
        first = items[0]
        items[-1] = _item(rng, False, shape=first.shape)
    placed = None
    while placed is None:
        placed = _place(items, width, height, rng)
        if placed is None:
            big = next((i for i, item in enumerate(items) if item.size == "big"), 0)
            items[big] = replace(items[big], size="small")
    return Scene(tuple(placed), rng.choice(GROUNDS), width, height, seed)


def scenes(
    name: str,
    split: Split,
    number: int,
    *,
    unseen: float = 0.5,
    sizes: Sequence[int] = (2, 2, 3, 3, 4),
) -> list[Scene]:
    """`number` different scenes of one split, the same for the same `name`.

    unseen: share of test scenes with a combination that training never shows. sizes: numbers of
    objects to choose from. Within a scene no two objects look alike in shape and colour.
    """
    found: dict[str, Scene] = {}
    rng = random.Random(f"{name}/{split}")
    while len(found) < number:
        seed = f"{name}/{split}/{len(found)}"
        scene = _draw(rng, seed, split, len(found) < round(unseen * number), sizes)
        kinds = {(item.shape, item.colour) for item in scene.items}
        if len(kinds) == len(scene.items) and scene.split() == split:
            found.setdefault(scene.key(), scene)
    result = list(found.values())
    rng.shuffle(result)
    return result
