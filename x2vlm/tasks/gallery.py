"""What retrieval searches: every image and text of a split, encoded once, whoever holds them.

With several processes each encodes the images of its loader. Ids, texts and features are gathered;
visual tokens stay where they are, apart from those that change hands to even out the work.

Axes: N images, M texts, E projected features, V visual tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from x2vlm import distributed
from x2vlm.tasks.features import storage_dtype
from x2vlm.types import Batch

if TYPE_CHECKING:
    from x2vlm.model.x2vlm import X2VLM

SLACK = 1.02
"""work of a process, as a share of the mean, that is not worth handing an image over for"""


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


def encode_images(model: X2VLM, loader: Iterable[Batch]) -> dict[str, Image]:
    """The images of this process, by id."""
    found: dict[str, Image] = {}
    dtype = storage_dtype(model.device)
    for batch in loader:
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
