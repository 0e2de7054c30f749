"""The revision of a record is that of our code, wherever the code was installed from."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from x2vlm import provenance
from x2vlm.provenance import revision, revision_of, sources_sha256, tree_sha1

TOP = Path(__file__).resolve().parents[1]
EDITED = "\nEDITED = True\n"


def run(*command: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def git(folder: Path, *arguments: str) -> str:
    return run("git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments, cwd=folder)


def edit(folder: Path, name: str = "x2vlm/losses.py") -> None:
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8") + EDITED, encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds the files of this one, in one commit."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    folder.mkdir()
    leave = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "golden")
    for name in provenance.TRACKED:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, folder / name, ignore=leave)
        elif (TOP / name).is_file():
            shutil.copy(TOP / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "All")
    return folder


@pytest.fixture
def ours(checkout: Path, tmp_path: Path) -> Path:
    """A copy of the repository that the test may change."""
    return shutil.copytree(checkout, tmp_path / "ours")


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of the checkout, and a wheel of an sdist of it, each unpacked."""
    out = tmp_path_factory.mktemp("built")
    source = shutil.copytree(checkout, out / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    run(*pip, "-w", str(out / "direct"), str(source), cwd=out)
    code = "from setuptools.build_meta import build_sdist; build_sdist('../sdist')"
    run(sys.executable, "-c", code, cwd=source)
    (sdist,) = (out / "sdist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(out / "unpacked", filter="data")
    (unpacked,) = (out / "unpacked").iterdir()
    run(*pip, "-w", str(out / "indirect"), str(unpacked), cwd=out)
    found = {"sdist": unpacked}
    for way in ("direct", "indirect"):
        (wheel,) = (out / way).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(out / way / "site")
        found[way] = out / way / "site"
    return found


def test_a_checkout_is_named_by_its_commit(ours: Path) -> None:
    found = revision_of(ours)
    assert found == {
        "version": provenance.__version__,
        "commit": git(ours, "rev-parse", "HEAD"),
        "dirty": False,
        "from": "checkout",
        "sources_sha256": sources_sha256(ours),
    }


def test_changed_and_added_code_is_dirty_and_documents_are_not(ours: Path) -> None:
    clean = revision_of(ours)
    edit(ours, "README.md")
    edit(ours, "tests/toy.py")
    (ours / "runs").mkdir()
    (ours / "runs" / "record.json").write_text("{}")
    assert revision_of(ours) == clean
    (ours / "benchmarks" / "suites" / "added.py").write_text("ADDED = True\n")
    assert revision_of(ours)["dirty"] is True
    (ours / "benchmarks" / "suites" / "added.py").unlink()
    assert revision_of(ours)["dirty"] is False
    edit(ours)
    assert revision_of(ours)["dirty"] is True


@pytest.mark.parametrize("where", ["vendored", ".venv/lib/python3.11/site-packages"])
@pytest.mark.parametrize("tracked", [True, False])
def test_the_commit_of_a_surrounding_repository_is_not_ours(
    checkout: Path, tmp_path: Path, where: str, tracked: bool
) -> None:
    git(tmp_path, "init", "-q")
    inside = shutil.copytree(
        checkout, tmp_path / where, ignore=shutil.ignore_patterns(".git"), dirs_exist_ok=True
    )
    (tmp_path / "theirs.txt").write_text("theirs")
    git(tmp_path, "add", "." if tracked else "theirs.txt")
    git(tmp_path, "commit", "-qm", "Theirs")
    found = revision_of(inside)
    assert (found["commit"], found["dirty"], found["from"]) == (None, None, "unknown")


def test_packages_beside_a_foreign_repository_top_are_not_its_commit(tmp_path: Path) -> None:
    """An installed package whose parent happens to be the top of a repository."""
    shutil.copytree(TOP / "x2vlm", tmp_path / "x2vlm")
    git(tmp_path, "init", "-q")
    (tmp_path / "theirs.txt").write_text("theirs")
    git(tmp_path, "add", "theirs.txt")
    git(tmp_path, "commit", "-qm", "Theirs")
    assert revision_of(tmp_path)["commit"] is None


def test_variables_of_git_do_not_redirect_it(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(ours / "elsewhere"))
    assert revision_of(ours)["from"] == "checkout"


@pytest.mark.parametrize("way", ["direct", "indirect", "sdist"])
def test_built_distributions_state_commit_and_hash(
    built: dict[str, Path], checkout: Path, tmp_path: Path, way: str
) -> None:
    site = shutil.copytree(built[way], tmp_path / "site")
    found = revision_of(site)
    assert found["from"] == "distribution"
    assert found["commit"] == git(checkout, "rev-parse", "HEAD")
    assert found["dirty"] is False
    stated = json.loads((site / provenance.DISTRIBUTION).read_text(encoding="utf-8"))
    assert stated["sources_sha256"] == sources_sha256(site) == found["sources_sha256"]
    edit(site)
    assert revision_of(site)["dirty"] is True


def test_an_installed_package_answers_when_it_runs(built: dict[str, Path], tmp_path: Path) -> None:
    code = "from x2vlm.provenance import revision; import json; print(json.dumps(revision()))"
    path = f"{built['direct']}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["from"], found["dirty"]) == ("distribution", False)


def test_a_build_of_edited_files_is_dirty(built: dict[str, Path], tmp_path: Path) -> None:
    """The statement of a wheel that is built from an edited sdist."""
    source = shutil.copytree(built["sdist"], tmp_path / "edited")
    edit(source)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    run(*pip, "-w", str(tmp_path / "out"), str(source), cwd=tmp_path)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert json.loads(archive.read(provenance.DISTRIBUTION))["dirty"] is True


def test_an_archive_is_held_against_its_tree(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "archive", "-o", str(tmp_path / "archive.tar"), "HEAD")
    folder = tmp_path / "archive"
    with tarfile.open(tmp_path / "archive.tar") as archive:
        archive.extractall(folder, filter="data")
    found = revision_of(folder)
    assert found["from"] == "archive"
    assert found["commit"] == git(checkout, "rev-parse", "HEAD")
    assert found["dirty"] is False
    (folder / "runs").mkdir()
    (folder / "runs" / "record.json").write_text("{}")
    assert revision_of(folder)["dirty"] is False
    edit(folder)
    assert revision_of(folder)["dirty"] is True


def test_a_plain_copy_is_unknown(checkout: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(checkout, tmp_path / "copied", ignore=shutil.ignore_patterns(".git"))
    found = revision_of(copied)
    assert (found["commit"], found["dirty"], found["from"]) == (None, None, "unknown")
    assert found["sources_sha256"] == sources_sha256(checkout)


def test_the_tree_is_the_one_that_git_computes(checkout: Path) -> None:
    assert tree_sha1(checkout, provenance.TRACKED) == git(checkout, "rev-parse", "HEAD^{tree}")


def test_the_top_level_is_listed_whole() -> None:
    """What git tracks at the top level, where this runs in a checkout."""
    if revision()["from"] == "checkout":
        names = git(TOP, "ls-tree", "--name-only", "HEAD").splitlines()
        assert set(names) <= set(provenance.TRACKED)
    assert {name for name in provenance.TRACKED if not (TOP / name).exists()} == set()
