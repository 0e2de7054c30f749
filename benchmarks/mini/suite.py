"""The whole world on disk: every benchmark in its official layout below one folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.mini import (
    write_boxes,
    write_coco,
    write_iglue,
    write_pairs,
    write_pretraining,
    write_questions,
    write_translations,
    write_video,
)
from benchmarks.mini.store import Store
from x2vlm.errors import ConfigError, DataError, unknown

WRITERS: dict[str, tuple[Callable[[Store], None], ...]] = {
    "coco": (write_coco.write_coco,),
    "flickr30k": (write_coco.write_flickr30k,),
    "vqav2": (write_coco.write_coco, write_coco.write_vqav2),
    "nlvr2": (write_pairs.write_nlvr2,),
    "refcoco": (write_boxes.write_refcoco,),
    "winoground": (write_pairs.write_winoground,),
    "ovad": (write_boxes.write_ovad,),
    "msrvtt": (write_video.write_msrvtt,),
    "gqa": (write_questions.write_gqa,),
    "xgqa": (write_questions.write_gqa, write_questions.write_xgqa),
    "multi30k": (write_coco.write_flickr30k, write_translations.write_multi30k),
    "coco_multilingual": (write_coco.write_coco, write_translations.write_coco_multilingual),
    "msrvtt_qa": (write_video.write_msrvtt, write_video.write_msrvtt_qa),
    "msvd_qa": (write_video.write_msvd_qa,),
    "xvnli": (write_coco.write_flickr30k, write_iglue.write_xvnli),
    "marvl": (write_pairs.write_nlvr2, write_iglue.write_marvl),
    "xflickrco": (
        write_coco.write_coco,
        write_coco.write_flickr30k,
        write_iglue.write_xflickrco,
    ),
    "wit": (write_iglue.write_wit,),
    "pretrain": (write_pretraining.write_pretraining,),
}
"""Part -> what writes it, with the parts whose images it uses first."""

MANIFEST = "mini-world.json"


@dataclass(frozen=True)
class Manifest:
    """What a written world is. code: hash of the sources that made it; counts: rows per part and
    split; hashes: SHA-256 of every annotation file; unseen: images with combinations of attributes
    that training never shows, per part."""

    seed: int
    scale: float
    parts: tuple[str, ...]
    code: str
    counts: dict[str, dict[str, int]]
    hashes: dict[str, str]
    unseen: dict[str, list[str]]


def code_hash() -> str:
    """A hash of the generator's sources and words: another generator makes another world."""
    apart = ("home.py", "vocabulary.py")
    found = sorted(Path(__file__).parent.glob("*.[pj]*"))
    sources = [path for path in found if path.name not in apart]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def read_manifest(root: Path) -> Manifest | None:
    """The manifest of a world that was written to `root`, if there is a whole one."""
    path = root / MANIFEST
    if not path.is_file():
        return None
    values: dict[str, Any] = json.loads(path.read_text())
    return Manifest(**{**values, "parts": tuple(values["parts"])})


def write_world(
    root: str | Path, seed: int = 0, scale: float = 1.0, parts: Sequence[str] | None = None
) -> Manifest:
    """Write the world below `root`, or find it there already; then nothing is done.

    seed: equal seeds give byte-identical annotations. scale: factor on all counts (tests: 0.02).
    parts: names out of `WRITERS`; None: all. The folder appears whole or not at all: it is
    written beside and renamed, and an older world there is replaced. Raises DataError for a
    folder that holds anything else.
    """
    root = Path(root)
    wanted = tuple(sorted(parts if parts is not None else WRITERS))
    for part in wanted:
        if part not in WRITERS:
            raise ConfigError(unknown("part of the mini world", part, WRITERS))
    found = read_manifest(root)
    if found and (found.seed, found.scale, found.code) == (seed, scale, code_hash()):
        if set(wanted) <= set(found.parts):
            return found
        wanted = tuple(sorted({*wanted, *found.parts}))
    if root.exists() and found is None and any(root.iterdir()):
        raise DataError(
            "is not empty and holds no mini world",
            source=str(root),
            expected=f"a folder with {MANIFEST}, an empty one, or none",
            fix="name another folder",
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        manifest = _write(Store(beside, seed, scale), wanted)
        if root.exists():
            shutil.rmtree(root)
        beside.chmod(0o755)
        beside.rename(root)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def _write(store: Store, parts: Sequence[str]) -> Manifest:
    writers = dict.fromkeys(writer for part in WRITERS if part in parts for writer in WRITERS[part])
    for writer in writers:
        writer(store)
    manifest = Manifest(
        store.seed,
        store.scale,
        tuple(parts),
        code_hash(),
        {part: dict(counts) for part, counts in store.counts.items()},
        dict(sorted(store.hashes.items())),
        store.unseen,
    )
    text = json.dumps(asdict(manifest), ensure_ascii=False, indent=1)
    (store.root / MANIFEST).write_text(text + "\n")
    return manifest
