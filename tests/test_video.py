import base64
import io
import itertools
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from x2vlm.data import video
from x2vlm.data.video import decoder_info, frame_indices, read_frames
from x2vlm.errors import MediaError
from x2vlm.types import Media

GOLDEN = json.loads((Path(__file__).parent / "golden" / "data.json").read_text("utf-8"))
READERS = [video._read_with_decord, video._read_with_av]


def write(
    path: Path,
    frames: int = 30,
    codec: str = "mpeg4",
    times: list[int] | None = None,
    **options: str,
) -> Path:
    """A video of grey frames, frame i of brightness 8 i."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            pixels = np.full((48, 64, 3), number * 8 % 256, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(frames: list[Image.Image] | list[np.ndarray]) -> list[int]:
    """Which frames of `write` these are."""
    return [round(float(np.asarray(frame).mean()) / 8) for frame in frames]


def test_sampling_is_the_official_one() -> None:
    for row in GOLDEN["frame_sampling"]:
        assert frame_indices(row["num_frames"], row["frames"]) == row["indices"]


def test_every_golden_sampling(shared: Path) -> None:
    functions = json.loads((shared / "goldens/a/functions.json").read_text())
    for row in functions["frame_sampling"]:
        assert frame_indices(row["num_frames"], row["frames"]) == row["indices"]


@given(st.integers(1, 500), st.integers(1, 32), st.integers(0, 2**32))
def test_segments_differ_by_at_most_one_and_frames_ascend(total: int, n: int, seed: int) -> None:
    fixed = frame_indices(total, n)
    drawn = frame_indices(total, n, np.random.default_rng(seed))
    assert len(fixed) == len(drawn) == n
    assert drawn == sorted(drawn)
    if total >= n:
        assert len(set(drawn)) == n
        lengths = np.diff([*fixed, total])
        assert lengths.max() - lengths.min() <= 1
        assert list(lengths) == sorted(lengths, reverse=True)
    else:
        assert set(drawn) == set(fixed) == set(range(total))


def every_training_choice(total: int, n: int) -> set[tuple[int, ...]]:
    """What the official sampling can draw in training, by trying everything."""
    if total <= n:
        rest = itertools.product(range(total), repeat=n - total)
        return {tuple(sorted([*range(total), *more])) for more in rest}
    share, longer = divmod(total, n)
    found: set[tuple[int, ...]] = set()
    for lengths in set(itertools.permutations([share + 1] * longer + [share] * (n - longer))):
        starts = [sum(lengths[:i]) for i in range(n)]
        parts = [range(a, a + length) for a, length in zip(starts, lengths, strict=True)]
        found |= set(itertools.product(*parts))
    return found


@pytest.mark.parametrize(
    ("total", "n"), [(1, 1), (1, 3), (2, 5), (3, 5), (3, 3), (4, 3), (5, 3), (6, 3), (8, 5)]
)
def test_training_draws_what_the_official_sampling_can_draw(total: int, n: int) -> None:
    drawn = {tuple(frame_indices(total, n, np.random.default_rng(seed))) for seed in range(3000)}
    assert drawn == every_training_choice(total, n)


def test_no_chance_is_spent_where_there_is_no_choice() -> None:
    rng = np.random.default_rng(0)
    assert frame_indices(3, 3, rng) == [0, 1, 2]
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp4", "mpeg4"), ("avi", "mpeg4"), ("mp4", "libx264"), ("webm", "libvpx")],
)
def test_the_wanted_frames_are_found(
    tmp_path: Path, read: Callable, suffix: str, codec: str
) -> None:
    path = write(tmp_path / f"video.{suffix}", codec=codec)
    assert numbers(read(Media(str(path), "video"), 5, None)) == [0, 6, 12, 18, 24]
    inline = Media("row", "video", (path.read_bytes(),))
    assert numbers(read(inline, 3, None)) == [0, 10, 20]


@pytest.mark.parametrize("read", READERS)
def test_a_variable_frame_rate_changes_no_frame_number(tmp_path: Path, read: Callable) -> None:
    times = [n if n < 10 else 10 + 7 * (n - 10) for n in range(30)]
    path = write(tmp_path / "variable.mp4", times=times)
    assert numbers(read(Media(str(path), "video"), 5, None)) == [0, 6, 12, 18, 24]


@pytest.mark.parametrize("read", READERS)
def test_a_video_of_one_frame_repeats_it(tmp_path: Path, read: Callable) -> None:
    path = write(tmp_path / "one.mp4", frames=1)
    assert numbers(read(Media(str(path), "video"), 4, None)) == [0] * 4


@pytest.mark.parametrize("read", READERS)
def test_sound_alone_and_a_cut_file_are_media_errors(tmp_path: Path, read: Callable) -> None:
    whole = write(tmp_path / "whole.mp4", movflags="faststart").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(write(tmp_path / "late.mp4").read_bytes()[:2000])
    for path in (write_audio(tmp_path / "sound.mp4"), cut, headless):
        with pytest.raises(MediaError, match=r"video cannot be read") as caught:
            read(Media(str(path), "video"), 5, None)
        assert caught.value.source == str(path)
        assert "on_error=skip" in caught.value.fix
        assert "github" not in str(caught.value)


def test_missing_and_empty_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match=r"empty\.mp4: file is empty"):
        read_frames(Media(str(tmp_path / "empty.mp4"), "video"), 3)
    with pytest.raises(MediaError, match="does not exist"):
        read_frames(Media(str(tmp_path / "no.mp4"), "video"), 3)


def test_without_decord_av_takes_over_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "video.mp4")
    info = decoder_info()
    assert info["decoder"] == "decord"
    with_decord = read_frames(Media(str(path), "video"), 4)

    def absent(name: str) -> None:
        raise ImportError(f"no module {name}")

    video._decord.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(video.importlib, "import_module", absent)
        assert decoder_info() == {"decoder": "av", "version": av.__version__}
        assert "decord cannot be imported (no module decord)" in caplog.text
        with_av = read_frames(Media(str(path), "video"), 4)
    video._decord.cache_clear()
    for ours, theirs in zip(with_av, with_decord, strict=True):
        assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 2


def frame_files(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (32, 24), (8 * number,) * 3).save(folder / f"{number:03d}.png")
    (folder / "notes.txt").write_text("no frame")
    return folder


def test_frames_of_a_folder_a_list_and_inline_are_the_same(tmp_path: Path) -> None:
    folder = frame_files(tmp_path / "frames", 7)
    encoded = [path.read_bytes() for path in sorted(folder.glob("*.png"))]
    listed = tmp_path / "frames.json"
    listed.write_text(json.dumps([base64.b64encode(frame).decode() for frame in encoded]))
    for media in (
        Media(str(folder), "frames"),
        Media(str(listed), "frames"),
        Media("row", "frames", tuple(encoded)),
    ):
        assert numbers(read_frames(media, 3)) == [0, 3, 5]
        assert numbers(read_frames(media, 8)) == [0, 0, 1, 2, 3, 4, 5, 6]
        drawn = numbers(read_frames(media, 3, np.random.default_rng(5)))
        assert drawn == frame_indices(7, 3, np.random.default_rng(5))


def test_bad_lists_of_frames_are_named(tmp_path: Path) -> None:
    path = tmp_path / "frames.json"
    broken = io.BytesIO()
    Image.new("RGB", (9, 9)).save(broken, "PNG")
    for text, what in (
        ("[", "cannot be read"), ('["%%%"]', "cannot be read"), ("[]", "holds no frame"),
        ("5", "cannot be read"),
        (json.dumps([base64.b64encode(broken.getvalue()[:30]).decode()]), r"frames\.json\[0\]"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(MediaError, match=what):
            read_frames(Media(str(path), "frames"), 2)
    (tmp_path / "none").mkdir()
    with pytest.raises(MediaError, match="folder holds no frame"):
        read_frames(Media(str(tmp_path / "none"), "frames"), 2)
    with pytest.raises(MediaError, match="frames do not exist"):
        read_frames(Media(str(tmp_path / "missing.json"), "frames"), 2)


def test_real_videos_are_read_alike_by_both_decoders(shared: Path) -> None:
    """H.264 in AVI is where seeking goes wrong unnoticed."""
    paths = sorted((shared / "data/videos").glob("*/*"))
    assert len(paths) == 15
    for path in paths:
        ours, theirs = (read(Media(str(path), "video"), 3, None) for read in READERS)
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            assert np.abs(a[::4, ::4].astype(int) - b[::4, ::4].astype(int)).mean() < 4, path


def test_avi_with_h264_gives_the_frames_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.avi", frames=30, codec="libx264", g="8")
    assert numbers(read_frames(Media(str(path), "video"), 5)) == [0, 6, 12, 18, 24]
