"""Small made-up records and run folders, so that boards and site are tested without a model."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.base import Benchmark, Split
from benchmarks.metrics import answers, attributes, boxes, captions, labels, retrieval, winoground
from benchmarks.metrics.retrieval import Ranking
from benchmarks.metrics.stats import Measure
from benchmarks.record import ResultRecord
from leaderboards.runs import Run
from x2vlm.types import Media, Prediction, Record


def make_record(benchmark: str = "nlvr2", **changes: Any) -> ResultRecord:
    """A clean, complete record. changes: any field; `value` and `error` are the headline's."""
    value, error = changes.pop("value", 70.0), changes.pop("error", 0.5)
    headline = changes.pop("headline", "accuracy")
    model = {"name": "tiny", "parameters": 1_800_000, "resolution": 64, "pretraining": "mini world"}
    fields: dict[str, Any] = {
        "benchmark": benchmark,
        "benchmark_version": 1,
        "split": "test",
        "protocol": "fine-tuned",
        "headline": headline,
        "metrics": {headline: Measure(value, 1000, error)},
        "n": 1000,
        "limit": None,
        "seed": 42,
        "model": {**model, **changes.pop("model", {})},
        "predictions": {"file": "predictions.jsonl", "sha256": "0" * 64, "count": 1000},
        "config": {"benchmark": benchmark},
        "revision": {"commit": "a" * 40, "dirty": False},
        "packages": {"torch": "2.6.0"},
        "hardware": {"device": "cpu", "cpus": 2},
        "created": "2026-01-01T00:00:00+00:00",
        "suite": "mini",
        "chance": {headline: 50.0},
        "perfect": 100.0,
    }
    return ResultRecord(**{**fields, **changes})


def write_run(
    folder: Path, record: ResultRecord, predictions: list[dict[str, Any]] | None = None
) -> Path:
    """A run folder with record.json, predictions.jsonl (whose hash it holds) and train.jsonl."""
    lines = "".join(json.dumps(row) + "\n" for row in predictions or [])
    digest = hashlib.sha256(lines.encode()).hexdigest()
    stated = {**record.predictions, "sha256": digest}
    replace(record, predictions=stated).write(folder / "record.json")
    (folder / "predictions.jsonl").write_text(lines, encoding="utf-8")
    steps = [{"step": n, "loss": 3.0 / (n + 1), "lr": 1e-4} for n in range(0, 50, 10)]
    train = "".join(json.dumps(row) + "\n" for row in steps)
    (folder / "train.jsonl").write_text(train, encoding="utf-8")
    return folder


NASTY = '<script>alert("x")</script><img src=x onerror=alert(1)>'
SCORERS: dict[str, tuple[Any, str]] = {
    "retrieval": (retrieval.score, "text_r1"),
    "answering": (answers.score_vqa, "accuracy"),
    "classification": (labels.score, "accuracy"),
    "grounding": (boxes.score, "accuracy"),
    "captioning": (captions.score, "cider"),
    "matching": (winoground.score, "group"),
    "attributes": (attributes.score, "map"),
}
NAMES = {
    "retrieval": "coco_retrieval",
    "answering": "vqav2",
    "classification": "nlvr2",
    "grounding": "refcoco_plus",
    "captioning": "coco_captioning",
    "matching": "winoground",
    "attributes": "ovad",
}
WORDS = ("red", "blue", "green", "yellow")


def make_benchmark(task: Any, name: str = "") -> Benchmark:
    """A benchmark of one task with its real metric, and no files."""
    score, headline = SCORERS[task]
    return Benchmark(
        name or NAMES[task], task, f"Made-up {task}", read=_no_files, score=score,
        headline=headline, splits={"test": Split("test")}, chance={headline: 10.0},
        licence="none", paper="A paper", url="https://example.org",
    )  # fmt: skip


def _no_files(*_: Any) -> list[Record]:
    return []


def make_run(
    task: str,
    folder: Path | None = None,
    *,
    n: int = 30,
    skill: float = 0.7,
    seed: int = 0,
    name: str = "",
    **changes: Any,
) -> Run:
    """A run whose answers are right with probability `skill`; pictures below `folder`, if given."""
    rng = np.random.default_rng(seed)
    media = folder / "media" if folder else Path("nowhere")
    if folder:
        _draw(media, n)
    samples = [_sample(task, i, media) for i in range(n)]
    rows: list[Prediction] = []
    for i, sample in enumerate(samples):
        rows += _predictions(task, sample, samples, bool(rng.random() < skill), rng, i)
    if task == "retrieval":  # images first, then texts: as a joined file has them
        rows.sort(key=lambda row: "image" in row["ranking"])
    benchmark = make_benchmark(task)
    names = list(WORDS) if task in ("classification", "attributes") else []
    scores = {} if task == "captioning" else benchmark.score(samples, rows)
    scores = scores or {"cider": Measure(1.1, n, 0.1)}
    fields = {"metrics": scores, "n": n, "chance": dict(benchmark.chance), "seed": seed}
    record = make_record(benchmark.name, headline=benchmark.headline, **{**fields, **changes})
    name = name or f"{benchmark.name}-s{seed}"
    run_folder = write_run(folder / name, record, []) if folder else None
    if run_folder:
        record = ResultRecord.read(run_folder / "record.json")
    return Run(name, record, benchmark, samples, rows, names, run_folder)


def _draw(folder: Path, n: int) -> None:
    """One small picture per sample, none of it twice."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        path = folder / f"{i}.png"
        if not path.exists():
            image = Image.new("RGB", (160, 120), (200, 205, 210))
            draw = ImageDraw.Draw(image)
            left, top = 20 + 3 * i % 70, 15 + 5 * i % 50
            draw.rectangle((left, top, left + 40, top + 30), fill=WORDS[i % 4])
            draw.ellipse((100, 70, 140, 110), fill=WORDS[(i + 1) % 4])
            image.save(path)


def _sample(task: str, i: int, media: Path) -> Record:
    box = [20 + 3 * i % 70, 15 + 5 * i % 50, 41, 31]
    word = WORDS[i % 4]
    picture = Media(str(media / f"{i}.png"))
    text = f"What colour is thing {i}?" if i else NASTY
    tags = {"kind": "number" if i % 3 == 0 else "other"}
    made: dict[str, tuple[tuple[Media, ...], tuple[str, ...], dict[str, Any]]] = {
        "retrieval": ((picture,), (text, f"a {word} thing, number {i}"),
                      {"text_ids": [f"t{2 * i}", f"t{2 * i + 1}"]}),
        "answering": ((picture,), (text,), {"annotators": [word] * 8 + ["no idea"] * 2}),
        "classification": ((picture, Media(str(media / "0.png"))), (text,), {"label": i % 4}),
        "grounding": ((picture,), (text,), {"box": box, "size": [160, 120]}),
        "captioning": ((picture,), (text, f"a {word} thing, number {i}"), {}),
        "matching": ((picture, Media(str(media / "0.png"))), (text, f"thing {i} inverted"), {}),
        "attributes": ((picture,), (text,), {"box": box, "labels": [
            1 if j == i % 4 else 0 if j != (i + 1) % 4 else -1 for j in range(4)]}),
    }  # fmt: skip
    images, texts, target = made[task]
    return Record(
        str(i), images, texts, target, language="de" if i % 5 == 4 else "en", tags=tags,
        group=f"image{i // 2}" if task == "grounding" else "",
    )  # fmt: skip


def _predictions(
    task: str,
    sample: Record,
    samples: list[Record],
    right: bool,
    rng: np.random.Generator,
    i: int,
) -> list[Prediction]:
    word = WORDS[i % 4] if right else WORDS[(i + 1) % 4]
    if task == "retrieval":
        texts = [name for other in samples for name in other.target["text_ids"]]
        found: list[Prediction] = [
            {
                "id": sample.id,
                "ranking": {"text": _ranked(texts, sample.target["text_ids"][0], right, rng)},
            }
        ]
        found += [
            {
                "id": text,
                "ranking": {"image": _ranked([s.id for s in samples], sample.id, right, rng)},
            }
            for text in sample.target["text_ids"]
        ]
        return found  # fmt: skip
    box = sample.target.get("box", [0, 0, 1, 1])
    scores = [float(s) for s in rng.random(4)]
    scores[i % 4] += 1.0 if right else -1.0
    numbers = [float(x) for x in rng.random(4)]
    made: dict[str, dict[str, Any]] = {
        "answering": {"answer": word},
        "classification": {"label": WORDS.index(word),
                           "scores": dict(zip(WORDS, scores, strict=True))},
        "grounding": {"box": box if right else [box[0] + 30, box[1] + 20, 30, 30]},
        "captioning": {"caption": f"a {word} thing, number {i}"},
        "matching": dict(zip(winoground.PAIRS, [2.0, 0.5, 0.1, 2.0] if right else numbers,
                             strict=True)),
        "attributes": {"scores": scores},
    }  # fmt: skip
    return [{"id": sample.id, **made[task]}]


def _ranked(names: list[str], target: str, right: bool, rng: np.random.Generator) -> Ranking:
    scores = rng.random(len(names))
    scores[names.index(target)] = 2.0 if right else 0.5
    order = np.argsort(-scores)[:10]
    kept = [[names[j], round(float(scores[j]), 4)] for j in order]
    if target not in [name for name, _ in kept]:
        kept[-1] = [target, -1.0]
    return Ranking(kept)
