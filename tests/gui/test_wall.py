"""What the cells side by side read of an image, and where they draw it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="the window needs the napari extra")

from napari.utils import Colormap

from napari_wsol.gui.layers.wall import read_part

SHAPE = (96, 160)


def pyramid() -> list[np.ndarray]:
    """Every pixel of level 0 says its row and column; smaller ones lie over it."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    full = np.stack([rows, columns, np.zeros(SHAPE)], axis=-1).astype(np.uint8)
    return [full, full[::2, ::2], full[::4, ::4]]


@pytest.mark.parametrize(
    ("dots", "step"), [(2.0, 1), (0.5, 1), (0.25, 2), (0.12, 4), (0.06, 8)]
)
def test_pixels_are_read_as_fine_as_the_screen_shows_them(dots, step):
    levels = pyramid()
    box = (17.3, 40.2, 63.0, 121.9)
    part = read_part(levels, [1.0, 2.0, 4.0], SHAPE, box=box, dots=dots, look=None)
    top, left, bottom, right = part.box
    rows, columns = part.pixels.shape[:2]
    # All that was asked for, in pixels of the wanted size.
    assert top <= box[0]
    assert left <= box[1]
    assert bottom >= box[2]
    assert right >= box[3]
    assert (bottom - top) / rows == (right - left) / columns == step
    # Where they say that they lie.
    assert np.array_equal(part.pixels[:, 0, 0], top + step * np.arange(rows))
    assert np.array_equal(part.pixels[0, :, 1], left + step * np.arange(columns))


def test_one_level_is_thinned_and_nothing_is_read_beyond_the_image():
    full = pyramid()[0]
    part = read_part([full], [1.0], SHAPE, box=(0, 0, *SHAPE), dots=0.1, look=None)
    assert part.pixels.shape == (20, 32, 3)
    assert part.box[:2] == (0, 0)
    assert part.box[2] >= SHAPE[0]


def test_grey_images_look_as_in_napari():
    grey = np.array([[100, 200, 300, 400]], np.uint16)
    red = Colormap([[0, 0, 0, 1], [1, 0, 0, 1]], name="red on black")
    part = read_part(
        [grey],
        [1.0],
        (1, 4),
        box=(0, 0, 1, 4),
        dots=1.0,
        look=((100, 300), 1.0, red),
    )
    assert np.array_equal(part.pixels[0, :, 0], [0, 127, 255, 255])
    assert part.pixels[..., 1:].max() == 0
    wide = np.full((2, 2, 3), 65535, np.uint16)
    part = read_part([wide], [1.0], (2, 2), box=(0, 0, 2, 2), dots=1.0, look=None)
    assert np.all(part.pixels == 255)
