"""`x2vlm score`'s code path: official annotation and result files in, official numbers out."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files
from benchmarks.metrics import answers, captions, labels, retrieval, winoground
from benchmarks.metrics.languages import by_language
from benchmarks.registry import get
from benchmarks.score import score_file, score_split
from x2vlm.errors import ConfigError, PredictionError
from x2vlm.types import Record

GOLDEN = Path(__file__).parent / "golden" / "scores"


def from_records(task: str, score: Any, records: list[Record], **more: Any) -> Benchmark:
    """A benchmark whose records are given; those of a multilingual one by language."""

    def read(_: Files, __: str, language: str) -> list[Record]:
        return [record for record in records if record.language == language]

    return Benchmark(
        "given", task, "", read, score, "accuracy",  # type: ignore[arg-type]
        {"test": Split("test"), "hidden": Split("test", scored=False)}, **more,
    )  # fmt: skip


def nowhere() -> Files:
    return Files(Path())


@pytest.mark.parametrize("name", ["majority", "yes"])
@pytest.mark.parametrize("variant", ["official", "x2vlm"])
def test_vqav2_numbers_of_both_evaluators(shared: Path, name: str, variant: str) -> None:
    data = shared / "data"
    given = {
        "val": "vqav2/smallval_questions.json",
        "val_annotations": "vqav2/smallval_annotations.json",
    }
    found = score_file(
        get("vqav2"), "val", data / f"vqav2/results_{name}.json", Files(data, given),
        variant=variant,
    )  # fmt: skip
    expected = json.loads((data / "vqav2/COMPUTED_vqa_scores.json").read_text())[name][variant]
    printed = {k: round(m.value or 0.0, 2) for k, m in found.scores.items()}
    assert (found.format, found.n, found.ignored) == ("vqa", 589, 0)
    assert printed == {
        "accuracy": expected["overall"],
        **{f"accuracy/{kind}": value for kind, value in expected["perAnswerType"].items()},
    }


def test_vqav2_results_of_other_questions_are_refused_or_left_out(shared: Path) -> None:
    data = shared / "data"
    given = {
        "val": "vqav2/avail54_questions.json",
        "val_annotations": "vqav2/avail54_annotations.json",
    }
    path = data / "vqav2/results_majority.json"
    with pytest.raises(PredictionError, match="260 not in this split"):
        score_file(get("vqav2"), "val", path, Files(data, given))
    found = score_file(get("vqav2"), "val", path, Files(data, given), extra="ignore")
    assert (found.n, found.ignored) == (329, 260)


@pytest.mark.parametrize("name", ["first400", "avail"])
def test_nlvr2_numbers_of_the_official_script(shared: Path, name: str) -> None:
    data = shared / "data"
    found = score_file(
        get("nlvr2"), "dev", data / f"nlvr2/dev.{name}.predictions.csv",
        Files(data, {"dev": f"nlvr2/dev.{name}.json"}),
    )  # fmt: skip
    text = (data / "nlvr2/COMPUTED_official_metrics.json").read_text()
    expected = json.loads(text)["scores"][f"dev.{name}"]
    for metric, value in expected.items():
        assert found.scores[metric].value == pytest.approx(100 * float(value), abs=1e-12)


def test_xgqa_published_accuracies(shared: Path) -> None:
    data = shared / "data"
    found = score_file(
        get("xgqa"), "test", data / "xgqa/published/uc2_{language}_result.json",
        Files(data, {"test": "gqa/testdev.lxmert.json"}), languages=("en", "de", "bn"),
    )  # fmt: skip
    with (data / "xgqa/published/xGQA_0.csv").open(newline="") as file:
        published = next(row for row in csv.DictReader(file) if row["model"] == "uc2")
    assert (found.format, found.n, found.ignored) == ("gqa", 3 * 9666, 3 * 2912)
    values = {}
    for language in ("en", "de", "bn"):
        values[language] = found.scores[f"accuracy/{language}"].value
        assert values[language] == pytest.approx(float(published[language]), abs=1e-13)
    assert found.scores["accuracy"].value == pytest.approx((values["de"] + values["bn"]) / 2)


@pytest.mark.parametrize("language", ["en", "de", "ja", "zh"])
def test_xflickrco_published_recalls(shared: Path, language: str) -> None:
    folder = shared / "data/iglue/xflickrco"
    lines = (folder / language / "test.jsonl").read_text(encoding="utf-8").splitlines()
    records = [
        Record(json.loads(line)["img_path"], (), ("a text",), {"text_ids": [str(i)]}, language)
        for i, line in enumerate(lines)
    ]
    benchmark = from_records(
        "retrieval", by_language(retrieval.score), records, languages=("en", "de", "ja", "zh")
    )
    found = score_file(
        benchmark, "test", folder / "published/uc2_{language}_result.json", nowhere(),
        languages=(language,),
    )  # fmt: skip
    line = (folder / f"published/uc2_{language}.final.txt").read_text().splitlines()[0]
    printed = ", ".join(
        f"r{k}:{found.scores[f'image_r{k}/{language}'].value:.3f}" for k in (1, 5, 10)
    )
    assert line.startswith(f"Final {printed},")


@pytest.mark.parametrize("model", ["albef_14m", "blip_14m", "clip", "human", "uniter_large"])
def test_winoground_published_models(shared: Path, model: str) -> None:
    folder = shared / "data/winoground/official_scores"
    records = [Record(str(i), (), ()) for i in range(400)]
    benchmark = from_records("matching", winoground.score, records)
    found = score_file(benchmark, "test", folder / f"{model}.jsonl", nowhere())
    values = [found.scores[name].value for name in ("text", "image", "group")]
    expected = json.loads((folder / "EXPECTED.json").read_text())[model]
    assert values == pytest.approx(expected, abs=1e-9)


def test_gqa_dump_of_the_golden(tmp_path: Path) -> None:
    rows = json.loads((GOLDEN / "xgqa.json").read_text())["rows"]
    kept = [row for row in rows if not row[3]]
    records = [Record(name, (), (), {"annotators": [truth]}, "de") for name, _, truth, _ in kept]
    dump = [{"questionId": name, "prediction": answer} for name, answer, _, _ in rows]
    path = tmp_path / "uc2_de.json"
    path.write_text(json.dumps(dump))
    benchmark = from_records(
        "answering", by_language(answers.score_exact), records, languages=("en", "de")
    )
    found = score_file(benchmark, "test", path, nowhere(), languages=("de",))
    right = sum(answer == truth for _, answer, truth, _ in kept)
    assert found.scores["accuracy/de"].value == pytest.approx(100 * right / len(kept))
    assert (found.n, found.ignored) == (len(kept), len(rows) - len(kept))
    assert found.ignored > 0


def test_captions_of_nlg_eval_as_a_results_file(tmp_path: Path) -> None:
    """The published numbers, from a file as COCO's server takes it."""
    golden = json.loads((GOLDEN / "captions.json").read_text())["corpus"]
    records = [
        Record(str(i), (), tuple(references)) for i, (_, *references) in enumerate(golden["rows"])
    ]
    path = tmp_path / "captions_test_results.json"
    path.write_text(json.dumps([
        {"image_id": i, "caption": caption} for i, (caption, *_) in enumerate(golden["rows"])
    ]))  # fmt: skip
    found = score_file(from_records("captioning", captions.score, records), "test", path, nowhere())
    assert (found.format, found.n) == ("coco_captions", len(records))
    names = {"Bleu_4": "bleu4", "METEOR": "meteor", "ROUGE_L": "rouge_l", "CIDEr": "cider"}
    for theirs, ours in names.items():
        expected = golden["expected"][theirs]
        assert found.scores[ours].value == pytest.approx(expected, abs=5e-6), ours


def test_label_names_are_looked_up() -> None:
    records = [Record(str(i), (), (), {"label": 1}) for i in range(3)]
    benchmark = from_records("classification", labels.score, records)
    rows = [{"id": str(i), "label": label} for i, label in enumerate(("True", "true", 0))]
    found = score_split(benchmark, records, rows, labels=("False", "True"))
    assert found["accuracy"].value == pytest.approx(200 / 3)
    with pytest.raises(PredictionError, match="did you mean 'True'"):
        score_split(
            benchmark, records[:1], [{"id": "0", "label": "Treu"}], labels=("False", "True")
        )


def test_a_limit_scores_the_first_records_of_whole_predictions(tmp_path: Path) -> None:
    records = [Record(str(i), (), (), {"annotators": ["yes"]}) for i in range(5)]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f'{{"id": "{i}", "answer": "yes"}}\n' for i in range(5)))
    benchmark = from_records("answering", answers.score_exact, records)
    found = score_file(benchmark, "test", path, nowhere(), limit=2)
    assert (found.n, found.ignored, found.scores["accuracy"].n) == (2, 3, 2)


def test_options_of_a_metric_are_checked(tmp_path: Path) -> None:
    benchmark = from_records("answering", answers.score_vqa, [])
    with pytest.raises(ConfigError, match="did you mean 'variant'"):
        score_split(benchmark, [], [], varriant="official")
    with pytest.raises(ConfigError, match="not public"):
        score_file(benchmark, "hidden", tmp_path, nowhere())


def test_scoring_imports_no_torch() -> None:
    code = "import sys, benchmarks.score, benchmarks.submission; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
