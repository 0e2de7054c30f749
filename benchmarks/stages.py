"""Restartable stages of a run folder: what finished, from what, and whether it may be reused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.record import json_ready
from benchmarks.record_fields import MODEL, SKIPPED
from x2vlm import plain
from x2vlm.errors import ConfigError, RecordError
from x2vlm.plain import ANY, TEXT, listed, mapped, number, optional, shaped, whole
from x2vlm.writing import write_json

HASHED = {
    "data": "made of other records (limit=, data=, a file or a language is another now)",
    "weights": "made from other weights (checkpoint=, or the training before it, is another now)",
}
"""What to say of settings whose values are hashes."""
KEY = mapped(ANY)
NOTES = {
    "train": shaped({"key": KEY}, {"seconds": number(0), "skipped": listed(SKIPPED)}),
    "predict": shaped(
        {
            "key": KEY,
            "seconds": number(0),
            "sha256": TEXT,
            "count": whole(0),
            "skipped": listed(SKIPPED),
            "model": MODEL,
            "video": optional(mapped(ANY)),
        },
        {"waited": number(0)},
    ),
}
"""What finished stages note, for those who read it."""


def digest(value: Any) -> str:
    """A short hash of plain values, independent of the order of keys."""
    text = json.dumps(json_ready(value), sort_keys=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Stage:
    """One stage of one run folder. Its mark, NAME.done.json, is written last, so a stage that was
    killed half-way has none and runs again.

    key: everything its result depends on, as plain values.
    """

    def __init__(self, folder: Path, name: str, key: Mapping[str, Any]) -> None:
        self.folder, self.name = folder, name
        self.key = json_ready(key)
        self.mark = folder / f"{name}.done.json"

    def finished(self) -> dict[str, Any] | None:
        """What the finished stage noted, or None when it has to run.

        Raises ConfigError when the folder holds a result made from something else, naming the
        first setting that differs: silently reusing or overwriting it would both be wrong.
        """
        if not self.mark.is_file():
            return None
        noted = self._read()
        if noted["key"] != self.key:
            where, then, now = _difference(noted["key"], self.key)
            what = HASHED.get(where) or f"made with {where}={then!r}, now {where}={now!r}"
            raise ConfigError(
                f"{self.folder} holds a finished {self.name} stage {what}\n"
                "  to do: give this run another name=…, or remove the folder"
            )
        return noted

    def note(self) -> dict[str, Any]:
        """What the finished stage noted, whatever its key; empty when it has not run."""
        if not self.mark.is_file():
            return {}
        return self._read()

    def _read(self) -> dict[str, Any]:
        """The mark; RecordError when it is not what a finished stage of this name writes."""
        try:
            return plain.read(self.mark, RecordError, NOTES.get(self.name, shaped({"key": KEY})))
        except RecordError as error:
            raise RecordError(
                f"{error}\n  to do: remove {self.mark.name}, and the {self.name} stage runs again"
            ) from error

    def finish(self, **facts: Any) -> dict[str, Any]:
        """Mark the stage as finished, with what a later stage or the record wants to know."""
        noted = {"key": self.key, **json_ready(facts)}
        write_json(self.mark, noted)
        return noted


def trained_on(note: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of its training data. note: of a finished training stage, or empty."""
    if not note:
        return {"train_skipped": []}
    return {
        "train_skipped": note.get("skipped", []),
        "train_split": note["key"]["split"],
        "train_fingerprint": note["key"]["data"],
    }


def _difference(then: Any, now: Any, path: str = "") -> tuple[str, Any, Any]:
    """Path and both values of the first place where two plain values differ."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted({*then, *now}):
            if then.get(name) != now.get(name):
                return _difference(then.get(name), now.get(name), f"{path}.{name}".lstrip("."))
    return path, then, now
