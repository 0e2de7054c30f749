"""The rules of the house that a machine can hold: layers, light imports, budgets, public names."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.registry import NAMES

TOP = Path(__file__).resolve().parents[1]
PACKAGES = ("x2vlm", "benchmarks", "leaderboards")
SOURCES = sorted(path for name in PACKAGES for path in (TOP / name).rglob("*.py"))
TESTS = sorted((TOP / "tests").rglob("*.py"))
TORCH_FREE = (
    "x2vlm/types.py", "x2vlm/errors.py", "x2vlm/config.py", "x2vlm/model/config.py",
    "x2vlm/cli/__init__.py", "benchmarks", "leaderboards",
)  # fmt: skip
MAY_USE_TORCH = {"benchmarks/asking.py", "benchmarks/pretrain.py", "benchmarks/weights.py"}
LAYERS = {  # a module of the key may not import any of the values
    "x2vlm/model": ("x2vlm.tasks", "x2vlm.train", "x2vlm.cli", "benchmarks", "leaderboards"),
    "x2vlm/data": ("x2vlm.model", "x2vlm.tasks", "x2vlm.train", "x2vlm.cli", "benchmarks",
                   "leaderboards"),
    "x2vlm/tasks": ("x2vlm.train", "x2vlm.cli", "benchmarks", "leaderboards"),
    "x2vlm/train": ("x2vlm.cli", "benchmarks", "leaderboards"),
    "benchmarks": ("x2vlm.cli", "leaderboards"),
    "leaderboards": ("x2vlm.cli",),
}  # fmt: skip


def imported(path: Path, *, runtime_only: bool = False) -> set[str]:
    """Modules a file imports; without those under `if TYPE_CHECKING` when runtime_only."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if runtime_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def name_of(path: Path) -> str:
    return path.relative_to(TOP).as_posix()


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer: str) -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in (TOP / layer).rglob("*.py")
        for module in imported(path)
        if any(module == upper or module.startswith(f"{upper}.") for upper in LAYERS[layer])
    ]
    assert wrong == []


def test_only_the_door_knows_hydra() -> None:
    users = {
        name_of(path)
        for path in SOURCES
        if any(module.split(".")[0] in ("hydra", "omegaconf") for module in imported(path))
    }
    assert users == {"x2vlm/cli/compose.py"}


def test_readers_metrics_and_boards_import_no_torch() -> None:
    wrong = [
        name_of(path)
        for path in SOURCES
        if name_of(path).startswith(TORCH_FREE)
        and name_of(path) not in MAY_USE_TORCH
        and any(module.split(".")[0] == "torch" for module in imported(path, runtime_only=True))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "module",
    ["x2vlm", "x2vlm.cli", "x2vlm.tasks", "x2vlm.model.config", "benchmarks.registry",
     "benchmarks.plan", "benchmarks.score", "leaderboards.board"],
)  # fmt: skip
def test_importing_it_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_files_and_functions_stay_short() -> None:
    long = []
    for path in SOURCES + TESTS:
        text = path.read_text(encoding="utf-8")
        limit = 400 if "/model/" in name_of(path) else 300
        if text.count("\n") > limit:
            long.append(f"{name_of(path)}: {text.count(chr(10))} lines")
        long += [
            f"{name_of(path)}:{node.lineno} {node.name}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef)
            and node.end_lineno is not None
            and node.end_lineno - node.lineno + 1 > 60
        ]
    assert long == []


def test_two_levels_of_folders_and_no_drawer_for_odds_and_ends() -> None:
    names = [path.relative_to(TOP) for path in SOURCES]
    assert all(len(name.parts) <= 3 for name in names)
    assert not {"utils", "common", "helpers"} & {name.stem for name in names}


def test_public_names_resolve() -> None:
    import x2vlm

    assert x2vlm.__all__ == sorted(x2vlm.__all__, key=lambda name: (name != "X2VLM", name))
    for name in x2vlm.__all__:
        assert getattr(x2vlm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = x2vlm.nothing


def test_x2vlm_names_no_benchmark() -> None:
    names = re.compile("|".join(rf"\"{name}\"" for name in NAMES))
    wrong = [
        f"{name_of(path)}: {found.group()}"
        for path in (TOP / "x2vlm").rglob("*.py")
        if "cli" not in path.parts and (found := names.search(path.read_text(encoding="utf-8")))
    ]
    assert wrong == []
