"""Writing the world's files: annotation texts with their hashes, pictures drawn once each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.mini import render
from benchmarks.mini.world import Scene


@dataclass
class Store:
    """A folder being written. seed: names every scene; scale: factor on all counts.

    hashes: SHA-256 of each annotation file by its path below the root. counts: what the manifest
    says of each benchmark. unseen: images with a combination that training never shows.
    """

    root: Path
    seed: int = 0
    scale: float = 1.0
    hashes: dict[str, str] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    unseen: dict[str, list[str]] = field(default_factory=dict)
    _drawn: dict[tuple[str, str], Path] = field(default_factory=dict)

    def number(self, full: int, least: int = 4) -> int:
        """A count at this scale."""
        return max(least, round(full * self.scale))

    def name(self, part: str) -> str:
        """The name that the scenes of one part are drawn from."""
        return f"{self.seed}/{part}"

    def file(self, path: str) -> Path:
        """A path below the root whose folder exists."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def bytes(self, path: str, data: bytes) -> None:
        """An annotation file; its hash goes into the manifest."""
        self.file(path).write_bytes(data)
        self.hashes[path] = hashlib.sha256(data).hexdigest()

    def text(self, path: str, lines: Iterable[str]) -> None:
        """A text file, one line each."""
        self.bytes(path, "".join(line + "\n" for line in lines).encode())

    def json(self, path: str, value: Any) -> None:
        """One JSON value."""
        self.bytes(path, json.dumps(value, ensure_ascii=False).encode())

    def rows(self, path: str, rows: Iterable[Any]) -> None:
        """JSON lines."""
        self.text(path, (json.dumps(row, ensure_ascii=False) for row in rows))

    def image(self, path: str, scene: Scene) -> None:
        """The picture of a scene, JPEG or PNG by the suffix; drawn once, then linked to."""
        target = self.file(path)
        if target.exists():  # benchmarks share images
            return
        key = (scene.seed, target.suffix)
        if key in self._drawn:
            os.link(self._drawn[key], target)
            return
        target.write_bytes(render.png(scene) if target.suffix == ".png" else render.jpeg(scene))
        self._drawn[key] = target

    def images(self, part: str, named: Iterable[tuple[str, Scene]]) -> None:
        """Pictures of one part, and which of them show unseen combinations."""
        for path, scene in named:
            self.image(path, scene)
            if scene.unseen():
                self.unseen.setdefault(part, []).append(path)
