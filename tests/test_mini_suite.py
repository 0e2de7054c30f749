"""The world on disk: whole, the same for the same seed, reused, and fit for pre-training."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.mini import suite
from benchmarks.mini.suite import MANIFEST, WRITERS, Manifest, read_manifest, write_world
from benchmarks.mini.write_boxes import OVAD_WORDS, ovad_attributes
from x2vlm.errors import ConfigError, DataError

SCALE = 0.02


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "mini"
    write_world(folder, scale=SCALE)
    return folder


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def test_the_manifest_tells_what_is_there(root: Path) -> None:
    manifest = read_manifest(root)
    assert manifest is not None
    assert manifest.parts == tuple(WRITERS)
    assert all((root / path).is_file() for path in manifest.hashes)
    assert all((root / path).is_file() for paths in manifest.unseen.values() for path in paths)
    assert not any("train2014" in path for path in manifest.unseen["coco"])
    assert manifest.counts["coco"] == {"train": 30, "val": 4, "test": 4}
    assert {p.name for p in root.iterdir()} >= {"images", "videos", "coco", "xgqa", MANIFEST}


def test_a_second_call_writes_nothing(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_world(root, scale=SCALE)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_equal_seeds_give_equal_files(root: Path, tmp_path: Path) -> None:
    parts = ("coco", "vqav2", "refcoco", "xgqa", "nlvr2")
    again = write_world(tmp_path / "again", scale=SCALE, parts=parts)
    first = read_manifest(root)
    assert first is not None
    assert again.hashes.items() <= first.hashes.items()
    for image in (tmp_path / "again/images").rglob("*.jpg"):
        same = root / image.relative_to(tmp_path / "again")
        assert image.read_bytes() == same.read_bytes()
    other = write_world(tmp_path / "other", seed=1, scale=SCALE, parts=("coco",))
    path = "coco/dataset_coco.json"
    assert other.hashes[path] != first.hashes[path]


def test_parts_are_added_and_another_seed_replaces(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    write_world(folder, scale=SCALE, parts=("ovad",))
    image = next((folder / "images/coco/val2017").iterdir())
    written = image.stat().st_mtime_ns
    both = write_world(folder, scale=SCALE, parts=("winoground",))
    assert both.parts == ("ovad", "winoground")
    assert both == read_manifest(folder)
    assert image.stat().st_mtime_ns == written
    assert (folder / "winoground/examples.jsonl").is_file()
    replaced = write_world(folder, seed=5, scale=SCALE, parts=("ovad",))
    assert replaced.parts == ("ovad",)
    assert not (folder / "winoground").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".world.lock", "world"]


def test_a_changed_generator_makes_the_world_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, said = tmp_path / "world", list[str]()

    def write() -> Manifest:
        return write_world(folder, scale=SCALE, parts=("ovad",), say=said.append)

    write()
    monkeypatch.setattr(suite, "code_hash", lambda: "other")
    assert write().code == "other"
    write()
    assert len(said) == 2  # it is told whenever something is written, and only then
    assert str(folder) in said[0]


def test_an_interrupted_write_leaves_no_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_store: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(WRITERS, "ovad", (*WRITERS["ovad"], fails))
    with pytest.raises(KeyboardInterrupt):
        write_world(tmp_path / "world", scale=SCALE, parts=("ovad",))
    assert not (tmp_path / "world").exists()


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    for name in (".world.writing", ".world-older_x1"):
        (tmp_path / name / "world").mkdir(parents=True)
    write_world(tmp_path / "world", scale=SCALE, parts=("ovad",))
    assert {path.name for path in tmp_path.iterdir()} == {"world", ".world.lock"}


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no mini world"):
        write_world(tmp_path, scale=SCALE)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    with pytest.raises(ConfigError, match="did you mean 'coco'"):
        write_world(tmp_path / "x", parts=("cocoo",))


def test_pretraining_images_and_regions(root: Path) -> None:
    images = list(lines(root / "pretrain/images/000.jsonl"))
    regions = list(lines(root / "pretrain/regions/000.jsonl"))
    assert len(images) == len(regions) == 300
    for row in images[:5]:
        caption = row["caption"]
        assert isinstance(caption, dict)
        assert len(caption["en"]) == 4
        assert len(caption) == 21
    for row in regions[:20]:
        image = Image.open(io.BytesIO(base64.b64decode(str(row["binary"]))))
        elements = row["elems"]
        assert isinstance(elements, list)
        assert len(elements) in (4, 6, 8)
        for element in elements:
            x, y, w, h = element["bb"]
            assert 0 <= x < x + w <= image.width
            assert 0 <= y < y + h <= image.height
    words = {e["attributes"] for r in regions for e in r["elems"] if "attributes" in e}
    assert words >= {"plain", "solid", "large", "glossy", "spotted", "red"}


def test_pretraining_objects_stand_alone(root: Path) -> None:
    found = list(lines(root / "pretrain" / "objects" / "000.jsonl"))
    assert len(found) == 30
    for row in found:
        assert "caption" not in row
        assert len({tuple(elem["bb"]) for elem in row["elems"]}) == 1
        names = {elem["caption"] for elem in row["elems"] if "attributes" in elem}
        assert len(names) == 1, "the object goes by one name"


def test_pretraining_videos_and_parallel_text(root: Path) -> None:
    video = next(lines(root / "pretrain/videos/000.jsonl"))
    assert isinstance(video["video_frames"], list)
    frames = [Image.open(io.BytesIO(base64.b64decode(f))) for f in video["video_frames"]]
    assert len({frame.size for frame in frames}) == 1
    assert len(frames) == 6
    pairs = list(lines(root / "pretrain/parallel/000.jsonl"))
    assert len({row["target_language"] for row in pairs}) > 15
    assert any(str(row["source_text"]).endswith("?") for row in pairs)
    assert any("left image" in str(row["source_text"]) for row in pairs)


def test_annotators_sometimes_disagree(root: Path) -> None:
    path = root / "vqav2/v2_mscoco_train2014_annotations.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["annotations"]
    assert all([a["answer_id"] for a in row["answers"]] == list(range(1, 11)) for row in rows)
    kinds = [len({answer["answer"] for answer in row["answers"]}) for row in rows]
    assert min(kinds) == 1
    assert max(kinds) > 1
    assert {row["answer_type"] for row in rows} == {"yes/no", "number", "other"}


def test_ovad_attributes() -> None:
    rows = ovad_attributes()
    assert [row["id"] for row in rows] == list(range(1, 17))
    assert {row["freq_set"] for row in rows} == {"head", "medium", "tail"}
    assert sum(map(len, OVAD_WORDS.values())) == 16
    assert rows[-1]["name"] == "texture:shiny/glossy"


def test_winoground_captions_hold_the_same_words(root: Path) -> None:
    for row in lines(root / "winoground/examples.jsonl"):
        first, second = str(row["caption_0"]), str(row["caption_1"])
        assert first != second
        plain = [sorted(c.replace("an ", "a ").split()) for c in (first, second)]
        assert plain[0] == plain[1]
        assert row["collapsed_tag"] in ("Object", "Relation")
