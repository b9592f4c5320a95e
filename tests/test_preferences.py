"""What a person prefers: where it comes from, what is refused; what memory decides."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_wsol.config import InferenceConfig
from napari_wsol.errors import ConfigError, UnknownNameError
from napari_wsol.images.readers import open_slide
from napari_wsol.paths import data_folder, journals_folder, preferences_file
from napari_wsol.preferences import (
    DEFAULTS,
    VARIABLES,
    Preferences,
    keep,
    preferences,
    source_of,
    stored,
)
from napari_wsol.slides.large import BESIDE, is_large


@pytest.fixture(autouse=True)
def nothing_said(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path))
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)


def test_every_preference_has_a_default_and_a_variable():
    assert preferences() == Preferences()
    assert stored() == {}
    assert list(VARIABLES) == list(DEFAULTS)
    assert {source_of(name) for name in DEFAULTS} == {"default"}


def test_a_budget_is_remembered_and_the_environment_wins(monkeypatch):
    assert preferences().memory_bytes == 4_000_000_000
    keep(memory_bytes=2_500_000_000)
    assert preferences().memory_bytes == 2_500_000_000
    assert source_of("memory_bytes") == str(preferences_file())
    monkeypatch.setenv("NAPARI_WSOL_MEMORY", "1.5")
    assert preferences().memory_bytes == 1_500_000_000
    assert source_of("memory_bytes") == "NAPARI_WSOL_MEMORY"
    assert stored() == {"memory_bytes": 2_500_000_000}


@pytest.mark.parametrize("said", ["much", "0.1", "-3", "1e400", "nan", ""])
def test_what_cannot_be_is_passed_over(monkeypatch, said):
    monkeypatch.setenv("NAPARI_WSOL_MEMORY", said)
    monkeypatch.setenv("NAPARI_WSOL_DEVICE", "gpu")
    assert preferences() == Preferences()
    assert source_of("memory_bytes") == "default"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"memory_bytes": 1000}, "memory budget.*at least 1,000,000,000"),
        ({"memory_bytes": "much"}, "int"),
        ({"device": "gpu"}, "auto, cpu, cuda"),
        ({"look": "wild"}, "over"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(change, told):
    with pytest.raises(ConfigError, match=told):
        keep(**change)
    assert not preferences_file().exists()


def test_an_unknown_name_is_refused_with_the_choices():
    with pytest.raises(UnknownNameError, match="device, memory_bytes"):
        keep(colour="red")
    with pytest.raises(UnknownNameError, match="device, memory_bytes"):
        source_of("colour")


def test_each_value_stands_alone_and_others_in_the_file_stay():
    preferences_file().write_text('{"device": 3, "look": "beside", "later": [1]}')
    assert stored() == {"look": "beside"}
    keep(model="mine")
    keep(look=None)
    assert preferences() == Preferences(model="mine")
    assert json.loads(preferences_file().read_text())["later"] == [1]


def test_a_damaged_file_gives_the_defaults():
    preferences_file().write_text('{"memory_bytes": ')
    assert preferences() == Preferences()
    keep(memory_bytes=1_000_000_000)
    assert preferences().memory_bytes == 1_000_000_000


def test_journals_lie_where_it_is_preferred(tmp_path, monkeypatch):
    assert journals_folder() == data_folder() / "journals"
    keep(journals=str(tmp_path / "mine"))
    assert journals_folder() == tmp_path / "mine"
    monkeypatch.setenv("NAPARI_WSOL_JOURNALS", str(tmp_path / "theirs"))
    assert journals_folder() == tmp_path / "theirs"
    assert preferences().journals == str(tmp_path / "theirs")


def test_the_shares_fit_into_the_budget():
    config = InferenceConfig(memory_bytes=1_000_000_000)
    parts = (
        config.cache_bytes,
        config.tile_bytes,
        config.round_bytes,
        config.image_bytes,
    )
    assert sum(parts) <= config.memory_bytes


def test_an_image_that_does_not_fit_is_read_as_a_slide(small_model):
    slide = open_slide(np.zeros((400, 500, 3), np.uint8))
    encoder = small_model.encoder
    taps = zip(encoder.channels, encoder.strides, strict=True)
    needed = 400 * 500 * (BESIDE + sum(4 * c / s**2 for c, s in taps))
    assert not is_large(slide, small_model, None, int(needed) + 1)
    assert is_large(slide, small_model, None, int(needed) - 1)
