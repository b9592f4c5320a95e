"""A graphics card that is too small, and one whose memory others want."""

import gc

import numpy as np
import pytest
import torch

import napari_wsol as wsol
from napari_wsol import Session
from napari_wsol.devices import NO_ROOM
from napari_wsol.errors import DeviceMemoryError
from napari_wsol.jobs import JobKind

WAIT = 60


class Small:
    """A device's memory that does not suffice for so many forward passes.

    What torch raises is real; only the graphics card is not there.
    """

    def __init__(self, module: torch.nn.Module, refusals: int) -> None:
        self.refusals, self.passes = refusals, 0
        module.register_forward_pre_hook(self._on_pass)

    def __deepcopy__(self, memo) -> "Small":
        return self  # a head that is copied for a round is on the same device

    def _on_pass(self, _module, _inputs) -> None:
        self.passes += 1
        if self.refusals > 0:
            self.refusals -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


@pytest.fixture
def session(small_model, tissue):
    session = Session(journals=False)
    session.open(tissue, name="tissue")
    session.use(small_model).result(WAIT)
    yield session
    session.close(wait=True)


def maps(session) -> dict[str, np.ndarray]:
    return {name: item.values for name, item in session.heatmaps.items()}


def test_localizing_goes_on_where_memory_does_not_suffice(
    session, small_model, new_small_model, tissue
):
    plain = wsol.localize(new_small_model(), tissue)
    assert NO_ROOM not in plain.notes
    memory = Small(small_model.encoder, 1)
    found = session.localize().result(WAIT)
    assert memory.passes == 2
    assert found.notes[-1] == NO_ROOM
    for name, heatmap in plain.heatmaps.items():
        np.testing.assert_array_equal(heatmap.values, found.heatmaps[name].values)


def test_a_round_goes_on_and_the_person_is_told(session, small_model, strokes):
    told = []
    session.device_full.connect(told.append)
    session.localize().result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    expected = session.finetune().result(WAIT)
    assert told == []
    memory = Small(small_model.heads["pixelcam"], 1)
    again = session.finetune().result(WAIT)
    assert memory.passes > 1
    assert told == [NO_ROOM]
    np.testing.assert_array_equal(expected.heatmap.values, again.heatmap.values)


def test_what_never_has_room_is_a_sentence_and_changes_nothing(
    session, small_model, strokes
):
    session.localize().result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    session.finetune().result(WAIT)
    before, drawn = maps(session), np.array(session.scribbles)
    rounds, index = session.rounds, session.round_index
    Small(small_model.heads["cam"], 99)
    Small(small_model.heads["pixelcam"], 99)
    for job in (session.localize, session.finetune):
        with pytest.raises(DeviceMemoryError, match="not enough memory"):
            job().result(WAIT)
        assert maps(session).keys() == before.keys()
        for name, values in maps(session).items():
            np.testing.assert_array_equal(values, before[name])
        np.testing.assert_array_equal(session.scribbles, drawn)
        assert (session.rounds, session.round_index) == (rounds, index)


def test_without_a_graphics_card_there_is_nothing_to_release(session):
    assert session.release().result(WAIT) is False
    assert session.job.kind is JobKind.RELEASE
    first = session.localize().result(WAIT)
    before = maps(session)
    assert session.release().result(WAIT) is False
    for name, values in maps(session).items():
        np.testing.assert_array_equal(values, before[name])
    assert session.localize().result(WAIT).scores == first.scores


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_released_card_is_empty_and_is_taken_again(session, small_model):
    small_model.to("cuda")
    session.localize().result(WAIT)
    assert session.release().result(WAIT) is True
    gc.collect()
    assert torch.cuda.memory_allocated() == 0
    assert small_model.device.type == "cpu"
    session.localize().result(WAIT)
    assert small_model.device.type == "cuda"
