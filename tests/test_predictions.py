"""predictions.jsonl: kinds, faults with their line, killed writers, complete joins."""

import json
from pathlib import Path

import pytest

from benchmarks.metrics.retrieval import Ranking
from benchmarks.prediction_kinds import KINDS, check
from benchmarks.prediction_writer import Writer, merge
from benchmarks.predictions import join, read
from x2vlm.errors import ConfigError, PredictionError
from x2vlm.types import Prediction, Record

GOOD: dict[str, Prediction] = {
    "retrieval": {"id": "1", "ranking": {"text": [["a", 0.5], ["b", 1]]}},
    "answering": {"id": "1", "answer": "yes"},
    "classification": {"id": "1", "label": "True", "scores": {"True": 0.9}},
    "grounding": {"id": "1", "box": [1, 2.5, 3, 4]},
    "captioning": {"id": "1", "caption": "a dog"},
    "matching": {"id": "1", "c0_i0": 1, "c0_i1": 0.5, "c1_i0": 0, "c1_i1": 2},
    "attributes": {"id": "1", "scores": [0.1, 0.2]},
}


def test_every_kind_has_an_example() -> None:
    assert set(GOOD) == set(KINDS)


@pytest.mark.parametrize("task", KINDS)
def test_written_rows_are_read_again(task: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "predictions.jsonl"
    with Writer(path, task) as writer:
        writer.write(GOOD[task])
    rows = read(path, task)
    if task == "retrieval":
        ranking = rows[0]["ranking"]["text"]
        assert isinstance(ranking, Ranking)
        assert list(ranking) == [("a", 0.5), ("b", 1.0)]
    else:
        assert rows == [GOOD[task]]
    assert [p.name for p in path.parent.iterdir()] == ["predictions.jsonl"]


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("retrieval", {"id": "1", "ranking": {"video": []}}),
        ("retrieval", {"id": "1", "ranking": {}}),
        ("retrieval", {"id": "1", "ranking": {"text": [["a"]]}}),
        ("answering", {"id": "1", "answer": 3}),
        ("answering", {"answer": "yes"}),
        ("answering", {"id": None, "answer": "yes"}),
        ("classification", {"id": "1", "label": True}),
        ("classification", {"id": "1", "label": 0.5}),
        ("grounding", {"id": "1", "box": [1, 2, 3]}),
        ("grounding", {"id": "1", "box": [1, 2, 3, "4"]}),
        ("captioning", {"id": "1"}),
        ("matching", {"id": "1", "c0_i0": 1, "c0_i1": 0.5, "c1_i0": 0}),
        ("attributes", {"id": "1", "scores": "0.5"}),
        ("attributes", [1]),
    ],
)
def test_malformed_rows_name_file_and_line(task: str, row: object, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(GOOD[task]) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(PredictionError, match=r"p\.jsonl:2") as error:
        read(path, task)
    assert "expected" in str(error.value)


@pytest.mark.parametrize("text", ['{"id": "1", "box": [1, 2, 3, NaN]}', '{"id": "1", "box"', "x"])
def test_nan_and_half_lines_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(GOOD["grounding"]) + "\n" + text)
    with pytest.raises(PredictionError, match=r"p\.jsonl:2"):
        read(path, "grounding")


def test_infinity_hidden_in_an_exponent_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "1", "scores": [1e999]}')
    with pytest.raises(PredictionError, match="finite"):
        read(path, "attributes")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with pytest.raises(PredictionError, match=r"p\.jsonl"):
        read(path, "answering")
    path.write_bytes(b'{"id": "1", "answer": "\xff"}\n')
    with pytest.raises(PredictionError, match="UTF-8"):
        read(path, "answering")


def test_unknown_task_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'answering'"):
        check("answerin", {"id": "1"}, "here")


def rows(*names: str) -> list[Prediction]:
    return [{"id": name, "answer": "yes"} for name in names]


def test_a_killed_writer_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    part = tmp_path / "p.jsonl.part"

    def killed() -> None:
        with Writer(path, "answering") as writer:
            for row in rows("a", "b"):
                writer.write(row)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        killed()
    assert not path.exists()
    with part.open("a") as file:
        file.write('{"id": "c", "ans')
    with Writer(path, "answering") as writer:
        assert writer.done == {("a", ""), ("b", "")}
        writer.write(rows("c")[0])
    assert read(path, "answering") == rows("a", "b", "c")
    assert not part.exists()


def test_a_writer_refuses_doubles_and_nan(tmp_path: Path) -> None:
    with Writer(tmp_path / "p.jsonl", "attributes") as writer:
        writer.write({"id": "1", "scores": [0.5]})
        with pytest.raises(PredictionError, match="twice"):
            writer.write({"id": "1", "scores": [0.5]})
        with pytest.raises(PredictionError, match="finite"):
            writer.write({"id": "2", "scores": [float("nan")]})


def shares(tmp_path: Path, *parts: list[Prediction], task: str = "answering") -> list[Path]:
    paths = [tmp_path / f"{number}.jsonl" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        with Writer(path, task) as writer:
            for row in part:
                writer.write(row)
    return paths


def test_merged_shares_are_in_the_order_of_the_records(tmp_path: Path) -> None:
    records = [Record(name, (), ()) for name in "abcdé"]
    out = tmp_path / "p.jsonl"
    given = shares(tmp_path, rows("é", "a"), [], rows("d", "b"))
    assert merge(out, "answering", records, given) == 4  # "c" was left out
    assert read(out, "answering") == rows("a", "b", "d", "é")
    assert not (tmp_path / "p.jsonl.part").exists()


def test_merged_rankings_are_images_first(tmp_path: Path) -> None:
    records = [Record(str(i), (), ("",), {"text_ids": [str(i)]}) for i in range(2)]
    texts: list[Prediction] = [{"id": str(i), "ranking": {"image": [["0", 1.0]]}} for i in (1, 0)]
    images: list[Prediction] = [{"id": str(i), "ranking": {"text": [["1", 0.5]]}} for i in (1, 0)]
    given = shares(tmp_path, [*texts, images[0]], [images[1]], task="retrieval")
    merge(tmp_path / "p.jsonl", "retrieval", records, given)
    found = [(row["id"], *row["ranking"]) for row in read(tmp_path / "p.jsonl", "retrieval")]
    assert found == [("0", "text"), ("1", "text"), ("0", "image"), ("1", "image")]


def test_shares_that_do_not_fit_make_no_file(tmp_path: Path) -> None:
    records, out = [Record(name, (), ()) for name in "ab"], tmp_path / "p.jsonl"
    faults = {
        "predicted twice": shares(tmp_path / "double", rows("a"), rows("a", "b")),
        "not asked for: x": shares(tmp_path / "foreign", rows("a", "x")),
        "all processes share": [*shares(tmp_path / "missing", rows("a")), tmp_path / "1.jsonl"],
    }
    for message, given in faults.items():
        with pytest.raises(PredictionError, match=message):
            merge(out, "answering", records, given)
        assert not out.exists()


def test_join_puts_rows_in_the_order_of_the_records() -> None:
    records = [Record(name, (), ()) for name in "abc"]
    found, ignored = join("answering", records, rows("c", "a", "b"))
    assert [row["id"] for row in found] == ["a", "b", "c"]
    assert ignored == 0


def test_join_lists_what_is_missing_and_foreign() -> None:
    records = [Record(str(i), (), ()) for i in range(6)]
    with pytest.raises(PredictionError) as error:
        join("answering", records, rows("0", "x", "1"))
    text = str(error.value)
    assert "4 missing (2, 3, 4, …)" in text
    assert "1 not in this split (x)" in text
    found, ignored = join("answering", records[:2], rows("0", "x", "1"), extra="ignore")
    assert ([row["id"] for row in found], ignored) == (["0", "1"], 1)


def test_join_of_retrieval_knows_both_directions() -> None:
    records = [Record(str(i), (), ("",), {"text_ids": [str(i)]}) for i in range(2)]
    pairs = [["0", 1.0], ["1", 0.5]]
    images = [{"id": str(i), "ranking": {"text": pairs}} for i in range(2)]
    texts = [{"id": str(i), "ranking": {"image": pairs}} for i in range(2)]
    found, _ = join("retrieval", records, [*texts, *images])
    assert found == [*images, *texts]
    assert join("retrieval", records, texts)[0] == texts
    both = [{"id": str(i), "ranking": {"text": pairs, "image": pairs}} for i in range(2)]
    assert join("retrieval", records, both)[0] == [*images, *texts]
    with pytest.raises(PredictionError, match=r"1 missing \(1 text\)"):
        join("retrieval", records, [*texts, images[0]])
    assert join("retrieval", records, [*texts, texts[0]])[0] == texts
    other = {"id": "0", "ranking": {"image": [["0", 0.5], ["1", 1.0]]}}
    with pytest.raises(PredictionError, match="both answer '0 image', and differently"):
        join("retrieval", records, [*texts, other])
