"""A process that is killed while it paints loses at most the stroke in hand."""

from __future__ import annotations

import random
import threading

import pytest

from napari_wsol.journal import JournalLibrary

CODE = "import sys; from painting import paint; paint(sys.argv[1])"


def killed(child, folder, after):
    """The number of the last stroke that a child said was on the disk."""
    process = child(CODE, folder)
    assert process.stdout.readline() == "open\n"
    threading.Timer(after, process.kill).start()
    told = [int(text) for text in process.stdout]
    assert process.wait() == -9
    return max(told, default=0)


def survives(child, painting, folder, seed, kills):
    """Kills children one after the other, each going on where the last one died."""
    moments = random.Random(seed)
    kept = 0
    for _ in range(kills):
        told = killed(child, folder, moments.uniform(0.0, 0.2))
        library = JournalLibrary(folder)
        journal = library.open(painting.image_facts())
        found = len(journal.entries)
        assert found >= max(told, kept)
        assert painting.plain(journal.entries) == painting.plain(
            painting.stroke_made(number) for number in range(1, found + 1)
        )
        painting.put(journal, painting.stroke_made(found + 1))
        journal.close()
        assert journal.saved.problem == ""
        kept = found + 1
        again = JournalLibrary(folder).open(painting.image_facts())
        assert len(again.entries) == kept
        again.close()
    assert [path.name for path in folder.iterdir()] == [journal.image.stem]
    return kept


def test_four_kills(child, painting, tmp_path):
    assert survives(child, painting, tmp_path / "journals", 0, 4) > 4


@pytest.mark.slow
def test_twenty_kills(child, painting, tmp_path):
    assert survives(child, painting, tmp_path / "journals", 1, 20) > 20
