"""docs/architecture.md says what there is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "napari_wsol"


@pytest.fixture(scope="module")
def text():
    path = ROOT / "docs" / "architecture.md"
    if not path.exists():
        pytest.skip("a source distribution has no docs")
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def layers():
    return runpy.run_path(str(ROOT / "tools" / "layers.py"))


def test_the_picture_is_drawn_from_the_rows_that_are_kept(text, layers):
    drawn = layers["picture"]((ROOT / "pyproject.toml").read_text("utf-8"))
    kept = (ROOT / "docs" / "images" / "layers.svg").read_text("utf-8")
    assert kept == drawn, "run python tools/layers.py"
    assert "images/layers.svg" in text


def test_the_map_names_every_package_and_module(text):
    found = {
        path.stem if path.suffix else path.name
        for path in PACKAGE.iterdir()
        if (path / "__init__.py").exists() or path.suffix == ".py"
    }
    first, _, _ = text.partition("## The objects")
    named = set(re.findall(r"`(\w+)(?:\.py|/)?`", first))
    assert found - named - {"__init__", "__main__"} == set()


def test_every_file_that_is_named_is_there(text):
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text))
    places = (PACKAGE, ROOT)
    missing = [
        name for name in named if not any((place / name).exists() for place in places)
    ]
    assert missing == []
    assert len(named) > 20


@pytest.mark.parametrize(
    ("row", "file", "needle"),
    [
        ("a CAM variant |", "methods/layercam.py", "def combine"),
        ("with a head of its own", "methods/lse.py", "def pool("),
        ("with a head of its own", "methods/map_pooling.py", "LogMeanExpPooling"),
        ("the wand", "refinement/grow.py", "def grow"),
        ("the ring of G", "gui/layers/ring.py", "def ring"),
        ("tile size is chosen", "config.py", "def slide_core"),
        ("the fsync of a stroke", "journal/segments.py", "os.fsync(self._file)"),
        ("older than your", "gui/layers/heatmaps.py", "older than your last stroke"),
        ("fields of a region", "export/writers.py", "def _feature"),
        ("default of a refit", "config.py", "learning_rate:"),
        ("runs out of memory", "slides/run.py", "torch.OutOfMemoryError"),
    ],
)
def test_a_stranger_finds_the_file(text, row, file, needle):
    (line,) = (line for line in text.splitlines() if row in line)
    assert f"`{file}`" in line
    assert needle in (PACKAGE / file).read_text("utf-8")


def test_rows_are_read_as_import_linter_reads_them(layers):
    assert layers["names"]("a | b : (c)") == ["a", "b", "c"]
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (title, rows), *_ = layers["contracts"](text)
    names = [name for row in rows for name in row]
    assert title == "napari_wsol"
    assert len(names) == len(set(names)) > 20
