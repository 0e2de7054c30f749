"""What to say about scenes: captions, questions and statements as messages, with their truth.

Every message can be checked against a scene (`holds`), so labels come from content, not from how
a message was made.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.mini.language import Message
from benchmarks.mini.world import (
    ATTRIBUTES,
    COLOURS,
    PATTERNS,
    RELATIONS,
    SHAPES,
    Item,
    Scene,
    Thing,
    count,
    identify,
    matches,
    related,
    relation_of,
)

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
AnswerType = Literal["yes/no", "number", "other"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its English answer. item: index of the object it is about, if one."""

    message: Message
    answer: str
    item: int | None = None

    def answer_type(self) -> AnswerType:
        """VQA's three types."""
        if self.answer in ("yes", "no"):
            return "yes/no"
        return "number" if self.answer.isdecimal() else "other"


def holds(message: Message, scene: Scene) -> bool:
    """Whether a caption, or a property or absence, is true of a scene."""
    if message.kind == "not":
        return count(message.things[0], scene) == 0
    if message.kind == "is":
        return any(
            message.value in item.looks() for item in scene.items if message.things[0].fits(item)
        )
    if message.ground and message.ground != scene.ground:
        return False
    found = matches(message.things, scene.items)
    if message.relation:
        return any(related(message.relation, a, b, scene) for a, b in found)
    return next(found, None) is not None


def holds_of_pair(message: Message, left: Scene, right: Scene) -> bool:
    """Whether a statement about two pictures is true."""
    first = message.things[0]
    in_left, in_right = count(first, left) > 0, count(first, right) > 0
    if message.kind == "s_sides":
        return in_left and count(message.things[1], right) >= 1
    return {
        "s_left": in_left,
        "s_right": in_right,
        "s_both": in_left and in_right,
        "s_one": in_left != in_right,
    }[message.kind]


def full(item: Item, rng: random.Random, extra: float) -> Thing:
    """Shape and colour, and each further attribute with chance `extra`; "plain" is never said."""
    thing = Thing(shape=item.shape, colour=item.colour)
    for name in ("size", "material", "pattern"):
        value = getattr(item, name)
        if value != "plain" and rng.random() < extra:
            thing = replace(thing, **{name: value})
    return thing


def caption(scene: Scene, rng: random.Random) -> Message:
    """One caption: the objects (all, or all but one of four), or a relation between two."""
    if rng.random() < 0.45:
        a, b = rng.sample(scene.items, 2)
        relation = relation_of(a, b, scene)
        if relation:
            return Message("relation", (full(a, rng, 0.4), full(b, rng, 0.4)), relation=relation)
    items = rng.sample(scene.items, len(scene.items))
    if len(items) == 4 and rng.random() < 0.5:
        items = items[:3]
    things = tuple(full(item, rng, 0.5 if len(items) < 4 else 0.25) for item in items)
    if rng.random() < 0.4:
        return Message("list_ground", things, ground=scene.ground)
    return Message("list", things)


def captions(
    scene: Scene, rng: random.Random, number: int, gallery: Sequence[Scene] = ()
) -> list[Message]:
    """`number` captions, none of them true of another scene of `gallery`."""
    found: list[Message] = []
    for attempt in range(60 * number):
        message = caption(scene, rng)
        others = (other for other in gallery if other is not scene)
        if message in found and attempt < 30 * number:
            continue
        if not any(holds(message, other) for other in others):
            found.append(message)
        if len(found) == number:
            return found
    raise RuntimeError(f"scene {scene.seed} cannot be told from the others of its gallery")


def phrase_of(item: Item, scene: Scene, rng: random.Random, without: str) -> Thing | None:
    """A description that fits this object alone and does not give `without` away."""
    thing = Thing(shape=item.shape)
    for name in rng.sample([name for name in ATTRIBUTES if name != without], 3):
        if count(thing, scene) == 1 and rng.random() < 0.7:
            break
        if getattr(item, name) != "plain":
            thing = replace(thing, **{name: getattr(item, name)})
    return thing if count(thing, scene) == 1 else None


def _colour(scene: Scene, item: Item, rng: random.Random) -> tuple[Message, str] | None:
    thing = phrase_of(item, scene, rng, "colour")
    return (Message("q_colour", (thing,)), item.colour) if thing else None


def _pattern(scene: Scene, item: Item, rng: random.Random) -> tuple[Message, str] | None:
    thing = phrase_of(item, scene, rng, "pattern")
    if thing is None or item.pattern == "plain":
        return None
    return Message("q_pattern", (thing,)), item.pattern


def _what(scene: Scene, item: Item, rng: random.Random) -> tuple[Message, str] | None:
    there = {
        relation: [other for other in scene.items if related(relation, other, item, scene)]
        for relation in RELATIONS
    }
    relation = rng.choice([name for name, others in there.items() if others] or ["left"])
    found = there[relation]
    thing = identify(item, scene, rng)
    if len(found) != 1 or count(thing, scene) != 1:
        return None
    return Message("q_what", (Thing(), thing), relation=relation), found[0].shape


def _exists(scene: Scene, item: Item, rng: random.Random) -> tuple[Message, str] | None:
    thing = Thing(shape=item.shape)
    name = rng.choice(("colour", "colour", "pattern", "size"))
    value = getattr(item, name)
    if rng.random() < 0.5:  # the shape is there, and so (if possible) is the attribute: elsewhere
        others = [getattr(other, name) for other in scene.items if other is not item]
        value = rng.choice(others if rng.random() < 0.7 else _values(name))
    if value == "plain":
        return None
    thing = replace(thing, **{name: value})
    return Message("q_exists", (thing,)), "yes" if count(thing, scene) else "no"


def _values(name: str) -> Sequence[str]:
    return {"colour": COLOURS, "pattern": PATTERNS, "size": ("small", "big"), "shape": SHAPES}[name]


def _is(scene: Scene, item: Item, rng: random.Random) -> tuple[Message, str] | None:
    name = rng.choice(("colour", "colour", "pattern"))
    thing = phrase_of(item, scene, rng, name)
    value = getattr(item, name)
    if rng.random() < 0.5:
        others = [getattr(other, name) for other in scene.items if other is not item]
        value = rng.choice(others if rng.random() < 0.6 else _values(name))
    if thing is None or value == "plain":
        return None
    answer = "yes" if value == getattr(item, name) else "no"
    return Message("q_is", (thing,), value=value), answer


def _relation(scene: Scene, item: Item, rng: random.Random) -> tuple[Message, str] | None:
    other = rng.choice([other for other in scene.items if other is not item])
    relation = relation_of(item, other, scene)
    a, b = identify(item, scene, rng), identify(other, scene, rng)
    if relation is None or count(a, scene) != 1 or count(b, scene) != 1:
        return None
    if rng.random() < 0.5:
        return Message("q_relation", (a, b), relation=relation), "yes"
    return Message("q_relation", (a, b), relation=OPPOSITE[relation]), "no"


def _count(scene: Scene, item: Item, rng: random.Random) -> tuple[Message, str] | None:
    name = rng.choice(("shape", "shape", "colour", "pattern"))
    value = getattr(item, name)
    if rng.random() < 0.15:
        value = rng.choice(_values(name))
    if value == "plain":
        return None
    thing = replace(Thing(), **{name: value})
    return Message("q_count", (thing,)), str(count(thing, scene))


def _choose(scene: Scene, item: Item, rng: random.Random) -> tuple[Message, str] | None:
    name, values = rng.choice((("size", ["small", "big"]), ("material", ["matte", "shiny"])))
    thing = phrase_of(item, scene, rng, name)
    if thing is None:
        return None
    rng.shuffle(values := list(values))
    message = Message("q_choose", (thing,), value=values[0], other=values[1])
    return message, str(getattr(item, name))


MAKERS = {
    "colour": _colour,
    "pattern": _pattern,
    "what": _what,
    "exists": _exists,
    "is": _is,
    "relation": _relation,
    "count": _count,
    "choose": _choose,
}


def questions(
    scene: Scene, rng: random.Random, number: int, kinds: Sequence[str] = tuple(MAKERS)
) -> list[Question]:
    """Up to `number` different questions about a scene, kinds drawn evenly."""
    found: dict[Message, Question] = {}
    for _ in range(20 * number):
        if len(found) == number:
            break
        index = rng.randrange(len(scene.items))
        made = MAKERS[rng.choice(kinds)](scene, scene.items[index], rng)
        if made is not None:
            found.setdefault(made[0], Question(*made, item=index))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class PairSet:
    """A statement, and pairs of scenes it is true (first half) and false (second half) of."""

    message: Message
    pairs: tuple[tuple[Scene, Scene], ...]


def pair_set(pool: Sequence[Scene], rng: random.Random) -> PairSet:
    """A statement with two pairs that it is true of and two that it is false of.

    False pairs are near misses: most of their scenes share the shape or the colour.
    """
    while True:
        item = rng.choice(rng.choice(pool).items)
        thing = Thing(shape=item.shape)
        if rng.random() < 0.6:
            name = rng.choice(("colour", "colour", "pattern"))
            value = getattr(item, name)
            thing = replace(thing, **{name: value}) if value != "plain" else thing
        kind = rng.choice(("s_left", "s_right", "s_both", "s_one", "s_sides"))
        other = rng.choice(rng.choice(pool).items)
        message = Message(
            kind, (thing, Thing(shape=other.shape)) if kind == "s_sides" else (thing,)
        )
        near = [s for s in rng.sample(pool, min(len(pool), 200)) if _near(message, s)]
        if len(near) < 8:
            continue
        drawn = [tuple(rng.sample(near, 2)) for _ in range(60)]
        pairs = [(left, right) for left, right in drawn]
        true = [pair for pair in pairs if holds_of_pair(message, *pair)]
        false = [pair for pair in pairs if not holds_of_pair(message, *pair)]
        if len(true) >= 2 and len(false) >= 2:
            return PairSet(message, (*true[:2], *false[:2]))


def _near(message: Message, scene: Scene) -> bool:
    return any(
        item.shape == thing.shape or (thing.colour is not None and item.colour == thing.colour)
        for thing in message.things
        for item in scene.items
    )
