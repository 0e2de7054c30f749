"""Checkpoints: every tensor accounted for both ways, fitted to tasks, wrong files explained."""

import gzip
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small
import torch

from x2vlm.errors import CheckpointError
from x2vlm.model import checkpoint
from x2vlm.model.config import PRESETS, ModelConfig
from x2vlm.model.fit import State, empty_model
from x2vlm.model.names import infer_config, official_name
from x2vlm.model.x2vlm import X2VLM, count_parameters

OFFICIAL = Path(__file__).parent / "golden" / "official"
INVENTORY = json.loads(gzip.decompress((OFFICIAL / "inventory.json.gz").read_bytes()))
PRETRAIN = ("contrastive", "matching", "box", "mlm")
TEXT_HEADS = small.TEXT.heads


def meta_state(name: str) -> State:
    whole = ("position_ids", "relative_position_index")
    return {
        key: torch.empty(
            shape, dtype=torch.int64 if key.endswith(whole) else torch.float32, device="meta"
        )
        for key, shape in INVENTORY[name]["tensors"].items()
    }


@pytest.mark.parametrize("name", INVENTORY)
def test_every_official_model_loads_with_nothing_left_over(name: str) -> None:
    state = meta_state(name)
    model = checkpoint.load_official(state)
    assert count_parameters(model) == INVENTORY[name]["parameters"]
    assert model.config.vision.image_size == INVENTORY[name]["image_res"]
    assert model.new_parameters == frozenset()
    back = checkpoint.to_official(model)
    assert {key: t.shape for key, t in back.items()} == {key: t.shape for key, t in state.items()}
    assert {key: t.dtype for key, t in back.items()} == {key: t.dtype for key, t in state.items()}


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("pretrain_base_4m", "base"),
        ("pretrain_large_4m", "large"),
        ("cclm_base", "multilingual-base"),
        ("cclm_large", "multilingual-large"),
    ],
)
def test_presets_are_the_official_models(name: str, preset: str) -> None:
    shapes = {key: torch.Size(shape) for key, shape in INVENTORY[name]["tensors"].items()}
    assert infer_config(shapes) == PRESETS[preset]


def test_no_two_parameters_share_an_official_name() -> None:
    for preset in PRESETS.values():
        config = preset.with_heads(heads=(*PRETRAIN, "classifier", "decoder"), frames=3)
        names = [name for name, _ in empty_model(config).named_parameters()]
        assert len({official_name(name, config) for name in names}) == len(names)


KINDS: dict[str, ModelConfig] = {
    "one stack": small.CONFIG.with_heads(heads=PRETRAIN),
    "multilingual": replace(
        small.CONFIG.with_heads(heads=PRETRAIN),
        text=replace(small.TEXT, kind="xlm-roberta"),
        separate_fusion=True,
    ),
    "captioning": small.CONFIG.with_heads(heads=("mlm",), frames=0),
    "answering": small.CONFIG.with_heads(heads=("decoder",)),
    "two images": small.CONFIG.with_heads(heads=("pair_classifier",), labels=3),
}


def made(config: ModelConfig, seed: int = 0) -> X2VLM:
    torch.manual_seed(seed)
    return X2VLM(config).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_official_names_and_back(kind: str, tmp_path: Path) -> None:
    model = made(KINDS[kind])
    path = tmp_path / "m.th"
    torch.save({"model": checkpoint.to_official(model), "epoch": 3}, path)
    again = checkpoint.load_official(path, text_heads=TEXT_HEADS)
    ignored = {"decoder_layers": 0, "embed": 0, "labels": 0, "vision": model.config.vision}
    assert replace(again.config, **ignored) == replace(
        model.config, **ignored, text=replace(model.config.text, dropout=0.1, attention_dropout=0.1)
    )
    for name, parameter in model.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter), name


@pytest.mark.parametrize("wrap", [dict, lambda s: {f"module.{n}": t for n, t in s.items()}])
def test_bare_and_distributed_state_dicts(wrap: Callable[[State], State], tmp_path: Path) -> None:
    model = made(KINDS["one stack"])
    torch.save(wrap(checkpoint.to_official(model)), tmp_path / "m.th")
    again = checkpoint.load_official(tmp_path / "m.th", text_heads=TEXT_HEADS)
    assert torch.equal(again.vision.cls_token, model.vision.cls_token)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_our_file_keeps_everything(dtype: torch.dtype, tmp_path: Path) -> None:
    model = made(KINDS["multilingual"])
    path = tmp_path / "folder" / "m.safetensors"
    checkpoint.save(model, path, tokenizer='{"a": 1}', extra={"step": 7}, dtype=dtype)
    loaded = checkpoint.load(path)
    assert (loaded.tokenizer, loaded.extra) == ('{"a": 1}', {"step": 7})
    assert loaded.model.config == model.config
    for name, parameter in model.named_parameters():
        found = loaded.model.get_parameter(name)
        assert found.dtype == torch.float32
        assert torch.equal(found, parameter.to(dtype).float())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def saved(config: ModelConfig, folder: Path) -> tuple[X2VLM, Path]:
    model, path = made(config), folder / "m.safetensors"
    checkpoint.save(model, path)
    return model, path


def faulty(change: str, state: State) -> State:
    if change == "missing":
        del state["text_encoder.bert.encoder.layer.1.output.dense.weight"]
    elif change == "left over":
        state["juggler.weight"] = torch.zeros(2)
    elif change == "shape":
        state["itm_head.3.weight"] = torch.zeros(3, 48)
    elif change == "untied":
        state["text_encoder.cls.predictions.decoder.weight"] = torch.zeros(97, 24)
    elif change == "index":
        name = "vision_encoder.blocks.0.attn.relative_position_index"
        state[name] = state[name].flip(0)
    return state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", r"layer\.1\.output\.dense\.weight: expected \(24, 48\), found none"),
        ("left over", r"juggler\.weight: expected no such tensor, found \(2,\)"),
        ("shape", r"itm_head\.3\.weight: expected \(2, 48\), found \(3, 48\)"),
        ("untied", r"predictions\.decoder\.weight"),
        ("index", r"relative_position_index"),
    ],
)
def test_one_wrong_tensor_is_named(change: str, words: str) -> None:
    state = faulty(change, checkpoint.to_official(made(KINDS["one stack"])))
    with pytest.raises(CheckpointError, match=words) as error:
        checkpoint.load_official(state, text_heads=TEXT_HEADS)
    assert "1 tensors do not fit" in str(error.value)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("blocks.0.norm1.weight", "vision weights alone"),
        ("bert.embeddings.word_embeddings.weight", "BERT weights alone"),
        ("roberta.embeddings.word_embeddings.weight", "XLM-R weights alone"),
        ("vision_encoder.layers.0.blocks.0.norm1.weight", "Swin"),
        ("visual.conv1.weight", "ALBEF, BLIP or CLIP"),
        ("vision.patch_embed.weight", "our names"),
    ],
)
def test_the_wrong_kind_of_file_is_recognised(name: str, cause: str) -> None:
    with pytest.raises(CheckpointError, match=cause):
        checkpoint.load_official({name: torch.zeros(1)})


def test_weights_of_another_size_say_so() -> None:
    with pytest.raises(CheckpointError, match="vision width 768, not 1024") as error:
        checkpoint.load_official(meta_state("pretrain_base_4m"), PRESETS["large"])
    assert len(str(error.value).splitlines()) <= 8


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return (print, ("boom",))


def test_files_that_hold_code_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": {"a": Bomb()}}, tmp_path / "bomb.th")
    (tmp_path / "old.th").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.th", "old.th"):
        with pytest.raises(CheckpointError, match="cannot be read as weights: it holds") as error:
            checkpoint.load_official(tmp_path / name)
        assert ("print" in str(error.value)) == (name == "bomb.th")
    assert "boom" not in capsys.readouterr().out


def test_broken_files_are_named(tmp_path: Path) -> None:
    _, good = saved(KINDS["one stack"], tmp_path)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:500])
    torch.save({"model": {"w": torch.zeros(9)}}, tmp_path / "cut.th")
    (tmp_path / "cut.th").write_bytes((tmp_path / "cut.th").read_bytes()[:300])
    (tmp_path / "empty.th").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "other.th", "w") as file:
        file.writestr("readme", "not weights")
    torch.save([1, 2], tmp_path / "list.th")
    torch.save({"model": {"w": "text"}}, tmp_path / "text.th")
    torch.save({"model": {"backbone.weight": torch.zeros(2)}}, tmp_path / "foreign.th")
    names = ("cut.th", "empty.th", "other.th", "list.th", "text.th", "none.th", "foreign.th")
    for name in names:
        with pytest.raises(CheckpointError, match=name):
            checkpoint.load_official(tmp_path / name)
    with pytest.raises(CheckpointError, match="cut"):
        checkpoint.load_any(cut)


def test_files_are_told_apart_by_content(tmp_path: Path) -> None:
    model, path = saved(KINDS["one stack"], tmp_path)
    state = checkpoint.to_official(model)
    torch.save(state, tmp_path / "m.th")
    assert checkpoint.load_any(path).model.config == model.config
    assert checkpoint.load_any(tmp_path / "m.th").model.config.heads == PRETRAIN
    (tmp_path / "o.safetensors").write_bytes(
        (OFFICIAL / "pretrain.weights.safetensors").read_bytes()
    )
    assert checkpoint.load_any(tmp_path / "o.safetensors").model.config.text.vocabulary == 320
    with pytest.raises(CheckpointError, match="load_official"):
        checkpoint.load(tmp_path / "o.safetensors")
    for source, name in ((path, "ours.th"), (tmp_path / "o.safetensors", "official.th")):
        (tmp_path / name).write_bytes(source.read_bytes())  # a suffix that lies
        wanted = checkpoint.load_any(source).model.config
        assert checkpoint.load_any(tmp_path / name).model.config == wanted


def test_convert_reports_what_it_did(tmp_path: Path) -> None:
    config = replace(KINDS["one stack"], text=replace(small.TEXT, heads=1))
    torch.save({"model": checkpoint.to_official(made(config))}, tmp_path / "in.th")
    out = tmp_path / "out.safetensors"
    report = checkpoint.convert(
        tmp_path / "in.th", out, to="classification", labels=5, image_size=48, tokenizer="bert"
    )
    assert "starts anew: classifier" in report
    assert "dropped: contrastive, matching, box, mlm" in report
    loaded = checkpoint.load(out)
    assert (loaded.model.config.labels, loaded.tokenizer) == (5, "bert")
    report = checkpoint.convert(out, tmp_path / "back.th", to="official")
    assert "starts anew: nothing" in report
    again = checkpoint.load_official(tmp_path / "back.th")
    assert torch.equal(again.classifier[3].weight, loaded.model.classifier[3].weight)
    with pytest.raises(CheckpointError, match="did you mean 'grounding'"):
        checkpoint.convert(out, out, to="groundin")


def test_others_may_read_what_the_user_lets_them_read(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    checkpoint.save(X2VLM(small.CONFIG), tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_mode == other.stat().st_mode
