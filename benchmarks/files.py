"""Where a user's files are: names and patterns under a root, or a layout file, or a flag.

A root may hold a whole annotation file and, beside it, a smaller one cut to the images at hand
(`coco_test.avail38.json`). Which is read is never a guess: `prefer` says it, `used` tells it, and
a run on a cut file is partial.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from x2vlm.errors import DataError, NoFileError

if TYPE_CHECKING:
    from x2vlm.data.cleaning import Bare
    from x2vlm.data.orientation import Pixels

OnError = Literal["raise", "skip"]
Extent = Literal["available", "whole", "cut"]
ORDER: Mapping[Extent, tuple[Extent, ...]] = {
    "available": ("available", "whole", "cut"),
    "whole": ("whole", "cut", "available"),
    "cut": ("cut", "whole", "available"),
}
_AVAILABLE = re.compile(r"(^|[._])avail\d*([._]|$)")
_CUT = re.compile(r"(^|[._])(first\d+|subset|smallval|curated)([._]|$)")


def extent(path: Path, root: Path | None = None) -> Extent:
    """How much of its split a file holds, by its name.

    "available": cut to the images that are there (`X.avail38.json`, `avail/X.json`); "cut": cut
    otherwise (`X.first400.json`, `X.subset.json`); "whole": everything else.
    """
    if root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    parts = path.parts[-4:]
    if any(_AVAILABLE.search(part) for part in parts):
        return "available"
    return "cut" if any(_CUT.search(part) for part in parts) else "whole"


def under(folders: Sequence[str], *names: str) -> list[str]:
    """Each name below each folder ("" is the root), the order of names being the stronger."""
    return [f"{folder}/{name}" if folder else name for name in names for folder in folders]


@dataclass
class Files:
    """The files of one benchmark below one root.

    root: the data folder (data=DIR). given: role -> path, from `file.ROLE=PATH` or the layout file;
    absolute, or relative to the root; "{language}" in it is replaced. on_error: what readers do
    with a bad row. skipped: rows left out so far, each {"source", "reason"}; a record of the run
    carries them. prefer: which of several cuts of a file to take first. used: role -> the file
    taken. notes: what the user must know about this reading (printed and recorded). scoring: only
    ids and answers are wanted, so the questions may be those of another language. stands_in: what
    was read is in the benchmark's layout, but no part of it.
    bare: what to do with texts without a word (`usable.read_usable` sets it from the options).
    box_format: what the numbers of boxes mean (`box_formats`; empty: as the layout has them).
    box_pixels: which pixels they count when EXIF turns an image.
    """

    root: Path
    given: Mapping[str, str] = field(default_factory=dict)
    on_error: OnError = "raise"
    skipped: list[dict[str, str]] = field(default_factory=list)
    prefer: Extent = "available"
    used: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    scoring: bool = False
    stands_in: bool = False
    bare: Bare = "refuse"
    box_format: str = ""
    box_pixels: Pixels = "stored"

    def find(
        self, role: str, names: Sequence[str], *, kind: str = "file", language: str = ""
    ) -> Path:
        """The path for `role`: the one given, else the first of `names` that exists below the root.

        names: relative paths, "*" allowed in the last part, in order of preference; `X.json`
        stands for its cuts too (`X.avail*.json`, `avail/X.json`, `X.first*.json`,
        `X.subset*.json`).
        kind: "file" or "folder". language: put in place of "{language}".
        Raises NoFileError that lists every place looked at.
        """
        path = self.look(role, names, kind=kind, language=language)
        if path is not None:
            return path
        shown = [name.replace("{language}", language) for name in names]
        more = f" (and {len(shown) - 8} more places)" if len(shown) > 8 else ""
        raise NoFileError(
            f"no {kind} for {role!r}" + (f" in language {language!r}" if language else ""),
            source=str(self.root),
            expected=f"one of {', '.join(shown[:8])}{more}",
            fix=f"put it there, or name it: file.{role}=PATH (or in the layout file, layout=FILE)",
        )

    def look(
        self, role: str, names: Sequence[str], *, kind: str = "file", language: str = ""
    ) -> Path | None:
        """Like `find`, but None when nothing is there. A path *given* must exist."""
        key = f"{role}_{language}" if language else role
        given = self.given.get(key, self.given.get(role))
        if given is not None:
            path = self.root / given.replace("{language}", language)
            if not path.exists():
                raise DataError(
                    f"the {kind} given for {role!r} does not exist",
                    source=str(path),
                    fix=f"correct file.{role}=PATH or the layout file",
                )
            return self._use(key, path, kind)
        found = list(self._existing([n.replace("{language}", language) for n in names], kind))
        for wanted in ORDER[self.prefer]:
            for path in found:
                if extent(path, self.root) == wanted:
                    return self._use(key, path, kind)
        return None

    def partial(self) -> dict[str, Path]:
        """Role -> file, of those files in use whose names say that they hold a part only."""
        return {r: p for r, p in self.used.items() if extent(p, self.root) != "whole"}

    def note(self, text: str) -> None:
        """Say something once; an empty text says nothing."""
        if text and text not in self.notes:
            self.notes.append(text)

    def skip(self, error: DataError) -> None:
        """Raise the error of a bad row, or count and name it when on_error is "skip"."""
        if self.on_error == "raise":
            raise error
        self.skipped.append({"source": error.source, "reason": error.what})

    def _use(self, key: str, path: Path, kind: str) -> Path:
        if kind == "file":
            self.used[key] = path
        return path

    def _existing(self, names: Iterable[str], kind: str) -> Iterator[Path]:
        for name in names:
            for pattern in (name, *_cuts(name)) if kind == "file" else (name,):
                folder, _, file = pattern.rpartition("/")
                place = self.root / folder
                paths = sorted(place.glob(file)) if "*" in file else [place / file]
                for path in paths:
                    if path.is_dir() if kind == "folder" else path.is_file():
                        yield path


def _cuts(name: str) -> tuple[str, ...]:
    folder, _, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    if not dot or "*" in file:
        return ()
    here = f"{folder}/" if folder else ""
    return (
        f"{here}{stem}.avail*.{suffix}",
        f"{here}avail/{file}",
        f"{here}{stem}.first*.{suffix}",
        f"{here}{stem}.subset*.{suffix}",
    )
