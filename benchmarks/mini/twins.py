"""Twins: two scenes of the same objects that differ in what goes with what, or in what is where.

A model that knows which words a picture deserves, but not which belong together, cannot tell twins
apart. Winoground's examples are twins; the pre-training corpus holds others, of training scenes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.mini.language import Message
from benchmarks.mini.planner import Question, captions, holds, questions
from benchmarks.mini.world import Item, Scene, Thing, count, related, relation_of

EXCHANGED = ("places", "colour", "pattern", "material")
"""what two objects of a scene can exchange"""


@dataclass(frozen=True, slots=True)
class Twin:
    """A scene with what is true of it and false of its twin. asked: questions that both scenes
    answer, and differently."""

    scene: Scene
    said: tuple[Message, ...]
    asked: tuple[Question, ...]


def exchange(scene: Scene, one: int, other: int, name: str) -> Scene | None:
    """The scene in which two objects have exchanged something; None when that changes nothing, or
    when big and small would change places."""
    a, b = scene.items[one], scene.items[other]
    if name == "places":
        if a.size != b.size:
            return None
        a, b = replace(a, x=b.x, y=b.y), replace(b, x=a.x, y=a.y)
    else:
        values = getattr(a, name), getattr(b, name)
        if values[0] == values[1]:
            return None
        a, b = replace(a, **{name: values[1]}), replace(b, **{name: values[0]})
    items = list(scene.items)
    items[one], items[other] = a, b
    return replace(scene, items=tuple(items), seed=scene.seed + "/twin")


def twins(scene: Scene, rng: random.Random) -> tuple[Twin, Twin] | None:
    """A training scene and its twin, or None when this draw makes no other training scene that
    words and a question tell from it."""
    one, other = rng.sample(range(len(scene.items)), 2)
    name = rng.choice(EXCHANGED)
    twin = exchange(scene, one, other, name)
    if twin is None or twin.split() != "train":
        return None
    if len({(item.shape, item.colour) for item in twin.items}) < len(twin.items):
        return None
    found = []
    for mine, wrong in ((scene, twin), (twin, scene)):
        said = _short(mine, (one, other), name, rng)
        said = [message for message in said if holds(message, mine) and not holds(message, wrong)]
        if not said:
            return None
        try:
            said += captions(mine, rng, 2, (mine, wrong))
        except RuntimeError:  # too little of what was exchanged is ever said of this scene
            return None
        found.append(tuple(said))
    asked = [one.message for drawn in (scene, twin) for one in questions(drawn, rng, 8)]
    asked += [Message("q_exists", message.things) for said in found for message in said[:1]
              if len(message.things) == 1]  # fmt: skip
    here, there = _differing(asked, scene, twin), _differing(asked, twin, scene)
    return (Twin(scene, found[0], here), Twin(twin, found[1], there)) if here else None


def _short(scene: Scene, pair: tuple[int, int], name: str, rng: random.Random) -> list[Message]:
    """What two objects are, in no more words than it takes: each alone, both, how they lie."""
    a, b = (scene.items[index] for index in rng.sample(pair, 2))
    if name == "places":
        relation = relation_of(a, b, scene)
        things = (Thing(a.shape, a.colour), Thing(b.shape, b.colour))
        bare = (Thing(a.shape), Thing(b.shape))
        if relation is None:
            return []
        return [Message("relation", named, relation=relation) for named in (things, bare)]
    first, second = (_with(item, name) for item in (a, b))
    return [Message("list", things) for things in ((first,), (second,), (first, second))]


def _with(item: Item, name: str) -> Thing:
    value = getattr(item, name)
    return replace(Thing(item.shape), **{} if value == "plain" else {name: value})


def _differing(asked: Sequence[Message], scene: Scene, twin: Scene) -> tuple[Question, ...]:
    found: dict[Message, Question] = {}
    for message in asked:
        here, there = answer(message, scene), answer(message, twin)
        if here is not None and there is not None and here != there:
            found.setdefault(message, Question(message, here))
    return tuple(found.values())


def answer(message: Message, scene: Scene) -> str | None:
    """The answer of a scene to a question; None when what it asks about is not there, or twice."""
    if message.kind == "q_count":
        return str(count(message.things[0], scene))
    if message.kind == "q_exists":
        return "yes" if count(message.things[0], scene) else "no"
    found = [_only(thing, scene) for thing in message.things if thing != Thing()]
    if None in found:
        return None
    items = [item for item in found if item is not None]
    if message.kind == "q_relation":
        return "yes" if related(str(message.relation), items[0], items[1], scene) else "no"
    if message.kind == "q_what":
        there = [i for i in scene.items if related(str(message.relation), i, items[0], scene)]
        return there[0].shape if len(there) == 1 else None
    if message.kind == "q_is":
        return "yes" if message.value in items[0].looks() else "no"
    if message.kind == "q_choose":
        return next(value for value in items[0].looks() if value in (message.value, message.other))
    value = items[0].colour if message.kind == "q_colour" else items[0].pattern
    return None if value == "plain" else value


def _only(thing: Thing, scene: Scene) -> Item | None:
    found = [item for item in scene.items if thing.fits(item)]
    return found[0] if len(found) == 1 else None
