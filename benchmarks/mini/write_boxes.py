"""Boxes: the referring expressions of RefCOCO, RefCOCO+ and RefCOCOg, and OVAD's attributes."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.mini.language import Message, language
from benchmarks.mini.planner import OPPOSITE
from benchmarks.mini.render import box
from benchmarks.mini.store import Store
from benchmarks.mini.world import (
    ATTRIBUTES,
    COLOURS,
    RELATIONS,
    SHAPES,
    Item,
    Scene,
    Split,
    count,
    identify,
    related,
    scenes,
)

REFS = {"train": 2500, "val": 100, "testA": 100, "testB": 100}
"""objects referred to; those outside training have two sentences each"""
SPLITS: dict[str, Split] = {"train": "train", "val": "val", "testA": "test", "testB": "test"}
ROUND = ("ball", "heart", "ring", "moon")
"""testA refers to round shapes, testB to angular ones (officially: people, other objects)"""
CATEGORIES = [{"supercategory": "shape", "id": i + 1, "name": s} for i, s in enumerate(SHAPES)]
_EDGES = {"left": "left", "right": "right", "above": "top", "below": "bottom"}
OVAD_IMAGES = 150


@dataclass(frozen=True, slots=True)
class Referred:
    """One object that expressions point to. number: its official annotation id."""

    split: str
    image: int
    number: int
    scene: Scene
    item: Item


def referred(store: Store) -> tuple[list[Referred], dict[int, Scene]]:
    """The objects of all splits, the same for the three data sets, and the images by id."""
    found: list[Referred] = []
    images: dict[int, Scene] = {}
    for index, (split, number) in enumerate(REFS.items()):
        wanted = store.number(number, least=6)
        name = f"{store.name('refcoco')}/{split}"
        drawn = scenes(name, SPLITS[split], 2 * wanted, sizes=(2, 3, 3, 4))
        rows = list(_objects(split, (index + 6) * 100000, drawn))
        found += rows[:wanted]
        images |= {row.image: row.scene for row in rows[:wanted]}
    return found, images


def _objects(split: str, first: int, drawn: list[Scene]) -> Iterator[Referred]:
    shapes = {"testA": ROUND, "testB": tuple(s for s in SHAPES if s not in ROUND)}
    for i, scene in enumerate(drawn):
        items = [t for t in scene.items if t.shape in shapes.get(split, SHAPES)]
        for item in items[: 2 if split == "train" else 1]:
            place = scene.items.index(item)
            yield Referred(split, first + i, 10 * (first + i) + place, scene, item)


def plain(ref: Referred, rng: random.Random) -> str:
    """RefCOCO+: what it looks like, no words of place."""
    thing = identify(ref.item, ref.scene, rng, extra=0.3)
    words = language("en").phrase(thing, "0", "", False)
    return f"the {words}" if rng.random() < 0.15 else words


def placed(ref: Referred, rng: random.Random) -> str:
    """RefCOCO: short, with a side where that says enough."""
    same = [i for i in ref.scene.items if i.shape == ref.item.shape and i is not ref.item]
    sides = [r for r in RELATIONS if all(related(r, ref.item, i, ref.scene) for i in same)]
    if not same or not sides:
        return plain(ref, rng)
    side = _EDGES[rng.choice(sides)]
    return rng.choice((f"{side} {ref.item.shape}", f"{ref.item.shape} on the {side}"))


def long(ref: Referred, rng: random.Random) -> str:
    """RefCOCOg: a whole phrase, with a relation to another object where one holds."""
    thing = identify(ref.item, ref.scene, rng, extra=0.4)
    others = [i for i in ref.scene.items if i is not ref.item]
    rng.shuffle(others)
    for other in others:
        relation = next((r for r in OPPOSITE if related(r, ref.item, other, ref.scene)), None)
        anchor = identify(other, ref.scene, rng, extra=0.2)
        if relation and count(anchor, ref.scene) == 1:
            message = Message("relation", (thing, anchor), relation=relation)
            text = language("en").fill("{a:i} {rel:d}", message)
            return text.lower().strip(".")
    return language("en").fill("{a:d}", Message("is", (thing,))).lower().strip(".")


def write_refcoco(store: Store) -> None:
    """Folders refcoco, refcoco+ and refcocog: `refs(unc).p` or `refs(umd).p`, `instances.json`."""
    found, images = referred(store)
    path = "images/coco/train2014/COCO_train2014_{:012d}.jpg"
    store.images("refcoco", ((path.format(number), scene) for number, scene in images.items()))
    instances = _instances(images, "COCO_train2014_{:012d}.jpg")
    umd = {"train": "train", "val": "val", "testA": "test", "testB": "test"}
    _write_refs(store, "refcoco", "unc", found, placed, {name: name for name in umd})
    _write_refs(store, "refcoco+", "unc", found, plain, {name: name for name in umd})
    _write_refs(store, "refcocog", "umd", found, long, umd)
    for folder in ("refcoco", "refcoco+", "refcocog"):
        store.json(f"{folder}/instances.json", instances)


def _write_refs(
    store: Store,
    folder: str,
    by: str,
    found: list[Referred],
    say: Callable[[Referred, random.Random], str],
    splits: dict[str, str],
) -> None:
    rows: list[dict[str, Any]] = []
    sentence = 0
    for number, ref in enumerate(found):
        rng = random.Random(f"{ref.scene.seed}/{ref.number}/{folder}")
        texts = [say(ref, rng) for _ in range(1 if ref.split == "train" else 2)]
        said = []
        for text in texts:
            said.append({"tokens": text.split(), "raw": text, "sent_id": sentence, "sent": text})
            sentence += 1
        rows.append(
            {
                "sent_ids": [one["sent_id"] for one in said],
                "file_name": f"COCO_train2014_{ref.image:012d}_{number}.jpg",
                "ann_id": ref.number,
                "ref_id": number,
                "image_id": ref.image,
                "split": splits[ref.split],
                "sentences": said,
                "category_id": SHAPES.index(ref.item.shape) + 1,
            }
        )
        counts = store.counts.setdefault(folder, {})
        counts[splits[ref.split]] = counts.get(splits[ref.split], 0) + len(said)
    store.bytes(f"{folder}/refs({by}).p", pickle.dumps(rows, protocol=2))


def _instances(images: dict[int, Scene], name: str) -> dict[str, Any]:
    """Images and boxes in the layout of COCO's instances."""
    annotations = [
        annotation(scene, place, image)
        for image, scene in images.items()
        for place in range(len(scene.items))
    ]
    described = [
        {"id": number, "file_name": name.format(number)}
        | {"width": scene.width, "height": scene.height}
        for number, scene in images.items()
    ]
    info = {"description": "The mini world in the layout of COCO instances."}
    return {
        "info": info,
        "licenses": [],
        "images": described,
        "annotations": annotations,
        "categories": CATEGORIES,
    }


def annotation(scene: Scene, place: int, image: int) -> dict[str, Any]:
    """One object in COCO's layout; its id is 10 x image id + its place in the scene."""
    item = scene.items[place]
    x, y, w, h = box(item, scene)
    return {
        "id": 10 * image + place,
        "image_id": image,
        "bbox": [x, y, w, h],
        "area": round(w * h, 2),
        "iscrowd": 0,
        "category_id": SHAPES.index(item.shape) + 1,
    }


OVAD_WORDS = {
    "colour": [(c, c) for c in COLOURS],
    "pattern": [
        ("plain", "plain/solid"),
        ("striped", "striped/lined"),
        ("dotted", "dotted/spotted"),
        ("checked", "checked/chequered"),
    ],
    "size": [("small", "small/little"), ("big", "big/large")],
    "material": [("matte", "matte/dull"), ("shiny", "shiny/glossy")],
}
"""world value, and OVAD's `synonym/synonym`"""
SYNONYMS = {v: words.split("/") for rows in OVAD_WORDS.values() for v, words in rows}
"""world value -> the words that OVAD's prompts use for it; region texts use them all"""
_TYPES = {"colour": "color", "pattern": "pattern", "size": "size", "material": "texture"}
_HEAD, _TAIL = ("size", "material"), frozenset({"dotted", "checked", "white", "black"})


def ovad_attributes() -> list[dict[str, Any]]:
    """The attribute list. Two-way attributes are head, four of the rarer ones tail."""
    rows: list[dict[str, Any]] = []
    for name, words in OVAD_WORDS.items():
        for value, synonyms in words:
            often = "head" if name in _HEAD else "tail" if value in _TAIL else "medium"
            row = {"id": len(rows) + 1, "name": f"{_TYPES[name]}:{synonyms}"}
            row |= {"type": _TYPES[name], "parent_type": _TYPES[name], "is_has_att": "is"}
            rows.append(row | {"freq_set": often})
    return rows


def att_vec(item: Item, rng: random.Random) -> list[int]:
    """1, 0 or −1 per attribute: known ones from the object, one in twelve unknown."""
    looks = {name: getattr(item, name) for name in ATTRIBUTES}
    known = [int(looks[name] == v) for name, words in OVAD_WORDS.items() for v, _ in words]
    return [-1 if rng.random() < 1 / 12 else value for value in known]


def write_ovad(store: Store) -> None:
    """`ovad/ovad2000.json` and the images of val2017."""
    drawn = scenes(store.name("ovad"), "test", store.number(OVAD_IMAGES))
    rng = random.Random(store.name("ovad"))
    images = {700001 + i: scene for i, scene in enumerate(drawn)}
    body = _instances(images, "{:012d}.jpg")
    for row in body["annotations"]:
        item = images[row["image_id"]].items[row["id"] % 10]
        row["att_vec"] = att_vec(item, rng)
    body["images"] = [row | {"set": "val2017"} for row in body["images"]]
    body["categories"] = [row | {"ov_set": "base"} for row in CATEGORIES]
    body["attributes"] = ovad_attributes()
    store.json("ovad/ovad2000.json", body)
    named = ((f"images/coco/val2017/{number:012d}.jpg", scene) for number, scene in images.items())
    store.images("ovad", named)
    store.counts["ovad"] = {"test": len(body["annotations"])}
