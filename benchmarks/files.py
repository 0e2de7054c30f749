"""Where a user's files are: names and patterns under a root, or a layout file, or a flag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from x2vlm.errors import DataError

OnError = Literal["raise", "skip"]


@dataclass
class Files:
    """The files of one benchmark below one root.

    root: the data folder (data=DIR). given: role -> path, from `file.ROLE=PATH` or the layout file;
    absolute, or relative to the root. on_error: what readers do with a bad row. skipped: rows left
    out so far, each {"source", "reason"}; a record of the run carries them.
    """

    root: Path
    given: Mapping[str, str] = field(default_factory=dict)
    on_error: OnError = "raise"
    skipped: list[dict[str, str]] = field(default_factory=list)

    def find(self, role: str, names: Sequence[str], *, kind: str = "file") -> Path:
        """The path for `role`: the one given, else the first of `names` that exists below the root.

        names: relative paths, "*" allowed, in order of preference. kind: "file" or "folder".
        Raises DataError that lists every place looked at.
        """
        path = self.look(role, names, kind=kind)
        if path is not None:
            return path
        places = ", ".join(str(self.root / name) for name in names)
        raise DataError(
            f"no {kind} for {role!r}",
            source=str(self.root),
            expected=f"one of {places}",
            fix=f"put it there, or name it: file.{role}=PATH (or in the layout file, layout=FILE)",
        )

    def look(self, role: str, names: Sequence[str], *, kind: str = "file") -> Path | None:
        """Like `find`, but None when nothing is there. A path *given* must exist."""
        if role in self.given:
            path = self.root / self.given[role]
            if not path.exists():
                raise DataError(
                    f"the {kind} given for {role!r} does not exist",
                    source=str(path),
                    fix=f"correct file.{role}=PATH or the layout file",
                )
            return path
        for name in names:
            for path in sorted(self.root.glob(name)) if "*" in name else [self.root / name]:
                if path.is_dir() if kind == "folder" else path.is_file():
                    return path
        return None

    def skip(self, error: DataError) -> None:
        """Raise the error of a bad row, or count and name it when on_error is "skip"."""
        if self.on_error == "raise":
            raise error
        self.skipped.append({"source": error.source, "reason": error.what})

    def rows(self, path: Path, rows: Sequence[Any]) -> Iterator[tuple[str, Any]]:
        """(source, row) pairs, the source being "FILE:NUMBER" with rows counted from 1."""
        for number, row in enumerate(rows, 1):
            yield f"{path}:{number}", row
