"""The bench runs, and what it prints agrees with itself."""

import subprocess
import sys
from pathlib import Path

import pytest
import small
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests import bench_steps
from tests.bench import _captions
from tests.bench_coco import COCO_HEAD, Shape, costs, duration, image_flop, pair_flop
from tests.bench_table import HEAD
from x2vlm.model.config import PRESETS
from x2vlm.tasks.beam import Search, generate
from x2vlm.tasks.features import encode_tokens
from x2vlm.tasks.rerank import PairScorer

TOP = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> list[tuple[list[str], list[list[str]]]]:
    """The tables: (head, rows)."""
    command = [sys.executable, "-m", "tests.bench", "--size", "tiny", "--quick", "--threads", "1"]
    done = subprocess.run(
        [*command, *arguments], cwd=TOP, capture_output=True, text=True, check=True
    )
    parts = done.stdout.strip().split("\n\n")
    tables = [[line.split(" | ") for line in part.splitlines()[1:]] for part in parts]
    return [(head, rows) for head, *rows in tables]


def test_every_path_runs_and_agrees_with_its_twin(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n", encoding="utf-8")
    (head, paths), (again, growth), (coco, facts) = run("--out", str(page))
    assert (head, again, coco) == (HEAD, HEAD, COCO_HEAD)
    assert {row[0].split(",")[0] for row in paths} == {
        "re-ranking", "answer ranking", "answering from pixels", "captioning", "texts", "images",
        "training step",
    }  # fmt: skip
    for row in (*paths, *growth):
        assert len(row) == len(head)
        assert float(row[2]) > 0
        difference = row[-1].split()[0]
        if row[1] != "—" and "bfloat16" not in row[0] and "equal" not in row[-1]:
            assert float(difference) < 1e-4, row
    assert all(row[1] != "—" for row in paths)
    (captions,) = [row for row in paths if row[0].startswith("captioning")]
    assert captions[-1].startswith("2 of 2 captions equal")
    told = {row[0]: row[1:] for row in facts}
    assert {"complete, extrapolated", "achieved", "bound by"} < told.keys()
    assert all(len(values) == 2 for values in told.values())
    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n<!-- bench -->\nCommand: `python -m tests.bench")
    assert written.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in written
    for row in (*paths, *growth, *facts):
        assert f"| {' | '.join(row)} |\n" in written


def test_costs_are_those_that_explain_both_runs() -> None:
    runs = [(Shape(i, t), 0.5 * i + 0.01 * i * t) for i, t in ((200, 4), (2, 256))]
    assert costs(runs) == pytest.approx((0.5, 0.01))


def test_operations_are_those_that_torch_counts() -> None:
    """Attention is split into products, so that they are counted on any version and device."""
    model, length = small.model("contrastive", "matching"), 7
    text_ML = torch.full((5, length), 9)
    with torch.inference_mode():
        image_1VD = model.encode_image(torch.randn(1, 3, small.SIZE, small.SIZE))
        scorer = PairScorer(model, encode_tokens(model, text_ML, torch.ones_like(text_ML)))
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as memory_counter:
            memory = model.memory(image_1VD)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            fused = scorer._first_tokens(memory, range(5))
    assert fused.shape[0] == 5
    assert memory_counter.get_total_flops() == image_flop(model.config)
    assert counter.get_total_flops() == 5 * sum(pair_flop(model.config, length))


def test_a_pair_of_base_at_384_needs_what_the_page_says() -> None:
    config = PRESETS["base"].with_image_size(384)
    assert sum(pair_flop(config)) == pytest.approx(1.2e9, rel=0.05)
    twin = image_flop(config) + sum(pair_flop(config, 40))
    assert 8.1e9 < image_flop(config) < 8.3e9
    assert twin > 11e9


def test_durations_are_told_in_a_fitting_unit() -> None:
    assert [duration(s) for s in (1.234, 600, 36000)] == ["1.23 s", "10.0 min", "10.0 h"]


def test_captions_that_differ_are_searched_again_without_rounding() -> None:
    model, search = small.model("mlm"), Search((2, 7, 8), 4, 3, 2, 2, 6)
    with torch.inference_mode():
        image_BVD = model.encode_image(torch.randn(3, 3, small.SIZE, small.SIZE))
        found = generate(model, image_BVD, search)
    other = [found[0], [*found[1][:-1], 9], found[2]]
    assert _captions(model, image_BVD, search, found, found) == "3 of 3 captions equal"
    told = _captions(model, image_BVD, search, found, other)
    assert told == "2 of 3 captions equal, 3 of 3 in float64"


def test_steps_are_measured_in_every_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "steps.md"
    bench_steps.main(["--sizes", "tiny", "--batches", "2", "--out", str(page)])
    head, *rows = (line.split(" | ") for line in capsys.readouterr().out.splitlines())
    assert head == bench_steps.HEAD
    assert [row[0].split(", ")[0] for row in rows] == [
        "tiny: pre-training", "tiny: pre-training", "tiny: retrieval"
    ]  # fmt: skip
    assert page.read_text(encoding="utf-8").count("\n| tiny") == 3
    for row in rows:
        assert len(row) == len(head)
        assert all(float(row[head.index(name)]) > 0 for name in ("samples/s", "operators"))
