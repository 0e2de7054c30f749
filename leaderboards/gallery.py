"""The qualitative study: what `x2vlm explain` found, as folders of pictures, and a page of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from leaderboards.runs import slug
from x2vlm import plain
from x2vlm.draw import sheet, text_pictures
from x2vlm.errors import RecordError
from x2vlm.plain import FILE_NAME, FLAG, TEXT, listed, number, optional, shaped, whole
from x2vlm.writing import write_atomically

if TYPE_CHECKING:
    from PIL import Image

    from x2vlm.explain import Box, Explanation

ASSETS = Path(__file__).parent / "assets"
VERSION = 1
"""of explanation.json"""
NAME = "explanation.json"
Study = dict[str, Any]
"""explanation.json as read, and "folder", where its pictures are."""
_BOX = optional(listed(number(), 4))
_TABLE = optional(listed(listed(number())))
_WORD = shaped({"word": TEXT, "weight": optional(number()), "map": FILE_NAME})
_TEXT = {
    "text": TEXT,
    "match": optional(number()),
    "box": _BOX,
    "truth": _BOX,
    "image": FILE_NAME,
    "map": FILE_NAME,
    "patches": optional(FILE_NAME),
    "words": listed(_WORD),
}
STUDY = shaped(
    {
        "title": TEXT,
        "image": TEXT,
        "model": TEXT,
        "layer": whole(0),
        "weighted": FLAG,
        "texts": listed(shaped(_TEXT)),
        "regions": listed(shaped({"name": TEXT, "box": _BOX})),
        "similarity": _TABLE,
        "matching": _TABLE,
    }
)
"""What explanation.json must hold."""


def write_study(
    explanation: Explanation,
    image: Image.Image,
    folder: Path,
    *,
    about: Mapping[str, str],
    truths: Sequence[Box | None] = (),
) -> Path:
    """Write sheet.png, one picture per map, and last explanation.json into `folder`.

    image: the original. about: "title", "image", "model", for people. truths: the true box of each
    text, None where it is not known. Returns the folder; equal explanations give equal bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / NAME, *folder.glob("*.png")):
        old.unlink(missing_ok=True)
    known = truths or [None] * len(explanation.texts)
    given = [region.box for region in explanation.regions if region.given]
    pictures, texts = [], []
    for place, (view, truth) in enumerate(zip(explanation.texts, known, strict=True)):
        cells = text_pictures(view, image, truth, given)
        for name, (picture, _) in cells.items():
            picture.save(folder / f"text{place}-{name}.png")
        pictures.append(cells)
        weights = view.weights()
        texts.append({
            "text": view.text,
            "match": _number(view.match),
            "box": _box(view.box),
            "truth": _box(truth),
            "image": f"text{place}-image.png",
            "map": f"text{place}-words.png",
            "patches": f"text{place}-patches.png" if "patches" in cells else None,
            "words": [
                {
                    "word": word,
                    "weight": None if weights is None else _number(weights[w]),
                    "map": f"text{place}-word{w}.png",
                }
                for w, word in enumerate(view.words)
            ],
        })  # fmt: skip
    (folder / "sheet.png").write_bytes(sheet(explanation, pictures))
    tables = {"similarity": explanation.similarity_RT, "matching": explanation.match_RT}
    value = {
        "version": VERSION,
        **about,
        "size": list(explanation.size),
        "layer": explanation.layer,
        "weighted": explanation.weighted,
        "texts": texts,
        "regions": [{"name": r.name, "box": _box(r.box)} for r in explanation.regions],
        **{
            name: None if table is None else [[_number(v) for v in row] for row in table.tolist()]
            for name, table in tables.items()
        },
    }
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / NAME, text)
    return folder


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _box(box: Box | None) -> list[float] | None:
    return None if box is None else [round(length, 1) for length in box]


def find_studies(folders: Sequence[Path]) -> list[Path]:
    """The studies that are, or lie directly below, `folders`, by name; RecordError for none."""
    found: list[Path] = []
    for folder in folders:
        here = [folder / NAME, *sorted(folder.glob(f"*/{NAME}"))]
        studies = [path.parent for path in here if path.is_file()]
        if not studies:
            raise RecordError(
                f"no {NAME} in {folder} or directly below it\n  expected: what x2vlm explain "
                "wrote\n  to do: x2vlm explain IMAGE TEXT out=DIR, then gallery=DIR"
            )
        found += studies
    return found


def read_study(folder: Path) -> Study:
    """One study; RecordError when its explanation.json is malformed or of another version."""
    path = folder / NAME
    try:
        value = plain.read(path, RecordError)
        if value.get("version") != VERSION:
            raise RecordError(f"{path}: version {value.get('version')!r}, expected {VERSION}")
        plain.conform(value, STUDY, str(path), RecordError)
        for name in ("similarity", "matching"):
            sizes = [len(row) for row in value[name] or ()]
            if sizes and sizes != [len(value["texts"])] * len(value["regions"]):
                raise RecordError(f"{path}: {name} is not a table of regions and texts")
    except RecordError as error:
        raise RecordError(f"{error}\n  to do: make it again with x2vlm explain") from error
    return {**value, "folder": folder}


def add_gallery(write: Callable[..., None], out: Path, folders: Sequence[Path]) -> None:
    """Copy the studies into the site `out` and write its page gallery.html."""
    studies = [read_study(folder) for folder in find_studies(folders)]
    for place, study in enumerate(studies):
        name = f"{place}-{slug(study['folder'].name)}"
        target = out / "gallery" / name
        target.mkdir(parents=True)
        for picture in sorted(study["folder"].glob("*.png")):
            if picture.is_symlink():
                raise RecordError(f"{picture}: a link, which could lead to any file; not copied")
            shutil.copyfile(picture, target / picture.name)
        study["src"] = f"gallery/{name}"
    write("gallery.html", "gallery.html", title="Where the model looks", studies=studies)


def write_page(folder: Path) -> Path:
    """index.html of all studies directly below `folder`; opens from disk like the site."""
    studies = [read_study(path) for path in find_studies([folder])]
    for study in studies:
        study["src"] = study["folder"].relative_to(folder).as_posix()
    for name in ("site.css", "icon.svg"):
        shutil.copyfile(ASSETS / name, folder / name)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    template = environment.get_template("explanations.html")
    write_atomically(folder / "index.html", template.render(studies=studies))
    return folder / "index.html"
