"""What a model was trained on, and how much of that is in the evaluated split. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.records import fingerprint, load_records
from benchmarks.registry import NAMES, get
from x2vlm.errors import DataError
from x2vlm.provenance import sha256
from x2vlm.types import Media, Record

UNKNOWN = "unknown"
SEEN = "seen"
"""Variant of the protocol of a model that was trained on a part of what it is evaluated on."""
_COCO = re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?0*(\d+)", re.IGNORECASE)
_COCO_DIGITS = 12
_NAMES = re.compile(r"[\w+-]+")
_PART = re.compile(r"[+_]|(?<=train)(?=val)")
"""what separates the parts of a split's name: "trainval_vg" is train, val and vg"""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}$")


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many evaluated records, and how many of their images, were trained on.

    of_ids, of_images: all of them. ids: records of the same id and image (of the same id and texts
    where there is no image). How it was found: by "records" read, or by the splits' "names".
    """

    ids: int
    of_ids: int
    images: int
    of_images: int
    found_by: str = "records"

    def to_json(self) -> dict[str, Any]:
        """Counts, and their shares of the evaluated split."""
        return {
            **asdict(self),
            "share_ids": _share(self.ids, self.of_ids),
            "share_images": _share(self.images, self.of_images),
        }

    def __str__(self) -> str:
        return (
            f"{self.ids} of {self.of_ids} evaluated records and {self.images} of {self.of_images} "
            "evaluated images were trained on"
        )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def overlap(trained: Iterable[Record], evaluated: Sequence[Record]) -> Overlap:
    """What two sets of records share.

    An image is the same when its name is, without folder, suffix and case; of COCO's names the
    number alone counts. Two files of one name in different folders are compared by their content,
    for many data sets number their images from 1 in each split.
    """
    seen_images: dict[str, list[Media]] = {}
    seen_ids: dict[str, list[Record]] = {}
    wanted = {image_key(media) for record in evaluated for media in record.images}
    wanted_ids = {_id(record) for record in evaluated}
    for record in trained:
        for media in record.images:
            if (key := image_key(media)) in wanted:
                places = seen_images.setdefault(key, [])
                if all(media.path != other.path for other in places):
                    places.append(media)
        if _id(record) in wanted_ids:
            seen_ids.setdefault(_id(record), []).append(record)
    known: dict[tuple[str, str], bool] = {}

    def seen(media: Media) -> bool:
        key = image_key(media)
        if (key, media.path) not in known:
            known[key, media.path] = any(same(media, o) for o in seen_images.get(key, ()))
        return known[key, media.path]

    images = {(image_key(m), m.path): seen(m) for record in evaluated for m in record.images}
    ids = sum(
        any(_same_record(record, other) for other in seen_ids.get(_id(record), ()))
        for record in evaluated
    )
    return Overlap(ids, len(evaluated), sum(images.values()), len(images))


def image_key(media: Media) -> str:
    """The name under which an image is looked up; "coco 42" for every spelling of COCO's 42."""
    stem = _SUFFIX.sub("", media.path.replace("\\", "/").rpartition("/")[2].casefold())
    found = _COCO.fullmatch(stem)
    if found and (not stem[0].isdigit() or len(stem) == _COCO_DIGITS):
        return f"coco {found[1]}"
    return stem


def same(one: Media, other: Media) -> bool:
    """Whether two images of one key are one image."""
    if image_key(one).startswith("coco "):
        return True
    if one.inline or other.inline:
        return one.inline == other.inline
    if one.path == other.path:
        return True
    paths = Path(one.path), Path(other.path)
    if not all(path.is_file() for path in paths):
        return not any(path.exists() for path in paths)  # by name alone, where no file is there
    sizes = {path.stat().st_size for path in paths}
    return len(sizes) == 1 and len({sha256(path) for path in paths}) == 1


def _id(record: Record) -> str:
    """The id without the language in front."""
    return record.id.removeprefix(f"{record.language}:")


def _same_record(one: Record, other: Record) -> bool:
    """Whether records of one id are the same: ids often count from 0 in every split."""
    if one.images and other.images:
        pairs = zip(one.images, other.images, strict=False)
        return all(image_key(a) == image_key(b) and same(a, b) for a, b in pairs)
    return one.texts == other.texts


def of_training(
    split: str,
    languages: Sequence[str],
    trained: Sequence[Record],
    evaluated: Sequence[Record],
    whole: Sequence[Record] = (),
) -> dict[str, Any]:
    """What the record says of a training of this run. whole: the training split where only a part
    of it was trained on; its overlap counts, for it is the split that is named."""
    return {
        "split": split,
        "languages": list(languages),
        "n": len(trained),
        "fingerprint": fingerprint(trained),
        "overlap": overlap(whole or trained, evaluated).to_json(),
    }


def of_checkpoint(
    told: str,
    source: str,
    benchmark: Benchmark,
    files: Files,
    split: str,
    evaluated: Sequence[Record],
) -> dict[str, Any]:
    """What the record says of weights that were fine-tuned before.

    told: "BENCHMARK:SPLIT+SPLIT", "SPLIT+SPLIT" of this benchmark, or any text; "" when nobody
    says. source: who says so.
    """
    if not told:
        return {"trained_on": UNKNOWN, "source": "", "overlap": None}
    found = _overlap_of(told, benchmark, files, split, evaluated)
    return {"trained_on": told, "source": source, "overlap": found.to_json() if found else None}


def _overlap_of(
    told: str, benchmark: Benchmark, files: Files, split: str, evaluated: Sequence[Record]
) -> Overlap | None:
    """The overlap with the splits a text names; None when it names none, or none is there."""
    name, _, rest = told.rpartition(":")
    if name and name != benchmark.name and name not in NAMES:
        return None
    other = get(name) if name and name != benchmark.name else benchmark
    named = {*rest.split("+"), *_PART.split(rest)} if _NAMES.fullmatch(rest) else set()
    if other is benchmark and split in named:
        keys = {(image_key(m), m.path) for record in evaluated for m in record.images}
        return Overlap(len(evaluated), len(evaluated), len(keys), len(keys), "names")
    splits = [rest] if rest in other.splits else rest.split("+")
    if not all(one in other.splits for one in splits):
        return None
    try:
        trained = [row for one in splits for row in load_records(other, files, one)]
    except DataError:  # the training data are often not at hand where weights are evaluated
        return None
    return overlap(trained, evaluated)


def was_seen(training: Mapping[str, Any] | None) -> bool:
    """Whether the evaluated split was trained on, in part or whole."""
    found = (training or {}).get("overlap") or {}
    return bool(found.get("ids") or found.get("images"))


def warning(training: Mapping[str, Any] | None) -> str:
    """What the log says of a training; "" when there is nothing to say."""
    if training is None:
        return ""
    if was_seen(training):
        counts = {k: v for k, v in training["overlap"].items() if not k.startswith("share")}
        data = training.get("split") or training["trained_on"]
        return (
            f"{Overlap(**counts)} (training data: {data}); the record's protocol says +{SEEN}, and "
            "boards keep it apart"
        )
    if training.get("trained_on") == UNKNOWN:
        return (
            "what these weights were trained on is unknown, so the evaluated split may be among "
            "it; say it: model.trained_on=BENCHMARK:SPLIT, or any text"
        )
    return ""
