"""The qualitative study: where a model looks in one's own picture, or in samples of a benchmark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from x2vlm.cli.words import take, whole, yes
from x2vlm.errors import ConfigError

if TYPE_CHECKING:
    from x2vlm.api import Pretrained
    from x2vlm.explain import Explanation
    from x2vlm.types import Media, Record

    Box = tuple[float, float, float, float]

KNOWN = ("model", "model.random", "checkpoint", "tokenizer", "device", "layer", "regions", "out",
         "benchmark", "data", "split", "limit")  # fmt: skip
USAGE = (
    "usage: x2vlm explain IMAGE TEXT [TEXT…] [regions=x,y,w,h;…] [model=…|checkpoint=…] [out=DIR]"
    "\n       x2vlm explain benchmark=… [data=DIR] [split=…] [limit=N] […]"
)
TEXTS = 3
"""Texts shown of one image of a benchmark."""
MINI_GALLERY = {"refcoco_plus": 4, "coco_retrieval": 2}
"""Images per benchmark in the gallery of the embedded suite."""


@dataclass(frozen=True, slots=True)
class Question:
    """An image and the texts to look at it by. truths: a box per text where one is known."""

    title: str
    media: Media
    texts: tuple[str, ...]
    truths: tuple[Box | None, ...]


def explain(words: Sequence[str]) -> int:
    """Write pictures, a sheet and a page; print what was found in words."""
    from leaderboards.gallery import write_page

    setting = re.compile(r"[a-z]+(\.[a-z]+)?=")  # a text may hold "=" elsewhere
    plain = [word for word in words if not setting.match(word)]
    settings = dict(word.split("=", 1) for word in words if setting.match(word))
    take(settings, *KNOWN)
    if "benchmark" in settings and not plain:
        questions = _of_benchmark(settings)
    elif len(plain) > 1 and "benchmark" not in settings:
        questions = [_own(plain[0], plain[1:])]
    else:
        raise ConfigError(USAGE)
    out = Path(settings.get("out", "explain"))
    pretrained, named = _model(settings)
    layer = whole(settings, "layer") if "layer" in settings else None
    regions = _regions(settings.get("regions", ""))
    studies = write_studies(pretrained, named, questions, out, layer=layer, regions=regions)
    for question, (folder, found) in zip(questions, studies, strict=True):
        for view in found.texts:
            match = "" if view.match is None else f"  match {view.match:.2f}"
            box = "" if view.box is None else f"  box {_stored(view.box, question.media)}"
            print(f"{view.text}:{match}{box}")
        print(folder / "sheet.png")
    print(write_page(out))
    return 0


def write_studies(
    pretrained: Pretrained,
    named: str,
    questions: Iterable[Question],
    out: Path,
    *,
    layer: int | None = None,
    regions: Sequence[Box] = (),
) -> Iterator[tuple[Path, Explanation]]:
    """Explain every question below `out`, a folder each. named: the model, for people."""
    from leaderboards.gallery import write_study
    from leaderboards.runs import slug
    from x2vlm.data.decode import open_oriented
    from x2vlm.data.orientation import upright_box, upright_size

    for question in questions:
        image, orientation = open_oriented(question.media)
        stored = upright_size(image.size, orientation)
        seen = [upright_box(box, stored, orientation) for box in regions]
        boxes = [(x, y, w, h) for x, y, w, h in seen]
        found = pretrained.explain(image, question.texts, layer=layer, regions=boxes)
        about = {"title": question.title, "image": Path(question.media.path).name, "model": named}
        folder = out / slug(question.title)[:80]
        write_study(found, image, folder, about=about, truths=question.truths)
        yield folder, found


def mini_gallery(weights: Path, out: Path) -> Path:
    """Studies of some pictures of the embedded world by pre-trained weights, below `out`."""
    from x2vlm.api import load

    pretrained = load(weights)
    for benchmark, limit in MINI_GALLERY.items():
        questions = _of_benchmark({"benchmark": benchmark, "limit": str(limit)})
        for _ in write_studies(pretrained, weights.stem, questions, out):
            pass
    return out


def _own(image: str, texts: Sequence[str]) -> Question:
    from x2vlm.types import Media

    title = f"{Path(image).stem}: {texts[0]}"
    return Question(title, Media(image), tuple(texts), (None,) * len(texts))


def _of_benchmark(settings: Mapping[str, str]) -> list[Question]:
    """`limit` images of a split, evenly spread over it, each under its first texts."""
    from benchmarks.files import Files
    from benchmarks.mini.home import mini_root
    from benchmarks.records import load_records
    from benchmarks.registry import get

    benchmark = get(settings["benchmark"])
    if benchmark.media == "video":
        raise ConfigError(f"{benchmark.name} has videos; explain shows single images")
    limit = whole(settings, "limit", 4)
    if not limit:
        raise ConfigError("limit=0 leaves no image to explain; limit is a number from 1")
    root = Path(settings["data"]) if settings.get("data") else mini_root()
    if not root.is_dir():
        raise ConfigError(f"data={root} is no folder; name the folder of the official files")
    split = settings.get("split") or benchmark.default_split()
    by_image: dict[str, list[Record]] = {}
    for record in load_records(benchmark, Files(root), split):
        by_image.setdefault(record.images[0].path, []).append(record)
    groups = list(by_image.values())
    chosen = [groups[i * len(groups) // limit] for i in range(min(limit, len(groups)))]
    return [_question(f"{benchmark.name} {split}", group) for group in chosen]


def _question(where: str, records: Sequence[Record]) -> Question:
    pairs = [(text, _seen(record)) for record in records for text in record.texts]
    kept = dict(reversed(pairs[:TEXTS]))  # the first of equal texts; a dict keeps its last
    texts = tuple(reversed(kept))
    truths = tuple(kept[text] for text in texts)
    return Question(f"{where} {records[0].id}", records[0].images[0], texts, truths)


def _seen(record: Record) -> Box | None:
    """The true box in the upright picture, which is what is shown."""
    from x2vlm.data.decode import open_oriented
    from x2vlm.data.orientation import turned, upright_size

    if not record.target.get("box"):
        return None
    image, orientation = open_oriented(record.images[0])
    x, y, w, h = turned(record.target, upright_size(image.size, orientation), orientation)["box"]
    return x, y, w, h


def _stored(box: Box, media: Media) -> str:
    """A box of the upright picture in stored pixels, the convention of `own_boxes`."""
    from x2vlm.data.decode import open_oriented
    from x2vlm.data.orientation import stored_box

    image, orientation = open_oriented(media)
    return ", ".join(f"{v:.0f}" for v in stored_box(box, image.size, orientation))


def _model(settings: Mapping[str, str]) -> tuple[Pretrained, str]:
    """The model of the settings, and what to call it."""
    import torch

    from x2vlm.api import Pretrained, load
    from x2vlm.weights import new_model

    name, device = settings.get("model", "tiny"), settings.get("device", "cpu")
    tokenizer = settings.get("tokenizer", "")
    if yes(settings, "model.random", False):
        torch.manual_seed(0)
        heads = {"heads": ("contrastive", "matching", "box")}
        model, text = new_model(name, heads, tokenizer=tokenizer)
        return Pretrained(model.to(device).eval(), text), f"{name}, random weights"
    weights = settings.get("checkpoint") or name
    return load(weights, tokenizer=tokenizer, device=device), Path(weights).name


def _regions(text: str) -> list[Box]:
    """Boxes of "x,y,w,h;x,y,w,h"."""
    found = []
    for part in filter(None, text.split(";")):
        try:
            x, y, w, h = map(float, part.split(","))
        except ValueError:
            raise ConfigError(
                f"regions: {part!r} is no box\n  expected: x,y,width,height in pixels, boxes "
                "separated by ; (quote the word for the shell)"
            ) from None
        found.append((x, y, w, h))
    return found
