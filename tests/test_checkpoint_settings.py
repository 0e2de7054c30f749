"""Settings and code inside checkpoints: read as plain values, or refused; nothing runs."""

import argparse
import collections
import datetime
import enum
import pathlib
import shlex
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import torch
from test_checkpoint_wrappers import HEADS, prefixed, same_weights
from torch import Tensor

from x2vlm.errors import CheckpointError
from x2vlm.model import checkpoint
from x2vlm.model.fit import State
from x2vlm.storage.torch_file import read_torch


@pytest.fixture(scope="module")
def state() -> State:
    return checkpoint.to_official(small.model(*HEADS, frames=0))


class Colour(enum.Enum):
    RED = 1


def _module(name: str, **classes: type) -> types.ModuleType:
    module = types.ModuleType(name)
    for key, made in classes.items():
        made.__module__, made.__qualname__, made.__name__ = name, key, key
        setattr(module, key, made)
    return module


class _Config(dict[str, Any]):
    """A dictionary with attributes, as yacs and others have."""


class _Node:
    """Settings with attributes, as OmegaConf has."""


@pytest.fixture
def frameworks(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Classes of libraries that are not installed."""
    made = {
        "yacs.config:CfgNode": type("CfgNode", (_Config,), {}),
        "easydict:EasyDict": type("EasyDict", (_Config,), {}),
        "mmengine.config.config:ConfigDict": type("ConfigDict", (_Config,), {}),
        "omegaconf.made_up:DictConfig": type("DictConfig", (_Node,), {}),
        "lightning.made_up.data:AttributeDict": type("AttributeDict", (_Config,), {}),
        "ml_collections.made_up:Settings": type("Settings", (_Config,), {}),
    }
    for place, kind in made.items():
        module, _, name = place.partition(":")
        parent = module.partition(".")[0]
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, module, _module(module, **{name: kind}))
    return {place.rpartition(":")[2]: kind for place, kind in made.items()}


SETTINGS: dict[str, Callable[[], Any]] = {
    "Namespace": lambda: argparse.Namespace(lr=1e-5, output_dir="out", deep={"a": [1, (2,)]}),
    "SimpleNamespace": lambda: types.SimpleNamespace(a=1),
    "path": lambda: pathlib.PosixPath("a/b"),
    "OrderedDict": lambda: collections.OrderedDict(a=1),
    "defaultdict": lambda: collections.defaultdict(list, {"a": [1]}),
    "Counter": lambda: collections.Counter("abc"),
    "deque": lambda: collections.deque([1.0, 2.0], maxlen=5),
    "date": lambda: datetime.datetime(2024, 1, 2, 3),
    "delta": lambda: datetime.timedelta(3),
    "frozenset": lambda: frozenset({1}),
    "type": lambda: int,
    "torch version": lambda: torch.__version__,
    "random state": lambda: np.random.get_state(),
    "generator": lambda: np.random.default_rng(0),
    "structure": lambda: np.zeros(2, [("a", "f4"), ("b", "i4")]),
    "objects": lambda: np.array([1, "a"], object),
    "texts": lambda: np.array(["a", "bc"]),
    "numpy type": lambda: np.float32,
    "dtype": lambda: np.dtype("f4"),
    "numpy bool": lambda: np.bool_(True),
    "numpy text": lambda: np.str_("a"),
    **{f"numpy {kind}": lambda kind=kind: np.dtype(kind).type(3)
       for kind in ("f2", "f4", "f8", "i1", "i4", "i8", "u1", "u4", "u8", "c8")},
    **{f"array {kind}": lambda kind=kind: np.arange(6, dtype=kind).reshape(2, 3)
       for kind in ("f2", "f4", ">f4", "f8", "i8", "u1", "u2")},
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_beside_the_weights_are_plain_values(
    kind: str, zipped: bool, tmp_path: Path
) -> None:
    tensors = {"a.weight": torch.ones(2), "b.weight": torch.ones(2)}
    held = {"args": SETTINGS[kind](), "model": tensors, "later": [SETTINGS[kind]()]}
    torch.save(held, tmp_path / "m.th", _use_new_zipfile_serialization=zipped)
    same_weights(checkpoint.read_state(tmp_path / "m.th"), tensors)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    torch.save({"best": np.float64(77.5), "n": np.int32(-3), "a": array}, tmp_path / "m.th")
    found: Any = read_torch(tmp_path / "m.th")
    assert (found["best"], found["n"]) == (77.5, -3)
    assert torch.equal(found["a"].tensor(), torch.arange(6.0).reshape(2, 3).T)
    assert all(not isinstance(value, np.generic | np.ndarray) for value in found.values())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_settings_of_frameworks_that_are_not_installed(
    zipped: bool,
    frameworks: dict[str, type],
    state: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, kind in frameworks.items():
        config = kind()
        config.a = 1
        if isinstance(config, dict):
            config["b"] = {"c": kind()}
        path = tmp_path / f"{name}.ckpt"
        held = {"hyper_parameters": config, "state_dict": prefixed(state, "model.")}
        torch.save(held, path, _use_new_zipfile_serialization=zipped)
    for kind in frameworks.values():
        monkeypatch.delitem(sys.modules, kind.__module__)
    for name in frameworks:
        same_weights(checkpoint.read_state(tmp_path / f"{name}.ckpt"), state)


class Unknown:
    def __init__(self) -> None:
        self.a = 1


@pytest.mark.parametrize("bare", [True, False])
def test_an_unknown_class_is_named_with_a_command_that_reads_the_rest(
    bare: bool, state: State, tmp_path: Path
) -> None:
    path = tmp_path / "it's ours.th"
    held = state if bare else {"model": prefixed(state, "module.")}
    torch.save({**held, "config": Unknown(), "epoch": 1}, path)
    with pytest.raises(CheckpointError, match=r"test_checkpoint_settings\.Unknown") as error:
        checkpoint.read_state(path)
    (line,) = (row for row in str(error.value).splitlines() if "python -c" in row)
    words = shlex.split(line)
    subprocess.run([sys.executable, *words[1:]], check=True, cwd=tmp_path)
    same_weights(checkpoint.read_state(tmp_path / "it's ours.tensors.th"), state)


class Harm:
    """Runs what it is given when it is unpickled by others."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.args


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("where", ["beside", "among", "alone"])
@pytest.mark.parametrize(
    ("call", "args"),
    [
        (exec, ("open('ran', 'w').close()",)),
        (eval, ("open('ran', 'w')",)),
        (__import__("os").system, ("touch ran",)),
        (subprocess.Popen, (["touch", "ran"],)),
        (open, ("ran", "w")),
        (getattr, (Colour, "RED")),
        (torch.load, ("m.th",)),
    ],
)
def test_what_could_run_is_refused_and_does_not_run(
    call: Callable[..., Any], args: tuple[Any, ...], where: str, zipped: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    tensors: dict[str, Any] = {"a.weight": torch.ones(2), "b.weight": torch.ones(2)}
    harm: Any = Harm(call, *args)
    held = {"beside": {"args": harm, "model": tensors}, "among": {"model": {**tensors, "c": harm}},
            "alone": harm}[where]  # fmt: skip
    torch.save(held, "m.th", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"m\.th cannot be read as weights: it holds"):
        checkpoint.read_state(Path("m.th"))
    assert not Path("ran").exists()


@pytest.mark.parametrize("kind", ["itself", "lattice"])
def test_mappings_that_hold_one_another_end(kind: str, tmp_path: Path) -> None:
    held: dict[str, Any] = {"a": 1}
    if kind == "itself":
        held["model"] = held
    else:
        for _ in range(40):
            held = {f"k{n}": held for n in range(30)}
    torch.save(held, tmp_path / "m.th")
    with pytest.raises(CheckpointError, match="expected named tensors"):
        checkpoint.read_state(tmp_path / "m.th")


def test_an_array_that_lies_about_its_size_is_left_out(tmp_path: Path) -> None:
    array: Any = np.zeros(4, np.float32)

    class Liar:
        def __reduce__(self) -> tuple[Any, ...]:
            made, args, state = array.__reduce__()
            return made, args, (state[0], (2**40,), *state[2:])

    tensors: dict[str, Tensor] = {"a.weight": torch.ones(2), "b.weight": torch.ones(2)}
    torch.save({"model": {**tensors, "c": Liar()}}, tmp_path / "m.th")
    same_weights(checkpoint.read_state(tmp_path / "m.th"), tensors)
