"""Files become lazy layers that the dock reads by itself."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_wsol.gui.reader import get_reader

pytestmark = pytest.mark.gui


def test_other_files_are_none_of_our_business():
    assert get_reader("notes.txt") is None
    assert get_reader(["a.svs", "b.csv"]) is None


def test_a_pyramid_is_one_multiscale_layer_in_micrometres(tmp_path, bench):
    path = tmp_path / "slide.ome.tif"
    pixels = np.full((512, 768, 3), 40, np.uint8)
    pixels[128:256, 256:384] = 220
    with tifffile.TiffWriter(path) as tif:
        options = {"photometric": "rgb", "tile": (128, 128)}
        meta = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        tif.write(pixels, subifds=1, metadata=meta, **options)
        tif.write(pixels[::2, ::2], subfiletype=1, **options)
    (data, options, kind) = get_reader(str(path))(str(path))[0]
    assert kind == "image"
    assert options["multiscale"]
    assert options["scale"] == (0.5, 0.5)
    layer = bench.open(data, **options)
    assert bench.session.slide.path == path
    assert "0.5 µm/px" in bench.widget.image_line.mpp_button.text()
    bench.localize()
    values = bench.layer("PixelCAM")
    inside = np.argwhere(np.asarray(values.data) > 0.5).mean(0)
    expected = layer.data_to_world((191.5, 319.5))
    assert np.abs(np.subtract(values.data_to_world(inside), expected)).max() <= 1
