import math

import pandas as pd
import pytest
from synthetic_runs import make_record

from benchmarks.metrics.stats import Measure
from benchmarks.registry import NAMES
from leaderboards.aggregate import long_table, over_seeds
from leaderboards.board import Cell, Column, Row, board_table, boards_of, get_board
from leaderboards.boards import BOARDS, Board, Want
from leaderboards.published import published_rows
from x2vlm.errors import RecordError

RETRIEVAL = ("coco_retrieval", "flickr30k_retrieval")


def table(board, records, suite="mini", published=(), allow=()):
    return board_table(board, over_seeds(long_table(records, allow).rows), suite, published)


def recall_record(benchmark, model="tiny", value=50.0, **changes):
    metrics = {name: Measure(value, 10, 1.0) for name in ("text_r1", "image_r1")}
    model = {"name": model}
    return make_record(benchmark, metrics=metrics, headline="text_r1", model=model, **changes)


def test_every_registered_benchmark_has_a_board_of_its_own_group():
    grouped = [w.benchmark for b in BOARDS for w in b.wants if w.benchmark != "*"]
    assert sorted(set(grouped)) == sorted(NAMES)


def test_names_of_boards_are_unique_and_a_miss_names_the_close_one():
    assert len({board.name for board in BOARDS}) == len(BOARDS)
    with pytest.raises(RecordError, match="did you mean 'retrieval'"):
        get_board("retreival")


def test_a_row_with_a_hole_has_a_blank_and_no_average():
    records = [
        recall_record("coco_retrieval", "a", 40.0),
        recall_record("flickr30k_retrieval", "a", 60.0),
        recall_record("coco_retrieval", "b", 45.0),
    ]
    made = table(get_board("retrieval"), records)
    assert len(made.columns) == 4
    by_model = {row.model: row for row in made.rows}
    assert by_model["a"].average == 50.0
    assert by_model["b"].average is None
    assert len(by_model["b"].cells) == 2
    frame = made.frame().set_index("model")
    assert pd.isna(frame.loc["b", "average"])
    assert frame.loc["b"].isna().sum() >= 3


def test_the_average_is_over_the_columns_that_ours_fill():
    def cells(protocol, value):
        return {Column("official", benchmark, "test", protocol, metric): Cell(value)
                for benchmark in RETRIEVAL for metric in ("text_r1", "image_r1")}  # fmt: skip

    papers = [Row("published", "both", "", None, cells("fine-tuned", 70.0) | cells("zero-shot", 9)),
              Row("published", "other", "", None, cells("zero-shot", 9.0))]  # fmt: skip
    records = [recall_record(benchmark, suite="official") for benchmark in RETRIEVAL]
    made = table(get_board("retrieval"), records, "official", papers)
    assert len(made.columns) == 8
    averages = {row.model: row.average for row in made.rows}
    assert averages == {"tiny": 50.0, "both": 70.0, "other": None}


def test_published_splits_that_ours_lack_have_columns():
    made = {t.board.name: t for t in boards_of(
        [make_record("vqav2", suite="official", split="val"),
         make_record("msvd_qa", suite="official")], (), published_rows())}  # fmt: skip
    found = {(c.benchmark, c.split, c.protocol) for c in made["understanding"].columns}
    for wanted in (("vqav2", "test-dev"), ("refcoco_plus", "testB"), ("nlvr2", "test")):
        assert (*wanted, "fine-tuned") in found
    assert ("msrvtt_qa", "test") in {(c.benchmark, c.split) for c in made["video"].columns}


def test_a_board_tells_the_refusals_of_its_own_benchmarks():
    records = [make_record(), make_record("ovad", limit=3), make_record("refcoco", limit=3)]
    told = {t.board.name: [r.benchmark for r in t.refused] for t in boards_of(records)}
    assert told == {"overview": ["ovad", "refcoco"], "understanding": ["refcoco"]}


def test_an_undefined_value_is_a_hole_too():
    board = Board("x", "X", (Want("*"),), average=True)
    records = [make_record(), make_record("vqav2", metrics={"accuracy": Measure(None, 0)})]
    assert table(board, records).rows[0].average is None


def test_two_protocols_never_share_a_column():
    made = table(get_board("overview"), [make_record(), make_record(protocol="zero-shot")])
    assert [column.protocol for column in made.columns] == ["fine-tuned", "zero-shot"]
    assert len(made.rows) == 1


def test_suites_never_share_a_board():
    records = [make_record(), make_record(suite="official", value=80.0)]
    tables = boards_of(records)
    assert [(t.suite, t.board.name) for t in tables] == [
        ("official", "overview"),
        ("official", "understanding"),
        ("mini", "overview"),
        ("mini", "understanding"),
    ]
    assert all(len(t.rows) == 1 for t in tables)


def test_best_and_second_follow_the_direction_of_the_metric():
    def record(model, accuracy, rank):
        metrics = {"accuracy": Measure(accuracy, 9), "rank": Measure(rank, 9)}
        return make_record(metrics=metrics, model={"name": model}, lower_is_better=("rank",))

    board = Board("x", "X", (Want("*", ("accuracy", "rank")),))
    made = table(board, [record("a", 70, 3), record("b", 80, 2), record("c", 60, 9)])
    ranks = {row.model: [row.cells[column].rank for column in made.columns] for row in made.rows}
    assert ranks == {"a": [2, 2], "b": [1, 1], "c": [None, None]}
    assert [row.model for row in made.rows] == ["b", "a", "c"]


def test_doubtful_values_take_no_rank():
    records = [
        make_record(model={"name": "whole"}, value=50.0),
        make_record(model={"name": "other"}, value=40.0),
        make_record(model={"name": "part"}, value=99.0, limit=3),
    ]
    made = table(get_board("overview"), records, allow=("limited",))
    ranks = {row.model: row.cells[made.columns[0]].rank for row in made.rows}
    assert ranks == {"whole": 1, "other": 2, "part": None}


def test_a_single_value_is_neither_best_nor_second():
    made = table(get_board("overview"), [make_record()])
    assert made.rows[0].cells[made.columns[0]].rank is None


def test_published_rows_stand_beside_ours_and_share_columns_by_protocol():
    column = Column("official", "nlvr2", "test", "fine-tuned", "accuracy")
    other = Column("official", "nlvr2", "test", "zero-shot", "accuracy")
    paper = Row("published", "X", "4M", None, {column: Cell(86.1, state="verified"),
                                              other: Cell(50.0, state="verified")})  # fmt: skip
    ours = make_record(suite="official", value=80.0)
    made = table(get_board("understanding"), [ours], "official", [paper])
    assert [row.kind for row in made.rows] == ["ours", "published"]
    assert [c.protocol for c in made.columns] == ["fine-tuned", "zero-shot"]
    assert made.rows[0].cells[column].rank == 2
    assert other not in made.rows[0].cells


def test_ablations_stay_on_their_own_board():
    model = {"pretraining": "ablation: no boxes"}
    records = [make_record(), make_record("vqav2", model=model)]
    names = {t.board.name: [row.pretraining for row in t.rows] for t in boards_of(records)}
    assert names["ablation"] == ["ablation: no boxes"]
    assert names["overview"] == ["mini world"]


def test_seeds_reach_the_cell():
    records = [make_record(seed=s, value=v) for s, v in ((1, 70.0), (2, 74.0))]
    cell = table(get_board("overview"), records).rows[0].cells.popitem()[1]
    assert (cell.value, cell.seeds) == (72.0, (1, 2))
    assert cell.sd == pytest.approx(math.sqrt(8))


def test_languages_become_columns():
    metrics = {f"accuracy{part}": Measure(50.0, 9) for part in ("", "/de", "/en")}
    made = table(get_board("multilingual"), [make_record("xgqa", metrics=metrics)])
    assert [c.metric for c in made.columns] == ["accuracy", "accuracy/de", "accuracy/en"]
