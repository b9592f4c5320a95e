"""What is kept of slides, as a shell shows it."""

import torch
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.config import SlideConfig
from napari_wsol.encoders import Features
from napari_wsol.images.readers import open_slide
from napari_wsol.slides.feature_store import keep_features
from napari_wsol.slides.plan import plan_slide


def test_kept_features_are_listed_and_removed(
    tmp_path, monkeypatch, tissue, small_model
):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path))
    config = SlideConfig(tissue_only=False)
    slide = open_slide(tissue, name="biopsy 7")
    plan = plan_slide(slide, small_model, config)
    store = keep_features(slide, small_model, plan, config)
    encoder = small_model.encoder
    maps = tuple(torch.ones(1, count, 4, 4) for count in encoder.channels)
    store.put(0, Features(maps, encoder.strides, encoder.offsets, encoder.taps))
    store.flush()
    run = CliRunner().invoke
    shown = run(app, ["cache", "show"]).output
    assert "biopsy 7" in shown
    assert "yes" in shown
    assert "0.00 GB" in run(app, ["cache", "clear"]).output
    assert 0 in store  # in use, so it stays
    store.close()
    run(app, ["cache", "clear"])
    assert "biopsy 7" not in run(app, ["cache", "show"]).output
    assert list((tmp_path / "cache" / "features").iterdir()) == []
