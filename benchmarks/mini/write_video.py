"""MSR-VTT and MSVD: captions, lists, one-word questions, and the videos."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from benchmarks.mini.language import Message, language
from benchmarks.mini.store import Store
from benchmarks.mini.video import Clip, clips, encode, questions
from benchmarks.mini.world import Split

SIZES = {"train": 400, "validate": 30, "test": 100}
MSVD_SIZES = {"train": 250, "val": 20, "test": 80}
SPLITS: dict[str, Split] = {"train": "train", "val": "val", "validate": "val", "test": "test"}
QUESTIONS = 5
"""per video"""


def msrvtt(store: Store) -> dict[str, list[tuple[str, Clip]]]:
    """Official split -> (video id, clip)."""
    found: dict[str, list[tuple[str, Clip]]] = {}
    first = 0
    for split, number in SIZES.items():
        made = clips(store.name("msrvtt"), SPLITS[split], store.number(number))
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
            store.file(f"videos/msrvtt/{name}.mp4").write_bytes(encode(clip))
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


def _asked(folder: str, made: Sequence[tuple[int, Clip]], first: int) -> list[dict[str, Any]]:
    """Rows in the official layout of MSRVTT-QA and MSVD-QA."""
    rows: list[dict[str, Any]] = []
    for number, clip in made:
        rng = random.Random(f"{clip.scene.seed}/{folder}")
        for question, answer in questions(clip, rng, QUESTIONS):
            row = {"answer": answer, "category_id": 0, "id": first + len(rows)}
            rows.append(row | {"question": question, "video_id": number})
    return rows


def write_msrvtt_qa(store: Store) -> None:
    """`msrvtt_qa/{train,val,test}_qa.json` on MSR-VTT's videos."""
    first = 0
    for split, made in msrvtt(store).items():
        name = {"validate": "val"}.get(split, split)
        numbered = [(int(video.removeprefix("video")), clip) for video, clip in made]
        rows = _asked("msrvtt_qa", numbered, first)
        first += len(rows)
        store.json(f"msrvtt_qa/{name}_qa.json", rows)
        store.counts.setdefault("msrvtt_qa", {})[name] = len(rows)


def write_msvd_qa(store: Store) -> None:
    """`msvd_qa/{train,val,test}_qa.json`, `youtube_mapping.txt`, and `videos/msvd/NAME.avi`."""
    mapping: list[str] = []
    first = 0
    for split, size in MSVD_SIZES.items():
        made = clips(store.name("msvd"), SPLITS[split], store.number(size))
        numbered = [(len(mapping) + 1 + i, clip) for i, clip in enumerate(made)]
        for number, clip in numbered:
            name = f"mini{number:07d}_0_2"
            mapping.append(f"{name} vid{number}")
            store.file(f"videos/msvd/{name}.avi").write_bytes(encode(clip, "avi"))
        rows = _asked("msvd_qa", numbered, first)
        first += len(rows)
        store.json(f"msvd_qa/{split}_qa.json", rows)
        store.counts.setdefault("msvd_qa", {})[split] = len(rows)
    store.text("msvd_qa/youtube_mapping.txt", mapping)
