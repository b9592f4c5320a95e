"""Where maps lie on an image whose rim is left out, and that is seen smaller."""

from __future__ import annotations

from napari_wsol.inference.encode import Geometry


def test_each_axis_has_its_own_scale_and_origin():
    seen = Geometry((2.0, 3.0), (80, 60), (5, 7))
    scale, start = seen.place((8, 16))
    assert scale == (16, 48)
    assert start == (5 * 2 + (16 - 1) / 2, 7 * 3 + (48 - 1) / 2)


def test_the_borders_of_pieces_are_in_pixels_of_the_image():
    seen = Geometry((2.0, 3.0), (80, 60), (5, 7))
    assert seen.edges(0, 16, 32, 3).tolist() == [42, 106, 170, 170]  # the last is cut
    assert seen.edges(1, 0, 30, 2).tolist() == [21, 111, 201]
