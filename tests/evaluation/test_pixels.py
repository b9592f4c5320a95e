import json
from pathlib import Path

import numpy as np
import pytest

from napari_wsol.errors import ImageError
from napari_wsol.evaluation import (
    PxapMeter,
    best_threshold,
    dice,
    iou,
    pixel_curve,
    pxap,
)
from napari_wsol.images.heatmap import Heatmap

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    arrays = np.load(GOLDEN / "metric_pxap.npz")
    report = json.loads((GOLDEN / "metric_pxap.json").read_text(encoding="utf-8"))
    return {
        "maps": list(arrays["maps_u16"] / 1024.0),
        "masks": list(np.unpackbits(arrays["masks"]).reshape(4, 64, 64)),
        "ignore": list(np.unpackbits(arrays["ignore"]).reshape(4, 64, 64)),
        "report": report["report"],
        "arrays": arrays,
    }


def meter_of(golden, bins):
    meter = PxapMeter(bins)
    for images in zip(golden["maps"], golden["masks"], golden["ignore"], strict=True):
        meter.update(*images)
    return meter


def test_pxap_equals_the_published_code(golden):
    value = pxap(golden["maps"], golden["masks"], golden["ignore"])
    wanted = golden["report"]["interval_0.001"]["PxAP"]
    assert value == pytest.approx(wanted, abs=1e-6)


def test_pxap_of_single_images_equals_the_published_code(golden):
    for place, wanted in golden["report"]["per_image_PxAP"]:
        value = pxap(*([golden[key][place]] for key in ("maps", "masks", "ignore")))
        assert value == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("bins", "key"), [(1000, "0.001"), (100, "0.01"), (10, "0.1")])
def test_best_threshold_is_the_true_one(golden, bins, key):
    wanted = golden["report"][f"interval_{key}"]
    meter = meter_of(golden, bins)
    curve = meter.curve()
    assert meter.value() == pytest.approx(wanted["PxAP"], abs=1e-6)
    assert curve.thresholds[curve.best] == pytest.approx(wanted["true_threshold"])
    best_miou = 100 * curve.mean_iou[curve.best]
    assert best_miou == pytest.approx(wanted["best_miou"], abs=1e-6)
    best_dice = 100 * curve.dice[curve.best]
    assert best_dice == pytest.approx(wanted["gist"]["Dice foreground"], abs=1e-6)


def test_curve_equals_the_published_code(golden):
    curve = meter_of(golden, 10).curve()
    # Their first bin, above 1, is always empty.
    for name in ("recall", "precision"):
        wanted = golden["arrays"][f"curve_{name}"][1:]
        np.testing.assert_allclose(getattr(curve, name), wanted, atol=1e-6)
    wanted = golden["arrays"]["curve_miou"][1:]
    np.testing.assert_allclose(100 * curve.mean_iou, wanted, rtol=1e-6)


def test_cutting_at_the_best_threshold_gives_its_mean_iou(golden):
    maps, masks = golden["maps"], golden["masks"]
    cut = np.stack(maps) >= best_threshold(maps, masks)
    truth = np.stack(masks) > 0
    foreground = (cut & truth).sum() / (cut | truth).sum()
    background = (~cut & ~truth).sum() / (~cut | ~truth).sum()
    curve = pixel_curve(maps, masks)
    assert curve.mean_iou[curve.best] == pytest.approx((foreground + background) / 2)


def test_values_on_an_edge_fall_where_numpy_puts_them():
    values = np.append(np.arange(0, 1, 0.001), [1.0]).reshape(7, 143)
    values = np.concatenate([values, np.nextafter(values, 0), np.nextafter(values, 1)])
    mask = np.zeros(values.shape, bool)
    mask[::2] = True
    meter = PxapMeter()
    meter.update(values, mask)
    edges = np.append(np.arange(0, 1, 0.001), [1.0, 2.0])
    above = np.histogram(values[mask], edges)[0][::-1].cumsum()
    np.testing.assert_array_equal(meter.curve().recall, above / mask.sum())


def test_perfect_map_has_100_and_chance_has_the_foreground_share():
    mask = np.zeros((20, 20), bool)
    mask[:5] = True
    assert pxap([mask.astype(float)], [mask]) == pytest.approx(100)
    assert pxap([np.full((20, 20), 0.3)], [mask]) == pytest.approx(25)


def test_pixels_are_pooled_not_averaged_over_images():
    mask = np.zeros((10, 10), bool)
    mask[0, 0] = True
    good, bad = mask.astype(float), 1.0 - mask
    pooled = pxap([good, bad], [mask, mask])
    mean = (pxap([good], [mask]) + pxap([bad], [mask])) / 2
    assert pooled != pytest.approx(mean, abs=1)


def test_order_of_the_images_does_not_matter(golden):
    maps, masks = golden["maps"], golden["masks"]
    assert pxap(maps[::-1], masks[::-1]) == pxap(maps, masks)


def heatmap_over(shape, values):
    values = np.asarray(values, np.float32)
    scale = (shape[0] / values.shape[0], shape[1] / values.shape[1])
    return Heatmap(
        values=values,
        scale=scale,
        translate=((scale[0] - 1) / 2, (scale[1] - 1) / 2),
        image_shape=shape,
        method="cam",
        target="gland",
        is_probability=True,
    )


def test_maps_of_another_shape_are_brought_to_the_mask():
    rng = np.random.default_rng(0)
    values = rng.random((8, 9)).astype(np.float32)
    mask = rng.random((50, 61)) < 0.4
    heatmap = heatmap_over((50, 61), values)
    wanted = pxap([heatmap.resized((50, 61))], [mask])
    assert pxap([heatmap], [mask]) == wanted
    assert pxap([values], [mask]) == pytest.approx(wanted, abs=1e-3)


def test_arrays_are_resized_as_by_align_corners_false():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(1).random((4, 5)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None],
        size=(13, 12),
        mode="bilinear",
        align_corners=False,
    )[0, 0].numpy()
    mask = wanted >= 0.5
    assert iou(values, mask) == 1.0


def test_masks_of_0_and_255_or_bool_are_the_same(golden):
    masks = golden["masks"]
    value = pxap(golden["maps"], masks)
    assert pxap(golden["maps"], [mask * 255 for mask in masks]) == value
    assert pxap(golden["maps"], [mask > 0 for mask in masks]) == value


def test_ignored_pixels_do_not_count_unless_foreground():
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    scores = mask.astype(float)
    scores[1] = 1.0
    ignore = np.zeros((4, 4), bool)
    ignore[:2] = True
    assert pxap([scores], [mask], [ignore]) == pytest.approx(100)
    assert pxap([scores], [mask], [None]) < 100
    assert iou(scores, mask, ignore=ignore) == 1.0
    assert iou(scores, mask) == 0.5


def test_image_without_foreground_counts_as_background(golden):
    empty = np.zeros((64, 64), bool)
    with_it = pxap([*golden["maps"], np.ones((64, 64))], [*golden["masks"], empty])
    assert with_it < pxap(golden["maps"], golden["masks"])


def test_data_set_without_foreground_has_no_pxap():
    with pytest.raises(ImageError, match="No reference mask has any foreground"):
        pxap([np.zeros((4, 4))], [np.zeros((4, 4), bool)])


def test_mask_that_is_all_foreground_is_fine():
    curve = pixel_curve([np.full((3, 3), 0.5)], [np.ones((3, 3))])
    assert curve.pxap == pytest.approx(100)
    assert curve.mean_iou[curve.best] == 1.0


@pytest.mark.parametrize(
    ("scores", "mask", "message"),
    [
        (np.array([[0.5, np.nan]]), np.ones((1, 2)), "not numbers"),
        (np.array([[0.5, 1.5]]), np.ones((1, 2)), "between 0.5 and 1.5"),
        (np.ones((1, 2, 3)), np.ones((1, 2)), "rows and columns"),
        (np.ones((1, 2)), np.ones(2), "rows and columns"),
        (np.ones((1, 2)), np.array([[np.nan, 1.0]]), "NaN"),
    ],
)
def test_bad_input_is_refused_in_words(scores, mask, message):
    with pytest.raises(ImageError, match=message):
        pxap([scores], [mask])


def test_lists_of_different_length_are_refused():
    with pytest.raises(ImageError, match="2 heatmaps, 1 masks"):
        pxap([np.ones((2, 2))] * 2, [np.ones((2, 2))])
    with pytest.raises(ImageError, match="no images"):
        pxap([], [])


def test_iou_and_dice_of_known_masks():
    a = np.zeros((4, 4), bool)
    b = np.zeros((4, 4), bool)
    a[:2] = True
    b[1:3] = True
    assert iou(a, b) == pytest.approx(4 / 12)
    assert dice(a, b) == pytest.approx(8 / 16)
    assert iou(a.astype(np.uint8) * 255, b) == pytest.approx(4 / 12)
    assert a.sum() == 8  # the input stays as it was


def test_heatmaps_are_cut_at_the_threshold():
    mask = np.array([[True, False, False]])
    heatmap = heatmap_over((1, 3), [[0.9, 0.6, 0.1]])
    assert iou(heatmap, mask) == 0.5
    assert iou(heatmap, mask, threshold=0.7) == 1.0
    assert dice(heatmap.values, mask, threshold=0.6) == pytest.approx(2 / 3)


def test_two_empty_masks_agree():
    empty = np.zeros((3, 3), bool)
    assert iou(empty, empty) == dice(empty, empty) == 1.0
    assert iou(empty, ~empty) == dice(~empty, empty) == 0.0


def test_masks_of_different_shape_are_refused():
    with pytest.raises(ImageError, match="Cut the heatmap"):
        iou(np.ones((2, 2), bool), np.ones((3, 3), bool))


def test_meter_gives_the_overlap_of_each_image(golden):
    meter = meter_of(golden, 1000)
    threshold = 0.4
    wanted = [
        (
            iou(a, b, threshold=threshold, ignore=c),
            dice(a, b, threshold=threshold, ignore=c),
        )
        for a, b, c in zip(
            golden["maps"], golden["masks"], golden["ignore"], strict=True
        )
    ]
    np.testing.assert_allclose(np.stack(meter.overlaps(threshold)).T, wanted)
    curve = meter.curve()
    at = curve.nearest(threshold)
    assert curve.thresholds[at] == pytest.approx(threshold)
    assert curve.iou[curve.best] == pytest.approx(
        curve.dice[curve.best] / (2 - curve.dice[curve.best])
    )


def test_empty_mask_and_empty_map_agree_in_the_meter():
    meter = PxapMeter()
    meter.update(np.zeros((3, 3)), np.zeros((3, 3), bool))
    meter.update(np.ones((3, 3)), np.zeros((3, 3), bool))
    assert meter.overlaps(0.5)[0].tolist() == [1.0, 0.0]
