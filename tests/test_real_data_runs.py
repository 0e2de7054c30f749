"""Every benchmark with both records and images in the pack of real data: a run, to its record."""

from pathlib import Path

import pytest

from benchmarks.predictions import stream
from benchmarks.record import ResultRecord
from benchmarks.registry import get
from leaderboards.aggregate import flags_of
from x2vlm.cli import main

SPLITS = {
    "coco_retrieval": "test", "flickr30k_retrieval": "test", "coco_captioning": "test",
    "vqav2": "val", "nlvr2": "dev", "refcoco": "val", "refcoco_plus": "testB", "refcocog": "val",
    "winoground": "test", "msrvtt_retrieval": "test", "msrvtt_qa": "val", "msvd_qa": "test",
    "gqa": "testdev", "xgqa": "test", "multi30k": "test", "coco_multilingual": "test",
    "xvnli": "test", "xflickrco": "test",
}  # fmt: skip
LANGUAGES = {"xgqa": 1, "multi30k": 4, "coco_multilingual": 1, "xvnli": 5, "xflickrco": 8}
"""languages whose files are in the pack, where a benchmark has several"""


@pytest.mark.parametrize("name", SPLITS)
def test_a_run_on_real_records_and_images(name: str, shared: Path, tmp_path: Path) -> None:
    words = [
        f"benchmark={name}", f"split={SPLITS[name]}", f"data={shared / 'data'}", "limit=2",
        f"model={'multilingual-tiny' if name in LANGUAGES else 'tiny'}", "model.random=true",
        "protocol=zero-shot", f"out={tmp_path}", "name=run", "device=cpu", "predict.batch_size=4",
    ]  # fmt: skip
    assert main(["run", *words]) == 0
    record = ResultRecord.read(tmp_path / "run" / "record.json")
    assert (record.benchmark, record.split) == (name, SPLITS[name])
    assert record.n == 2 * LANGUAGES.get(name, 1)
    assert record.skipped == ()
    rows = list(stream(tmp_path / "run" / "predictions.jsonl", get(name).task))
    assert record.predictions["count"] == len(rows) >= record.n
    assert {"limited", "partial"} <= flags_of(record).keys()
