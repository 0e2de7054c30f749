import csv
import json

import pytest

from benchmarks.registry import NAMES, get
from leaderboards.board import Column
from leaderboards.curate import curate
from leaderboards.published import FOLDER, STATES, numbers, published_rows, reference, sources
from x2vlm.errors import DataError, RecordError

COLLECTED = 1900
ELSEWHERE = {"didemo_retrieval", "nocaps", "vlue", "xtd", "figure_1c"}
"""Benchmarks of other papers that keep their rows, though nothing here measures them."""


def rules():
    return json.loads((FOLDER / "rules.json").read_text(encoding="utf-8"))


def raw(**changes):
    row = {"benchmark": "NLVR2", "split": "test-P", "metric": "acc", "model": "X-VLM (216M, 4M)",
           "setting": "fine-tuned", "value": "84.21", "source": "github a/b@c d.png (text)",
           "verified(yes/no)": "yes"}  # fmt: skip
    return {**row, **changes}


def test_every_collected_row_is_there_once():
    with (FOLDER / "numbers.csv").open(encoding="utf-8", newline="") as file:
        rows = [int(row["row"]) for row in csv.DictReader(file)]
    assert rows == list(range(2, COLLECTED + 2))


def test_the_committed_numbers_are_what_the_script_makes(shared):
    with (shared / "published" / "published.csv").open(encoding="utf-8", newline="") as file:
        made, keys = curate(list(csv.DictReader(file)), rules())
    with (FOLDER / "numbers.csv").open(encoding="utf-8", newline="") as file:
        assert made == list(csv.DictReader(file))
    assert keys == sources()


def test_states_and_sources_are_known_and_counted():
    counts = {state: sum(n.state == state for n in numbers()) for state in STATES}
    assert counts == {"verified": 1809, "weak": 30, "digitised": 25, "conflicting": 5, "memory": 31}
    assert {n.source for n in numbers()} == set(sources())
    assert all(n.source.startswith("memory") == (n.state == "memory") for n in numbers())


def test_names_are_those_of_this_project():
    assert {n.benchmark for n in numbers()} <= {*NAMES, *ELSEWHERE}
    known = {"vqav2": {"unnamed"}, "gqa": {"unnamed"}, "coco_captioning": {"unnamed"}}
    for name in ("coco_retrieval", "flickr30k_retrieval", "vqav2", "nlvr2", "coco_captioning"):
        splits = {n.split for n in numbers() if n.benchmark == name}
        assert splits <= {*get(name).splits, *known.get(name, ())}, name


@pytest.mark.parametrize(
    ("benchmark", "split", "metric", "model", "data", "printed", "state"),
    [
        ("coco_retrieval", "test", "text_r1", "base", "4M", "80.5", "verified"),
        ("coco_retrieval", "test", "image_r1", "large", "1B", "67.7", "verified"),
        ("flickr30k_retrieval", "test", "text_r1", "large", "1B", "98.8", "verified"),
        ("vqav2", "test", "accuracy", "base", "1B", "80.2", "verified"),
        ("nlvr2", "test", "accuracy", "base", "4M", "86.1", "verified"),
        ("refcoco_plus", "testB", "accuracy", "base", "1B", "78.4", "verified"),
        ("coco_captioning", "test", "cider", "large", "1B", None, None),
        ("msrvtt_retrieval", "test", "image_r1", "large", "1B", "49.6", "verified"),
        ("msvd_qa", "test", "accuracy", "large", "1B", "54.6", "digitised"),
        ("msvd_qa", "test", "accuracy", "base", "1B", None, None),
    ],
)
def test_references_of_our_models(benchmark, split, metric, model, data, printed, state):
    column = Column("official", benchmark, split, "fine-tuned", metric)
    found = reference(column, model, f"{data} pairs")
    assert (found.printed, found.state) == (printed, state) if printed else found is None


def test_a_reference_needs_the_same_pretraining():
    column = Column("official", "nlvr2", "test", "fine-tuned", "accuracy")
    assert reference(column, "base", "14M") is None
    assert reference(column, "tiny", "mini world") is None
    assert reference(column, "base", "1B+").printed == "87.0"
    assert reference(column, "base (384 px)", "1B").printed == "87.0"


def test_rows_of_papers_hold_only_the_states_asked_for():
    verified = published_rows()
    assert {cell.state for row in verified for cell in row.cells.values()} == {"verified"}
    everything = published_rows(STATES)
    assert sum(len(row.cells) for row in everything) > sum(len(row.cells) for row in verified)
    assert any(row.model.startswith("BEiT-3") for row in verified)
    with pytest.raises(RecordError, match="unknown state"):
        published_rows(("sure",))


def test_captions_are_kept_in_our_unit_and_as_printed():
    number = next(n for n in numbers() if n.metric == "cider" and n.printed == "133.1")
    assert number.value == 1.331
    assert number.column.scale == 100.0


def test_a_row_without_a_rule_is_an_error_that_names_it():
    with pytest.raises(DataError, match=r"published\.csv:3") as error:
        curate([raw(), raw(setting="few-shot on Mars")], rules())
    assert "few-shot on Mars" in str(error.value)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("X-VLM (216M, 4M)", ("X-VLM", "216000000", "4M")),
        ("BEiT-3 (1.9B)", ("BEiT-3", "1900000000", "")),
        ("X-VLM (16M)", ("X-VLM", "", "16M")),
        ("VinVL (LAVIS card)", ("VinVL (LAVIS card)", "", "")),
    ],
)
def test_sizes_are_told_from_corpora(name, parsed):
    (row,), _ = curate([raw(model=name)], rules())
    assert (row["model"], row["parameters"], row["data"]) == parsed


def test_misprints_have_no_value():
    (row,), _ = curate([raw(value="9.6 [sic; misprint]")], rules())
    assert (row["value"], row["state"]) == ("", "conflicting")
    assert "printed 9.6" in row["note"]
