"""Images that are stored on a side or mirrored are read as they are meant."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from napari_wsol.images.readers import open_slide

LAYOUTS = {
    "raw": {},
    "strips": {"rowsperstrip": 37, "compression": "lzw"},
    "tiles": {"tile": (64, 48), "compression": "zlib"},
}


def upright(path) -> np.ndarray:
    """As Pillow turns it."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tiff_stands_upright(tmp_path, picture, orientation, layout):
    path = tmp_path / "a.tif"
    tag = (274, "H", 1, orientation, True)
    tifffile.imwrite(
        path, picture[:301, :207], extratags=[tag], photometric="rgb", **LAYOUTS[layout]
    )
    expected = upright(path)
    slide = open_slide(path)
    height, width = slide.shape
    assert np.array_equal(slide.read(0, 0, 0, height, width), expected)
    part = slide.read(0, 11, 13, 90, 101)
    assert np.array_equal(part, expected[11:101, 13:114])
    corner = slide.read(0, height - 5, -3, 10, 20)
    assert np.array_equal(corner[:5, 3:], expected[-5:, :17])
    assert (corner[5:] == 255).all()
    assert (corner[:, :3] == 255).all()
    slide.close()


@pytest.mark.parametrize("orientation", [3, 6])
def test_every_level_of_a_pyramid_stands_upright(tmp_path, picture, orientation):
    path = tmp_path / "a.tif"
    options = {
        "photometric": "rgb",
        "tile": (64, 64),
        "extratags": [(274, "H", 1, orientation, True)],
    }
    with tifffile.TiffWriter(path) as tif:
        tif.write(picture, metadata=None, **options)
        tif.write(picture[::2, ::2], metadata=None, subfiletype=1, **options)
    turn = {3: lambda image: image[::-1, ::-1], 6: lambda image: np.rot90(image, -1)}
    slide = open_slide(path)
    assert len(slide.levels) == 2
    for index, stored in enumerate((picture, picture[::2, ::2])):
        level, expected = slide.levels[index], turn[orientation](stored)
        whole = slide.read(index, 0, 0, level.height, level.width)
        assert np.array_equal(whole, expected)
    slide.close()


@pytest.mark.parametrize(
    ("orientation", "says"), [(1, "0.5 µm wide"), (6, "1 µm wide")]
)
def test_the_sides_of_a_pixel_turn_too(tmp_path, picture, orientation, says):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        picture,
        photometric="rgb",
        resolution=(20_000, 10_000),
        resolutionunit="CENTIMETER",
        extratags=[(274, "H", 1, orientation, True)],
    )
    slide = open_slide(path)
    assert says in " ".join(slide.notes)
    slide.close()
