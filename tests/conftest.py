"""Fixtures that all tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's folder of real slides and images, where there is one."""
    root = os.environ.get("WSOL_SHARED")
    folder = Path(root) if root else Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the shared data folder is not here (set WSOL_SHARED to it)")
    return folder / "data"
