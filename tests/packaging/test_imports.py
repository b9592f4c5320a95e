"""What ``import napari_wsol`` loads and offers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import napari_wsol

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {
    "PyQt5",
    "PyQt6",
    "PySide2",
    "PySide6",
    "magicgui",
    "pydicom",
    "napari",
    "qtpy",
    "skimage",
    "superqt",
    "torch",
    "vispy",
}


def _imported_by(statement: str, folder: Path) -> set[str]:
    """Top-level packages that a statement imports, as ``-X importtime`` lists them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return {name.partition(".")[0] for name in names}


def test_importing_the_package_imports_neither_torch_nor_qt(tmp_path: Path):
    imported = _imported_by("import napari_wsol", tmp_path)
    assert "napari_wsol" in imported
    assert imported & HEAVY == set()


def test_pixels_and_geometry_need_no_torch(tmp_path: Path):
    imported = _imported_by("from napari_wsol import open_slide, Heatmap", tmp_path)
    assert imported & (HEAVY - {"skimage"}) == set()


@pytest.mark.parametrize("name", napari_wsol.__all__)
def test_every_public_name_exists(name: str):
    assert getattr(napari_wsol, name) is not None
    assert name in dir(napari_wsol)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'localise'"):
        _ = napari_wsol.localise
