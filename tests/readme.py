"""Keeps README's "Where things are" equal to the files: `python -m tests.readme` rewrites it."""

from __future__ import annotations

import ast
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PACKAGES = ("x2vlm", "benchmarks", "leaderboards")
BEGIN, END = "<!-- files: python -m tests.readme -->", "<!-- /files -->"


def purpose(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def file_table() -> str:
    """One line per source file, by folder."""
    lines = ["```"]
    for package in PACKAGES:
        folders: dict[str, list[Path]] = {}
        for path in sorted((TOP / package).rglob("*.py")):
            folders.setdefault(path.parent.relative_to(TOP).as_posix(), []).append(path)
        for folder in sorted(folders):
            named = [path for path in folders[folder] if path.read_text(encoding="utf-8").strip()]
            if not named:
                continue
            lines.append(f"{folder}/")
            lines += [f"  {path.name:<24} {purpose(path)}" for path in named]
    return "\n".join([*lines, "```"])


def rewritten(readme: str) -> str:
    """README with the table made anew."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{file_table()}\n{END}{after}"


if __name__ == "__main__":
    path = TOP / "README.md"
    path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
