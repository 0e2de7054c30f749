import csv
import io
import json
from pathlib import Path

import pytest
from synthetic_runs import make_record

from benchmarks.metrics.stats import Measure
from leaderboards.aggregate import FLAGS
from leaderboards.board import Cell, Column, Row, boards_of
from leaderboards.export import FORMATS, labels, marks_of, size_text, to_csv, to_json
from leaderboards.published import STATES
from leaderboards.suite import suite_table

GOLDEN = Path(__file__).parent / "golden" / "boards"
NASTY = 'x|y_<script>alert("&")</script>'


def golden_tables():
    """A board with everything that can happen in one: seeds, holes, flags, floors, papers."""
    column = Column("official", "nlvr2", "test", "fine-tuned", "accuracy")
    papers = [
        Row("published", "X2-VLM base", "4M", 255_000_000,
            {column: Cell(86.1, printed="86.1", state="verified", source="S")}),
        Row("published", "X2-VLM large", "1B", 593_000_000,
            {column: Cell(88.7, printed="88.7", state="memory", source="memory")}),
    ]  # fmt: skip
    small = {"name": "base", "parameters": 255_000_000, "pretraining": "4M"}
    records = [
        make_record(suite="official", model=small, seed=1, value=85.9, error=0.41),
        make_record(suite="official", model=small, seed=2, value=86.3, error=0.41),
        make_record(suite="official", model={"name": NASTY}, value=51.0, limit=100),
        make_record("vqav2", suite="official", model=small, split="val", value=77.125),
        make_record("vqav2", suite="official", split="val", metrics={"accuracy": Measure(None, 0)}),
        make_record(value=60.0, floor={"value": 75.0, "met": False}),
        make_record("coco_captioning", headline="cider", value=1.0625, error=0.03),
        make_record("refcoco", revision={"commit": None, "dirty": None}, path="runs/r/record.json"),
    ]
    return boards_of(records, ("limited",), papers)


@pytest.mark.parametrize("name", FORMATS)
def test_exports_equal_their_goldens_byte_for_byte(name):
    suffix, write = FORMATS[name]
    for table in golden_tables():
        path = GOLDEN / f"{table.suite}-{table.board.name}{suffix}"
        assert write(table) == path.read_text(encoding="utf-8"), path


def test_every_golden_is_made_by_the_test():
    made = {f"{t.suite}-{t.board.name}{s}" for t in golden_tables() for s, _ in FORMATS.values()}
    assert {path.name for path in GOLDEN.iterdir()} == made


def test_markup_in_names_stays_text():
    texts = {name: write(golden_tables()[0]) for name, (_, write) in FORMATS.items()}
    assert "<script>" not in texts["html"]
    assert "<script>" not in texts["md"]
    assert r"x\|y\_&lt;script&gt;" in texts["md"]
    assert r"x\textbar{}y\_\textless{}script" in texts["tex"]
    assert NASTY in [row["model"] for row in json.loads(texts["json"])["rows"]]
    assert NASTY in [row["model"] for row in csv.DictReader(io.StringIO(texts["csv"]))]


def test_every_state_but_verified_and_every_flag_is_marked():
    for state in STATES[1:]:
        assert marks_of(Cell(1.0, state=state)) == [state]
    assert marks_of(Cell(1.0, state="verified")) == []
    assert marks_of(Cell(1.0, flags=FLAGS)) == list(FLAGS)


@pytest.mark.parametrize("name", ["md", "tex", "html"])
def test_published_rows_are_told_from_ours(name):
    table = next(t for t in golden_tables() if t.board.name == "understanding")
    text = FORMATS[name][1](table)
    assert "X2-VLM base (paper)" in text
    assert text.count("(paper)") == sum(row.kind == "published" for row in table.rows)


def test_breaks_of_lines_do_not_break_a_table():
    table = boards_of([make_record(model={"name": "one\r\ntwo\u2028three"})])[0]
    assert "\n| one two three | mini world |" in FORMATS["md"][1](table)
    assert "\none  two" not in FORMATS["tex"][1](table)


def test_html_tells_what_was_refused():
    table = next(t for t in golden_tables() if t.suite == "mini" and t.board.name == "overview")
    assert "Refused: runs/r/record.json: refused, revision unknown" in FORMATS["html"][1](table)


def test_latex_balances_braces_and_columns():
    for table in golden_tables():
        text = FORMATS["tex"][1](table)
        assert text.count("{") == text.count("}")
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len({line.replace(r"\&", "").count("&") for line in rows}) == 1


def test_json_and_csv_keep_all_digits_and_leave_holes_empty():
    table = next(t for t in golden_tables() if t.board.name == "understanding")
    rows = json.loads(to_json(table))["rows"]
    cells = [cell for row in rows for cell in row["cells"] if cell]
    assert 77.125 in [cell["value"] for cell in cells]
    assert None in [cell["value"] for cell in cells]
    values = [row["value"] for row in csv.DictReader(io.StringIO(to_csv(table)))]
    assert "77.125" in values
    assert "" in values


def test_captions_are_shown_as_papers_print_them():
    table = next(t for t in golden_tables() if t.board.name == "captioning")
    assert "106.25 ± 3.00" in FORMATS["md"][1](table)
    assert '"value": 1.0625' in to_json(table)


def test_labels_say_shared_parts_once():
    columns = [Column("mini", "a", "test", "zero-shot", m) for m in ("text", "image")]
    assert labels(columns) == ("a, test, zero-shot", ["text", "image"])
    assert labels(columns[:1]) == ("", ["a test text zero-shot"])
    assert labels([]) == ("", [])


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (593_000_000, "593M"), (1_800_000, "1.8M"), (2_100_000_000, "2.1B"), (999, "999")],
)
def test_sizes_for_people(count, text):
    assert size_text(count) == text


def test_suite_table_prints_writes_and_says_where(tmp_path):
    records = [
        make_record(floor={"value": 65.0, "met": True}, model={"name": NASTY}),
        make_record("vqav2", value=20.0, floor={"value": 50.0, "met": False}),
        make_record("ovad", metrics={"map": Measure(None, 0)}, headline="map"),
        make_record("refcoco", limit=4, path="runs/part/record.json"),
    ]
    text = suite_table(records, tmp_path)
    assert r"x\|y\_&lt;script&gt;" in text
    assert "| nlvr2 | test | accuracy | 70.00 | 1000 | 0.50 | 50.00 | 65.00 | yes |" in text
    assert "| vqav2 | test | accuracy | 20.00 | 1000 | 0.50 | 50.00 | 50.00 | **no** |" in text
    assert "1 of 2 floors met; missed: vqav2." in text
    assert "runs/part/record.json: refused, limited to 4 records" in text
    assert str(tmp_path / "suite.md") in text
    assert (tmp_path / "suite.md").read_text(encoding="utf-8") in text
    rows = list(csv.DictReader((tmp_path / "suite.csv").read_text("utf-8").splitlines()))
    assert [row["benchmark"] for row in rows] == ["nlvr2", "ovad", "vqav2"]
    assert rows[1]["value"] == ""
    assert rows[0]["floor_met"] == "True"


if __name__ == "__main__":  # writes the goldens anew: python tests/test_export.py
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    for made in golden_tables():
        for suffix, write in FORMATS.values():
            path = GOLDEN / f"{made.suite}-{made.board.name}{suffix}"
            path.write_text(write(made), encoding="utf-8", newline="\n")
