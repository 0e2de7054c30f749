"""Files of X²-VLM, ALBEF, LXMERT, ClipBERT and LAVIS give the records that official files give."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.media import missing_media
from benchmarks.registry import get
from tests.small_data import CASES, draw, put, write
from tests.small_rows import (
    COCO,
    COCO_PICTURES,
    GQA,
    NLVR2_ROWS,
    QA_ROWS,
    REFS,
    VQA_ANNOTATIONS,
    VQA_QUESTIONS,
    WORDS,
    karpathy,
)
from tests.suite_files import PICTURE, essence, hub_table, load, told
from x2vlm.errors import DataError


def test_albef_and_coco_captions_equal_karpathy(tmp_path: Path) -> None:
    draw(tmp_path, COCO_PICTURES)
    put(tmp_path, "a/dataset_coco.json", karpathy(COCO, "val2014"))
    rows = [
        {"image": f"/elsewhere/coco/val2014/{name}", "caption": list(WORDS[i])}
        for i, name in enumerate(COCO)
    ]
    put(tmp_path, "a/coco_test.json", rows)
    flat = [row | {"caption": text} for row in rows for text in row["caption"]]
    put(tmp_path, "a/train_style.json", flat)
    official = {
        "images": [{"id": int(n[-16:-4]), "file_name": f"val2014/{n}"} for n in COCO],
        "annotations": [
            {"image_id": int(name[-16:-4]), "caption": text}
            for i, name in enumerate(COCO)
            for text in WORDS[i]
        ],
    }
    put(tmp_path, "a/captions.json", official)
    want, _ = load(tmp_path, "coco_retrieval", "test", "en", given={"test": "a/dataset_coco.json"})
    assert [record.id for record in want] == ["42", "73"]
    assert want[0].target == {"text_ids": ["42#0", "42#1"]}
    for layout in ("a/coco_test.json", "a/train_style.json", "a/captions.json"):
        found, _ = load(tmp_path, "coco_retrieval", "test", "en", given={"test": layout})
        assert essence(found) == essence(want), layout
        assert missing_media(found) == []
    captions, _ = load(
        tmp_path, "coco_captioning", "test", "en", given={"test": "a/coco_test.json"}
    )
    assert [(r.id, r.texts, r.target) for r in captions] == [(r.id, r.texts, {}) for r in want]


def test_vqa_of_x2vlm_and_of_the_hub_equal_the_official_pair(tmp_path: Path) -> None:
    write(tmp_path, CASES["vqav2"])
    answers = [[a["answer"] for a in row["answers"]] for row in VQA_ANNOTATIONS["annotations"]]
    rows = [
        {"question_id": q["question_id"], "question": q["question"], "answer": given,
         "image": f"val2014/{name}", "dataset": "vqa"}
        for q, given, name in zip(VQA_QUESTIONS["questions"], answers, COCO, strict=True)
    ]  # fmt: skip
    put(tmp_path, "x2vlm/vqa_val.json", rows)
    hub = [
        question | annotation | {"image": PICTURE}
        for question, annotation in zip(
            VQA_QUESTIONS["questions"], VQA_ANNOTATIONS["annotations"], strict=True
        )
    ]
    hub_table(hub, "image").save_to_disk(str(tmp_path / "hub/validation"))
    want, _ = load(tmp_path, "vqav2", "val", "en")
    assert want[0].target["answers"] == ["red", "maybe"]
    assert want[0].target["weights"] == pytest.approx([0.7, 0.3])
    assert len(want[0].target["annotators"]) == 10
    for layout in ("x2vlm/vqa_val.json", "hub/validation/state.json"):
        found, _ = load(tmp_path, "vqav2", "val", "en", given={"val": layout})
        assert told(found) == told(want)
        assert [r.tags["answer_type"] for r in found] == ["other", "yes/no"]


def test_nlvr2_of_albef_equals_the_official_rows_and_train_has_folders(
    tmp_path: Path,
) -> None:
    write(tmp_path, CASES["nlvr2"])
    want, _ = load(tmp_path, "nlvr2", "dev", "en")
    assert [r.target for r in want] == [{"label": 0}, {"label": 1}]
    assert [r.tags["sentence"] for r in want] == ["dev-850-0", "dev-850-1"]
    names = [f"/home/me/nlvr2/dev/dev-850-0-img{i}.png" for i in (0, 1)]
    rows = [{"sentence": r["sentence"], "label": r["label"], "images": names} for r in NLVR2_ROWS]
    put(tmp_path, "albef/nlvr_dev.json", rows)
    found, _ = load(tmp_path, "nlvr2", "dev", "en", given={"dev": "albef/nlvr_dev.json"})
    assert [(r.texts, r.target, r.images, r.group) for r in found] == [
        (r.texts, r.target, r.images, r.group) for r in want
    ]
    rows = [row | {"identifier": row["identifier"].replace("dev", "train"), "directory": 39}
            for row in NLVR2_ROWS]  # fmt: skip
    put(tmp_path, "nlvr2/train.json", rows)
    train, _ = load(tmp_path, "nlvr2", "train", "en")
    assert train[0].images[1].path.endswith("train/39/train-850-0-img1.png")


def test_refcoco_of_x2vlm_equals_the_official_pair(tmp_path: Path) -> None:
    write(tmp_path, CASES["refcoco_plus"])
    want, _ = load(tmp_path, "refcoco_plus", "val", "en")
    assert [record.id for record in want] == ["700", "701"]
    rows = [
        {"text": s["sent"], "ref_id": ref["ref_id"], "image": "train2014/x.jpg"}
        for ref in REFS
        for s in ref["sentences"]
        if ref["split"] == "val"
    ]
    put(tmp_path, "finetune/refcoco+_val.json", rows)
    found, _ = load(
        tmp_path, "refcoco_plus", "val", "en", given={"val": "finetune/refcoco+_val.json"}
    )
    assert essence(found) == essence(want)
    boxed = [row | {"bbox": [1.0, 2.0, 20.0, 10.5], "width": 40, "height": 30} for row in rows]
    put(tmp_path, "finetune/boxed.json", boxed)
    found, _ = load(tmp_path, "refcoco_plus", "val", "en", given={"val": "finetune/boxed.json"})
    assert [(r.texts, r.target) for r in found] == [(r.texts, r.target) for r in want]


def test_gqa_of_lxmert_equals_the_official_file(tmp_path: Path) -> None:
    write(tmp_path, CASES["gqa"])
    want, _ = load(tmp_path, "gqa", "testdev", "en")
    assert [record.id for record in want] == ["201", "202"]
    assert want[0].tags == {"type": "verify"}
    rows = [
        {"img_id": q["imageId"], "label": {q["answer"]: 1.0}, "question_id": key,
         "sent": q["question"]}
        for key, q in GQA.items()
    ]  # fmt: skip
    put(tmp_path, "lxmert/testdev.json", rows)
    found, _ = load(tmp_path, "gqa", "testdev", "en", given={"testdev": "lxmert/testdev.json"})
    assert essence(found) == essence(want)


def test_msrvtt_splits_hold_their_clips_whatever_the_layout(
    tmp_path: Path,
) -> None:
    write(tmp_path, CASES["msrvtt_retrieval"])
    put(tmp_path, "msrvtt/MSRVTT_train.9k.csv", "video_id\nvideo1\nvideo2\n")
    put(tmp_path, "msrvtt/MSRVTT_JSFUSION_test.csv",
        "key,vid_key,video_id,sentence\nret0,msr7020,video7020,clip 7020 said 0\n")  # fmt: skip
    ids = {split: [r.id for r in load(tmp_path, "msrvtt_retrieval", split, "en")[0]]
           for split in get("msrvtt_retrieval").splits}  # fmt: skip
    assert ids == {"train": ["video1", "video2"], "train_full": ["video1"], "val": ["video2"],
                   "test": ["video7020"], "test_full": ["video7020"]}  # fmt: skip
    want, _ = load(tmp_path, "msrvtt_retrieval", "test", "en")
    assert want[0].images[0].kind == "frames"
    put(tmp_path, "clipbert/test.jsonl", [{"clip_name": "video7020", "caption": want[0].texts[0]}])
    found, _ = load(
        tmp_path, "msrvtt_retrieval", "test", "en", given={"test": "clipbert/test.jsonl"}
    )
    assert essence(found) == essence(want)


def test_msrvtt_qa_layouts_give_the_same_questions(tmp_path: Path) -> None:
    write(tmp_path, CASES["msrvtt_qa"])
    want, _ = load(tmp_path, "msrvtt_qa", "test", "en")
    assert [r.target["label"] for r in want] == [1, None]
    assert [r.tags["answer_type"] for r in want] == ["what", "where"]
    assert [r.id for r in want] == ["1", "2"]
    rows = [
        {"id": 5 + i, "video_id": 7020, "question": row["question"], "answer": row["answer"]}
        for i, row in enumerate(QA_ROWS)
    ]
    put(tmp_path, "official/test_qa.json", rows)
    found, _ = load(tmp_path, "msrvtt_qa", "test", "en", given={"test": "official/test_qa.json"})
    assert [r.id for r in found] == ["5", "6"]
    assert [(r.texts, r.target, r.images, r.tags) for r in found] == [
        (r.texts, r.target, r.images, r.tags) for r in want
    ]


def test_msvd_qa_layouts_give_the_same_questions(tmp_path: Path) -> None:
    write(tmp_path, CASES["msvd_qa"])
    want, _ = load(tmp_path, "msvd_qa", "test", "en")
    put(tmp_path, "msvd_qa/youtube_mapping.txt", "clip_1_2 vid77\n")
    rows = [
        {"id": i, "video_id": 77, "question": row["question"], "answer": row["answer"]}
        for i, row in enumerate(QA_ROWS)
    ]
    put(tmp_path, "official.json", rows)
    lavis = {
        f"000{i}": {"video": "clip_1_2", "question": row["question"], "answer": row["answer"],
                    "question_id": f"000{i}", "answer_type": row["answer_type"]}
        for i, row in enumerate(QA_ROWS)
    }  # fmt: skip
    put(tmp_path, "lavis.json", lavis)
    for layout, ids in (("official.json", ["0", "1"]), ("lavis.json", ["0000", "0001"])):
        found, _ = load(tmp_path, "msvd_qa", "test", "en", given={"test": layout})
        assert [r.id for r in found] == ids
        assert [(r.texts, r.target, r.images) for r in found] == [
            (r.texts, r.target, r.images) for r in want
        ]
    put(tmp_path, "msvd_qa/youtube_mapping.txt", "clip_1_2 vid78\n")
    with pytest.raises(DataError, match="video 77 is not in"):
        load(tmp_path, "msvd_qa", "test", "en", given={"test": "official.json"})
