"""The study on disk and as pages: complete, escaped, equal bytes; and the command that makes it."""

import json
import re
from pathlib import Path

import pytest
import small
from explanations import NASTY, study

from benchmarks.mini.suite import write_world
from leaderboards.gallery import find_studies, read_study, write_page
from x2vlm.cli import main
from x2vlm.cli.explain import mini_gallery
from x2vlm.data.decode import open_image
from x2vlm.errors import RecordError
from x2vlm.model.checkpoint import save
from x2vlm.weights import new_model


def test_a_study_holds_what_was_found(tmp_path: Path) -> None:
    value = read_study(study(tmp_path / "one"))
    assert value["size"] == [64, 48]
    assert [text["truth"] for text in value["texts"]] == [[4.0, 8.0, 24.0, 32.0], None]
    assert [word["word"] for word in value["texts"][0]["words"]] == ["red", "square"]
    assert len(value["similarity"]) == len(value["matching"]) == len(value["regions"]) == 3
    named = ["sheet.png"] + [value["texts"][0][name] for name in ("image", "map", "patches")]
    named += [word["map"] for text in value["texts"] for word in text["words"]]
    for name in named:
        assert (tmp_path / "one" / name).read_bytes()[:4] == b"\x89PNG"


def test_equal_studies_are_equal_bytes_and_replace_old_pictures(tmp_path: Path) -> None:
    study(tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "text9-word0.png").write_bytes(b"stale")
    study(tmp_path / "two")
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one == two


def test_a_page_shows_all_studies_escaped_and_asks_no_network(tmp_path: Path) -> None:
    study(tmp_path / "one")
    study(tmp_path / "two", "box")
    page = write_page(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert NASTY not in text
    assert "&lt;i&gt;x" in text
    assert "default-src 'none'" in text
    assert "style=" not in text
    assert text.count("<section") == 2
    assert text.count("no matching head") == 1
    for link in re.findall(r'(?:href|src)="([^"#]+)', text):
        assert "//" not in link
        assert (tmp_path / link).is_file(), link
    assert all("alt=" in image for image in re.findall(r"<img[^>]*>", text))


def test_folders_without_a_study_and_broken_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no explanation\.json in"):
        find_studies([tmp_path])
    path = tmp_path / "broken" / "explanation.json"
    path.parent.mkdir()
    path.write_text("[", encoding="utf-8")
    assert find_studies([tmp_path]) == [path.parent]
    with pytest.raises(RecordError, match="not readable as JSON"):
        read_study(path.parent)
    path.write_text('{"version": 99}', encoding="utf-8")
    with pytest.raises(RecordError, match="version 99, expected 1"):
        read_study(path.parent)


def test_the_command_explains_a_picture_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_image(small.picture(3, "red")).save(tmp_path / "mine.png")
    words = ["explain", str(tmp_path / "mine.png"), "a red square", "x = y", "model.random=true",
             "regions=4,8,24,32;0,0,5,5", f"out={tmp_path}/out"]  # fmt: skip
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^a red square:  match 0\.\d\d  box ", shown, re.MULTILINE)
    assert (tmp_path / "out" / "index.html").is_file()
    (folder,) = find_studies([tmp_path / "out"])
    value = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    assert value["model"] == "tiny, random weights"
    assert [text["text"] for text in value["texts"]] == ["a red square", "x = y"]
    assert [region["name"] for region in value["regions"][-2:]] == ["region 1", "region 2"]


def test_the_command_explains_samples_of_a_benchmark(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", "benchmark=refcoco_plus", f"data={shared}/data", "split=val", "limit=1",
             "model.random=true", f"out={tmp_path}"]  # fmt: skip
    assert main(words) == 0
    assert "index.html" in capsys.readouterr().out
    studies = [read_study(folder) for folder in find_studies([tmp_path])]
    assert len(studies) == 1
    for value in studies:
        assert 1 <= len(value["texts"]) <= 3
        assert all(text["truth"] for text in value["texts"])


def test_the_suite_shows_pictures_of_the_embedded_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_world(tmp_path / "world", scale=0.02, parts=("coco", "refcoco"))
    monkeypatch.setattr("benchmarks.mini.home.mini_root", lambda: tmp_path / "world")
    monkeypatch.setattr("x2vlm.cli.explain.MINI_GALLERY", {"refcoco_plus": 2, "coco_retrieval": 1})
    model, tokenizer = new_model("tiny", {"heads": ("contrastive", "matching", "box")})
    save(model, tmp_path / "tiny.safetensors", tokenizer=tokenizer.to_json())
    folder = mini_gallery(tmp_path / "tiny.safetensors", tmp_path / "explain")
    studies = [read_study(path) for path in find_studies([folder])]
    assert len(studies) == 3
    assert {value["model"] for value in studies} == {"tiny"}
    for value in studies:
        phrase = value["title"].startswith("refcoco_plus")
        assert all((text["truth"] is not None) == phrase for text in value["texts"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png"], "usage: x2vlm explain"),
        (["benchmark=refcoco_plus", "limit=0"], "limit=0 leaves no image"),
        (["benchmark=vqav2", "a.png", "text"], "usage: x2vlm explain"),
        (["a.png", "text", "modle=tiny"], "did you mean 'model'"),
        (["a.png", "text", "model.random=true"], "image file does not exist"),
        (["a.png", "text", "model.random=maybe"], "true or false"),
        (["a.png", "text", "model.random=true", "regions=1,2"], "is no box"),
        (["a.png", "text", "model.random=true", "layer=top"], "layer is a whole number"),
        (["benchmark=msvd_qa"], "has videos"),
        (["benchmark=vqav2", "data=nowhere"], "is no folder"),
        (["benchmark=vqav2", "limit=-1", "data=."], "limit is a whole number"),
    ],
)
def test_wrong_words_say_what_to_do(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *words, f"out={tmp_path}"]) == 1
    assert message in capsys.readouterr().err
