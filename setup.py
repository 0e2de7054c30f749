"""Builds state what they are made of, so that results of an installed package name its commit."""

from __future__ import annotations

import filecmp
import importlib
import json
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

TOP = Path(__file__).resolve().parent
sys.path.insert(0, str(TOP))  # an isolated build does not search this folder
provenance = importlib.import_module("x2vlm.provenance")


def state(built: Path) -> None:
    """Write what the sources are into the packages below `built`."""
    found = provenance.revision_of(TOP)
    same = all(
        (TOP / name).is_file() and filecmp.cmp(TOP / name, path, shallow=False)
        for name, path in provenance.sources(built)
    )
    stated = {
        "version": found["version"],
        "commit": found["commit"],
        "dirty": found["dirty"] if same else True,  # left by an earlier build in build/
        "sources_sha256": provenance.sources_sha256(built),
    }
    path = built / provenance.DISTRIBUTION
    path.unlink(missing_ok=True)  # it may be a hard link to the one of the tree
    path.write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")


class BuildPackages(build_py):
    """Wheels."""

    def run(self) -> None:
        """Copy the packages, then state what they are."""
        super().run()
        if not self.editable_mode:
            state(Path(self.build_lib))


class SourceDistribution(sdist):
    """Sdists."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Lay the tree out, then state what it is."""
        super().make_release_tree(base_dir, files)
        state(Path(base_dir))


setup(cmdclass={"build_py": BuildPackages, "sdist": SourceDistribution})
