"""MSR-VTT's files: the 1k-A test list, the 9k training list, captions, and the videos."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from benchmarks.mini.language import Message, language
from benchmarks.mini.store import Store
from benchmarks.mini.video import Clip, clips, mp4

SIZES = {"train": 400, "validate": 30, "test": 100}


def msrvtt(store: Store) -> dict[str, list[tuple[str, Clip]]]:
    """Official split -> (video id, clip)."""
    found, first = {}, 0
    for split, number in SIZES.items():
        kind = {"validate": "val"}.get(split, split)
        made = clips(store.name("msrvtt"), kind, store.number(number))  # type: ignore[arg-type]
        found[split] = [(f"video{first + i}", clip) for i, clip in enumerate(made)]
        first += len(made)
    return found


def message_of(clip: Clip, rng: random.Random, gallery: Sequence[Clip] = ()) -> Message:
    """The event in words; outside training true of no other clip of the gallery, if that can be."""
    message = clip.message(rng)
    for attempt in range(12):
        if not any(other.holds(message) for other in gallery if other is not clip):
            break
        message = clip.message(rng, extra=0.5 + 0.05 * attempt)
    return message


def write_msrvtt(store: Store) -> None:
    """The lists, `MSRVTT_data.json`, and `videos/msrvtt/videoN.mp4`."""
    english = language("en")
    videos: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    test_rows: list[str] = []
    parts = msrvtt(store)
    for split, made in parts.items():
        gallery = [] if split == "train" else [clip for _, clip in made]
        for name, clip in made:
            store.file(f"videos/msrvtt/{name}.mp4").write_bytes(mp4(clip))
            number = int(name.removeprefix("video"))
            videos.append(
                {"category": 0, "url": "", "video_id": name, "start time": 0.0, "end time": 1.5}
                | {"split": split, "id": number}
            )
            rng = random.Random(clip.scene.seed + "/msrvtt")
            messages = [message_of(clip, rng, gallery) for _ in range(5)]
            texts = [english.say(m, rng).lower().strip(".") for m in messages]
            for text in texts:
                said.append({"caption": text, "video_id": name, "sen_id": len(said)})
            if split == "test":
                test_rows.append(f"ret{len(test_rows)},msr{number},{name},{texts[0]}")
    data = {"info": {"description": "The mini world in MSR-VTT's layout."}}
    store.json("msrvtt/MSRVTT_data.json", data | {"videos": videos, "sentences": said})
    head = "key,vid_key,video_id,sentence"
    store.text("msrvtt/MSRVTT_JSFUSION_test.csv", [head, *test_rows])
    training = [name for split in ("train", "validate") for name, _ in parts[split]]
    store.text("msrvtt/MSRVTT_train.9k.csv", ["video_id", *training])
    store.counts["msrvtt"] = {"train": len(training), "test": len(test_rows)}
