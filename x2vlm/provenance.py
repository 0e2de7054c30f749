"""Which code made a result: version, commit, hash of the sources, and whether they were edited.

The answer is about *this* package, wherever it runs from, found in this order:

- a git checkout of this project (the folder above the package is the top of a work tree that tracks
  the package; a repository that merely contains an installed copy is somebody else's);
- a built distribution, in which the build wrote `DISTRIBUTION` (version, commit, hash of sources);
- an archive made by git (`git archive`, a download of the hosting site), in which git wrote the
  commit and the tree into `ARCHIVE`; the files are held against that tree.

Elsewhere the commit is unknown, and boards refuse the result. No torch, standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from x2vlm import __version__

PACKAGES = ("benchmarks", "leaderboards", "x2vlm")
DISTRIBUTION = "x2vlm/distribution.json"
"""written by the build into wheels and sdists, never into a checkout"""
ARCHIVE = "x2vlm/archive.txt"
"""committed with placeholders, which `git archive` replaces (.gitattributes: export-subst)"""
PLACEHOLDERS = "commit $" + "Format:%H$\ntree $" + "Format:%T$\n"
TRACKED = (".ci", ".gitattributes", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE",
           "README.md", "benchmarks", "constraints.txt", "docs", "leaderboards", "noxfile.py",
           "pyproject.toml", "setup.py", "tests", "x2vlm")  # fmt: skip
"""the top level of the repository, which git hashes into the tree"""
DECIDING = (*PACKAGES, "pyproject.toml", "constraints.txt")
"""what must be unchanged for a result to be that of the commit; documents and tests may differ"""


@lru_cache(maxsize=1)
def revision() -> dict[str, Any]:
    """The running code: {"version", "commit", "dirty", "sources_sha256", "from"}.

    from: "checkout", "distribution", "archive" or "unknown". commit and dirty are None where they
    are unknown. Read once per process: a file edited later does not run in it.
    """
    return revision_of(Path(__file__).resolve().parents[1])


def revision_of(top: Path) -> dict[str, Any]:
    """`revision` of the code below `top`, the folder that holds the packages."""
    for read in (_checkout, _distribution, _archive):
        if found := read(top):
            break
    else:
        found = {"version": __version__, "commit": None, "dirty": None, "from": "unknown"}
    return {**found, "sources_sha256": sources_sha256(top)}


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sources_sha256(top: Path) -> str:
    """Hash of the names and bytes of every file of the packages, in sorted order."""
    whole = hashlib.sha256()
    for name, path in sorted(sources(top)):
        whole.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def sources(top: Path) -> Iterator[tuple[str, Path]]:
    """Name below `top` and path of every file of the packages."""
    for package in PACKAGES:
        for path in (top / package).rglob("*"):
            name = path.relative_to(top).as_posix()
            if _counts(path) and name not in (DISTRIBUTION, ARCHIVE):
                yield name, path


def _counts(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts


def _checkout(top: Path) -> dict[str, Any] | None:
    """From git, when `top` is the top of a work tree that tracks this package."""
    if _git(top, "rev-parse", "--show-prefix") != "":
        return None
    if not _git(top, "ls-files", "--", "x2vlm/provenance.py"):
        return None
    commit = _git(top, "rev-parse", "HEAD")
    changed = _git(top, "status", "--porcelain", "--untracked-files=normal", "--", *DECIDING)
    if commit is None or changed is None:
        return None
    return {"version": __version__, "commit": commit, "dirty": bool(changed), "from": "checkout"}


def _git(top: Path, *arguments: str) -> str | None:
    """What git prints, or None where it fails. Variables such as GIT_DIR, which hooks set, would
    direct it to another repository."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=top,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _distribution(top: Path) -> dict[str, Any] | None:
    """From the statement of the build. Sources that no longer have its hash were edited."""
    try:
        stated = json.loads((top / DISTRIBUTION).read_text(encoding="utf-8"))
        version, commit = stated["version"], stated["commit"]
        dirty, hashed = stated["dirty"], stated["sources_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if hashed != sources_sha256(top):
        dirty = True
    return {"version": version, "commit": commit, "dirty": dirty, "from": "distribution"}


def _archive(top: Path) -> dict[str, Any] | None:
    """From the commit and tree that `git archive` wrote; files of another tree were edited."""
    try:
        lines = (top / ARCHIVE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    if len(lines) != 2 or "$" in lines[0]:
        return None
    commit, tree = (line.rpartition(" ")[2] for line in lines)
    dirty = tree_sha1(top, TRACKED) != tree
    return {"version": __version__, "commit": commit, "dirty": dirty, "from": "archive"}


def tree_sha1(folder: Path, names: tuple[str, ...] = (), prefix: str = "") -> str:
    """The hash that git gives to the files of a folder. names: its entries; by default all."""
    entries = []
    for path in folder.iterdir():
        if (names and path.name not in names) or path.name.endswith(".egg-info"):
            continue
        inside = f"{prefix}{path.name}"
        if path.is_dir() and any(_counts(file) for file in path.rglob("*")):
            entries.append((f"{path.name}/", "40000", tree_sha1(path, prefix=f"{inside}/")))
        elif _counts(path):
            mode = "100755" if os.access(path, os.X_OK) else "100644"
            content = PLACEHOLDERS.encode() if inside == ARCHIVE else path.read_bytes()
            entries.append((path.name, mode, _object("blob", content).hex()))
    lines = [
        f"{mode} {name.rstrip('/')}\0".encode() + bytes.fromhex(digest)
        for name, mode, digest in sorted(entries, key=lambda entry: entry[0].encode())
    ]
    return _object("tree", b"".join(lines)).hex()


def _object(kind: str, content: bytes) -> bytes:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).digest()
