"""Fetches what may be fetched: resumed after a break, retried with patience, checked, never gated.

A file is written to NAME.part and renamed when its size and checksum are right, so a whole name
means a whole file. What may be fetched is data: `downloads.json`.
"""

from __future__ import annotations

import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from x2vlm import plain
from x2vlm.data.unpacking import check_unpacked
from x2vlm.errors import ConfigError, DataError, unknown
from x2vlm.plain import TEXT, Kind, listed, mapped, optional, shaped, whole
from x2vlm.provenance import sha256

TABLE = Path(__file__).with_name("suites") / "downloads.json"
CHUNK = 1 << 20
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""HTTP answers after which trying again can help"""


@dataclass(frozen=True, slots=True)
class Item:
    """url; path below the data folder; sha256 and size in bytes when known. unpack: folder below
    the data folder for the members of the archive; strip: leading folders of members to drop."""

    url: str
    path: str
    sha256: str = ""
    size: int | None = None
    unpack: str = ""
    strip: int = 0


BELOW = Kind(
    "a path below the data folder",
    lambda value: (
        isinstance(value, str)
        and not PurePosixPath(value).is_absolute()
        and ".." not in PurePosixPath(value).parts
    ),
)
ADDRESS = Kind(
    "an address with http:// or https://",
    lambda value: isinstance(value, str) and value.startswith(("http://", "https://")),
)
ITEMS = mapped(
    listed(
        shaped(
            {"url": ADDRESS, "path": BELOW},
            {"sha256": TEXT, "size": optional(whole(0)), "unpack": BELOW, "strip": whole(0)},
        )
    )
)
"""What a table of downloads holds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """state: "there" (nothing to do), "fetched", "resumed" or "planned" (dry run)."""

    item: Item
    state: str
    size: int = 0


def table(path: Path = TABLE) -> dict[str, tuple[Item, ...]]:
    """Benchmark (or "coco_images") -> what can be fetched for it; ConfigError for no such table."""
    try:
        value = plain.read(path, ConfigError)
        value.pop("about", None)
        plain.conform(value, ITEMS, str(path), ConfigError)
        return {name: tuple(Item(**item) for item in items) for name, items in value.items()}
    except (ConfigError, TypeError) as error:
        raise ConfigError(
            f"table of downloads {path}: {error}\n"
            '  expected: JSON {"NAME": [{"url": …, "path": …, "sha256": …, "size": …}, …]}'
        ) from error


def silent(*_: object) -> None:
    """The progress that reports nothing."""


def download(
    names: Sequence[str],
    root: Path,
    *,
    items: Mapping[str, Sequence[Item]] | None = None,
    dry_run: bool = False,
    retries: int = 5,
    wait: Callable[[float], None] = time.sleep,
    progress: Callable[[int, int | None, str], None] = silent,
) -> list[Outcome]:
    """Fetch the items of `names` below `root`, one after the other; unpack archives.

    dry_run: only say what would be done. retries: attempts after the first, waiting 1, 2, 4, …
    seconds (at most 60). progress: called with bytes done, bytes in all (None: unknown) and the
    path. Raises ConfigError for a name with nothing to fetch, DataError when an item fails.
    """
    known = table() if items is None else items
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{unknown('download', name, known)}; what is gated or on request is fetched by "
                "hand: x2vlm data status says how"
            )
    chosen = dict.fromkeys(item for name in names for item in known[name])
    done = []
    for item in chosen:
        target = root / item.path
        if target.is_file():
            done.append(Outcome(item, "there", target.stat().st_size))
        elif dry_run:
            done.append(Outcome(item, "planned", item.size or 0))
            continue
        else:
            done.append(_fetch(item, target, retries, wait, progress))
        if item.unpack and not dry_run:
            _unpack(target, root / item.unpack, item.strip)
    return done


def _fetch(
    item: Item,
    target: Path,
    retries: int,
    wait: Callable[[float], None],
    progress: Callable[[int, int | None, str], None],
) -> Outcome:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    began = part.stat().st_size if part.is_file() else 0
    for attempt in range(retries + 1):
        try:
            _continue(item, part, progress)
            _check(item, part)
            break
        except (urllib.error.URLError, http.client.HTTPException, OSError, _WrongContent) as error:
            lasting = False
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                lasting = error.code not in TRANSIENT
            if lasting or attempt == retries:
                raise DataError(
                    f"cannot be fetched ({error})",
                    source=item.url,
                    expected=f"{item.path} below the data folder",
                    fix="try again later (what is here already is kept), or fetch it by hand",
                ) from error
            wait(min(2.0**attempt, 60.0))
    part.replace(target)
    return Outcome(item, "resumed" if began else "fetched", target.stat().st_size)


class _WrongContent(Exception):
    """The bytes are not those that were promised."""


def _continue(item: Item, part: Path, progress: Callable[[int, int | None, str], None]) -> None:
    """Ask for what is missing of `part`, and append it; start over when the server cannot."""
    have = part.stat().st_size if part.is_file() else 0
    if item.size is not None and have == item.size:
        return
    request = urllib.request.Request(item.url, headers={"User-Agent": "x2vlm"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing after what we have: whole, or another file
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise _WrongContent("another file than the one begun; starting over") from error
        raise
    with answer:
        if have and answer.status != 206:  # the server sends everything again
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else item.size
        with part.open("ab" if have else "wb") as file:
            for data in _chunks(answer):
                file.write(data)
                have += len(data)
                progress(have, total, item.path)
        if total is not None and have < total:
            raise _WrongContent(f"the connection ended after {have} of {total} bytes")


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while data := answer.read1(CHUNK):
        yield data


def _check(item: Item, part: Path) -> None:
    """Size and checksum of a whole file; a wrong one is removed: the next try starts over."""
    size = part.stat().st_size
    problem = f"{size} bytes instead of {item.size}" if item.size not in (None, size) else ""
    if not problem and item.sha256:
        found = sha256(part)
        problem = f"SHA-256 {found} instead of {item.sha256}" if found != item.sha256 else ""
    if problem:
        part.unlink()
        raise _WrongContent(problem)


def _unpack(archive: Path, folder: Path, strip: int) -> None:
    """The members of a zip or tar archive below `folder`, once; none may lead outside it."""
    mark = archive.with_name(archive.name + ".unpacked")
    if mark.is_file():
        return
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as members:
                check_unpacked(archive, sum(member.file_size for member in members.infolist()))
                _extract(members.infolist(), lambda m: m.filename, members.open, folder, strip)
        else:
            with tarfile.open(archive) as members:
                files = [member for member in members if member.isfile()]
                check_unpacked(archive, sum(member.size for member in files))
                _extract(files, lambda m: m.name, members.extractfile, folder, strip)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataError(
            f"is no sound archive ({error})", source=str(archive), fix="remove it and fetch again"
        ) from error
    mark.touch()


def _extract(
    members: Iterable[Any],
    name_of: Callable[[Any], str],
    opened: Callable[[Any], Any],
    folder: Path,
    strip: int,
) -> None:
    for member in members:
        parts = PurePosixPath(name_of(member)).parts
        if not parts[strip:] or name_of(member).endswith("/"):
            continue
        if parts[0] == "/" or ".." in parts:
            raise DataError(
                f"the archive holds {name_of(member)!r}, which leads outside {folder}",
                fix="do not trust this archive",
            )
        target = folder.joinpath(*parts[strip:])
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(target.name + ".part")
        with opened(member) as source, beside.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)
        beside.replace(target)
