"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of full goldens and real data beside the checkout; CI has it, a clone may not."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (full goldens and real data); small ones are in tests/golden")
    return SHARED
