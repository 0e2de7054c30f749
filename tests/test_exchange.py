import json

import numpy as np
import pytest
import yaml
from synthetic_runs import SCORERS, make_record, make_run

from benchmarks.metrics.stats import Measure
from leaderboards.exchange import harness_results, harness_samples, model_index, write_harness
from x2vlm.errors import RecordError

TASKS = [task for task in SCORERS if task != "captioning"]


def test_harness_results_have_the_keys_its_readers_use():
    runs = [make_run(task, n=8) for task in TASKS]
    found = harness_results(runs)
    names = [f"{run.benchmark.name}_test" for run in runs]
    for key in ("results", "configs", "versions", "n-shot", "higher_is_better", "n-samples"):
        assert sorted(found[key]) == sorted(names), key
    accuracy = runs[1].record.metrics["accuracy"]
    assert found["results"]["vqav2_test"]["accuracy,none"] == accuracy.value
    assert found["results"]["vqav2_test"]["accuracy_stderr,none"] == accuracy.standard_error
    assert found["n-samples"]["vqav2_test"] == {"original": 8, "effective": 8}
    assert found["model_name"] == "tiny"


def test_undefined_is_not_a_number():
    run = make_run("answering", n=4, metrics={"accuracy": Measure(None, 0)})
    assert harness_results([run])["results"]["vqav2_test"]["accuracy,none"] == "N/A"


def test_one_file_holds_one_model_and_each_benchmark_once():
    with pytest.raises(RecordError, match="each benchmark once"):
        harness_results([make_run("answering", n=4), make_run("answering", n=4, seed=1)])
    other = make_run("grounding", n=4, model={"name": "base"})
    with pytest.raises(RecordError, match=r"models \['base', 'tiny'\]"):
        harness_results([make_run("answering", n=4), other])


@pytest.mark.parametrize("task", TASKS)
def test_samples_carry_scores_that_average_to_the_metric(task):
    run = make_run(task, n=20)
    rows = harness_samples(run)
    assert [row["doc_id"] for row in rows] == list(range(len(rows)))
    for name in {name for row in rows for name in row["metrics"]} - {"box_ap"}:
        values = [row[name] for row in rows if name in row]
        assert 100 * np.mean(values) == pytest.approx(run.record.metrics[name].value)
    assert all(len(row["doc_hash"]) == len(row["target_hash"]) == 64 for row in rows)


def test_files_are_written_and_equal_for_equal_runs(tmp_path):
    runs = [make_run(task, n=6) for task in ("retrieval", "grounding")]
    paths = write_harness(runs, tmp_path / "a")
    assert [path.name for path in paths] == [
        "results.json", "samples_coco_retrieval_test.jsonl", "samples_refcoco_plus_test.jsonl"
    ]  # fmt: skip
    again = write_harness(runs, tmp_path / "b")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    rows = [json.loads(line) for line in paths[1].read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6 + 12
    assert rows[0]["resps"][0][0]["ranking"]["text"][0][1] >= 1.0


def test_model_index_follows_the_hub():
    metrics = {"consistency": Measure(40.0, 10, 2.0), "accuracy": Measure(70.12346, 20, 1.5),
               "other": Measure(None, 0)}  # fmt: skip
    records = [make_record(metrics=metrics), make_record("vqav2", limit=3, path="part")]
    text, refused = model_index(records, "me/x2vlm-tiny")
    assert [refusal.record for refusal in refused] == ["part"]
    (card,) = yaml.safe_load(text)["model-index"]
    (result,) = card["results"]
    assert card["name"] == "me/x2vlm-tiny"
    assert result["dataset"] == {
        "type": "nlvr2", "name": "NLVR2: true or false of two images (mini)", "split": "test"
    }  # fmt: skip
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("accuracy", 70.1235), ("consistency", 40.0)
    ]  # fmt: skip
    assert result["metrics"][0]["args"]["standard_error"] == 1.5
    with pytest.raises(RecordError, match="limited to 3"):
        model_index(records[1:], "me")
