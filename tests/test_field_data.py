"""What a score can reach, `data verify` and `data status` in the settings of a run, and the inputs
of ../shared/field where they are at hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bounds import bounds, coverage, shared_texts
from benchmarks.captions import retrieval_record
from benchmarks.metrics.retrieval import ranks_from_scores
from benchmarks.registry import get
from tests.field_rows import ROWS, lines, pictures, put, read, table
from x2vlm.cli import main
from x2vlm.errors import DataError, NoFileError
from x2vlm.types import Media, Record

QUICK = ["model=tiny", "device=cpu", "train.steps=1", "train.batch_size=2"]


# -- what can be reached ------------------------------------------------------------------------


def best(texts: Sequence[str]) -> dict[str, float]:
    """R@k of a model that is right and scores equal texts equally, by the metric itself."""
    n = len(texts)
    equal_NN = np.array([[a == b for b in texts] for a in texts], dtype=float)
    found = {
        f"text_r{k}": ranks_from_scores(equal_NN, [[i] for i in range(n)]).hits(k).mean()
        for k in (1, 5, 10)
    }
    # the images of one text in any order, which is the same for each of its copies
    order_NN = equal_NN + np.arange(n)[None] * 1e-6
    ranks = ranks_from_scores(order_NN, [[i] for i in range(n)])
    return found | {f"image_r{k}": ranks.hits(k).mean() for k in (1, 5, 10)}


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_bound_is_what_a_perfect_model_reaches(texts: list[str]) -> None:
    records = [
        retrieval_record(str(n), Media(f"{n}.png"), [text], f"f:{n}")
        for n, text in enumerate(texts)
    ]
    note = shared_texts(records, {})
    assert (note == "") == (len(set(texts)) == len(texts))
    for name, share in best(texts).items() if note else ():
        assert f"{name} {100 * share:.1f}" in note


def test_an_image_with_a_text_of_its_own_can_be_right() -> None:
    texts = [("a dog", "a dog in snow"), ("A dog!",), ("a cat",)]
    records = [
        retrieval_record(str(n), Media(f"{n}.png"), several, f"f:{n}")
        for n, several in enumerate(texts)
    ]
    note = shared_texts(records, {})
    assert "2 of 4 texts" in note  # equal as the model sees them: cleaned
    assert "text_r1 66.7" in note
    assert "image_r1 75.0" in note
    other = [Record("x", records[0].images, ("a cat",), {"text_ids": ["x#0"]}, "de")]
    assert "2 of 5 texts" in shared_texts([*records, *other], {})  # languages are ranked apart


@pytest.mark.parametrize(
    ("form", "answers", "note"),
    [
        ("own_answering", ["boat", "Ship", "hill"], "1 of 3 questions have an answer among the 2"),
        ("own_vqa", ["boat", "Ship", "hill"], "2 of 3 questions have an answer among the 2"),
        ("own_answering", ["boat", "ship"], ""),
    ],
)
def test_answers_outside_the_list_bound_the_accuracy(
    form: str, answers: list[str], note: str
) -> None:
    records = [
        Record(str(n), (), ("what?",), {"answers": [a], "annotators": [a]})
        for n, a in enumerate(answers)
    ]
    found = bounds(get(form), "test", records, {"candidates": ("boat", "ship")})
    assert [note in one for one in found] == [True] * bool(note)
    told = coverage(get(form), records, {"candidates": ("boat",)})
    assert f"answers: 1 of {len(answers)}" in told


def test_labels_outside_the_list_bound_the_accuracy() -> None:
    records = [Record(str(n), (), ("it",), {"label": n}) for n in (0, None, None, 1)]
    (note,) = bounds(get("own_labels"), "test", records, {})
    assert "2 of 4 labels" in note
    assert "above 50.0" in note
    assert "labels: 2 of 4 (50.0 %)" in coverage(get("own_labels"), records, {})


def test_a_run_says_so_in_log_and_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also: a row that is skipped is skipped in training and evaluation, and fails nowhere."""
    rows = [{"image": f"{n}.png", "caption": ("a dog", "a cat", "!!!")[n % 3]} for n in range(4)]
    for split in ("train", "test"):
        put(pictures(tmp_path), f"{split}.jsonl", lines(rows))
    words = ["benchmark=own_retrieval:x", f"data={tmp_path}", "on_error=skip"]
    assert main(["run", *words, f"out={tmp_path}/runs", "name=x", *QUICK]) == 0
    record = json.loads((tmp_path / "runs/x/record.json").read_text("utf-8"))
    (note,) = [note for note in record["data"]["notes"] if "no model gets above" in note]
    assert "text_r1 33.3" in note
    log = (tmp_path / "runs/x/log.txt").read_text("utf-8")
    assert note in log
    assert "3 training records" in log
    assert [row["source"].rpartition("/")[2] for row in record["skipped"]] == ["test.jsonl:3"]
    capsys.readouterr()
    assert main(["data", "verify", *words]) == 0
    out = capsys.readouterr().out
    assert f"note: {note}" in out
    assert "test.jsonl:3: caption '!!!' is empty after cleaning" in out


# -- the commands -------------------------------------------------------------------------------


def verify(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit status and output of `data verify`."""
    capsys.readouterr()
    status = main(["data", "verify", *words])
    return status, "".join(capsys.readouterr())


def test_verify_that_finds_nothing_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(pictures(tmp_path), "test.tsv", table(ROWS, "\t"))
    words = ["benchmark=own_retrieval:x", f"data={tmp_path}"]
    status, out = verify(capsys, *words)
    assert status == 1
    for said in ("no split was found", "test.jsonl", "test.tsv"):
        assert said in out
    assert verify(capsys, f"data={tmp_path}")[0] == 1
    status, out = verify(capsys, *words, "file.test=test.tsv", "split=test")
    assert (status, "4 records" in out) == (0, True)
    with pytest.raises(NoFileError, match=r"but test\.tsv(.*\n)*.*file\.test=test\.tsv"):
        read("own_retrieval:x", tmp_path)


def test_verify_and_status_take_what_a_run_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(pictures(tmp_path), "mine/a.jsonl", lines([*ROWS, {"image": "0.png", "caption": "?"}]))
    put(tmp_path, "layout.yaml", f'own_retrieval:x: {{test: "{tmp_path}/mine/a.jsonl"}}\n')
    base = ["benchmark=own_retrieval:x", f"data={tmp_path}"]
    for where in ("file.test=mine/a.jsonl", f"layout={tmp_path}/layout.yaml"):
        status, out = verify(capsys, *base, where, "split=test")
        assert (status, "a.jsonl:5" in out) == (1, True)
        status, out = verify(capsys, *base, where, "split=test", "on_error=skip")
        assert (status, "4 records" in out, "1 skipped" in out) == (0, True, True)
        status, out = verify(capsys, *base, where, "split=test", "limit=2", "on_error=skip")
        assert (status, "2 records" in out) == (0, True)
        status, out = verify(capsys, *base, where, "split=test", "options.bare=keep")
        assert (status, "1 texts without a word" in out) == (0, True)
        capsys.readouterr()
        assert main(["data", "status", *base, where, "on_error=skip", "split=test"]) == 0
        (row,) = [
            r for r in capsys.readouterr().out.splitlines() if r.startswith("own") and " test " in r
        ]
        assert row.split()[2:4] == ["complete", "4"]
    status, out = verify(capsys, *base, "file.test=mine/a.jsonl", "train_split=train")
    assert (status, "no file for 'train'" in out) == (1, True)


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("split=tset", "did you mean 'test'"),
        ("languages=xx", "language of x"),
        ("on_error=no", "on_error is raise or skip"),
        ("limit=0", "limit"),
        ("box_format=z", "box_format"),
        ("box_pixels=z", "box_pixels"),
        ("lmit=3", "did you mean 'limit'"),
    ],
)
def test_what_verify_cannot_use_is_refused(
    word: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(pictures(tmp_path), "test.jsonl", lines(ROWS))
    status, out = verify(capsys, "benchmark=own_retrieval:x", f"data={tmp_path}", word)
    assert (status, what in out) == (1, True), out


def test_languages_are_those_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language in ("en", "de"):
        row = {"img_path": "COCO_val2014_000000000042.jpg", "sentences": ["a"], "id": 1}
        put(tmp_path, f"xflickrco/{language}/test.subset.jsonl", lines([row]))
    words = ["benchmark=xflickrco", f"data={tmp_path}", "split=test", "on_error=skip"]
    assert "2 records" in verify(capsys, *words)[1]
    assert "1 records" in verify(capsys, *words, "languages=[de]")[1]
    status, out = verify(capsys, *words, "languages=ja")
    assert (status, "no file for 'test' in language 'ja'" in out) == (1, True)


def test_skipping_everything_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["benchmark=own_retrieval:x", f"data={tmp_path}", "on_error=skip", "split=test"]
    put(tmp_path, "test.jsonl", lines(ROWS))
    status, out = verify(capsys, *words)
    assert (status, "no record has its images" in out) == (1, True)
    put(pictures(tmp_path), "test.jsonl", lines([{"image": "0.png", "caption": "?"}]))
    status, out = verify(capsys, *words)
    assert (status, "none of its rows can be used" in out) == (1, True)
    with pytest.raises(DataError, match=r"test\.jsonl:1: none of its 1 rows can be used, first"):
        read("own_retrieval:x", tmp_path, on_error="skip")


# -- ../shared/field ----------------------------------------------------------------------------

FIELD: list[tuple[str, str, str, dict[str, str], list[int]]] = [
    ("caption-of-punctuation", "own_retrieval:x", "test", {}, [1] * 5),
    ("caption-of-punctuation", "wit", "test", {}, [1] * 3),
    ("caption-text-or-list", "own_retrieval:x", "test", {}, [1, 2, 1, 2, 1, 2]),
    ("csv-other-separators", "own_retrieval:x", "test", {}, [2] * 6),
    ("csv-other-separators", "own_retrieval:x", "test", {"test": "semicolon.csv"}, [1] * 6),
    ("csv-other-separators", "own_retrieval:x", "test", {"test": "tab.csv"}, [1] * 6),
    ("exif-boxes", "own_boxes:x", "test", {}, [1] * 8),
    ("json-array-named-jsonl", "own_retrieval:x", "test", {}, [1] * 6),
    ("refcoco-mdetr-and-rec-rows", "refcoco", "val", {"val": "finetune_refcoco_val.json"}, [1]),
    ("refcoco-mdetr-and-rec-rows", "refcoco", "val", {"val": "rec.jsonl"}, [1]),
    ("refcoco-pickle-made-by-users", "refcocog", "val", {}, [1]),
    ("same-caption-many-images", "own_retrieval:x", "test", {}, [1] * 6),
]


@pytest.mark.parametrize(("folder", "name", "split", "given", "texts"), FIELD)
def test_inputs_of_users(
    folder: str, name: str, split: str, given: dict[str, Any], texts: list[int], shared: Path
) -> None:
    found, files = read(name, shared / "field" / folder, split, given=given, on_error="skip")
    assert [len(record.texts) for record in found] == texts
    assert len(files.skipped) == (name == "own_retrieval:x" and folder == "caption-of-punctuation")
