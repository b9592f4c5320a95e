"""A library in a folder of its own, and children that paint into it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_wsol.journal import JournalLibrary

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def painting():
    """What painting.py defines."""
    return SimpleNamespace(**runpy.run_path(str(HERE / "painting.py")))


@pytest.fixture
def image(painting):
    return painting.image_facts()


@pytest.fixture
def made(painting):
    return painting.stroke_made


@pytest.fixture
def put(painting):
    return painting.put


@pytest.fixture
def plain(painting):
    return painting.plain


@pytest.fixture
def library(tmp_path):
    return JournalLibrary(tmp_path / "journals")


@pytest.fixture
def again(library, image):
    """What the next program finds."""

    def look():
        journal = JournalLibrary(library.folder).open(image)
        journal.close()
        return journal

    return look


@pytest.fixture(scope="session")
def child():
    """Runs Python in a process of its own, which may import painting."""
    started = []

    def run(code, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=HERE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
