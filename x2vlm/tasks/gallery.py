"""What retrieval searches: every image and text of a split, encoded once, whoever holds them.

With several processes each encodes the images of its loader. Ids, texts and features are gathered;
visual tokens stay where they are, apart from those that change hands to even out the work.

Axes: N images, M texts, E projected features, V visual tokens, D width.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from x2vlm import distributed
from x2vlm.data.loader import EvaluationLoader
from x2vlm.errors import WritingError
from x2vlm.locking import held
from x2vlm.tasks.features import storage_dtype
from x2vlm.types import Batch
from x2vlm.writing import half_written

if TYPE_CHECKING:
    from x2vlm.tasks.retrieval import Retrieval

SLACK = 1.02
"""work of a process, as a share of the mean, that is not worth handing an image over for"""

PER_FILE = 256
"""images in one file of the cache"""


@dataclass(slots=True)
class Image:
    """One image of this process: contrastive feature (E), visual tokens (V, D) on the CPU, texts
    that belong to it, and their ids."""

    feature_E: Tensor
    states_VD: Tensor
    texts: list[str]
    text_ids: list[str]


@dataclass(slots=True)
class Gallery:
    """All images, in order of id, and all texts, image by image; the same in every process.

    owner: process that holds an image's visual tokens; states: those of this process, by image.
    """

    images: list[str]
    feature_NE: Tensor
    owner: list[int]
    texts: list[str]
    text_ids: list[str]
    states: dict[int, Tensor] = field(default_factory=dict)


def collect(task: Retrieval, loader: Iterable[Batch]) -> Gallery:
    """The images of the loader and of those of all other processes; from `task.cache` if there."""
    if not task.cache or not isinstance(loader, EvaluationLoader):
        return gather(encode_images(task, loader))
    folder = Path(task.cache) / cache_key(task, loader)
    if folder.is_dir():
        kept = zip(loader.records, _kept(folder), strict=True)
        return gather({r.id: Image(*tensors, *task.captions(r)) for r, tensors in kept})
    found = encode_images(task, loader)
    if found and len(found) == len(loader.records):  # nothing was skipped
        _keep(folder, [found[record.id] for record in loader.records])
    return gather(found)


def _keep(folder: Path, images: Sequence[Image]) -> None:
    """Some images to a file, so that no second copy of all of them is ever in memory."""
    beside = half_written(folder)
    with held(folder.with_name(f".{folder.name}.lock"), str(folder), wait=True):
        if folder.is_dir():  # another run kept the same images meanwhile
            return
        shutil.rmtree(beside, ignore_errors=True)  # of a run that was killed
        beside.mkdir(parents=True)
        try:
            for first in range(0, len(images), PER_FILE):
                part = images[first : first + PER_FILE]
                tensors = {
                    "feature_NE": torch.stack([image.feature_E for image in part]),
                    "states_NVD": torch.stack([image.states_VD for image in part]),
                }
                save_file(tensors, beside / f"{first:08d}.safetensors")
        except (OSError, SafetensorError) as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise WritingError(folder, error) from error
        beside.rename(folder)


def _kept(folder: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Features and visual tokens of each image, in the order in which they were kept."""
    for path in sorted(folder.iterdir()):
        part = load_file(path)
        yield from zip(part["feature_NE"], part["states_NVD"], strict=True)


def cache_key(task: Retrieval, loader: EvaluationLoader) -> str:
    """A hash of what visual tokens depend on: weights, preparation, and the image files.

    Ids and captions are not part of it: another language or protocol may reuse the images.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(task.model.state_dict().items()):
        if name.startswith(("vision", "frame_positions")):
            digest.update(name.encode())
            digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy())
    size, dtype = task.model.config.vision.image_size, storage_dtype(task.model.device)
    digest.update(f"{size} {loader.frames} {dtype}".encode())
    for media in (media for record in loader.records for media in record.images):
        digest.update(f"\n{media.kind} {media.path}".encode())
        if media.inline:
            digest.update(b"".join(media.inline))
        else:
            facts = Path(media.path).stat()
            digest.update(f" {facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def encode_images(task: Retrieval, loader: Iterable[Batch]) -> dict[str, Image]:
    """The images of this process, by id."""
    model, found = task.model, {}
    dtype = storage_dtype(model.device)
    for batch in task.batches(loader, "encoding images"):
        assert batch.image is not None
        image_BVD = model.encode_visual(batch.image.to(model.device, non_blocking=True))
        feature_BE = model.image_feature(image_BVD).float().cpu()
        states_BVD = image_BVD.to(dtype).cpu()
        for place, id_ in enumerate(batch.ids):
            texts, text_ids = batch.target["texts"][place], batch.target["text_ids"][place]
            found[id_] = Image(feature_BE[place], states_BVD[place], texts, text_ids)
    return found


def gather(ours: dict[str, Image]) -> Gallery:
    """One gallery of the images of all processes."""
    told = [(id_, i.feature_E, i.texts, i.text_ids) for id_, i in ours.items()]
    everything = sorted(
        ((*row, rank) for rank, rows in enumerate(distributed.all_gather_objects(told))
         for row in rows), key=lambda row: row[0])  # fmt: skip
    gallery = Gallery(
        images=[row[0] for row in everything],
        feature_NE=torch.stack([row[1] for row in everything]),
        owner=[row[4] for row in everything],
        texts=[text for row in everything for text in row[2]],
        text_ids=[id_ for row in everything for id_ in row[3]],
    )
    gallery.states = {
        place: ours[id_].states_VD
        for place, (id_, owner) in enumerate(zip(gallery.images, gallery.owner, strict=True))
        if owner == distributed.rank()
    }
    return gallery


def even_out(gallery: Gallery, costs: Sequence[int]) -> None:
    """Hand images over so that every process has about the same sum of `costs`, one per image."""
    owner = balanced(costs, gallery.owner, distributed.world())
    moved = {place for place, old in enumerate(gallery.owner) if owner[place] != old}
    given = {place: gallery.states.pop(place) for place in moved & gallery.states.keys()}
    for parcel in distributed.all_gather_objects(given):
        for place, states_VD in parcel.items():
            if owner[place] == distributed.rank():
                gallery.states[place] = states_VD
    gallery.owner = owner


def balanced(costs: Sequence[int], owner: Sequence[int], world: int) -> list[int]:
    """A new owner for each item, so that sums are about equal and few items move.

    The dearest items of processes above the mean go to the one with least, while that helps.
    """
    owner = list(owner)
    loads = [0] * world
    for place, rank in enumerate(owner):
        loads[rank] += costs[place]
    mean = sum(loads) / world
    for place in sorted(range(len(owner)), key=lambda place: (-costs[place], place)):
        least, cost = loads.index(min(loads)), costs[place]
        if loads[owner[place]] > SLACK * mean and loads[least] + cost < loads[owner[place]]:
            loads[owner[place]] -= cost
            loads[least] += cost
            owner[place] = least
    return owner
