import numpy as np
import pytest
from skimage.draw import polygon as fill

from napari_wsol.config import ExportConfig
from napari_wsol.export import regions_of, why_empty
from napari_wsol.export.masks import Grid
from napari_wsol.export.regions import FEATURES, find_regions


def repaint(regions, shape, d):
    """Pixels whose centre lies inside the polygons, holes left out."""
    painted = np.zeros(shape, bool)
    for region in regions:
        for ring in (region.polygon.exterior, *region.polygon.interiors):
            # Outlines end where the image does: back to whole pixels of the grid.
            x, y = np.ceil(np.array(ring.coords).T / d)
            inside = fill(y - 0.5, x - 0.5, shape)
            painted[inside] ^= True
    return painted


@pytest.mark.parametrize("d", [1, 2, 4])
def test_outlines_of_any_mask_are_valid_and_give_it_back(make_heatmap, d):
    rng = np.random.default_rng(d)
    for _ in range(40):
        h, w = rng.integers(1, 24, 2).tolist()
        mask = rng.random((h, w)) < rng.random()
        cut = rng.integers(0, d, 2).tolist()
        image = (h * d - cut[0], w * d - cut[1])
        heatmap = make_heatmap(image, rng.random((h, w)))
        regions = find_regions(mask, Grid(image, d), heatmap, None)
        assert all(region.polygon.is_valid for region in regions)
        np.testing.assert_array_equal(repaint(regions, (h, w), d), mask)


def test_measures_agree_with_the_polygon(make_heatmap):
    rng = np.random.default_rng(7)
    mask = rng.random((21, 17)) < 0.6
    heatmap = make_heatmap((81, 66), rng.random((21, 17)))
    for region in find_regions(mask, Grid((81, 66), 4), heatmap, 0.5):
        shape = region.polygon
        y0, x0, y1, x1 = region.bbox
        assert region.area_px == shape.area
        assert region.area_mm2 == pytest.approx(shape.area * 0.25e-6)
        assert shape.bounds == (x0, y0, x1, y1)
        assert region.centroid[::-1] == pytest.approx(
            (shape.centroid.x, shape.centroid.y)
        )


def test_features_are_those_of_scikit_image_in_pixels_of_the_image(make_heatmap):
    """By what is known of a rectangle of 40 × 16 mask pixels of 4 × 4 each."""
    mask, values = np.zeros((50, 30), bool), np.zeros((50, 30), np.float32)
    mask[5:45, 6:22] = True
    values[5:45, 6:14], values[5:45, 14:22] = 0.6, 0.8
    heatmap = make_heatmap((200, 120), values)
    grid = Grid((200, 120), 4)
    (region,) = find_regions(mask, grid, heatmap, None, features=FEATURES)
    told = region.features
    assert list(told) == list(FEATURES)
    # Of n pixels side by side the variance is (n² - 1) / 12, and 1 / 12 a pixel.
    assert told["axis_major_length"] == pytest.approx(
        4 * 4 * 40 / np.sqrt(12), rel=0.01
    )
    assert told["axis_minor_length"] == pytest.approx(
        4 * 4 * 16 / np.sqrt(12), rel=0.01
    )
    ratio = told["axis_minor_length"] / told["axis_major_length"]
    assert told["eccentricity"] == pytest.approx(np.sqrt(1 - ratio**2))
    assert told["perimeter"] == 4 * 2 * (39 + 15)
    assert told["solidity"] == told["extent"] == 1
    assert told["orientation"] == pytest.approx(0)
    assert told["intensity_min"] == pytest.approx(0.6)
    assert told["intensity_std"] == pytest.approx(0.1)
    assert region.mean_score == pytest.approx(0.7)
    assert find_regions(mask, grid, heatmap, None)[0].features == {}


def test_square_has_the_known_place_size_and_score(make_heatmap):
    values = np.zeros((30, 40))
    values[5:15, 20:24] = 0.75
    (region,) = regions_of(
        make_heatmap((30, 40), values), (30, 40), ExportConfig(), 2.0
    )
    assert region.id == 1
    assert region.bbox == (5, 20, 15, 24)
    assert region.centroid == (10.0, 22.0)
    assert region.area_px == 40
    assert region.area_mm2 == pytest.approx(160e-6)
    assert region.mean_score == region.max_score == 0.75
    # Corners only, anticlockwise in (x, y).
    assert len(region.polygon.exterior.coords) == 5
    assert region.polygon.exterior.is_ccw


def test_ring_has_a_hole(make_heatmap):
    pixels = np.zeros((12, 12))
    pixels[2:10, 2:10] = 1
    pixels[4:8, 4:8] = 0
    (region,) = regions_of(
        make_heatmap((12, 12), pixels), (12, 12), ExportConfig(), None
    )
    assert len(region.polygon.interiors) == 1
    assert region.area_px == region.polygon.area == 48
    assert region.area_mm2 is None


def test_pixels_that_touch_at_a_corner_are_two_regions(make_heatmap):
    heatmap = make_heatmap((8, 8), np.eye(8))
    assert len(regions_of(heatmap, (8, 8), ExportConfig(), None)) == 8


def test_closed_ring_through_a_corner_is_one_valid_polygon(make_heatmap):
    # The background inside meets the background outside at one corner only.
    pixels = np.ones((4, 4))
    pixels[1:3, 1:3] = 0
    pixels[3, 3] = 0
    heatmap = make_heatmap((4, 4), pixels)
    (region,) = regions_of(heatmap, (4, 4), ExportConfig(), None)
    assert region.polygon.is_valid
    assert region.polygon.area == pixels.sum()


def test_strongest_region_comes_first(make_heatmap):
    values = np.zeros((20, 20))
    values[1:9, 1:9] = 0.6
    values[12:14, 12:14] = 0.9
    found = regions_of(make_heatmap((20, 20), values), (20, 20), ExportConfig(), None)
    assert [region.id for region in found] == [1, 2]
    assert [region.max_score for region in found] == pytest.approx([0.9, 0.6])


@pytest.mark.parametrize("d", [1, 2, 3, 8, 16])
def test_regions_lie_where_the_evidence_is_at_any_downsampling(make_heatmap, d):
    shape = (96, 144)
    values = np.zeros((shape[0] // d, shape[1] // d))
    square = (slice(48 // d, 96 // d), slice(0, 48 // d))
    values[square] = 1
    (region,) = regions_of(make_heatmap(shape, values), shape, ExportConfig(), None)
    assert region.bbox == pytest.approx((48, 0, 96, 48), abs=1)


def test_few_pixels_are_enough_for_a_quick_list(heatmap):
    fine = regions_of(heatmap, (120, 152), ExportConfig(), None)
    quick = regions_of(heatmap, (120, 152), ExportConfig(), None, max_pixels=2000)
    assert len(quick) == len(fine)
    for a, b in zip(fine, quick, strict=True):
        overlap = a.polygon.intersection(b.polygon).area
        assert overlap / a.polygon.union(b.polygon).area > 0.7


def test_empty_mask_has_no_regions(make_heatmap):
    heatmap = make_heatmap((8, 8), np.zeros((2, 2)))
    assert regions_of(heatmap, (8, 8), ExportConfig(), None) == []


@pytest.mark.parametrize(
    ("values", "settings", "words", "lowering"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], {}, "0 everywhere, so no threshold", False),
        ([[0.2, 0.2], [0.2, 0.2]], {}, "0.2 everywhere: a threshold gives all", False),
        ([[0.1, 0.2], [0.1, 0.3]], {}, "the highest is 0.3. Lower the", True),
        ([[0.1, 0.2], [0.1, 0.9]], {"min_area": 1e9}, "smaller than the", True),
    ],
)
def test_why_there_are_no_regions_and_whether_a_lower_threshold_helps(
    make_heatmap, values, settings, words, lowering
):
    heatmap = make_heatmap((120, 152), np.array(values))
    config = ExportConfig(threshold=0.5, **settings)
    assert regions_of(heatmap, (120, 152), config, None) == []
    said = why_empty(heatmap, config)
    assert words in said
    assert ("Lower" in said) == lowering
    if lowering:
        lower = ExportConfig(threshold=0.3)
        assert regions_of(heatmap, (120, 152), lower, None)
