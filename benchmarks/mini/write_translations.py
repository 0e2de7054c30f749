"""Multi30K: line-aligned translations of Flickr30K captions, and its five-caption task."""

from __future__ import annotations

from benchmarks.mini.store import Store
from benchmarks.mini.write_coco import SPLITS, flickr, sentences

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
