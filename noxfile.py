"""Sessions: each sets up everything it needs from Python and pip alone. `nox -l` lists them."""

from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

HERE = Path(__file__).parent
CONSTRAINTS = str(HERE / "constraints.txt")


def install(session: nox.Session, extras: str = "") -> None:
    """The package itself, at the known-good versions. CI sets X2VLM_LATEST=1 to try the newest."""
    target = f".[{extras}]" if extras else "."
    session.install("-e", target, "-c", CONSTRAINTS)


def torch_threads(session: nox.Session) -> None:
    """Keep tests steady on small shared machines."""
    session.env.setdefault("OMP_NUM_THREADS", "1")
    session.env.setdefault("TOKENIZERS_PARALLELISM", "false")


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff check and ruff format."""
    session.install("ruff", "-c", CONSTRAINTS)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types: mypy, strict outside model/."""
    install(session, "dev")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests with line and branch coverage; arguments go to pytest."""
    install(session, "dev")
    torch_threads(session)
    session.run(
        "pytest", "-n", "2", "--dist", "worksteal", "--cov", "--cov-report", "term:skip-covered",
        *session.posargs,
    )  # fmt: skip


@nox.session(name="eval-all")
def eval_all(session: nox.Session) -> None:
    """Fine-tune and evaluate on every benchmark of the embedded mini suite, then the boards."""
    install(session)
    session.run("x2vlm", "eval-all", *session.posargs)


@nox.session
def reproduce(session: nox.Session) -> None:
    """One row of the paper: nox -s reproduce -- BENCHMARK checkpoint=… data=…."""
    install(session)
    session.run("x2vlm", "reproduce", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed: each fast path beside its slow twin, in one process, as one table."""
    install(session, "dev")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def golden(session: nox.Session) -> None:
    """Make the committed goldens anew from ../shared, and show what changed for review."""
    install(session, "dev")
    torch_threads(session)
    session.run("python", "tests/golden_cut.py", "../shared/goldens", *session.posargs)
    session.run("python", "tests/golden_data.py", "../shared")
    session.run("python", "tests/golden/scores/make.py", "../shared/data")
    session.run("python", "tests/test_export.py")
    session.run("python", "tests/golden_parity.py", "../shared/goldens/a")
    session.run("git", "diff", "--stat", "--", "tests/golden", external=True)
