"""Towers from public weights, beside the models of `transformers` they were made for."""

from dataclasses import replace
from typing import Any

import pytest
import small
import torch
import transformers
from torch import Tensor

from x2vlm.errors import CheckpointError
from x2vlm.model.checkpoint import to_official
from x2vlm.model.config import ModelConfig, TextConfig
from x2vlm.model.fit import State
from x2vlm.model.positions import resize_positions
from x2vlm.model.towers import init_towers
from x2vlm.model.x2vlm import X2VLM

HEADS = ("contrastive", "matching", "box", "mlm")
MONO = replace(small.CONFIG, heads=HEADS, frames=0, text=replace(small.TEXT, layers=3))
MULTI = replace(
    MONO, text=replace(MONO.text, kind="xlm-roberta", vocabulary=120), separate_fusion=True
)


def public(config: TextConfig, layers: int, seed: int = 0) -> Any:
    """A random BERT or XLM-R with its MLM head, as `transformers` makes it."""
    torch.manual_seed(seed)
    values: dict[str, Any] = {
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.hidden,
        "max_position_embeddings": config.positions,
        "type_vocab_size": config.types,
        "layer_norm_eps": config.eps,
        "pad_token_id": config.padding,
        "initializer_range": 0.2,
    }
    if config.kind == "bert":
        return transformers.BertForMaskedLM(transformers.BertConfig(**values)).eval()
    return transformers.XLMRobertaForMaskedLM(transformers.XLMRobertaConfig(**values)).eval()


def beit(config: ModelConfig, *, shared: bool) -> State:
    """Vision weights under BEiT-v2's names; with one table for all blocks, as pre-trained ones."""
    official = to_official(small.model(seed=3, vision=config.vision))
    start = "vision_encoder."
    state = {n.removeprefix(start): t.clone() for n, t in official.items() if n.startswith(start)}
    if shared:
        tables = [name for name in state if name.endswith("position_bias_table")]
        state["rel_pos_bias.relative_position_bias_table"] = state[tables[0]]
        for name in tables:
            del state[name]
        for part in ("weight", "bias"):
            state[f"norm.{part}"] = state.pop(f"fc_norm.{part}")
        state["mask_token"] = state["lm_head.weight"] = torch.zeros(1)
    return state


@pytest.mark.parametrize("config", [MONO, MULTI], ids=["bert", "xlm-roberta"])
def test_text_encoder_equals_transformers(config: ModelConfig) -> None:
    text, ours = config.text, X2VLM(config).eval()
    theirs = public(text, text.layers)
    init_towers(ours, **{"bert" if text.kind == "bert" else "xlmr": theirs.state_dict()})
    text_BL = torch.randint(5, text.vocabulary, (3, 9))
    mask_BL = torch.arange(9) < torch.tensor([9, 4, 7])[:, None]
    text_BL = text_BL.masked_fill(~mask_BL, text.padding)
    with torch.inference_mode():
        state_BLD = ours.encode_text(text_BL, mask_BL)
        wanted_BLD = theirs.base_model(text_BL, mask_BL.long()).last_hidden_state
        wanted_BLW = theirs(text_BL, mask_BL.long()).logits
        logits_BLW = ours.mlm(state_BLD)
    torch.testing.assert_close(state_BLD[mask_BL], wanted_BLD[mask_BL], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits_BLW[mask_BL], wanted_BLW[mask_BL], atol=1e-4, rtol=1e-5)


def query(model: X2VLM, tower: str, layer: int) -> Tensor:
    return model.get_parameter(f"{tower}.layers.{layer}.attention.query.weight")


def test_fusion_starts_as_the_last_layers_of_bert_and_its_crossing_is_new() -> None:
    model, theirs = X2VLM(MONO), public(MONO.text, 6)
    init_towers(model, bert=theirs.state_dict())
    layers = theirs.bert.encoder.layer
    for number, source in enumerate((1, 3, 5)):  # evenly spaced, as for BERT-large's 24
        assert torch.equal(query(model, "text", number), layers[source].attention.self.query.weight)
        assert torch.equal(query(model, "fusion", number), query(model, "text", number))
    new = {name.split(".")[0] for name in model.new_parameters}
    assert new == {"vision", "fusion", "vision_proj", "text_proj", "temperature", "matching_head",
                   "box_head"}  # fmt: skip
    assert all(".cross." in name for name in model.new_parameters if name.startswith("fusion"))


def old(name: str) -> str:
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    return name.replace("LayerNorm.bias", "LayerNorm.beta")


def test_old_bert_files_say_gamma_and_beta() -> None:
    state = {old(name): tensor for name, tensor in public(MONO.text, 3).state_dict().items()}
    state["bert.pooler.dense.weight"] = state["cls.seq_relationship.bias"] = torch.zeros(1)
    model = X2VLM(MONO)
    init_towers(model, bert=state)
    assert torch.equal(model.text.embeddings.norm.weight, state["bert.embeddings.LayerNorm.gamma"])


@pytest.mark.parametrize("shared", [False, True])
def test_vision_from_beit_at_another_resolution(shared: bool) -> None:
    config = MONO.with_image_size(2 * small.SIZE)
    model, state = X2VLM(config), beit(MONO, shared=shared)
    init_towers(model, beit={"model": state})
    assert not any(name.startswith("vision.") for name in model.new_parameters)
    name = "rel_pos_bias" if shared else "blocks.1.attn"
    table = state[f"{name}.relative_position_bias_table"]
    found = model.get_parameter("vision.blocks.1.attention.position_table")
    torch.testing.assert_close(found.data, resize_positions(table, config.vision.grid))
    assert torch.equal(
        model.vision.norm.weight, state["norm.weight" if shared else "fc_norm.weight"]
    )


def test_a_multilingual_model_from_a_monolingual_one_and_xlmr() -> None:
    mono, theirs = small.model(*HEADS, frames=0, text=MONO.text), public(MULTI.text, 3)
    model = X2VLM(MULTI)
    init_towers(model, xlmr=theirs.state_dict(), x2vlm=to_official(mono))
    assert model.new_parameters == frozenset()
    assert torch.equal(query(model, "fusion", 2), query(mono, "fusion", 2))
    assert torch.equal(
        query(model, "text", 2), theirs.roberta.encoder.layer[2].attention.self.query.weight
    )
    words = theirs.roberta.embeddings.word_embeddings.weight
    assert torch.equal(model.get_parameter("mlm_head.weight"), words)


def test_fusion_of_a_multilingual_model_from_bert() -> None:
    model, bert = X2VLM(MULTI), public(MONO.text, 6)
    before = query(model, "text", 0).clone()
    init_towers(model, bert=bert.state_dict())
    assert torch.equal(
        query(model, "fusion", 0), bert.bert.encoder.layer[3].attention.self.query.weight
    )
    assert torch.equal(query(model, "text", 0), before)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("other size", "another size than the weights"),
        ("unknown tensor", "bert.juggler: expected no such tensor"),
        ("missing tensor", "bert.embeddings.word_embeddings.weight: .* found none"),
        ("uneven", "cannot be taken evenly"),
        ("xlmr for bert", "multilingual"),
        ("nothing", "no Transformer"),
    ],
)
def test_wrong_public_weights_are_refused(fault: str, words: str) -> None:
    state = public(MONO.text, 4 if fault == "uneven" else 3).state_dict()
    if fault == "other size":
        state = public(replace(MONO.text, width=48), 3).state_dict()
    elif fault == "unknown tensor":
        state["bert.juggler"] = torch.zeros(1)
    elif fault == "missing tensor":
        del state["bert.embeddings.word_embeddings.weight"]
    elif fault == "nothing":
        state = {"weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=words):
        init_towers(X2VLM(MONO), **{"xlmr" if fault == "xlmr for bert" else "bert": state})
