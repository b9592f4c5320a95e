"""Samples of several images, in memory and beside their journals."""

from __future__ import annotations

import pytest
import torch

from napari_wsol.errors import ModelError
from napari_wsol.journal import JournalLibrary
from napari_wsol.refinement.samples import Samples
from napari_wsol.worklist.samples import SampleStore

FINGERPRINT = "0123456789abcdef" * 4


def samples(value, fingerprint=FINGERPRINT, time=""):
    return Samples(
        x=torch.full((3, 2), float(value)),
        colour=torch.zeros(3, 0),
        offset=torch.zeros(3),
        labels=torch.tensor([0, 1, 1]),
        points=torch.zeros(3, 2),
        strokes=torch.tensor([0, 1, 1]),
        fingerprint=fingerprint,
        model="m",
        time=time,
    )


@pytest.fixture
def library(tmp_path):
    return JournalLibrary(tmp_path / "journals")


@pytest.fixture
def folder(library):
    """Of the image's journal."""
    path = library.folder / FINGERPRINT[:24]
    path.mkdir(parents=True)
    return path


def test_what_another_window_writes_is_found_once_it_is_looked_for_again(
    library, folder
):
    ours, theirs = SampleStore(library), SampleStore(library)
    made = samples(1)
    assert ours.of(FINGERPRINT, "m") is None
    theirs.keep(FINGERPRINT, "m", made, folder)
    assert ours.of(FINGERPRINT, "m") is None
    ours.forget("f" * 64)
    assert ours.of(FINGERPRINT, "m") is None
    ours.forget(FINGERPRINT)
    assert ours.of(FINGERPRINT, "m").digest == made.digest


def test_what_is_in_memory_is_not_forgotten():
    store, made = SampleStore(None), samples(1)
    store.keep(FINGERPRINT, "m", made, None)
    store.forget(FINGERPRINT)
    assert store.of(FINGERPRINT, "m") is made
    assert store.of_all(["f" * 64, FINGERPRINT], "m") == [made]
    assert store.of(FINGERPRINT, "another model") is None


def test_only_the_last_file_stays_but_for_those_that_a_round_has_learnt_from(
    library, folder
):
    store = SampleStore(library)
    first, second, third = (samples(value) for value in range(3))
    store.keep(FINGERPRINT, "m", first, folder)
    store.use([first.digest])
    store.keep(FINGERPRINT, "m", second, folder)
    store.keep(FINGERPRINT, "m", third, folder)
    assert len(list(folder.iterdir())) == 2
    found = SampleStore(library).by_digest([third.digest, first.digest])
    assert [item.digest for item in found] == [third.digest, first.digest]
    with pytest.raises(ModelError, match="is not there any more"):
        store.by_digest([second.digest])
