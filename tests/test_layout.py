"""The layout file: where a user's own files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.files import Files
from benchmarks.layout import load_layout
from benchmarks.records import load_records
from benchmarks.registry import get
from tests.small_data import CASES, write
from x2vlm.errors import ConfigError


def test_a_layout_says_where_files_are(tmp_path: Path) -> None:
    write(tmp_path / "mine", CASES["xflickrco"])
    (tmp_path / "mine/xflickrco").rename(tmp_path / "mine/lists")
    (tmp_path / "layout.yaml").write_text(
        "root: mine\nxflickrco:\n  test: lists/{language}/test.jsonl\n"
        "  images: images/flickr30k-images\n"
    )
    layout = load_layout(tmp_path / "layout.yaml")
    files = Files(tmp_path / "elsewhere", layout["xflickrco"])
    records = load_records(get("xflickrco"), files, "test", ["de"])
    assert [record.id for record in records] == ["de:1007129816", "de:COCO_val2014_000000000042"]
    assert Path(records[0].images[0].path).is_file()


def test_relative_paths_without_a_root_are_below_the_data_folder(tmp_path: Path) -> None:
    write(tmp_path, CASES["nlvr2"])
    (tmp_path / "nlvr2/dev.json").rename(tmp_path / "other.json")
    (tmp_path / "layout.yaml").write_text("nlvr2: {dev: other.json}\n")
    files = Files(tmp_path, load_layout(tmp_path / "layout.yaml")["nlvr2"])
    assert len(load_records(get("nlvr2"), files, "dev")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nlvr3: {dev: x}\n", "did you mean .*nlvr2"),
        ("nlvr2: x\n", "must map roles to paths"),
        ("nlvr2: {dev: [x]}\n", "must map roles to paths"),
        ("- nlvr2\n", "expected benchmark"),
        ("nlvr2: {dev\n", "is no YAML"),
        ("root: 3\n", "root must be a folder"),
    ],
)
def test_a_wrong_layout_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "layout.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_layout(path)
    assert str(path) in str(caught.value)


def test_a_missing_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_layout(tmp_path / "none.yaml")
