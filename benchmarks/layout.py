"""The layout file: where a user's own files are, as YAML.

    root: /data                    # optional: what relative paths start from
    coco_retrieval:                # a benchmark, then role: path
      test: lists/coco_test.json
      images: /pictures/coco
    xflickrco:
      test: "xflickr/{language}/test.jsonl"

Roles are the names of splits and the few others that docs/benchmarks.md lists for each benchmark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmarks.registry import NAMES
from x2vlm.errors import ConfigError, unknown

Layout = dict[str, dict[str, str]]
"""benchmark -> role -> path"""


def load_layout(path: str | Path) -> Layout:
    """Read a layout file; relative paths with a `root` become absolute.

    Raises ConfigError for a file that is not YAML, an unknown benchmark, or a path that is no text.
    """
    path = Path(path)
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"layout file {path} cannot be read: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"layout file {path} is no YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"layout file {path}: expected benchmark: {{role: path}} at the top")
    root = value.pop("root", None)
    if root is not None and not isinstance(root, str):
        raise ConfigError(f"layout file {path}: root must be a folder, got {root!r}")
    return {str(name): _roles(path, str(name), roles, root) for name, roles in value.items()}


def _roles(path: Path, name: str, roles: Any, root: str | None) -> dict[str, str]:
    if name not in NAMES and ":" not in name:
        raise ConfigError(f"layout file {path}: {unknown('benchmark', name, NAMES)}")
    if not isinstance(roles, dict) or not all(isinstance(p, str) for p in roles.values()):
        raise ConfigError(f"layout file {path}: {name} must map roles to paths, got {roles!r}")
    base = "" if root is None else root
    return {
        str(role): str(Path(path.parent, base, where)) if base else where
        for role, where in roles.items()
    }
