"""Runs the notebooks of the documentation from the top and keeps what they print.

    python tools/notebooks.py [NAME ...]

Each runs in a kernel and an empty folder of its own, with a user's folder that is empty
too, so that nothing of this machine is in it. What is kept has no times and no
counters that differ between two runs. ``tests/docs/test_notebooks.py`` runs them too.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with what it prints.

    Args:
        path: of the notebook; it is not changed.
        folder: where it runs; an empty one.

    Raises:
        CellExecutionError: a cell failed; says which.
    """
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(
        book,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    found = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    home = str(folder / "home")
    client.execute(
        env=os.environ | {"PYTHONPATH": found, "NAPARI_WSOL_HOME": home},
    )
    for cell in book.cells:  # libraries warn of what differs from machine to machine
        cell["outputs"] = [
            one for one in cell.get("outputs", []) if one.get("name") != "stderr"
        ]
        if cell.cell_type != "code":
            del cell["outputs"]
    book.metadata = {
        "kernelspec": book.metadata.kernelspec,
        "language_info": {"name": "python"},
    }
    return book


def main() -> None:
    """Rewrites them in place."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="without .ipynb; all by default")
    names = parser.parse_args().names
    paths = [NOTEBOOKS / f"{name}.ipynb" for name in names]
    for path in paths or sorted(NOTEBOOKS.glob("*.ipynb")):
        with TemporaryDirectory() as folder:
            book = run(path, Path(folder))
        nbformat.write(book, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
