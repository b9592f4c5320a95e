"""Slides are dropped on the window, and nobody is asked who shall read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from fixtures.dropped import drop
from napari.settings import get_settings
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QWidget

import napari_wsol
from napari_wsol.gui.images.dropping import prefer_our_reader

pytestmark = [pytest.mark.gui, pytest.mark.binding]

MANIFEST = Path(napari_wsol.__file__).with_name("napari.yaml")


def picture(path: Path, levels: int, **how) -> Path:
    """A TIFF with so many resolutions."""
    pixels = np.full((512, 512, 3), 40, np.uint8)
    with tifffile.TiffWriter(path, **how) as tif:
        for level in range(levels):
            step = 2**level
            options = {"subfiletype": 1} if level else {}
            tif.write(
                pixels[::step, ::step], photometric="rgb", tile=(128, 128), **options
            )
    return path


def places(bench) -> list[QWidget]:
    """What takes files in napari's window, the innermost first: welcome, viewer."""
    middle = bench.widget.window().centralWidget()
    found = [w for w in middle.findChildren(QWidget) if w.acceptDrops()]
    return [w for w in found if w.metaObject().className().startswith("Qt")][::-1]


@pytest.fixture
def known_to_napari():
    """Our manifest, so that two readers claim a slide; napari's settings as before."""
    manager, settings = PluginManager.instance(), get_settings().plugins
    before = dict(settings.extension2reader)
    if "napari-wsol" not in manager:
        manager.register(PluginManifest.from_file(MANIFEST))
    settings.extension2reader = {}
    yield settings
    settings.extension2reader = before


@pytest.mark.usefixtures("known_to_napari")
def test_slides_are_lazy_layers_at_once_and_other_images_are_napari_s(bench, tmp_path):
    bench.until(lambda: bench.session.model is not None)
    slide = picture(tmp_path / "slide.svs", 3)
    pyramid = picture(tmp_path / "pyramid.TIF", 2, bigtiff=True)
    flat = picture(tmp_path / "flat.tif", 1)
    welcome, canvas = places(bench)
    drop(welcome, slide)
    bench.until(lambda: bench.widget.layers.image is not None)
    layer = bench.widget.layers.image
    assert layer.multiscale
    assert [len(level) for level in layer.data] == [512, 256, 128]
    assert bench.session.slide.path == slide
    drop(canvas, pyramid)
    bench.until(lambda: "pyramid.TIF" in bench.names)
    assert bench.layer("pyramid.TIF").multiscale
    get_settings().plugins.extension2reader = {"*.tif": "napari"}
    drop(canvas, flat)
    assert isinstance(bench.layer("flat").data, np.ndarray)
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"nothing")
    drop(canvas, broken)
    bench.until(lambda: bench.widget.message.is_warning)
    assert "broken.svs" in bench.widget.message.text()
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("1.tif", "2.tif"):
        tifffile.imwrite(folder / name, np.full((64, 64, 3), 90, np.uint8))
    drop(canvas, folder)
    bench.until(lambda: bench.session.worklist is not None)
    assert [item.path.name for item in bench.session.worklist] == ["1.tif", "2.tif"]


def test_napari_takes_our_reader_for_slides_where_nobody_said_otherwise(
    known_to_napari,
):
    known_to_napari.extension2reader = {"*.ndpi": "another", "*.png": "napari"}
    prefer_our_reader()
    chosen = known_to_napari.extension2reader
    assert chosen["*.svs"] == chosen["*.scn"] == "napari-wsol"
    assert chosen["*.ndpi"] == "another"
    assert not [ending for ending in chosen if "tif" in ending.removesuffix("qptiff")]
