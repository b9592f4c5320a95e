"""The memory budget: where it comes from, and what it decides."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.config import InferenceConfig
from napari_wsol.errors import ConfigError
from napari_wsol.images.readers import open_slide
from napari_wsol.paths import preferences_file
from napari_wsol.session.preferences import (
    keep_memory_bytes,
    memory_bytes,
)
from napari_wsol.slides.large import BESIDE, is_large


@pytest.fixture(autouse=True)
def nothing_said(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path))
    monkeypatch.delenv("NAPARI_WSOL_MEMORY", raising=False)


def test_a_budget_is_remembered_and_the_environment_wins(monkeypatch):
    assert memory_bytes() == 4_000_000_000
    keep_memory_bytes(2_500_000_000)
    assert memory_bytes() == 2_500_000_000
    monkeypatch.setenv("NAPARI_WSOL_MEMORY", "1.5")
    assert memory_bytes() == 1_500_000_000


@pytest.mark.parametrize("said", ["much", "0.1", "-3", "1e400", ""])
def test_what_cannot_be_is_passed_over(monkeypatch, said):
    monkeypatch.setenv("NAPARI_WSOL_MEMORY", said)
    assert memory_bytes() == 4_000_000_000
    with pytest.raises(ConfigError, match="memory budget"):
        keep_memory_bytes(1000)


def test_a_damaged_file_gives_the_default():
    preferences_file().write_text('{"memory_bytes": ')
    assert memory_bytes() == 4_000_000_000
    keep_memory_bytes(1_000_000_000)
    assert memory_bytes() == 1_000_000_000


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
