"""Videos: which frames, and how they are read.

decord seeks to the wanted frames; PyAV takes over, with a logged reason, where decord is missing.
A frame number counts decoded frames, so a variable frame rate shifts times but never numbers.
Frames may also come as a folder of images (sorted by name), a JSON list of base64 images, or
inline. They leave as PIL images in RGB.
"""

from __future__ import annotations

import base64
import binascii
import functools
import importlib
import importlib.metadata
import io
import itertools
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from x2vlm.data.decode import open_image
from x2vlm.errors import MediaError
from x2vlm.types import Media

log = logging.getLogger(__name__)

_FIX = "get the file again, or set data.on_error=skip to count it and go on"


def frame_indices(total: int, frames: int, rng: np.random.Generator | None = None) -> list[int]:
    """`frames` numbers in [0, total), ascending; total must be at least 1.

    The video is cut into segments whose lengths differ by at most one; each gives a frame. In
    evaluation the longer come first, each gives its first frame, and a video of fewer frames than
    segments repeats them evenly. With `rng` (training) it is random which are longer, which frame
    a segment gives, and which frames are repeated (official sampling).
    """
    if total < 1 or frames < 1:
        raise ValueError(f"cannot take {frames} frames out of {total}")
    if total <= frames:
        if rng is not None:
            return sorted([*range(total), *rng.integers(total, size=frames - total).tolist()])
        share, longer = divmod(frames, total)
        return [i for i in range(total) for _ in range(share + int(i < longer))]
    share, longer = divmod(total, frames)
    lengths = [share + int(i < longer) for i in range(frames)]
    if rng is not None and longer:
        lengths = rng.permutation(lengths).tolist()
    starts = [0, *itertools.accumulate(lengths[:-1])]
    if rng is None:
        return starts
    return [
        start + int(rng.integers(length)) for start, length in zip(starts, lengths, strict=True)
    ]


def read_frames(
    media: Media, frames: int, rng: np.random.Generator | None = None
) -> list[Image.Image]:
    """`frames` RGB images of one video, chosen by `frame_indices`.

    Raises MediaError: missing, empty, no video stream, cut off. Only a container that states no
    length (webm, streamed) and was cut off reads as the shorter video that is left.
    """
    if media.kind == "frames":
        pictures = _pictures(media)
        chosen = frame_indices(len(pictures), frames, rng)
        opened = {i: open_image(pictures[i]) for i in sorted(set(chosen))}
        return [opened[i] for i in chosen]
    if not media.inline and not Path(media.path).is_file():
        raise MediaError(
            "video file does not exist", source=media.path, fix="check the video folder"
        )
    if (len(media.inline[0]) if media.inline else Path(media.path).stat().st_size) == 0:
        raise MediaError("file is empty", source=media.path, fix="get the file again")
    read = _read_with_decord if _decord() else _read_with_av
    return [Image.fromarray(frame) for frame in read(media, frames, rng)]


def decoder_info() -> dict[str, str]:
    """{"decoder", "version"} of the library that reads video files here, for records."""
    if _decord():
        return {"decoder": "decord", "version": _decord().__version__}
    return {"decoder": "av", "version": importlib.metadata.version("av")}


@functools.cache
def _decord() -> Any:
    """The decord module, or None where it is not installed."""
    try:
        module = importlib.import_module("decord")
    except (ImportError, OSError) as error:
        log.warning("decord cannot be imported (%s): videos are read with PyAV", error)
        return None
    module.logging.set_level(module.logging.FATAL)  # its errors come back as exceptions
    return module


def _read_with_decord(
    media: Media, frames: int, rng: np.random.Generator | None
) -> list[np.ndarray[Any, Any]]:
    decord = _decord()
    source = io.BytesIO(media.inline[0]) if media.inline else media.path
    try:
        reader = decord.VideoReader(source, ctx=decord.cpu(0), num_threads=1)
        total = len(reader)
        if total:
            chosen = frame_indices(total, frames, rng)
            if _seeks(media):
                return list(reader.get_batch(chosen).asnumpy())
            return _in_order(reader, chosen)
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise _unreadable(media, error) from error
    raise _unreadable(media, "no frame in it")


def _seeks(media: Media) -> bool:
    """Whether the container (MP4, Matroska, WebM) has the time stamps that decord's seeking needs.

    In AVI it lands on a wrong frame without a word: seen on real H.264 clips of MSVD.
    """
    if media.inline:
        head = media.inline[0][:8]
    else:
        with Path(media.path).open("rb") as file:
            head = file.read(8)
    return head[4:8] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3"


def _in_order(reader: Any, chosen: list[int]) -> list[np.ndarray[Any, Any]]:
    """The chosen frames, decoded one after the other from the beginning."""
    decoded: dict[int, np.ndarray[Any, Any]] = {}
    for number in range(chosen[-1] + 1):
        frame = reader.next()  # skip_frames seeks where it can, wrongly again
        if number in chosen:
            decoded[number] = frame.asnumpy()
    return [decoded[number] for number in chosen]


def _read_with_av(
    media: Media, frames: int, rng: np.random.Generator | None
) -> list[np.ndarray[Any, Any]]:
    import av  # slow to import, and only where decord is missing

    source = io.BytesIO(media.inline[0]) if media.inline else media.path
    try:
        with av.open(source, mode="r") as container:
            stream = container.streams.video[0]
            # Counted by demuxing: containers often state no number, or a wrong one.
            total = sum(packet.size > 0 for packet in container.demux(stream))
            if total == 0 or total < stream.frames:
                raise _unreadable(media, f"{total} frames of {stream.frames} are there")
            chosen = frame_indices(total, frames, rng)
            container.seek(0)
            decoded: dict[int, np.ndarray[Any, Any]] = {}
            for number, frame in enumerate(container.decode(stream)):
                if number in chosen:
                    decoded[number] = frame.to_ndarray(format="rgb24")
                if number >= chosen[-1]:
                    break
            return [decoded[number] for number in chosen]
    except (av.FFmpegError, IndexError, KeyError) as error:
        raise _unreadable(media, error) from error


def _unreadable(media: Media, reason: object) -> MediaError:
    first = (str(reason).splitlines() or [repr(reason)])[0]
    plain = re.sub(r"^\[[\d:]+\] \S+: ", "", first)  # decord puts the time and its own line first
    return MediaError(
        f"video cannot be read ({plain})",
        source=media.path,
        expected="a complete file with a video stream (mp4, avi, webm, …)",
        fix=_FIX,
    )


def _pictures(media: Media) -> list[Media]:
    """The frames of a "frames" Media, each an image Media of its own."""
    path = Path(media.path)
    if media.inline:
        return [Media(f"{media.path}[{i}]", inline=(p,)) for i, p in enumerate(media.inline)]
    if path.is_dir():
        names = sorted(
            p for p in path.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
        )
        if names:
            return [Media(str(name)) for name in names]
        raise MediaError("folder holds no frame", source=media.path, expected="JPEG or PNG files")
    try:
        encoded = json.loads(path.read_text(encoding="utf-8"))
        return [
            Media(f"{media.path}[{i}]", inline=(base64.b64decode(text, validate=True),))
            for i, text in enumerate(encoded)
        ] or _no_frames(media)
    except FileNotFoundError:
        raise MediaError("frames do not exist", source=media.path, fix="check the path") from None
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise MediaError(
            f"cannot be read ({error})",
            source=media.path,
            expected="a JSON list of base64 images",
            fix=_FIX,
        ) from error


def _no_frames(media: Media) -> list[Media]:
    raise MediaError("list holds no frame", source=media.path, expected="at least one image")
