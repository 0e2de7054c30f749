"""Captions in other languages: Multi30K on Flickr30K, COCO-CN and STAIR on COCO."""

from __future__ import annotations

from typing import Any

from benchmarks.mini.store import Store
from benchmarks.mini.write_coco import SPLITS, coco, flickr, sentences

MULTI30K = ("en", "de", "fr", "cs")
_NAMES = {"train": "train", "val": "val", "test": "test_2016_flickr"}


def write_multi30k(store: Store) -> None:
    """`{train,val,test_2016_flickr}.{en,de,fr,cs}`, image lists, and task 2's five captions."""
    pictures = flickr(store)
    for split in SPLITS:
        chosen = [picture for picture in pictures if picture.split == split]
        names = [picture.name for picture in chosen]
        store.text(f"multi30k/image_splits/{_NAMES[split]}.txt", names)
        for code in MULTI30K:
            said = [sentences(picture, code) for picture in chosen]
            store.text(f"multi30k/{_NAMES[split]}.{code}", (texts[0] for texts in said))
            if code in ("en", "de"):
                task2 = "test_2016" if split == "test" else split
                for k in range(5):
                    path = f"multi30k/task2/{task2}.{k + 1}.{code}"
                    store.text(path, (texts[k] for texts in said))
        task2_list = "test_2016" if split == "test" else split
        store.text(f"multi30k/image_splits/task2_{task2_list}_images.txt", names)
        store.counts.setdefault("multi30k", {})[split] = len(chosen)


def write_coco_multilingual(store: Store) -> None:
    """COCO-CN's image lists and captions (zh), and STAIR's caption files (ja).

    COCO-CN takes every second training image, and all images of the other splits.
    """
    pictures = coco(store)
    lines: list[str] = []
    stair: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for split in SPLITS:
        chosen = [picture for picture in pictures if picture.split == split]
        names = []
        for index, picture in enumerate(chosen):
            part = "train" if split == "train" else "val"
            rows = stair[part]
            for text in sentences(picture, "ja"):
                row = {"image_id": picture.number, "id": len(rows), "caption": text}
                rows.append(row | {"tokenized_caption": text})
            if split != "train" or index % 2 == 0:
                name = picture.name.rpartition("/")[2].removesuffix(".jpg")
                names.append(name)
                said = sentences(picture, "zh")
                lines += [f"{name}#{k} {text}" for k, text in enumerate(said)]
        store.text(f"coco_multilingual/coco-cn_{split}.txt", names)
        store.counts.setdefault("coco_multilingual", {})[split] = len(chosen)
    store.text("coco_multilingual/imageid.human-written-caption.txt", lines)
    for part, rows in stair.items():
        images = [{"id": number} for number in dict.fromkeys(row["image_id"] for row in rows)]
        path = f"coco_multilingual/stair_captions_v1.2_{part}.json"
        store.json(path, {"images": images, "annotations": rows})
