"""Which sizes of a pixel are believed, and in which units they are given."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tifffile

from napari_wsol.images.pixel_size import (
    UM_PER_NAME,
    UM_PER_UNIT,
    first_believed,
    from_dpi,
    from_power,
    from_tiff,
    judge,
)


def test_units_are_those_of_si():
    um = UM_PER_NAME
    assert {um[name] for name in ("µm", "μm", "um", "micron", "microns")} == {1.0}
    assert um["m"] == um["meter"] == 100 * um["cm"] == 1000 * um["mm"] == 1_000_000
    assert um["centimeter"] == um["cm"] == 10 * um["millimeter"]
    assert 1000 * um["nm"] == 1000 * um["nanometer"] == um["micrometer"] == 1
    assert um["Å"] == um["angstrom"] == pytest.approx(um["nm"] / 10, rel=1e-12)
    assert um["pm"] == um["picometer"] == pytest.approx(um["nm"] / 1000, rel=1e-12)
    assert um["inch"] == um["in"] == 2.54 * um["cm"]
    assert um.items() >= UM_PER_UNIT.items()


@pytest.mark.parametrize(
    ("size", "believed"),
    [(0.05, True), (0.0499, False), (20, True), (20.01, False), (25_400 / 72, False)],
)
def test_a_size_that_no_microscope_gives_is_not_believed(size, believed):
    found = judge(size, size)
    assert found.mpp == (pytest.approx(size) if believed else None)
    assert bool(found.notes) != believed


@pytest.mark.parametrize("size", [0.0, -0.5, math.nan, math.inf])
def test_what_is_no_size_is_not_known(size):
    for found in (judge(size, 0.5), judge(0.5, size)):
        assert found.mpp is None
        assert "does not say" in found.notes[0]


def test_pixels_that_are_not_square_have_the_side_of_a_square_of_their_area():
    assert judge(0.5, 0.5).notes == ()
    assert judge(0.500, 0.504).notes == ()  # within a hundredth
    found = judge(0.4, 0.9)
    assert found.mpp == pytest.approx(0.6)
    assert "0.4 µm wide and 0.9 µm high" in found.notes[0]


def test_an_objective_gives_a_guess_of_10_um_by_its_power():
    assert from_power(20).mpp == 0.5
    assert "guess" in from_power(40).notes[0]
    for power in (0, -10, math.nan, 1000):
        assert from_power(power).mpp is None
    believed = judge(0.25, 0.25)
    assert first_believed([judge(0, 0), believed], from_power(20)) == believed
    assert first_believed([judge(0, 0)], from_power(20)).mpp == 0.5
    assert first_believed([judge(500, 500), judge(0, 0)]) == judge(500, 500)


def test_dots_an_inch():
    assert from_dpi((25_400, 50_800)).mpp == pytest.approx(math.sqrt(0.5))
    for dpi in (None, (0, 100), (100, -1)):
        assert from_dpi(dpi).mpp is None


@pytest.mark.parametrize(
    ("given", "mpp"),
    [
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.5"', 0.5),
        ('PhysicalSizeX="0.5"', 0.5),
        ('PhysicalSizeY="0.5"', 0.5),
        ('PhysicalSizeX="250" PhysicalSizeXUnit="nm"', 0.25),
        ('PhysicalSizeX="5" PhysicalSizeXUnit="furlong"', None),
        ('SizeX="8"', None),
    ],
)
def test_ome_may_give_one_side_only(tmp_path, given, mpp):
    path = tmp_path / "a.ome.tif"
    text = f"<OME><Image><Pixels {given} SizeY='8'></Pixels></Image></OME>"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), description=text, metadata=None)
    with tifffile.TiffFile(path) as tif:
        assert from_tiff(tif, tif.pages.first).mpp == mpp


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((50_800, 50_800), 2, 0.5),  # dots an inch
        ((20_000, 20_000), 3, 0.5),  # dots a centimetre
        ((20_000, 20_000), 1, None),
        ((1, 1), 3, None),
    ],
)
def test_resolution_tags_count_where_they_can_be(tmp_path, resolution, unit, mpp):
    path = tmp_path / "a.tif"
    pixels = np.zeros((8, 8), np.uint8)
    tifffile.imwrite(
        path, pixels, resolution=resolution, resolutionunit=unit, metadata=None
    )
    with tifffile.TiffFile(path) as tif:
        found = from_tiff(tif, tif.pages.first).mpp
    assert found == (None if mpp is None else pytest.approx(mpp))
