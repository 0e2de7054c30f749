"""The official model's outputs, by public functions: small goldens always, all where shared."""

import json
import shutil
from pathlib import Path

import golden_cut
import golden_parity
import pytest
from safetensors.torch import load_file, save_file

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
