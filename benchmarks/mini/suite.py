"""The whole world on disk: every benchmark in its official layout below one folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
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
from x2vlm.errors import ConfigError, DataError, WritingError, unknown
from x2vlm.locking import held
from x2vlm.writing import half_written

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


_NONE = Manifest(0, 1.0, (), "", {}, {}, {})


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
    root: str | Path, seed: int = 0, scale: float = 1.0, parts: Sequence[str] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Manifest:  # fmt: skip
    """Write the world below `root`, or find it there already; then nothing is done.

    seed: equal seeds give byte-identical annotations. scale: factor on all counts (tests: 0.02).
    parts: names out of `WRITERS`; None: all. Parts that are there stay, missing ones are added; a
    world of another seed, scale or generator is replaced. Files are written beside and moved, the
    manifest last: an interrupted run leaves no half world that passes for a whole one.
    say: is told before anything is written. Raises DataError for a folder that holds anything else.
    """
    root = Path(root)
    wanted = tuple(parts if parts is not None else WRITERS)
    for part in wanted:
        if part not in WRITERS:
            raise ConfigError(unknown("part of the mini world", part, WRITERS))
    root.parent.mkdir(parents=True, exist_ok=True)
    # Two runs that start together write it once.
    with held(root.parent / f".{root.name}.lock", str(root), wait=True, say=say):
        # Of runs that were killed, the latter by older versions.
        for leftover in (half_written(root), *root.parent.glob(f".{root.name}-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        found = read_manifest(root)
        if found is None and root.exists() and any(root.iterdir()):
            raise DataError(
                "is not empty and holds no mini world",
                source=str(root),
                expected=f"a folder with {MANIFEST}, an empty one, or none",
                fix="name another folder",
            )
        if found and (found.seed, found.scale, found.code) != (seed, scale, code_hash()):
            shutil.rmtree(root)
            found = None
        missing = [
            part for part in WRITERS if part in wanted and part not in (found or _NONE).parts
        ]
        if not missing:
            return found or _NONE
        say(f"writing the embedded world to {root}, once; it takes a minute or two")
        return _add(root, Store(root, seed, scale), missing, found)


def _add(root: Path, store: Store, missing: Sequence[str], found: Manifest | None) -> Manifest:
    """Write parts beside, move them in, and then the manifest of what is there now."""
    store.root = half_written(root)
    try:
        store.root.mkdir()
        writers = dict.fromkeys(writer for part in missing for writer in WRITERS[part])
        for writer in writers:
            writer(store)
        before = found or replace(_NONE, seed=store.seed, scale=store.scale, code=code_hash())
        manifest = replace(
            before,
            parts=(*before.parts, *missing),
            counts={**before.counts, **{name: dict(c) for name, c in store.counts.items()}},
            hashes=dict(sorted({**before.hashes, **store.hashes}.items())),
            unseen={**before.unseen, **store.unseen},
        )
        text = json.dumps(asdict(manifest), ensure_ascii=False, indent=1) + "\n"
        (store.root / MANIFEST).write_text(text, encoding="utf-8")
        if found is None:
            if root.exists():
                root.rmdir()
            store.root.rename(root)
        else:
            _merge(store.root, root)
    except OSError as error:
        raise WritingError(root, error) from error
    finally:
        shutil.rmtree(store.root, ignore_errors=True)
    return manifest


def _merge(source: Path, root: Path) -> None:
    """Move every file to the same place below `root`, the manifest last."""
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    for name in sorted(files, key=lambda name: name == Path(MANIFEST)):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(target)
