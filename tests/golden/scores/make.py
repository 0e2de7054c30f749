"""Cut the score goldens out of the data pack: python tests/golden/scores/make.py ../shared/data

Published totals are kept whole where numbers suffice (ranks, orders, truth values); of texts only a
few rows are kept. Sources and licences: VQA v2 and GQA annotations CC BY 4.0; NLVR2 annotations CC
BY 4.0; Winoground per-example scores and IGLUE result lists as published by their authors (only
orders and ranks derived from them are kept); nlg-eval's example sentences MIT.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODELS = ("albef_14m", "blip_14m", "clip", "human", "uniter_large")


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def vqa(data: Path) -> dict[str, Any]:
    """Rows whose annotators disagree on something that normalisation touches; ten of each type."""
    answers = {r["question_id"]: r["answer"] for r in load(data / "vqav2/results_majority.json")}
    kept: dict[str, list[Any]] = {"yes/no": [], "number": [], "other": []}
    for row in load(data / "vqav2/smallval_annotations.json")["annotations"]:
        texts = [item["answer"] for item in row["answers"]]
        words = {word for text in texts for word in text.split()}
        plain = not words & {"a", "an", "the", "one", "two", "none", "dont"} and all(
            letter.isalnum() or letter == " " for text in texts for letter in text
        )
        if len(kept[row["answer_type"]]) < 10 and not (plain and row["answer_type"] != "yes/no"):
            kept[row["answer_type"]].append([answers[row["question_id"]], texts])
    return {"rows": kept}


def nlvr2(data: Path) -> dict[str, Any]:
    with (data / "nlvr2/dev.first400.predictions.csv").open(newline="") as file:
        predicted = dict(csv.reader(file))
    rows = [
        [row["identifier"], row["label"], predicted[row["identifier"]]]
        for row in lines(data / "nlvr2/dev.first400.json")
    ]
    return {
        "rows": rows,
        "expected": load(data / "nlvr2/COMPUTED_official_metrics.json")["scores"]["dev.first400"],
    }


def winoground(data: Path) -> dict[str, Any]:
    """Per model and example the order of the four scores as digits; equal scores, equal digits."""
    folder = data / "winoground/official_scores"
    orders = {}
    for model in MODELS:
        scores = {row["label"]: row["score"] for row in lines(folder / f"{model}.jsonl")}
        orders[model] = []
        for example in range(400):
            four = [scores[f"{example}_c{c}_i{i}"] for c in (0, 1) for i in (0, 1)]
            levels = sorted(set(four))
            orders[model].append("".join(str(levels.index(score)) for score in four))
    expected = load(folder / "EXPECTED.json")
    return {"orders": orders, "expected": {model: expected[model] for model in MODELS}}


def xgqa(data: Path) -> dict[str, Any]:
    """Forty questions, and how many of all are answered rightly in the published dumps."""
    left_out = set(load(data / "xgqa/published/excluded_question_ids.json"))
    truth = {row["question_id"]: row["label"] for row in load(data / "gqa/testdev.lxmert.json")}
    dump = load(data / "xgqa/published/uc2_de_result.json")[:40]
    rows = [
        [row["questionId"], row["prediction"], next(iter(truth[row["questionId"]])),
         row["questionId"] in left_out]
        for row in dump
    ]  # fmt: skip
    return {"rows": rows}


def xflickrco(data: Path) -> dict[str, Any]:
    """Place of the right image in each published list, 0 when it is not in it; published R@k."""
    folder = data / "iglue/xflickrco/published"
    found = {}
    for language in ("en", "de"):
        lists = load(folder / f"uc2_{language}_result.json")
        places = [row.index(i) + 1 if i in row else 0 for i, row in enumerate(lists)]
        line = (folder / f"uc2_{language}.final.txt").read_text().splitlines()[0]
        recalls = [part.split(":")[1] for part in line.removeprefix("Final ").split(", ")[:3]]
        found[language] = {"places": places, "expected": recalls}
    return found


def captions(data: Path) -> dict[str, Any]:
    folder = data / "coco_caption/nlgeval"
    expected = load(folder / "EXPECTED.json")
    texts = {
        name: (folder / f"{name}.txt").read_text().splitlines() for name in ("hyp", "ref1", "ref2")
    }
    pairs = list(zip(texts["hyp"], texts["ref1"], texts["ref2"], strict=True))
    corpus = {"rows": pairs, "expected": expected["corpus"]}
    single = {
        "rows": [[expected["single"]["hyp"], *expected["single"]["refs"]]],
        "expected": expected["single"],
    }
    for case in (corpus, single):
        case["expected"] = {
            k: v for k, v in case["expected"].items() if isinstance(v, (int, float))
        }
    return {"corpus": corpus, "single": single}


def main(data: Path) -> None:
    for cut in (vqa, nlvr2, winoground, xgqa, xflickrco, captions):
        text = json.dumps(cut(data), ensure_ascii=False)
        (HERE / f"{cut.__name__}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
