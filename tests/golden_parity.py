"""Compare this project with outputs of the official model: `python tests/golden_parity.py DIR`.

DIR holds `manifest.json` and, per case, weights under official names, inputs and outputs. Every
case runs through the project's own loading and public functions; one line per output gives the
largest absolute difference. Exit 1 when one exceeds 1e-4 (token ids and choices must be equal), a
case or function is unknown, or an output is not compared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import golden_functions
import torch
from golden_cases import CASES, Given, positions
from safetensors.torch import load_file
from torch import Tensor

from x2vlm.model.checkpoint import load_official

TOLERANCE = 1e-4


def difference(found: Any, wanted: Tensor) -> float:
    """Largest absolute difference; infinite when shapes, or any integer, differ."""
    if tuple(found.shape) != tuple(wanted.shape):
        return float("inf")
    if not wanted.is_floating_point():
        return 0.0 if bool((found == wanted).all()) else float("inf")
    worst = (found.double() - wanted.double()).abs().max().item() if wanted.numel() else 0.0
    return worst if worst == worst else float("inf")


def compare_case(
    folder: Path, name: str, manifest: Mapping[str, Any]
) -> Iterator[tuple[str, float]]:
    """(output, difference) of one case; an output that nothing computes differs infinitely."""
    tensors = load_file(folder / f"{name}.io.safetensors")
    wanted = {key: value for key, value in tensors.items() if key.startswith("out.")}
    if name == "relative_position":
        sizes = [case["config"].get("patch_size") for case in manifest.values() if "config" in case]
        outputs = positions(tensors, next(size for size in [*sizes, 16] if size))
    else:
        weights = load_file(folder / f"{name}.weights.safetensors")
        heads = manifest.get("_sizes", {}).get("th")
        model = load_official(weights, text_heads=heads).eval()
        inputs = {key.removeprefix("in."): v for key, v in tensors.items() if key[:3] == "in."}
        outputs = CASES[name](model, Given(inputs, wanted, manifest[name]))
    found = dict(outputs)
    for key, value in wanted.items():
        short = key.removeprefix("out.")
        yield short, difference(found[short], value) if short in found else float("inf")


@torch.inference_mode()
def compare(folder: Path) -> list[tuple[str, str, float]]:
    """(case, output, difference) of everything in `folder`."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    listed = {name for name in manifest if not name.startswith("_")}
    files = {path.name.partition(".")[0] for path in folder.glob("*.safetensors")}
    rows: list[tuple[str, str, float]] = []
    for name in sorted(listed | files):
        if name not in {*CASES, "relative_position"} or name not in listed & files:
            rows.append((name, "unknown case, or not in both manifest and folder", float("inf")))
        else:
            rows += attempt(name, lambda case=name: compare_case(folder, case, manifest))
    if (folder / "functions.json").is_file():
        rows += attempt("functions", lambda: golden_functions.compare(folder))
    return rows


def attempt(
    name: str, comparing: Callable[[], Iterator[tuple[str, float]]]
) -> Iterator[tuple[str, str, float]]:
    """The rows of one case; one that cannot be computed is a difference too, not the end of all."""
    try:
        yield from ((name, *row) for row in comparing())
    except Exception as error:
        yield name, f"{type(error).__name__}: {error}", float("inf")


def main(folder: str) -> int:
    """Print the differences; 0 when all are within the tolerance."""
    if not (Path(folder) / "manifest.json").is_file():
        print(f"{folder}: no manifest.json; DIR is a folder of goldens", file=sys.stderr)
        return 1
    rows = compare(Path(folder).resolve())
    for case, output, worst in rows:
        print(f"{case:24}{output:52}{worst:.2e}{'' if worst <= TOLERANCE else '  FAIL'}")
    failed = sum(worst > TOLERANCE for *_, worst in rows)
    print(f"{len(rows)} outputs compared, {failed} differ by more than {TOLERANCE}")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/golden_parity.py DIR")
    sys.exit(main(sys.argv[1]))
