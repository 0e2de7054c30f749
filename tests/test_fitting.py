"""A predictions file finds the annotations that it answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.files import Files
from benchmarks.fitting import score_fitting
from benchmarks.records import load_records
from benchmarks.registry import get
from tests.small_data import CASES, write
from x2vlm.errors import ConfigError, DataError, PredictionError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """NLVR2 dev of two rows, and beside it the first of them alone."""
    path = write(tmp_path, CASES["nlvr2"])
    (path.parent / "dev.avail1.json").write_text(path.read_text().split("\n")[0] + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "n", "accuracy", "file"),
    [
        ("dev-850-0-0,False\ndev-850-0-1,False\n", 2, 50.0, "dev.json"),
        ("dev-850-0-0,False\n", 1, 100.0, "dev.avail1.json"),
    ],
)
def test_ids_decide(root: Path, lines: str, n: int, accuracy: float, file: str) -> None:
    (root / "predictions.csv").write_text(lines)
    result, files = score_fitting(get("nlvr2"), "dev", root / "predictions.csv", Files(root))
    assert (result.n, result.scores["accuracy"].value) == (n, accuracy)
    assert files.used["dev"].name == file


def test_what_fits_nothing_is_held_against_the_whole(root: Path) -> None:
    (root / "predictions.csv").write_text("dev-9-0-0,False\n")
    with pytest.raises(PredictionError, match="the 2 expected"):
        score_fitting(get("nlvr2"), "dev", root / "predictions.csv", Files(root))


def test_what_is_incomplete_is_not_scored_on_a_part(root: Path) -> None:
    """Two of three answers: the file of one row would fit, and would be a wrong number."""
    path = root / "nlvr2/dev.json"
    third = {"identifier": "dev-851-0-0", "sentence": "x", "label": "True"}
    path.write_text(path.read_text() + json.dumps(third) + "\n")
    dump = [{"questionId": name, "prediction": "False"} for name in ("dev-850-0-0", "dev-850-0-1")]
    (root / "dump.json").write_text(json.dumps(dump))
    with pytest.raises(PredictionError, match="1 missing") as caught:
        score_fitting(get("nlvr2"), "dev", root / "dump.json", Files(root))
    assert str(root / "dump.json") in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_annotations_that_fit_best_are_named(root: Path) -> None:
    (root / "predictions.csv").write_text("dev-850-0-0,False\nnowhere,True\n")
    with pytest.raises(PredictionError, match="the 1 expected: 1 not in this split") as caught:
        score_fitting(get("nlvr2"), "dev", root / "predictions.csv", Files(root))
    assert "dev.avail1.json" in str(caught.value)


def test_no_language_is_guessed(tmp_path: Path) -> None:
    """A dump says nothing of its language: German answers are not scored as English ones."""
    write(tmp_path, CASES["xgqa"])
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps([{"questionId": n, "prediction": "yes"} for n in (201, 202)]))
    with pytest.raises(PredictionError, match="languages=de"):
        score_fitting(get("xgqa"), "test", dump, Files(tmp_path))
    found, _ = score_fitting(get("xgqa"), "test", dump, Files(tmp_path), languages=["de"])
    assert found.scores["accuracy/de"].value == 100.0


def test_winoground_of_another_number_of_examples(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "data/winoground/official_scores/clip.jsonl").read_text().splitlines()
    path = tmp_path / "clip.jsonl"
    path.write_text("\n".join(lines[:-4]))
    for root in (tmp_path, shared / "data"):  # without examples, and with look-alikes
        with pytest.raises(PredictionError, match="399 examples, winoground has 400"):
            score_fitting(get("winoground"), "test", path, Files(root))


def test_extra_says_what_other_ids_are(root: Path) -> None:
    path = root / "predictions.csv"
    path.write_text("dev-850-0-0,False\ndev-850-0-1,False\ndev-9-0-0,True\n")
    with pytest.raises(PredictionError, match="1 not in this split"):
        score_fitting(get("nlvr2"), "dev", path, Files(root))
    result, _ = score_fitting(get("nlvr2"), "dev", path, Files(root), extra="ignore")
    assert (result.n, result.ignored) == (2, 1)
    with pytest.raises(ConfigError, match="did you mean 'ignore'"):
        score_fitting(get("nlvr2"), "dev", path, Files(root), extra="ignroe")


def test_no_annotations_and_broken_ones(root: Path) -> None:
    (root / "predictions.csv").write_text("dev-850-0-0,False\n")
    (root / "nlvr2/dev.json").write_text('{"identifier"\n')
    with pytest.raises(DataError, match="is no JSON"):
        score_fitting(get("nlvr2"), "dev", root / "predictions.csv", Files(root))
    with pytest.raises(DataError, match="no file"):
        score_fitting(get("nlvr2"), "test", root / "predictions.csv", Files(root))


def test_official_winoground_scores_need_no_examples(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/winoground/official_scores"
    files = Files(tmp_path)
    result, used = score_fitting(get("winoground"), "test", folder / "clip.jsonl", files)
    want = json.loads((folder / "EXPECTED.json").read_text())
    assert result.n == 400
    assert "predictions alone" in used.notes[0]
    assert [result.scores[name].value for name in ("text", "image", "group")] == [30.75, 10.5, 8.0]
    assert "clip" in json.dumps(want)


PUBLISHED = [
    ("nlvr2", "dev", "nlvr2/dev.first400.predictions.csv", None, {}, 400, "accuracy", 89.75),
    ("nlvr2", "dev", "nlvr2/dev.avail.predictions.csv", None, {}, 8, "consistency", 50.0),
    ("vqav2", "val", "vqav2/results_majority.json", None, {}, 589, "accuracy", 96.20),
    ("vqav2", "val", "vqav2/results_yes.json", None, {}, 589, "accuracy", 24.09),
    ("xgqa", "test", "xgqa/published/uc2_de_result.json", ["de"],
     {}, 9666, "accuracy/de", 42.851231),
    ("xflickrco", "test", "iglue/xflickrco/published/uc2_de_result.json", ["de"], {}, 2000,
     "image_r1/de", 28.6),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "split", "path", "languages", "given", "n", "metric", "value"), PUBLISHED
)
def test_published_dumps_of_the_pack(
    shared: Path, name: str, split: str, path: str, languages: list[str] | None,
    given: dict[str, str], n: int, metric: str, value: float,
) -> None:  # fmt: skip
    data = shared / "data"
    result, _ = score_fitting(
        get(name), split, data / path, Files(data, given), languages=languages
    )
    assert result.n == n
    assert result.scores[metric].value == pytest.approx(value, abs=0.005)


def test_answers_of_gqa_score_xgqa_in_languages_whose_questions_are_not_there(
    tmp_path: Path,
) -> None:
    """The ids and the answers are the same in every language."""
    write(tmp_path, CASES["gqa"])
    (tmp_path / "excluded.json").write_text("[]")
    records = load_records(get("gqa"), Files(tmp_path), CASES["gqa"].split)
    for language, answers in (("de", "right"), ("ko", "wrong")):
        rows = [
            {"questionId": r.id, "prediction": r.target["annotators"][0] if answers == "right"
             else "?"} for r in records
        ]  # fmt: skip
        (tmp_path / f"{language}.json").write_text(json.dumps(rows))
    files = Files(tmp_path, {"excluded": "excluded.json"})
    named, _ = score_fitting(get("xgqa"), "test", tmp_path / "de.json", files, languages=["de"])
    assert (named.n, named.scores["accuracy/de"].value) == (len(records), 100.0)
    found, _ = score_fitting(get("xgqa"), "test", tmp_path / "{language}.json", files)
    assert found.n == 2 * len(records)
    assert found.scores["accuracy/ko"].value == 0.0
    assert found.scores["accuracy"].value == 50.0
    with pytest.raises(PredictionError, match="in any of en, bn"):
        score_fitting(get("xgqa"), "test", tmp_path / "no_{language}.json", files)
    with pytest.raises(DataError, match="in language 'de'"):  # to be asked, they must be there
        load_records(get("xgqa"), files, "test", ["de"])


def test_predictions_of_skipped_rows_are_ignored_and_counted(root: Path) -> None:
    path = root / "nlvr2/dev.json"
    path.write_text(path.read_text().replace('"True"', '"perhaps"'))
    (root / "nlvr2/dev.avail1.json").unlink()
    (root / "predictions.csv").write_text("dev-850-0-0,False\ndev-850-0-1,False\n")
    with pytest.raises(DataError, match="perhaps"):
        score_fitting(get("nlvr2"), "dev", root / "predictions.csv", Files(root))
    skipping = Files(root, on_error="skip")
    result, used = score_fitting(get("nlvr2"), "dev", root / "predictions.csv", skipping)
    assert (result.n, result.ignored, result.scores["accuracy"].value) == (1, 1, 100.0)
    assert "perhaps" in used.skipped[0]["reason"]
