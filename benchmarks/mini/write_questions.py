"""GQA's balanced questions, and xGQA's in other languages."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.mini.language import GRAMMARS, language
from benchmarks.mini.planner import Question, questions
from benchmarks.mini.store import Store
from benchmarks.mini.world import Scene, Split, scenes

IMAGES = {"train": 1000, "val": 60, "testdev": 130}
EACH = {"train": 3, "val": 3, "testdev": 3}
SPLITS: dict[str, Split] = {"train": "train", "val": "val", "testdev": "test"}
KINDS = ("colour", "pattern", "what", "exists", "is", "relation", "choose")
XGQA = tuple(code for code in ("en", "de", "pt", "ru", "id", "bn", "ko", "zh") if code in GRAMMARS)
FEW_SHOT = (1, 5, 10, 20, 25, 48)
_TYPES = {
    "q_colour": ("color", "attr", "query"),
    "q_pattern": ("pattern", "attr", "query"),
    "q_what": ("relS", "rel", "query"),
    "q_exists": ("existAttr", "obj", "verify"),
    "q_is": ("verifyAttr", "attr", "verify"),
    "q_relation": ("relVerify", "rel", "verify"),
    "q_choose": ("chooseAttr", "attr", "choose"),
}

Asked = list[tuple[str, str, Scene, Question]]
"""question id, image id, scene, question"""


def asked(store: Store, part: str) -> Asked:
    """The questions of one official split, or of the few-shot images ("few_shot")."""
    split = SPLITS.get(part, "test")
    number = store.number(IMAGES.get(part, FEW_SHOT[-1] + 10))
    found: Asked = []
    for i, scene in enumerate(scenes(f"{store.name('gqa')}/{part}", split, number)):
        image = f"{'n' if split == 'test' else ''}{2_300_000 + i + 100_000 * _order(part)}"
        rng = random.Random(scene.seed + "/gqa")
        for k, question in enumerate(questions(scene, rng, EACH.get(part, 3), KINDS)):
            found.append((f"{20 + _order(part)}{i:05d}{k}", image, scene, question))
    return found


def _order(part: str) -> int:
    return ("train", "val", "testdev", "few_shot").index(part)


def row(question: Question, image: str, key: str, code: str) -> dict[str, Any]:
    """One question in GQA's schema; only its text is in the language, the answer is English."""
    message = question.message
    rng = random.Random(f"{key}/{code}")
    detailed, semantic, structural = _TYPES[message.kind]
    steps = [{"operation": "select", "dependencies": [], "argument": str(message.things[0].shape)}]
    return {
        "semantic": steps,
        "entailed": [],
        "equivalent": [key],
        "question": language(code).say(message, rng),
        "imageId": image,
        "isBalanced": True,
        "groups": {"global": semantic, "local": f"{structural}-{message.things[0].shape}"},
        "answer": question.answer,
        "semanticStr": f"select: {message.things[0].shape}",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
        "types": {"detailed": detailed, "semantic": semantic, "structural": structural},
        "fullAnswer": question.answer,
    }


def rows(found: Asked, code: str) -> dict[str, dict[str, Any]]:
    """Question id -> row, in one language."""
    return {key: row(question, image, key, code) for key, image, _, question in found}


def _images(store: Store, found: Asked) -> None:
    drawn = {image: scene for _, image, scene, _ in found}
    store.images("gqa", ((f"images/gqa/{image}.jpg", scene) for image, scene in drawn.items()))


def write_gqa(store: Store) -> None:
    """`gqa/{train,val,testdev}_balanced_questions.json` and `images/gqa`.

    As in the real files, testdev holds the few-shot questions of xGQA too.
    """
    few = asked(store, "few_shot")
    for part in IMAGES:
        found = asked(store, part)
        if part == "testdev":
            found = found + few
        store.json(f"gqa/{part}_balanced_questions.json", rows(found, "en"))
        _images(store, found)
        store.counts.setdefault("gqa", {})[part] = len(found)


def write_xgqa(store: Store) -> None:
    """Zero-shot testdev per language, and few-shot training, dev and test sets.

    The last ten few-shot images are `dev`, the others the nested training sets of 1 to 48 images.
    """
    tested, few = asked(store, "testdev"), asked(store, "few_shot")
    images = list(dict.fromkeys(image for _, image, _, _ in few))
    dev = set(images[-max(1, len(images) // 6) :])
    left = [image for image in images if image not in dev]
    for code in XGQA:
        path = f"xgqa/zero_shot/testdev_balanced_questions_{code}.json"
        store.json(path, rows(tested + few, code))
        parts = {f"train_{shots}": set(left[:shots]) for shots in FEW_SHOT} | {"dev": dev}
        for name, chosen in parts.items():
            kept = [one for one in few if one[1] in chosen]
            store.json(f"xgqa/few_shot/{code}/{name}.json", rows(kept, code))
        store.json(f"xgqa/few_shot/{code}/test.json", rows(tested, code))
        store.counts.setdefault("xgqa", {})[code] = len(tested)
    _images(store, tested + few)
