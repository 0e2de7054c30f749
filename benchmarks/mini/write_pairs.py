"""Two-image statements: NLVR2's rows and images, and Winoground's examples."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from benchmarks.mini.language import Message, language
from benchmarks.mini.planner import PairSet, holds_of_pair, pair_set
from benchmarks.mini.store import Store
from benchmarks.mini.twins import exchange
from benchmarks.mini.world import Scene, Split, Thing, relation_of, scenes

NLVR2_SETS = {"train": 1000, "dev": 75, "test1": 75}
"""sets of four pairs that share a sentence; two pairs make it true"""
NLVR2_SPLITS: dict[str, Split] = {"train": "train", "dev": "val", "test1": "test"}
WINOGROUND = 400


def nlvr2_sets(store: Store, name: str) -> list[PairSet]:
    """The statements of one official file, with their pairs in random order."""
    number = store.number(NLVR2_SETS[name])
    pool = scenes(store.name("nlvr2"), NLVR2_SPLITS[name], max(40, 2 * number))
    rng = random.Random(f"{store.name('nlvr2')}/{name}")
    found = []
    for _ in range(number):
        made = pair_set(pool, rng)
        found.append(PairSet(made.message, tuple(rng.sample(made.pairs, 4))))
    return found


def write_nlvr2(store: Store) -> None:
    """`nlvr2/{train,dev,test1}.json`, JSON lines, and `images/nlvr2`, PNG."""
    for name in NLVR2_SETS:
        rng = random.Random(f"{store.name('nlvr2')}/{name}/words")
        rows: list[dict[str, Any]] = []
        for number, made in enumerate(nlvr2_sets(store, name)):
            sentence = language("en").say(made.message, rng)
            for k, (left, right) in enumerate(made.pairs):
                directory = number % 100
                folder = f"{name}/{directory}" if name == "train" else name
                stem = f"{name}-{number}-{k}"
                path = f"images/nlvr2/{folder}/{stem}"
                images = ((f"{path}-img0.png", left), (f"{path}-img1.png", right))
                store.images(f"nlvr2/{name}", images)
                label = str(holds_of_pair(made.message, left, right))
                row = {"validation": {"1": label}, "sentence": sentence, "left_url": ""}
                row |= {"writer": "0", "label": label, "right_url": "", "synset": ""}
                row |= {"query": "", "identifier": f"{stem}-0", "extra_validations": {"2": label}}
                rows.append(row | ({"directory": directory} if name == "train" else {}))
        store.rows(f"nlvr2/{name}.json", rows)
        store.counts.setdefault("nlvr2", {})[name] = len(rows)


def _exchange(scene: Scene, rng: random.Random) -> tuple[Scene, Message, Message, str] | None:
    """A second scene and two captions that hold the same words, each true of its scene alone."""
    a, b = scene.items
    relation = relation_of(a, b, scene)
    name = rng.choice(("places", "colour", "pattern"))
    twin = exchange(scene, 0, 1, name)
    if twin is None or a.shape == b.shape:
        return None
    if name == "places":
        first, second = Thing(a.shape, a.colour), Thing(b.shape, b.colour)
        if relation is None or a.colour == b.colour:
            return None
        said = Message("relation", (first, second), relation=relation)
        return twin, said, replace(said, things=(second, first)), "Relation"
    if "plain" in (a.pattern, b.pattern) and name == "pattern":
        return None
    one, other = (
        Message("list", tuple(replace(Thing(i.shape), **{name: getattr(i, name)}) for i in items))
        for items in (scene.items, twin.items)
    )
    return twin, one, other, "Object"


def write_winoground(store: Store) -> None:
    """`winoground/examples.jsonl`; pairs that differ in what goes with what, or where it is."""
    number, template = store.number(WINOGROUND), {"list": "{all:i}", "relation": "{a:i} {rel:i}"}
    rows: list[dict[str, Any]] = []
    rng = random.Random(store.name("winoground"))
    pool = iter(scenes(store.name("winoground"), "test", 12 * number + 60, sizes=(2,), unseen=0.2))
    while len(rows) < number:
        scene = next(pool)
        made = _exchange(scene, rng)
        if made is None:
            continue
        other, first, second, tag = made
        row: dict[str, Any] = {"id": len(rows)}
        for k, (drawn, message) in enumerate(((scene, first), (other, second))):
            row[f"image_{k}"] = f"ex_{len(rows)}_img_{k}"
            path = f"images/winoground/{row[f'image_{k}']}.png"
            store.images("winoground", [(path, drawn)])
            text = language("en").fill(template[message.kind], message)
            row[f"caption_{k}"] = text.lower().strip(".")
        row |= {"tag": f"{tag}-{'Position' if tag == 'Relation' else 'Attribute'}"}
        row |= {"secondary_tag": "", "num_main_preds": 1, "collapsed_tag": tag}
        rows.append(row)
    store.rows("winoground/examples.jsonl", rows)
    store.counts["winoground"] = {"test": len(rows)}
