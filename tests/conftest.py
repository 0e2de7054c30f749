"""Fixtures shared by all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of full goldens and real data beside the checkout; CI has it, a clone may not."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (full goldens and real data); small ones are in tests/golden")
    return SHARED


@pytest.fixture(scope="session")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two runs per task, and of an explanation."""
    from explanations import study
    from synthetic_runs import SCORERS, make_run

    from leaderboards.site import build_site

    folder = tmp_path_factory.mktemp("browser")
    runs = [
        make_run(task, folder, n=60, seed=seed, skill=skill)
        for task in SCORERS
        if task != "captioning"
        for seed, skill in ((1, 0.5), (2, 0.8))
    ]
    study(folder / "explained")
    build_site(runs, folder / "out", gallery=[folder / "explained"])
    return folder / "out"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("needs chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails its test on any console message of trouble or request beyond the disk."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(15_000)
    faults: list[str] = []
    opened.on("console", lambda m: m.type in ("error", "warning") and faults.append(m.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "requestfailed", lambda r: "ABORTED" in r.failure or faults.append(f"failed: {r.url}")
    )
    opened.on("request", lambda r: r.url.startswith(("file:", "data:")) or faults.append(r.url))
    opened.on("dialog", lambda dialog: (faults.append("a dialog opened"), dialog.dismiss()))
    yield opened
    opened.close()
    assert faults == []
