import dataclasses
import json
import re
from pathlib import Path

import pytest
from explanations import study
from PIL import Image
from synthetic_runs import NASTY, SCORERS, make_run

from benchmarks.metrics.stats import Measure
from leaderboards import charts, pages
from leaderboards.sample_data import PAGE, items_of, write_data_set
from leaderboards.site import build_site
from leaderboards.thumbnails import SIDE, Thumbnails
from x2vlm.errors import RecordError
from x2vlm.types import Media

TASKS = [task for task in SCORERS if task != "captioning"]


def payload(path):
    """The value a data script hands over."""
    text = path.read_text(encoding="ascii")
    return json.loads(re.fullmatch(r"X2VLM\.put\((\"[^\"]*\"),(.*)\);\n", text, re.DOTALL)[2])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    runs = [make_run(task, folder, n=12, seed=seed) for task in TASKS for seed in (1, 2)]
    study(folder / "explained" / "one")
    built = build_site(runs, folder / "out", gallery=[folder / "explained"])
    return folder / "out", built, runs


def test_every_page_is_written_and_counted(site):
    out, built, runs = site
    assert built.index == out / "index.html"
    assert built.pages == len(list(out.glob("*.html")))
    assert built.data_sets == len(TASKS)
    assert built.unreadable == {}
    for run in runs:
        assert (out / f"run-{run.name}.html").is_file()
        assert (out / f"benchmark-{run.benchmark.name}.html").is_file()
    assert (out / "board-mini-overview.html").is_file()
    assert (out / "gallery" / "0-one" / "sheet.png").is_file()


def test_the_gallery_is_linked_from_every_page_and_shows_every_word(site):
    out, _, _ = site
    for page in out.glob("*.html"):
        assert 'href="gallery.html"' in page.read_text(encoding="utf-8")
    text = (out / "gallery.html").read_text(encoding="utf-8")
    for word in ("red", "square"):
        assert f'alt="Map of the word {word}"' in text


def test_a_site_without_explanations_names_no_gallery(tmp_path):
    build_site([make_run("answering", tmp_path, n=3)], tmp_path / "out")
    assert not (tmp_path / "out" / "gallery.html").exists()
    assert "gallery" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_all_links_lead_somewhere_inside_the_site(site):
    out, _, _ = site
    for page in out.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r'(?:href|src)="([^"#]+)', text):
            assert "//" not in link, (page.name, link)
            assert (out / link).is_file(), (page.name, link)


def test_markup_in_data_stays_text_everywhere(site):
    out, _, _ = site
    for path in [*out.glob("*.html"), *out.rglob("data/**/*.js")]:
        assert "<script>alert" not in path.read_text(encoding="utf-8").replace("\\u003c", "<") or (
            path.suffix == ".js"
        ), path
    texts = [row["texts"] for path in out.glob("data/mini-vqav2-*/0.js") for row in payload(path)]
    assert [NASTY] in texts


def test_pages_allow_no_network_and_no_inline_code(site):
    out, _, _ = site
    for page in out.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "default-src 'none'" in text
        assert not re.search(r"<script(?![^>]*src=)", text)
        assert not re.search(r"\son\w+=", text)
        assert "style=" not in text


def test_pages_name_language_title_and_heading_once(site):
    out, _, _ = site
    for page in out.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert '<html lang="en">' in text
        assert text.count("<h1>") == 1
        assert text.count("<main") == 1
        assert all("alt=" in image for image in re.findall(r"<img[^>]*>", text))


def test_same_runs_give_the_same_bytes(site, tmp_path):
    out, _, runs = site
    build_site(runs, tmp_path / "again", gallery=[out.parent / "explained"])
    for path in (tmp_path / "again").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (out / path.relative_to(tmp_path / "again")).read_bytes()


def test_a_site_is_replaced_and_anything_else_is_left_alone(tmp_path):
    run = make_run("answering", tmp_path, n=3)
    build_site([run], tmp_path / "out")
    (tmp_path / "out" / "stale.html").write_text("", encoding="utf-8")
    build_site([run], tmp_path / "out")
    assert not (tmp_path / "out" / "stale.html").exists()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RecordError, match="is no site"):
        build_site([run], tmp_path / "precious")
    assert (tmp_path / "precious" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_values_on_a_board_lead_to_their_run_or_to_all_seeds(tmp_path, site):
    out, _, _ = site
    text = (out / "board-mini-overview.html").read_text(encoding="utf-8")
    assert '<a href="benchmark-vqav2.html">' in text
    run = make_run("answering", tmp_path, n=3)
    build_site([run], tmp_path / "out")
    text = (tmp_path / "out" / "board-mini-overview.html").read_text(encoding="utf-8")
    assert f'<a href="run-{run.name}.html">' in text


def test_two_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    runs = [make_run(task, tmp_path, n=3, name="same") for task in ("answering", "grounding")]
    paths = [str(tmp_path / name / "record.json") for name in ("a/same", "b/same")]
    runs = [
        dataclasses.replace(run, record=dataclasses.replace(run.record, path=path))
        for run, path in zip(runs, paths, strict=True)
    ]
    build_site(runs, tmp_path / "out")
    pages = sorted(path.name for path in (tmp_path / "out").glob("run-*.html"))
    assert pages == ["run-a_same.html", "run-b_same.html"]
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert ">a/same</a>" in text
    assert ">b/same</a>" in text


def test_refused_and_marked_records_are_told(tmp_path):
    run = make_run("answering", tmp_path, n=3, limit=3)
    build_site([run], tmp_path / "refused")
    text = (tmp_path / "refused" / "index.html").read_text(encoding="utf-8")
    assert "refused, limited to 3 records" not in text  # nothing is left to make a board of
    assert "limited to 3 records" in text
    build_site([run], tmp_path / "shown", allow=("limited",))
    assert "‡" in (tmp_path / "shown" / "board-mini-overview.html").read_text(encoding="utf-8")


def test_run_page_shows_settings_environment_and_curves(site):
    out, _, runs = site
    text = (out / f"run-{runs[0].name}.html").read_text(encoding="utf-8")
    for part in ("torch", "2.6.0", "a" * 40, "polyline", "loss", "confi", "1000"):
        assert part in text


def test_a_loss_that_diverged_does_not_stop_the_site(tmp_path):
    run = make_run("answering", tmp_path, n=3)
    with (run.folder / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 50, "loss": NaN}\n{"step": 60, "loss": Infinity}\n')
    build_site([run], tmp_path / "out")
    assert "polyline" in (tmp_path / "out" / f"run-{run.name}.html").read_text(encoding="utf-8")


def test_captions_are_scored_in_the_unit_of_papers_on_every_page(tmp_path):
    measure = {"cider": Measure(1.0625, 4, 0.03125)}
    run = make_run("captioning", tmp_path, n=4, metrics=measure, floor={"value": 1.2, "met": False})
    build_site([run], tmp_path / "out")
    for name, value in (("index", "106.25"), ("benchmark-coco_captioning", "106.25"),
                        (f"run-{run.name}", "106.250")):  # fmt: skip
        text = (tmp_path / "out" / f"{name}.html").read_text(encoding="utf-8")
        assert f'data-value="106.250000">{value}</td><td class="num">3.12' in text.replace("\n", "")
        assert "1.06<" not in text
        assert ("120.00" in text) == (not name.startswith("benchmark"))


def test_long_names_in_pictures_keep_what_tells_them_apart():
    names = [f"mini-coco_retrieval-of-base-s{seed}" for seed in (1, 2)]
    text = charts.bars("x", [charts.Bar(name, 1.0) for name in names])
    assert re.findall(r"mini-[^<]*…[^<]*(?=</text>)", text) == [
        "mini-coco_retr…base-s1", "mini-coco_retr…base-s2"
    ]  # fmt: skip


def test_runs_left_out_of_a_picture_are_told(monkeypatch):
    monkeypatch.setattr(pages, "PROGRESS", 2)
    runs = [make_run("answering", n=3, seed=seed) for seed in range(3)]
    assert "the first 2 of 3 runs" in pages.summary([], runs)["progress"]["title"]
    assert "every run" in pages.summary([], runs[:2])["progress"]["title"]


def test_benchmark_page_says_what_is_tested_and_tells_suites_apart(tmp_path):
    runs = [make_run("grounding", tmp_path, n=4, name=suite, suite=suite, split=split)
            for suite, split in (("mini", "test"), ("official", "val"))]  # fmt: skip
    build_site(runs, tmp_path / "out")
    text = (tmp_path / "out" / "benchmark-refcoco_plus.html").read_text(encoding="utf-8")
    assert "names by its looks" in text
    assert "refs(unc).p" in text
    for suite, split in (("mini", "test"), ("official", "val")):
        assert f"<title>accuracy on {suite} data, oldest run first</title>" in text
        assert f"Browse the samples: {suite} data, split {split}, n = 4" in text


@pytest.mark.parametrize("task", TASKS)
def test_pages_of_samples_hold_every_item_in_order(tmp_path, task):
    run = make_run(task, None, n=3 * PAGE // 2)
    index = write_data_set(tmp_path, "set", [run], Thumbnails(tmp_path))
    items = items_of(run)
    pages = -(-len(items) // PAGE)
    rows = [row for n in range(pages) for row in payload(tmp_path / f"data/set/{n}.js")]
    answers = [row for n in range(pages) for row in payload(tmp_path / f"data/set/run0-{n}.js")]
    assert len(rows) == len(answers) == index["n"] == len(items)
    assert index["ids"] == [item.id for item in items]
    (first, *_) = payload(tmp_path / "data/set/run0.js")["metrics"]
    assert len(first["values"]) == len(items)
    assert first["values"].count(None) == 0
    assert max(first["values"]) == 1
    assert {"kind", "language"} <= {field["name"] for field in index["fields"]}
    assert all(row["pictures"] or row["truth"].get("pictures") for row in rows)


def test_retrieval_shows_both_directions_with_the_right_ones_marked(tmp_path):
    run = make_run("retrieval", tmp_path, n=8, skill=1.0)
    write_data_set(tmp_path, "set", [run], Thumbnails(tmp_path))
    rows = payload(tmp_path / "data/set/0.js")
    answers = payload(tmp_path / "data/set/run0-0.js")
    assert len(rows) == 8 + 16
    assert answers[0]["list"][0]["right"] is True
    assert answers[0]["rank"] == 1
    assert answers[0]["list"][0]["text"] == NASTY
    assert answers[8]["list"][0]["picture"]["src"][0].endswith(".jpg")
    assert rows[8]["truth"]["pictures"][0]["width"] == 160


def test_captions_are_shown_with_their_references(tmp_path):
    run = make_run("captioning", tmp_path, n=4)
    write_data_set(tmp_path, "set", [run], Thumbnails(tmp_path))
    assert len(payload(tmp_path / "data/set/0.js")[1]["truth"]["lines"]) == 2
    assert payload(tmp_path / "data/set/run0-0.js")[1]["lines"][0].startswith("a ")


def test_thumbnails_are_small_written_once_and_name_what_failed(tmp_path):
    Image.new("RGB", (1200, 300), "red").save(tmp_path / "wide.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    thumbnails = Thumbnails(tmp_path / "out")
    picture = thumbnails(Media(str(tmp_path / "wide.png")))
    assert (picture["width"], picture["height"]) == (1200, 300)
    with Image.open(tmp_path / "out" / picture["src"][0]) as small:
        assert small.size == (SIDE, SIDE // 4)
    assert thumbnails(Media(str(tmp_path / "wide.png"))) is picture
    broken = thumbnails(Media(str(tmp_path / "broken.jpg")))
    assert broken["src"] == []
    assert broken["error"]
    assert list(thumbnails.failed) == [str(tmp_path / "broken.jpg")]


def test_a_video_becomes_a_few_frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(9):
        Image.new("RGB", (40, 30), (20 * number, 0, 0)).save(folder / f"{number}.png")
    picture = Thumbnails(tmp_path / "out")(Media(str(folder), "frames"))
    assert len(picture["src"]) == 4
    assert all(Path(tmp_path / "out" / source).is_file() for source in picture["src"])


def test_a_site_that_was_interrupted_is_replaced(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise KeyboardInterrupt

    runs = [make_run("grounding", tmp_path, n=4, name="one")]
    with monkeypatch.context() as patched:
        patched.setattr("leaderboards.site.write_data_set", fails)
        with pytest.raises(KeyboardInterrupt):
            build_site(runs, tmp_path / "out")
    assert not (tmp_path / "out" / "index.html").exists()
    assert build_site(runs, tmp_path / "out").index.is_file()
