"""What records of single benchmarks hold: answers and weights, captions, languages, prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.files import Files
from benchmarks.media import missing_media
from benchmarks.registry import get
from tests.small_data import CASES, put, write
from tests.small_rows import COCO, FLICKR, GQA, VQA_ANNOTATIONS, VQA_QUESTIONS, png
from tests.suite_files import essence, load
from x2vlm.errors import DataError


def test_vqa_test_questions_have_no_answers(tmp_path: Path) -> None:
    put(tmp_path, "vqav2/v2_OpenEnded_mscoco_test-dev2015_questions.json", VQA_QUESTIONS)
    found, _ = load(tmp_path, "vqav2", "test-dev", "en")
    assert [record.target for record in found] == [{}, {}]
    assert found[0].images[0].path.endswith("test2015/COCO_test2015_000000000042.jpg")


def test_visual_genome_adds_to_training_at_half_weight(tmp_path: Path) -> None:
    for part in ("train", "val"):
        put(tmp_path, f"vqav2/v2_OpenEnded_mscoco_{part}2014_questions.json",
            {"questions": [q | {"question_id": q["question_id"] + (part == "val")}
                           for q in VQA_QUESTIONS["questions"]]})  # fmt: skip
        put(tmp_path, f"vqav2/v2_mscoco_{part}2014_annotations.json",
            {"annotations": [a | {"question_id": a["question_id"] + (part == "val")}
                             for a in VQA_ANNOTATIONS["annotations"]]})  # fmt: skip
    qas = [{"qa_id": 5, "image_id": 10, "question": "Where?", "answer": "here"}]
    put(tmp_path, "vg/question_answers.json", [{"id": 10, "qas": qas}])
    found, _ = load(tmp_path, "vqav2", "trainval_vg", "en")
    assert [record.id for record in found] == ["42000", "73000", "42001", "73001", "vg:5"]
    assert found[-1].target["weights"] == [0.5]
    albef = [{"image": "VG_100K/10.jpg", "question": "Where?", "answer": "here",
              "question_id": 5, "dataset": "vg"}]  # fmt: skip
    put(tmp_path, "vg/vg_qa.json", albef)
    again, _ = load(tmp_path, "vqav2", "trainval_vg", "en", given={"vg": "vg/vg_qa.json"})
    assert essence(again) == essence(found)


def test_vqa_candidates_are_listed_or_counted_or_common(tmp_path: Path) -> None:
    labels = get("vqav2").labels
    assert labels is not None
    files = Files(tmp_path)
    common = labels(files)
    assert {"yes", "no", "2", "red"} <= set(common)
    assert "few common answers" in files.notes[0]
    put(tmp_path, "vqav2/v2_OpenEnded_mscoco_train2014_questions.json", VQA_QUESTIONS)
    put(tmp_path, "vqav2/v2_mscoco_train2014_annotations.json", VQA_ANNOTATIONS)
    assert labels(Files(tmp_path)) == ["no", "red"]
    put(tmp_path, "vqav2/answer_list.json", ["no", "yes", "red"])
    assert labels(Files(tmp_path)) == ["no", "yes", "red"]
    put(tmp_path, "vqav2/answer_list.json", ["no", "no"])
    with pytest.raises(DataError, match="no answer list"):
        labels(Files(tmp_path))


def test_xgqa_test_leaves_the_few_shot_questions_out(tmp_path: Path) -> None:
    put(tmp_path, "xgqa/testdev_balanced_questions_de.json", GQA)
    put(tmp_path, "xgqa/few_shot/en/dev.json", {"201": GQA["201"]})
    put(tmp_path, "xgqa/few_shot/en/train_48.json", {"999": GQA["202"]})
    found, _ = load(tmp_path, "xgqa", "test", "de")
    assert [record.id for record in found] == ["de:202"]
    everything, _ = load(tmp_path, "xgqa", "testdev", "de")
    assert [record.id for record in everything] == ["de:201", "de:202"]


def test_multi30k_takes_five_captions_or_says_so(tmp_path: Path) -> None:
    names = "\n".join(FLICKR) + "\n"
    put(tmp_path, "multi30k/test_2016_flickr.de", "ein Mann\nein Hund\n")
    put(tmp_path, "multi30k/image_splits/test_2016_flickr.txt", names)
    one, files = load(tmp_path, "multi30k", "test", "de")
    assert [len(r.texts) for r in one] == [1, 1]
    assert "one caption per image" in files.notes[0]
    for k in range(1, 6):
        put(tmp_path, f"multi30k/task2/test_2016.{k}.de", f"a {k}\nb {k}\n")
    put(tmp_path, "multi30k/image_splits/task2_test_2016_images.txt", names)
    five, files = load(tmp_path, "multi30k", "test", "de")
    assert five[1].texts == ("b 1", "b 2", "b 3", "b 4", "b 5")
    assert files.notes == []
    (tmp_path / "multi30k/task2/test_2016.4.de").unlink()
    with pytest.raises(DataError, match="no file for 'test_4'"):
        load(tmp_path, "multi30k", "test", "de")


def test_coco_is_read_in_chinese_and_japanese(tmp_path: Path) -> None:
    write(tmp_path, CASES["coco_multilingual"])
    put(tmp_path, "coco_cn/coco-cn_test.txt", f"{COCO[1][:-4]}\n")
    put(tmp_path, "coco_cn/imageid.human-written-caption.txt",
        f"{COCO[1][:-4]}#0\t一辆摩托车\n{COCO[1][:-4]}#1\t旧车\n")  # fmt: skip
    chinese, _ = load(tmp_path, "coco_multilingual", "test", "zh")
    assert [(r.id, r.texts) for r in chinese] == [("zh:73", ("一辆摩托车", "旧车"))]
    assert missing_media(chinese) == []
    japanese, _ = load(tmp_path, "coco_multilingual", "test_1k", "ja")
    assert [(r.id, r.texts) for r in japanese] == [
        ("ja:42", ("赤い靴",)),
        ("ja:73", ("古いバイク",)),
    ]


def test_wit_groups_captions_by_image(tmp_path: Path) -> None:
    write(tmp_path, CASES["wit"])
    found, _ = load(tmp_path, "wit", "test", "en")
    assert [(r.id, r.texts) for r in found] == [
        ("en:wit-test_0", ("caption 0", "caption 1")),
        ("en:wit-test_1", ("caption 2",)),
    ]
    assert found[0].images[0].inline == (png(),)


def test_ovad_has_its_prompts_and_labels(tmp_path: Path) -> None:
    write(tmp_path, CASES["ovad"])
    benchmark = get("ovad")
    assert benchmark.labels is not None
    assert benchmark.file_options is not None
    assert benchmark.labels(Files(tmp_path)) == ["color:red/crimson", "clothes pattern:striped"]
    templates = benchmark.file_options(Files(tmp_path))["templates"]
    assert "a {words} {noun}" in templates["is"]
    assert "a {noun} with {words}" in templates["has"]
    assert all("{noun}" in text for texts in templates.values() for text in texts)
    records, _ = load(tmp_path, "ovad", "test", "en")
    assert records[0].texts == ("person",)
    assert records[0].target["labels"] == [1, -1]
    assert records[0].target["frequency"] == ["head", "tail"]
