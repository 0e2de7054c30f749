"""The qualitative study: where a model looks in one's own picture, or in samples of a benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from x2vlm.cli.arguments import parse
from x2vlm.cli.values import home
from x2vlm.config import DEVICE, wrong_device
from x2vlm.errors import ConfigError
from x2vlm.model.config import PRESETS
from x2vlm.ranges import Problem, Setting
from x2vlm.settings import Settings

if TYPE_CHECKING:
    from x2vlm.api import Pretrained
    from x2vlm.explain import Explanation
    from x2vlm.types import Media, Record

    Box = tuple[float, float, float, float]

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


@dataclass(frozen=True, slots=True)
class ExplainArguments(Settings):
    """Of x2vlm explain."""

    model: Annotated[str, Setting("preset (x2vlm list)", choices=tuple(PRESETS))] = "tiny"
    random: Annotated[bool, Setting("random weights, on purpose", key="model.random")] = False
    checkpoint: Annotated[
        str, Setting("weights; empty: those that ship with the preset", form="path")
    ] = ""
    tokenizer: Annotated[
        str, Setting("name or path; empty: the one inside the weights", form="path")
    ] = ""
    device: Annotated[str, DEVICE] = "cpu"
    layer: Annotated[
        int | None, Setting("of the fusion layers; null: as explained best", least=0, most=512)
    ] = None
    regions: Annotated[str, Setting("x,y,width,height;… of boxes to ask about", "pixels")] = ""
    out: Annotated[str, Setting("folder to write to", form="path", required=True)] = "explain"
    benchmark: Annotated[str, Setting("whose samples to explain; empty: an image of yours")] = ""
    data: Annotated[
        str, Setting("folder of the official files; empty: the embedded world", form="path")
    ] = ""
    split: Annotated[str, Setting("empty: the one that is evaluated by default")] = ""
    limit: Annotated[
        int, Setting("images of the benchmark, spread over the split", least=1, most=10**6)
    ] = 4

    def contradictions(self) -> Iterator[Problem]:
        """A device that does not exist."""
        yield from wrong_device(self.device)


def explain(arguments: Sequence[str]) -> int:
    """Write pictures, a sheet and a page; print what was found in words."""
    from leaderboards.gallery import write_page

    plain, given = parse(ExplainArguments, arguments)
    if given.benchmark and not plain:
        questions = _of_benchmark(given)
    elif len(plain) > 1 and not given.benchmark:
        questions = [_own(home(plain[0]), plain[1:])]
    else:
        raise ConfigError(USAGE)
    out = Path(given.out)
    regions = _regions(given.regions)
    pretrained, named = _model(given)
    layer = given.layer
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
        questions = _of_benchmark(ExplainArguments(benchmark=benchmark, limit=limit))
        for _ in write_studies(pretrained, weights.stem, questions, out):
            pass
    return out


def _own(image: str, texts: Sequence[str]) -> Question:
    from x2vlm.types import Media

    title = f"{Path(image).stem}: {texts[0]}"
    return Question(title, Media(image), tuple(texts), (None,) * len(texts))


def _of_benchmark(given: ExplainArguments) -> list[Question]:
    """`limit` images of a split, evenly spread over it, each under its first texts."""
    from benchmarks.files import Files
    from benchmarks.mini.home import mini_root
    from benchmarks.records import load_records
    from benchmarks.registry import get

    benchmark, limit = get(given.benchmark), given.limit
    if benchmark.media == "video":
        raise ConfigError(f"{benchmark.name} has videos; explain shows single images")
    root = Path(given.data) if given.data else mini_root()
    if not root.is_dir():
        raise ConfigError(f"data={root} is not a folder; name the folder of the official files")
    split = given.split or benchmark.default_split()
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


def _model(given: ExplainArguments) -> tuple[Pretrained, str]:
    """The model of the arguments, and what to call it."""

    import torch

    from x2vlm.api import Pretrained, load
    from x2vlm.weights import new_model

    if given.random:
        torch.manual_seed(0)
        heads = {"heads": ("contrastive", "matching", "box")}
        model, text = new_model(given.model, heads, tokenizer=given.tokenizer)
        return Pretrained(model.to(given.device).eval(), text), f"{given.model}, random weights"
    weights = given.checkpoint or given.model
    return load(weights, tokenizer=given.tokenizer, device=given.device), Path(weights).name


def _regions(text: str) -> list[Box]:
    """Boxes of "x,y,w,h;x,y,w,h"."""
    found = []
    for part in filter(None, text.split(";")):
        try:
            x, y, w, h = map(float, part.split(","))
        except ValueError:
            raise ConfigError(
                f"regions: {part!r} is not a box\n  expected: x,y,width,height in pixels, boxes "
                "separated by ; (quote the word for the shell)"
            ) from None
        found.append((x, y, w, h))
    return found
