"""The pixels under a layer change: the window says so, and the next run reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsol.gui.images.reader import layer_of
from napari_wsol.gui.layers.heatmaps import OF_BEFORE, STALE
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.stacks import Pick

pytestmark = pytest.mark.gui


def square(top: int, left: int, size: int = 128) -> np.ndarray:
    """(size, size, 3) uint8: dark, with a bright square of 32 pixels."""
    image = np.full((size, size, 3), 20, np.uint8)
    image[top : top + 32, left : left + 32] = 230
    return image


def brightest(layer) -> tuple[int, int]:
    """Cell in the middle of what is bright on a map of cells of 4 pixels."""
    return tuple(np.argwhere(layer.data > 0.9).mean(axis=0).round().astype(int))


def has_badges(bench) -> bool:
    names = [x.image.name for x in bench.widget.layers.heatmaps.pairs.values()]
    return all(OF_BEFORE in name for name in names)


def message(bench) -> str:
    return bench.widget.message.text()


@pytest.mark.slow
def test_data_that_is_replaced_is_taken_up_and_its_maps_are_told_of(bench):
    layer = bench.open(square(16, 16))
    bench.localize()
    before = bench.session.slide.fingerprint()
    layer.data = square(80, 80)
    bench.until(lambda: bench.session.is_replaced and has_badges(bench))
    assert bench.session.slide.fingerprint() != before
    mark = bench.layer("PixelCAM").metadata["napari-wsol"]
    assert mark["fingerprint"] == before
    assert brightest(bench.layer("PixelCAM")) == (8, 8)
    bench.until(lambda: "has changed: the maps show it as it was" in message(bench))
    bench.localize()
    bench.until(lambda: brightest(bench.layer("PixelCAM")) == (24, 24))
    bench.until(lambda: not any(OF_BEFORE in name for name in bench.names))
    mark = bench.layer("PixelCAM").metadata["napari-wsol"]
    assert mark["fingerprint"] == bench.session.slide.fingerprint()


@pytest.mark.parametrize("refreshed", [True, False])
def test_data_that_is_changed_in_place_is_read_by_the_next_run(bench, refreshed):
    image = square(16, 16)
    layer = bench.open(image)
    bench.localize()
    layer.data[...] = square(80, 80)
    if refreshed:
        layer.refresh()
    bench.localize()
    bench.until(lambda: brightest(bench.layer("PixelCAM")) == (24, 24))
    assert bench.session.mapped == open_slide(square(80, 80)).fingerprint()


def test_an_export_after_a_change_in_place_is_of_the_image_as_it_was(bench, tmp_path):
    layer = bench.open(square(16, 16))
    bench.localize()
    before = bench.session.slide.fingerprint()
    layer.data[...] = square(80, 80)
    panel = bench.widget.export_panel
    panel.expand(animate=False)
    panel.form.fields["folder"].line_edit.native.setText(str(tmp_path / "out"))
    bench.until(panel.export_button.isVisible)
    bench.click(panel.export_button)
    bench.until(lambda: panel.recent.count() == 1)
    (path,) = (tmp_path / "out").glob("*provenance.json")
    record = json.loads(path.read_text("utf-8"))
    assert record["image"]["fingerprint"] == before
    assert any("image as it was" in note for note in record["notes"])
    bench.until(lambda: has_badges(bench))


@pytest.mark.slow
def test_strokes_stay_with_the_image_that_they_were_drawn_on(bench):
    layer = bench.open(square(32, 64))
    bench.localize()
    bench.strokes()
    bench.refine()
    number = len(bench.session.strokes)
    layer.data = square(80, 80)
    bench.until(lambda: bench.session.is_replaced and has_badges(bench))
    assert bench.session.strokes == ()
    bench.until(lambda: "Strokes (on the image as it was)" in bench.names)
    away = bench.layer("Strokes (on the image as it was)")
    assert not away.visible
    assert np.asarray(away.data).any()
    bench.click(bench.widget.correct_panel.tools["foreground"])
    bench.drag((96, 84), (96, 108))
    bench.until(lambda: len(bench.session.strokes) == 1)
    assert bench.session.scribbles[96, 84] == 2
    layer.data = square(32, 64)  # as it was
    bench.until(lambda: len(bench.session.strokes) == number)
    bench.until(lambda: bench.widget.layers.strokes.layer == away)
    assert away.visible
    assert away.name == "Strokes"


def test_data_of_another_shape_are_taken_up(bench):
    layer = bench.open(square(16, 16))
    bench.localize()
    layer.data = square(200, 200, 256)
    bench.until(lambda: bench.session.canvas.shape == (256, 256))
    bench.until(lambda: has_badges(bench))
    bench.localize()
    bench.until(lambda: bench.layer("PixelCAM").data.shape == (64, 64))
    bench.until(lambda: brightest(bench.layer("PixelCAM")) == (54, 54))
    assert "256 × 256" in bench.widget.image_line.words.text()


def test_data_that_cannot_be_used_are_told_and_never_passed_over(bench):
    layer = bench.open(square(16, 16), rgb=True)
    bench.localize()
    layer.data = np.full((64, 64, 3), np.nan)
    bench.until(lambda: "not numbers" in message(bench))
    bench.until(lambda: has_badges(bench))
    bench.click(bench.widget.localize_panel.localize_button)
    bench.until(lambda: not bench.session.is_busy)
    assert has_badges(bench)
    layer.data = square(80, 80)
    bench.localize()
    bench.until(lambda: brightest(bench.layer("PixelCAM")) == (24, 24))


def test_a_file_that_is_overwritten_is_read_and_shown_anew(bench, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(square(16, 16)).save(path)
    data, options, _ = layer_of(path)
    layer = bench.open(data, **options)
    bench.localize()
    Image.fromarray(square(80, 80)).save(path)
    bench.localize()
    bench.until(lambda: brightest(bench.layer("PixelCAM")) == (24, 24))
    bench.until(lambda: np.array_equal(np.asarray(layer.data), square(80, 80)))
    assert bench.session.mapped == open_slide(path).fingerprint()
    assert bench.session.slide.reader == "pillow"


def test_a_layer_of_a_file_that_is_given_other_data_is_read_through_the_layer(
    bench, tmp_path
):
    path = tmp_path / "a.png"
    Image.fromarray(square(16, 16)).save(path)
    data, options, _ = layer_of(path)
    layer = bench.open(data, **options)
    bench.localize()
    layer.data = square(80, 80)
    bench.until(lambda: has_badges(bench))
    bench.localize()
    bench.until(lambda: brightest(bench.layer("PixelCAM")) == (24, 24))
    assert bench.session.slide.path is None


def test_the_plane_of_a_stack_comes_back_with_its_file(bench, tmp_path):
    path = tmp_path / "stack.tif"
    planes = np.stack([square(16, 16)[..., 0], square(80, 80)[..., 0]])
    tifffile.imwrite(path, planes, metadata={"axes": "ZYX"})
    data, options, _ = layer_of(path, pick=Pick(plane=(1,)))
    layer = bench.open(data, **options)
    bench.localize()
    layer.data = square(16, 16)
    bench.until(lambda: bench.session.slide.path is None)
    layer.data = data
    bench.until(lambda: bench.session.slide.path == path)
    bench.localize()
    bench.until(lambda: brightest(bench.layer("PixelCAM")) == (24, 24))


def test_the_badge_of_strokes_is_another_one(bench):
    bench.open(square(32, 64))
    bench.localize()
    bench.strokes()
    bench.until(lambda: any(STALE in name for name in bench.names))
    assert not any(OF_BEFORE in name for name in bench.names)
