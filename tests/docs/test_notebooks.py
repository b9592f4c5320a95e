"""The notebooks run from the top, without the network, and show what they print.

Each ends with a cell of what its text claims. What is stored may differ by a digit from
what comes out on another processor; that all cells have run, and in order, may not.
"""

import runpy
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 300_000
"""Bytes of a notebook with its pictures."""


def code_of(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_it_ran(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = code_of(book)
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert path.stat().st_size < LARGEST
    assert [cell.id for cell in book.cells] == [
        f"c{number:02}" for number in range(1, len(book.cells) + 1)
    ]
    assert "assert" in code[-1].source
    outputs = [one for cell in code for one in cell.outputs]
    assert any("image/jpeg" in one.get("data", {}) for one in outputs)
    assert not any(one.output_type == "error" for one in outputs)
    assert str(Path.home()) not in path.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_right_in_what_it_claims(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = runpy.run_path(str(ROOT / "tools" / "notebooks.py"))["run"]
    before = nbformat.read(path, as_version=4)
    after = run(path, tmp_path)
    shapes = [
        [[one.output_type for one in cell.outputs] for cell in code_of(book)]
        for book in (before, after)
    ]
    assert shapes[0] == shapes[1]
