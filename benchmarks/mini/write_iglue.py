"""IGLUE's data sets in its own layouts: XVNLI, MaRVL, xFlickr&CO and WIT."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from benchmarks.mini.language import Message, language
from benchmarks.mini.planner import OPPOSITE, captions, full, holds, holds_of_pair, pair_set
from benchmarks.mini.store import Store
from benchmarks.mini.world import COLOURS, SHAPES, Scene, Split, identify, relation_of, scenes
from benchmarks.mini.write_coco import Picture, coco, flickr, sentences

XVNLI = ("en", "ar", "es", "fr", "ru")
MARVL = ("id", "sw", "ta", "tr", "zh")
XFLICKRCO = ("en", "de", "es", "id", "ja", "ru", "tr", "zh")
WIT = ("en", "ar", "bg", "da", "el", "et", "id", "ja", "ko", "tr", "vi")
XFLICKRCO_IMAGES = 100
"""of Flickr30K's test images, and as many of COCO's"""
MARVL_SETS = 40
WIT_SIZES: dict[Split, int] = {"train": 600, "val": 50, "test": 100}
PROPERTIES = ("new", "old", "heavy", "expensive")
"""what no picture shows: neutral"""

Label = Literal["entailment", "contradiction", "neutral"]
LABELS: tuple[Label, ...] = ("entailment", "neutral", "contradiction")


def hypothesis(scene: Scene, label: Label, rng: random.Random) -> Message:
    """A sentence that the scene entails, contradicts, or says nothing about."""
    item, other = rng.sample(scene.items, 2)
    if label == "neutral":
        thing = identify(item, scene, rng, extra=0.2)
        return Message("is", (thing,), value=rng.choice(PROPERTIES))
    true = label == "entailment"
    kind = rng.choice(("is", "not", "list", "relation"))
    relation = relation_of(item, other, scene)
    if kind == "relation" and relation:
        things = (full(item, rng, 0.0), full(other, rng, 0.0))
        return Message("relation", things, relation=relation if true else OPPOSITE[relation])
    colour = _colour(scene, item.shape, rng, there=true)
    wrong = _colour(scene, item.shape, rng, there=not true)
    if kind == "not":
        return Message("not", (replace(full(item, rng, 0.0), colour=wrong),))
    if kind == "is":
        thing = replace(full(item, rng, 0.0), colour=None)
        if sum(thing.fits(one) for one in scene.items) == 1:
            return Message("is", (thing,), value=colour)
    things = (replace(full(item, rng, 0.0), colour=colour), full(other, rng, 0.0))
    return Message("list", things)


def _colour(scene: Scene, shape: str, rng: random.Random, there: bool) -> str:
    """A colour that objects of this shape have in the scene, or one that none has."""
    have = [item.colour for item in scene.items if item.shape == shape]
    return rng.choice(have if there else [c for c in COLOURS if c not in have])


def _entailment_rows(pictures: Sequence[Picture], code: str) -> list[dict[str, Any]]:
    rows = []
    for picture in pictures:
        rng = random.Random(f"{picture.scene.seed}/xvnli")
        premise = sentences(picture, code)[0]
        for label in LABELS:
            message = hypothesis(picture.scene, label, rng)
            while label != "neutral" and holds(message, picture.scene) != (label == "entailment"):
                message = hypothesis(picture.scene, label, rng)
            caption = f"{picture.name}#0"
            row = {"gold_label": label, "sentence1": premise}
            row["sentence2"] = language(code).say(message, random.Random(f"{message}/{code}"))
            row |= {"captionID": caption, "pairID": f"{caption}r1{label[0]}"}
            rows.append(row | {"Flikr30kID": picture.name.removesuffix(".jpg")})
    return rows


def write_xvnli(store: Store) -> None:
    """`xvnli/LANGUAGE/{train,dev,test}.jsonl`; only English has train and dev, as in IGLUE."""
    pictures = flickr(store)
    names: dict[Split, str] = {"train": "train", "val": "dev", "test": "test"}
    for split, name in names.items():
        chosen = [picture for picture in pictures if picture.split == split]
        for code in XVNLI if split == "test" else ("en",):
            rows = _entailment_rows(chosen, code)
            store.rows(f"xvnli/{code}/{name}.jsonl", rows)
        store.counts.setdefault("xvnli", {})[name] = len(rows)


def write_marvl(store: Store) -> None:
    """`marvl/marvl-LANGUAGE.jsonl`, `images/marvl/LANGUAGE/images/CONCEPT`; training is NLVR2."""
    for code in MARVL:
        name = f"{store.name('marvl')}/{code}"
        rng = random.Random(name)
        pool = scenes(name, "test", store.number(80, least=40))
        rows: list[dict[str, Any]] = []
        for _ in range(store.number(MARVL_SETS)):
            made = pair_set(pool, rng)
            number = SHAPES.index(str(made.message.things[0].shape)) + 1
            concept = f"{number}-{language(code).phrase(made.message.things[0], '0', '', False)}"
            concept = concept.replace(" ", "_")
            sentence = language(code).say(made.message, rng)
            for left, right in rng.sample(made.pairs, 4):
                files = [f"{number}-{pool.index(scene)}.jpg" for scene in (left, right)]
                folder = f"images/marvl/{code}/images/{concept}"
                named = zip(files, (left, right), strict=True)
                store.images("marvl", [(f"{folder}/{file}", scene) for file, scene in named])
                row: dict[str, Any] = {"concept": concept, "language": code}
                row["caption"] = sentence
                row |= {"left_img": files[0], "right_img": files[1], "annotator_info": {}}
                row |= {"chapter": "Basic actions and technology", "id": f"{code}-{len(rows)}"}
                rows.append(row | {"label": holds_of_pair(made.message, left, right)})
        store.rows(f"marvl/marvl-{code}.jsonl", rows)
        store.counts.setdefault("marvl", {})[code] = len(rows)


def write_xflickrco(store: Store) -> None:
    """`xflickrco/LANGUAGE/test.jsonl`: one caption for each of Flickr30K's and COCO's images."""
    number = store.number(XFLICKRCO_IMAGES)
    chosen = [
        picture
        for pictures in (flickr(store), coco(store))
        for picture in [p for p in pictures if p.split == "test"][:number]
    ]
    for code in XFLICKRCO:
        rows = []
        for picture in chosen:
            file = picture.name.rpartition("/")[2]
            said = sentences(picture, code)[:1]
            rows.append({"sentences": said, "id": file.removesuffix(".jpg"), "img_path": file})
        store.rows(f"xflickrco/{code}/test.jsonl", rows)
        store.counts.setdefault("xflickrco", {})[code] = len(rows)


def write_wit(store: Store) -> None:
    """`wit/{train,val,test}_LANGUAGE.jsonl`, with the images below `images/wit`.

    Each language has images of its own, as Wikipedias have; only English has train and val.
    """
    for split, number in WIT_SIZES.items():
        for code in WIT if split == "test" else ("en",):
            drawn = scenes(f"{store.name('wit')}/{code}", split, store.number(number))
            rows = []
            for index, scene in enumerate(drawn):
                rng = random.Random(scene.seed + "/wit")
                message = captions(scene, rng, 1, drawn if split != "train" else ())[0]
                file = f"{split}_{code}_{index}.jpg"
                store.images("wit", [(f"images/wit/{file}", scene)])
                row = {"image_idx": index, "image_url": f"https://mini.world/wiki/{file}"}
                row |= {"meta_url": "", "language": code, "page_url": ""}
                row["caption_reference_description"] = language(code).say(message, rng)
                rows.append(row | {"wit_ix": f"wit-{split}_{code}_{index}"})
            store.rows(f"wit/{split}_{code}.jsonl", rows)
        store.counts.setdefault("wit", {})[split] = len(rows)
