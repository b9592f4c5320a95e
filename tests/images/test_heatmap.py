from dataclasses import replace

import numpy as np
import pytest

from napari_wsol.images.heatmap import Heatmap, on_scale


def heatmap(values, step: float = 4.0) -> Heatmap:
    values = np.asarray(values, np.float32)
    height, width = (round(side * step) for side in values.shape)
    return Heatmap(
        values=values,
        scale=(step, step),
        translate=((step - 1) / 2,) * 2,
        image_shape=(height, width),
        method="cam",
        target="a",
        is_probability=True,
    )


@pytest.mark.parametrize("step", [1, 2, 3, 8, 16])
def test_a_cell_lies_on_the_pixels_that_it_stands_for(step):
    values = np.zeros((7, 9))
    values[3, 5] = 1
    full = heatmap(values, step).resized((7 * step, 9 * step))
    assert full.shape == (7 * step, 9 * step)
    for axis, cell in ((0, 3), (1, 5)):
        at = np.arange(full.shape[axis])
        centroid = (full.sum(1 - axis) * at).sum() / full.sum()
        assert centroid == pytest.approx(cell * step + (step - 1) / 2, abs=1e-4)


def test_another_resolution_covers_the_same_image():
    rng = np.random.default_rng(0)
    item = heatmap(rng.random((6, 8)))
    assert np.array_equal(item.resized((6, 8)), item.values)
    half = item.resized((12, 16))
    # Two coarse pixels cover the same ground as their four fine ones, on average.
    fine = item.resized((24, 32)).reshape(12, 2, 16, 2).mean((1, 3))
    assert np.abs(half - fine).max() < 0.1


@pytest.mark.parametrize("shape", [(122, 131), (128, 131), (5, 400), (1000, 999)])
def test_within_an_image_a_map_ends_where_the_image_does(shape):
    step, rng = 16.0, np.random.default_rng(0)
    cells = [-(-side // 16) for side in shape]
    item = replace(heatmap(rng.random(cells), step), image_shape=shape)
    shown = item.within_image(400_000)
    for axis, side in enumerate(shape):
        low = shown.translate[axis] - shown.scale[axis] / 2
        assert low == pytest.approx(-0.5, abs=1e-9)
        assert low + shown.scale[axis] * shown.values.shape[axis] == pytest.approx(
            side - 0.5, abs=1e-9
        )
        if side % 16 == 0:  # nothing to crop: the cells of the features
            assert shown.values.shape[axis] == cells[axis]
    error = np.abs(shown.resized(shape) - item.resized(shape))
    assert error.max() < 0.2  # beside cells that differ by up to 1
    assert error.mean() < 0.01


def test_a_map_that_fits_is_left_as_it_is():
    item = heatmap(np.random.default_rng(0).random((6, 8)))
    assert item.within_image(400_000) is item


def test_a_map_that_begins_inside_its_image_reaches_the_border():
    item = replace(heatmap(np.ones((8, 8))), translate=(5.5, 5.5))
    shown = item.within_image()
    assert shown.values.shape == (8, 8)
    assert np.all(shown.values == 1)
    assert shown.translate == (1.5, 1.5)


def test_crops_are_parts_of_the_whole():
    item = heatmap(np.random.default_rng(0).random((5, 5)))
    whole = item.resized((20, 20))
    part = item.crop((4, 8), (6, 5), (6, 5))
    assert np.allclose(part, whole[4:10, 8:13], atol=1e-6)


def test_the_value_at_a_pixel_is_that_of_the_full_map():
    item = heatmap(np.random.default_rng(0).random((5, 6)))
    full = item.resized(item.image_shape)
    for y, x in ((0, 0), (7, 11), (19, 23)):
        assert item.at(y, x) == pytest.approx(full[y, x], abs=1e-6)
    assert item.at(-1, 0) is None
    assert item.at(0, 24) is None


def test_thresholds_in_every_currency_cut_what_they_say():
    item = heatmap(np.linspace(0, 1, 100).reshape(10, 10))
    assert item.threshold(0.3) == 0.3
    assert item.threshold(7) == 1.0
    assert item.threshold(90, "percentile") == pytest.approx(0.9, abs=0.01)
    cut = item.threshold(10, "area")
    assert np.mean(item.values >= cut) == pytest.approx(0.10, abs=0.01)
    tissue = np.zeros((10, 10), bool)
    tissue[:5] = True
    inside = item.threshold(20, "area", tissue)
    assert np.mean(item.values[tissue] >= inside) == pytest.approx(0.2, abs=0.02)
    nothing = np.zeros((10, 10), bool)
    assert item.threshold(50, "percentile", nothing) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="currency"):
        item.threshold(1, "euro")


def test_rank_is_the_share_of_values_not_above():
    item = heatmap(np.linspace(0, 1, 100).reshape(10, 10))
    assert item.rank(0.5) == pytest.approx(50, abs=1)
    assert item.rank(1.0) == 100


def test_a_map_is_made_coarser_and_says_so():
    values = np.zeros((90, 60), np.float32)
    values[:45] = 1
    found = heatmap(values, 10).coarser(1000)
    assert found.values.shape == (30, 20)
    assert (found.at(0, 0), found.at(899, 599)) == (1.0, 0.0)
    assert found.notes == ("It is kept on 30 × 20 cells.",)
    assert found.coarser(1000) is found


def test_a_threshold_of_a_signed_map_is_a_share_of_the_strongest_of_either_sign():
    raw = np.array([[-4, -1, 0, 0, 0], [0, 0, 1, 2, 3]], np.float32)
    values = on_scale(raw, -4, 3, signed=True)
    item = replace(heatmap(values), raw_range=(-4, 3), signed=True)
    assert item.cut(0.5) == 0.75
    assert 0.5 < item.cut(0.0) < 0.5001  # nothing is marked where nothing is said
    assert np.allclose(item.strength(values), abs(raw) / 4)
    cut = item.threshold(30, "area")  # both signs share the area
    assert np.array_equal(item.strength(values) >= cut, abs(raw) >= 2)
    assert item.threshold(0.3) == 0.3
