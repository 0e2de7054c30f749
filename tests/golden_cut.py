"""Cut the small committed goldens out of the full ones: `python tests/golden_cut.py FROM [TO]`.

FROM holds `a/` and `inventory.json.gz`. Kept are the case with every loss, the position tables,
the functions (without token ids, which need BERT's vocabulary), and the inventory of shapes.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

CASES = ("pretrain", "relative_position")
HERE = Path(__file__).parent / "golden" / "official"


def cut(source: Path, target: Path = HERE) -> None:
    """Copy the subset, its manifest and functions into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((source / "a" / "manifest.json").read_text(encoding="utf-8"))
    kept = {name: manifest[name] for name in (*CASES, "_sizes")}
    functions = json.loads((source / "a" / "functions.json").read_text(encoding="utf-8"))
    for text in functions["text"]:
        del text["caption_token_ids"]
    for name, value in (("manifest", kept), ("functions", functions)):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        (target / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    for case in CASES:
        for path in (source / "a").glob(f"{case}.*.safetensors"):
            shutil.copyfile(path, target / path.name)
    shutil.copyfile(source / "inventory.json.gz", target / "inventory.json.gz")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python tests/golden_cut.py FROM [TO]")
    cut(*map(Path, sys.argv[1:]))
