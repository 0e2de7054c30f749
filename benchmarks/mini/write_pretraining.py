"""The pre-training corpus: JSON lines of images, regions, objects, words, twins, videos, parallel
text.

Scenes are training scenes of their own: they share none with any benchmark's test or validation
split (a scene's split is decided by its content) and hold no unseen combination.
"""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from PIL import Image

from benchmarks.mini.language import GRAMMARS, Message, language
from benchmarks.mini.planner import captions, full, questions
from benchmarks.mini.render import box, jpeg
from benchmarks.mini.store import Store
from benchmarks.mini.twins import Twin, twins
from benchmarks.mini.video import clips, frames
from benchmarks.mini.video import questions as clip_questions
from benchmarks.mini.world import COLOURS, Scene, related, scenes
from benchmarks.mini.write_boxes import SYNONYMS
from benchmarks.mini.write_iglue import PROPERTIES

IMAGES, OBJECTS, WORDS, TWINS, VIDEOS, PARALLEL = 15000, 1500, 12000, 6000, 3000, 6000
LOOKS = ("shape", "colour", "pattern", "size", "material")
SHARD = 1000
_VIDEO_FRAMES = 6


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def image_row(scene: Scene, binary: str) -> dict[str, Any]:
    """Four English captions and questions, and one of each in every other language."""
    rng = random.Random(scene.seed + "/words")
    said, asked = captions(scene, rng, 4), questions(scene, rng, 4)
    texts: dict[str, Any] = {"en": [language("en").say(message, rng) for message in said]}
    pairs = {"en": [[language("en").say(one.message, rng), one.answer] for one in asked]}
    for code in GRAMMARS:
        if code != "en":
            texts[code] = language(code).say(rng.choice(said), rng)
            one = rng.choice(asked)
            pairs[code] = [[language(code).say(one.message, rng), one.answer]]
    return {"binary": binary, "caption": texts, "questions": pairs}


def region_row(scene: Scene, binary: str) -> dict[str, Any]:
    """Two captions, and every object with its box."""
    rng = random.Random(scene.seed + "/regions")
    said = captions(scene, rng, 2)
    elements = _elements(scene, rng)
    caption = [language("en").say(message, rng) for message in said]
    return {"binary": binary, "caption": caption, "elems": elements}


def object_row(scene: Scene) -> dict[str, Any]:
    """A scene of one object: where to learn what a place is before what a phrase points at."""
    rng = random.Random(scene.seed + "/object")
    return {"binary": _encoded(jpeg(scene)), "elems": _elements(scene, rng)}


def words_row(scene: Scene) -> dict[str, Any]:
    """Every object once per word that names it or an attribute: what can be seen of it."""
    elements: list[dict[str, Any]] = []
    for item in scene.items:
        place = list(box(item, scene))
        elements += [
            {"bb": place, "caption": word, "kind": kind}
            for kind, word in zip(LOOKS, item.looks(), strict=True)
            if word != "plain"
        ]
    return {"binary": _encoded(jpeg(scene)), "elems": elements}


def twin_row(scene: Scene) -> dict[str, Any] | None:
    """A scene and its twin, to stand in one batch, each with texts that are false of the other and
    with questions that the other answers differently; None where there is no such twin."""
    rng = random.Random(scene.seed + "/twins")
    made = twins(scene, rng)
    return made and {"together": [_told(twin, random.Random(scene.seed)) for twin in made]}


def _told(twin: Twin, rng: random.Random) -> dict[str, Any]:
    english = language("en")
    texts: dict[str, Any] = {"en": [english.say(message, rng) for message in twin.said]}
    pairs = {"en": [[english.say(one.message, rng), one.answer] for one in twin.asked]}
    for code in GRAMMARS:
        if code != "en":
            tongue = language(code)
            texts[code] = [tongue.say(message, rng) for message in rng.sample(twin.said, 2)]
            pairs[code] = [
                [tongue.say(one.message, rng), one.answer]
                for one in rng.sample(twin.asked, min(2, len(twin.asked)))
            ]
    return {"binary": _encoded(jpeg(twin.scene)), "caption": texts, "questions": pairs}


def _elements(scene: Scene, rng: random.Random) -> list[dict[str, Any]]:
    """Every object twice: its name or a phrase with a relation, and its name with an attribute."""
    elements: list[dict[str, Any]] = []
    for item in scene.items:
        phrases = [_bare(Message("is", (full(item, rng, extra),))) for extra in (0.0, 0.4, 0.8)]
        others = [other for other in scene.items if other is not item]
        other = rng.choice(others) if others else item
        for name in ("left", "right", "above", "below"):
            if related(name, item, other, scene):
                things = (full(item, rng, 0.2), full(other, rng, 0.2))
                phrases.append(_bare(Message("relation", things, relation=name)))
        place = list(box(item, scene))
        elements.append({"bb": place, "caption": phrases})
        words = [word for value in item.looks()[1:] for word in SYNONYMS[value]]
        attribute = rng.choice(words)
        elements.append({"bb": place, "caption": item.shape, "attributes": attribute})
    return elements


def _bare(message: Message) -> str:
    """A phrase without article, lower case."""
    template = "{a:0} {rel:d}" if message.relation else "{a:0}"
    return language("en").fill(template, message).lower().strip(".")


def video_rows(store: Store) -> Iterator[dict[str, Any]]:
    """Frames as JPEGs, three sentences on what happens, and questions."""
    english = language("en")
    for clip in clips(store.name("pretrain"), "train", store.number(VIDEOS)):
        rng = random.Random(clip.scene.seed + "/words")
        binary = []
        for picture in frames(clip, _VIDEO_FRAMES):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=90)
            binary.append(_encoded(buffer.getvalue()))
        texts = [english.say(clip.message(rng), rng) for _ in range(3)]
        yield {"video_frames": binary, "text": texts, "questions": clip_questions(clip, rng, 4)}


def parallel_rows(store: Store) -> Iterator[dict[str, Any]]:
    """One message in English and in another language."""
    codes = [code for code in GRAMMARS if code != "en"]
    drawn = scenes(store.name("parallel"), "train", store.number(PARALLEL))
    for scene in drawn:
        rng = random.Random(scene.seed + "/words")
        message = _message(scene, rng)
        code = rng.choice(codes)
        yield {
            "source_text": language("en").say(message, rng),
            "target_text": language(code).say(message, rng),
            "source_language": "en",
            "target_language": code,
        }


def _message(scene: Scene, rng: random.Random) -> Message:
    """A caption, a question, or a statement such as those about pairs of pictures."""
    kind = rng.random()
    if kind < 0.4:
        return captions(scene, rng, 1)[0]
    if kind < 0.7:
        return questions(scene, rng, 1)[0].message
    a, b = (full(item, rng, 0.1) for item in rng.sample(scene.items, 2))
    a, b = (thing if rng.random() < 0.6 else replace(thing, colour=None) for thing in (a, b))
    kinds = ("s_left", "s_right", "s_both", "s_one", "s_sides", "not", "is")
    return Message(rng.choice(kinds), (a, b), value=rng.choice((*COLOURS, *PROPERTIES)))


def write_pretraining(store: Store) -> None:
    """Shards below `pretrain/KIND`; the regions are those of the images."""
    images: list[dict[str, Any]] = []
    regions: list[dict[str, Any]] = []
    for scene in scenes(store.name("pretrain"), "train", store.number(IMAGES)):
        binary = _encoded(jpeg(scene))
        images.append(image_row(scene, binary))
        regions.append(region_row(scene, binary))
    alone = scenes(store.name("objects"), "train", store.number(OBJECTS), sizes=(1,))
    named = scenes(store.name("words"), "train", store.number(WORDS))
    doubled = scenes(store.name("twins"), "train", 3 * store.number(TWINS) + 20)
    pairs = (row for row in map(twin_row, doubled) if row is not None)
    parts = {
        "images": images,
        "regions": regions,
        "objects": [object_row(scene) for scene in alone],
        "words": [words_row(scene) for scene in named],
        "twins": list(islice(pairs, store.number(TWINS))),
        "videos": list(video_rows(store)),
        "parallel": list(parallel_rows(store)),
    }
    for name, rows in parts.items():
        for first in range(0, len(rows), SHARD):
            path = f"pretrain/{name}/{first // SHARD:03d}.jsonl"
            store.rows(path, rows[first : first + SHARD])
        store.counts.setdefault("pretrain", {})[name] = len(rows)
