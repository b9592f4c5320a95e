import numpy as np
import pytest

from napari_wsol.config import ExportConfig
from napari_wsol.errors import ExportError
from napari_wsol.export.masks import Grid, cut_mask, grid_for


def painted(make_heatmap, pixels):
    """A heatmap that is 1 where ``pixels`` are set, on the image's own grid."""
    return make_heatmap(pixels.shape, pixels.astype(np.float32))


def test_mask_is_the_resized_heatmap_at_the_threshold(heatmap):
    mask = cut_mask(heatmap, grid_for((120, 152)), ExportConfig(threshold=0.4))
    np.testing.assert_array_equal(mask, heatmap.resized((120, 152)) >= 0.4)


def test_mask_of_many_bands_is_the_same_bit_for_bit(make_heatmap):
    shape = (1201, 2503)  # more pixels than one band
    values = np.random.default_rng(0).random((33, 57))
    heatmap = make_heatmap(shape, values)
    mask = cut_mask(heatmap, grid_for(shape), ExportConfig(threshold=0.5))
    np.testing.assert_array_equal(mask, heatmap.resized(shape) >= 0.5)


def test_value_on_the_threshold_is_foreground(make_heatmap):
    heatmap = make_heatmap((8, 8), np.full((2, 2), 0.5))
    assert cut_mask(heatmap, Grid((8, 8)), ExportConfig(threshold=0.5)).all()


@pytest.mark.parametrize(
    ("shape", "downsample", "expected"),
    [((8192, 8192), 1, (8192, 8192)), ((8193, 8192), 2, (4097, 4096))],
)
def test_large_images_get_a_power_of_two(shape, downsample, expected):
    grid = grid_for(shape)
    assert grid.downsample == downsample
    assert grid.shape == expected


def test_coarse_pixels_are_read_at_their_centres(make_heatmap):
    shape = (101, 67)
    centres = (np.arange(11) + 0.5) * 101 / 11 - 0.5
    heatmap = make_heatmap(shape, np.repeat(centres[:, None] / 100, 7, axis=1))
    grid = grid_for(shape, max_pixels=500)
    assert grid.downsample == 4
    values = grid.values(heatmap, slice(5, 15), slice(3, 9))
    wanted = (4 * np.arange(5, 15) + grid.translate[0]) / 100
    np.testing.assert_allclose(values, np.repeat(wanted[:, None], 6, axis=1), atol=1e-6)


def test_last_row_and_column_end_with_the_image():
    grid = Grid((101, 67), 4)
    assert grid.edges(0)[[0, 1, -2, -1]].tolist() == [0, 4, 100, 101]
    assert grid.edges(1)[-1] == 67


def test_small_regions_are_dropped_and_larger_ones_stay(make_heatmap):
    pixels = np.zeros((20, 20), bool)
    pixels[1:3, 1:3] = pixels[5:8, 5:8] = True
    heatmap = painted(make_heatmap, pixels)
    mask = cut_mask(heatmap, Grid((20, 20)), ExportConfig(min_area=5))
    assert mask.sum() == 9
    assert cut_mask(heatmap, Grid((20, 20)), ExportConfig(min_area=4)).sum() == 13


def test_areas_are_in_level_0_pixels_on_a_coarse_grid(make_heatmap):
    pixels = np.zeros((40, 40), bool)
    pixels[4:8, 4:8] = pixels[16:24, 16:24] = True
    heatmap = painted(make_heatmap, pixels)
    mask = cut_mask(heatmap, Grid((40, 40), 2), ExportConfig(min_area=17))
    assert mask.sum() == 16


def test_small_holes_are_filled_but_bays_at_the_border_stay(make_heatmap):
    pixels = np.ones((20, 20), bool)
    pixels[5:7, 5:7] = False
    pixels[10:14, 10:14] = False
    pixels[0, 3] = False
    heatmap = painted(make_heatmap, pixels)
    mask = cut_mask(heatmap, Grid((20, 20)), ExportConfig(fill_holes=5))
    assert mask[5:7, 5:7].all()
    assert not mask[10:14, 10:14].any()
    assert not mask[0, 3]


def test_filled_holes_count_towards_the_smallest_area(make_heatmap):
    pixels = np.zeros((20, 20), bool)
    pixels[4:9, 4:9] = True
    pixels[5:8, 5:8] = False
    heatmap = painted(make_heatmap, pixels)
    config = ExportConfig(fill_holes=10, min_area=25)
    assert cut_mask(heatmap, Grid((20, 20)), config).sum() == 25


def test_heatmap_of_another_image_is_refused(heatmap):
    with pytest.raises(ExportError, match="belongs to an image of 120 by 152"):
        cut_mask(heatmap, Grid((100, 100)), ExportConfig())


def test_heatmap_without_numbers_is_refused(make_heatmap):
    heatmap = make_heatmap((8, 8), [[0.5, np.nan]])
    with pytest.raises(ExportError, match="not numbers"):
        cut_mask(heatmap, Grid((8, 8)), ExportConfig())
