"""Settings: each field says its words and limits, and values are held against them."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from napari_wsol.config import (
    AMPLE_MEMORY,
    FORMATS,
    ExportConfig,
    FinetuneConfig,
    InferenceConfig,
    SlideConfig,
    listed_settings,
)
from napari_wsol.errors import ConfigError
from napari_wsol.training.wish import Wish

EVERY = (InferenceConfig, SlideConfig, FinetuneConfig, ExportConfig, Wish)


@pytest.mark.parametrize("config", EVERY)
def test_no_setting_is_without_words(config):
    settings = listed_settings(config)
    assert list(settings) == [field.name for field in fields(config)]
    for name, setting in settings.items():
        assert setting.option.label, name
        assert setting.tip.endswith("."), name
        assert setting.allows(getattr(config(), name)), name


def test_a_tip_is_the_sentence_of_the_docstring_on_one_line():
    tips = {name: item.tip for name, item in listed_settings(SlideConfig).items()}
    assert tips["ahead"] == "Windows that are read ahead."
    assert tips["halo"] == (
        "Context around a tile, in network pixels; less is faster and less exact."
    )


WRONG = [
    (
        InferenceConfig,
        {"core": 31},
        r"“tile core” \(core\) must be at least 32",
    ),
    (InferenceConfig, {"memory_bytes": 5}, r"at least 1,000,000,000 bytes, not 5"),
    (SlideConfig, {"core": 16}, "at least 32"),
    (SlideConfig, {"halo": -1}, "at least 0, not -1"),
    (SlideConfig, {"batch": 0}, "at least 1"),
    (SlideConfig, {"readers": 0}, "at least 1"),
    (SlideConfig, {"disk_bytes": -1}, "at least 0 bytes"),
    (FinetuneConfig, {"steps": 0}, "at least 1, not 0"),
    (FinetuneConfig, {"steps": "many"}, "at least 1, not many"),
    (FinetuneConfig, {"steps": None}, "at least 1, not None"),
    (FinetuneConfig, {"prior": float("nan")}, "at least 0, not nan"),
    (FinetuneConfig, {"others": 101}, "at least 0 and at most 100, not 101"),
    (FinetuneConfig, {"reach": 0}, "above 0 px, not 0"),
    (FinetuneConfig, {"learning_rate": 2}, "above 0 and at most 1, not 2"),
    (FinetuneConfig, {"head": "forest"}, "one of linear, mlp, not forest"),
    (ExportConfig, {"threshold": 1.5}, "at least 0 and at most 1, not 1.5"),
    (ExportConfig, {"min_area": -1}, "at least 0 pixels, not -1"),
    (ExportConfig, {"formats": ()}, "one of png, tiff, .*not none"),
    (ExportConfig, {"formats": ("png", "bmp")}, "not png, bmp"),
    (ExportConfig, {"formats": "png"}, "one of png"),
    (Wish, {"seed": -1}, "at least 0 and"),
]


@pytest.mark.parametrize(("config", "values", "words"), WRONG)
def test_what_is_not_allowed_is_said(config, values, words):
    with pytest.raises(ConfigError, match=words):
        config(**values)


def test_the_memory_budget_is_shared_out():
    small, ample = (InferenceConfig(memory_bytes=n) for n in (4_000_000_007, 10**11))
    assert (small.cache_bytes, small.image_bytes) == (1_000_000_001, 2_000_000_003)
    assert (small.tile_bytes, small.round_bytes) == (250_000_000, 250_000_000)
    assert all(isinstance(item.cache_bytes, int) for item in (small, ample))
    assert ample.slide_core == 1024
    assert InferenceConfig(memory_bytes=AMPLE_MEMORY).slide_core == 1024
    assert InferenceConfig(memory_bytes=AMPLE_MEMORY - 1).slide_core == 512


def test_the_settings_of_a_round_are_those_that_were_measured():
    """Whoever changes one changes every map that strokes correct."""
    assert asdict(FinetuneConfig()) == {
        "steps": 100,
        "prior": 1.0,
        "max_pixels": 2000,
        "others": 0.3,
        "local": True,
        "reach": 60.0,
        "balanced": False,
        "cautious": True,
        "head": "linear",
        "encoder": "frozen",
        "learning_rate": 2e-5,
        "edges": "none",
        "propagate": False,
    }


def test_what_is_allowed_passes():
    FinetuneConfig(steps=20_000, prior=0, reach=0.5, learning_rate=1)
    SlideConfig(halo=0, batch=None, memory_bytes=0)
    ExportConfig(threshold=1, formats=tuple(FORMATS))
    ExportConfig(formats=["png"])
