"""The official model's outputs, by public functions: small goldens always, all where shared."""

import json
import shutil
from pathlib import Path

import golden_cut
import golden_parity
import pytest
import torch
from safetensors.torch import load_file, save_file

from x2vlm.model.checkpoint import to_official
from x2vlm.model.config import ModelConfig, TextConfig, VisionConfig
from x2vlm.model.x2vlm import X2VLM

OFFICIAL = Path(__file__).parent / "golden" / "official"


def test_committed_goldens_are_met() -> None:
    rows = golden_parity.compare(OFFICIAL)
    assert {case for case, *_ in rows} == {"pretrain", "relative_position", "functions"}
    assert len(rows) == 26
    assert max(worst for *_, worst in rows) <= golden_parity.TOLERANCE


def test_all_shared_goldens_are_met(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert golden_parity.main(str(shared / "goldens" / "a")) == 0
    assert "72 outputs compared, 0 differ" in capsys.readouterr().out


def test_committed_goldens_are_the_cut_of_the_shared(shared: Path, tmp_path: Path) -> None:
    golden_cut.cut(shared / "goldens", tmp_path)
    names = {path.name for path in OFFICIAL.iterdir()}
    assert names == {path.name for path in tmp_path.iterdir()}
    for name in names:
        assert (tmp_path / name).read_bytes() == (OFFICIAL / name).read_bytes(), name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(OFFICIAL, tmp_path / "g")
    (tmp_path / "g" / "functions.json").unlink()
    return tmp_path / "g"


def change(folder: Path, key: str, amount: float) -> None:
    path = folder / "pretrain.io.safetensors"
    tensors = load_file(path)
    tensors[key] = tensors.get(key, tensors["out.coords"]) + amount
    save_file(tensors, path)


def test_a_wrong_output_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, "out.region.loss_giou", 2e-4)
    assert golden_parity.main(str(folder)) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert len(failed) == 1
    assert "region.loss_giou" in failed[0]


def test_an_output_that_nothing_compares_fails(folder: Path) -> None:
    change(folder, "out.something_new", 0)
    assert golden_parity.main(str(folder)) == 1


def test_an_unknown_case_fails(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["juggling"] = {"note": "", "config": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    rows = golden_parity.compare(folder)
    assert [case for case, _, worst in rows if worst == float("inf")] == ["juggling"]


def test_an_unknown_function_fails(folder: Path) -> None:
    (folder / "functions.json").write_text(json.dumps({"whistle": []}))
    assert ("functions", "whistle", float("inf")) in golden_parity.compare(folder)


def test_sizes_are_read_and_not_those_of_the_committed(tmp_path: Path) -> None:
    """Outputs of a model of other sizes, recorded in the goldens' form, are met."""
    torch.manual_seed(0)
    config = ModelConfig(
        VisionConfig(40, 8, 40, 2, 5, 72), TextConfig("xlm-roberta", 97, 36, 2, 3, 50, 63),
        fusion_layers=1, separate_fusion=True, embed=24,
        frames=5, heads=("classifier",), labels=7,
    )  # fmt: skip
    model = X2VLM(config).eval()
    mask_BL = torch.ones(4, 9, dtype=torch.long)
    text_BL = torch.randint(5, 97, (4, 9))
    frames_BFCHW, targets_B = torch.randn(4, 5, 3, 40, 40), torch.tensor([0, 6, -100, 3])
    with torch.inference_mode():
        video_BVD = model.encode_video(frames_BFCHW)
        states_BLD = model.encode_text(text_BL, mask_BL.bool())
        logits_BK = model.classify(model.fuse(states_BLD, mask_BL.bool(), model.memory(video_BVD)))
    io = {"in.frames": frames_BFCHW, "in.text_ids": text_BL, "in.text_atts": mask_BL,
          "in.targets": targets_B, "out.video_embeds": video_BVD.clone(),
          "out.logits": logits_BK.clone()}  # fmt: skip
    save_file(io, tmp_path / "video_qa.io.safetensors")
    weights = {name: value.clone() for name, value in to_official(model).items()}
    save_file(weights, tmp_path / "video_qa.weights.safetensors")
    manifest = {"video_qa": {"note": "", "config": {"patch_size": 8}}, "_sizes": {"th": 3}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert golden_parity.main(str(tmp_path)) == 0
    assert {output for _, output, _ in golden_parity.compare(tmp_path)} == {
        "video_embeds",
        "logits",
    }


def test_a_case_that_cannot_be_computed_fails_and_the_others_are_compared(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pretrain.weights.safetensors").unlink()
    save_file({"w": torch.zeros(1)}, folder / "juggling.weights.safetensors")
    assert golden_parity.main(str(folder)) == 1
    lines = capsys.readouterr().out.splitlines()
    failed = [line.split()[0] for line in lines if line.endswith("FAIL")]
    assert failed == ["juggling", "pretrain"]
    assert sum(line.startswith("relative_position") for line in lines) == 9


def test_a_folder_without_goldens_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert golden_parity.main(str(tmp_path)) == 1
    assert "no manifest.json" in capsys.readouterr().err
