"""Files become lazy layers that the dock reads by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import dask.array as dask
import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QLabel

from napari_wsol.errors import StackError
from napari_wsol.gui.images.reader import get_reader, read_slides
from napari_wsol.gui.images.samples import FILM, chest_film
from napari_wsol.gui.layers.marks import MARK
from napari_wsol.images.readers.stacks import Pick

pytestmark = pytest.mark.gui


def test_other_files_are_none_of_our_business():
    assert get_reader("notes.txt") is None
    assert get_reader(["a.svs", "b.csv"]) is None
    assert get_reader("folder") is None


def test_slides_of_other_formats_are_our_business():
    for name in ("a.mrxs", "A.BIF", "slide.dcm", "some/a.ome.zarr", "a.ome.zarr/"):
        assert get_reader(name) is not None


def test_the_film_that_comes_along_is_read_like_any_other_image():
    ((pixels, options, kind),) = chest_film()
    assert kind == "image"
    assert np.asarray(pixels).shape == (454, 454, 3)
    assert Path(options["metadata"][MARK]["path"]) == FILM


def pyramid(path, chunk: int = 128) -> np.ndarray:
    """A bright square in the dark, as a TIFF of two levels."""
    pixels = np.full((512, 768, 3), 40, np.uint8)
    pixels[128:256, 256:384] = 220
    with tifffile.TiffWriter(path) as tif:
        options = {"photometric": "rgb", "tile": (chunk, chunk), "metadata": None}
        tif.write(pixels, **options)
        tif.write(pixels[::2, ::2], subfiletype=1, **options)
    return pixels


def middle(bench, layer) -> float:
    """How far the centre of the map is from that of the square, in world units."""
    values = bench.layer("PixelCAM")
    inside = np.argwhere(np.asarray(values.data) > 0.5).mean(0)
    expected = layer.data_to_world((191.5, 319.5))
    return np.abs(np.subtract(values.data_to_world(inside), expected)).max()


class Watched:
    """A zarr array that counts the pixels that are asked of it."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.size = array.size
        self.pixels = 0

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[...], dtype)

    def __getitem__(self, key):
        part = self._array[key]
        self.pixels += part.shape[0] * part.shape[1] if part.ndim == 3 else 0
        return part


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_levels_that_another_plugin_opened_are_worked_on_lazily(tmp_path, bench, kind):
    """Lists of zarr or dask arrays with a scale in µm, as OME-Zarr plugins give."""
    side = 5120  # 78 MB: smaller arrays are read once, for their fingerprint
    levels = []
    for step in (1, 2, 4, 8):
        array = zarr.create_array(
            tmp_path / f"{step}.zarr",
            shape=(side // step, side // step, 3),
            chunks=(256, 256, 3),
            dtype=np.uint8,
        )
        array[...] = 40
        array[1024 // step : 2048 // step, 2048 // step : 3072 // step] = 220
        levels.append(array)
    watched = [Watched(array) for array in levels]
    wrap = {"zarr": list, "dask": lambda all_: [dask.from_array(x) for x in all_]}
    layer = bench.open(
        wrap[kind](watched if kind == "zarr" else levels),
        rgb=True,
        multiscale=True,
        contrast_limits=(0, 255),
        scale=(0.5, 0.5),
        units=("um", "um"),
    )
    slide = bench.session.slide
    assert slide.reader == "array"
    assert [level.downsample[0] for level in slide.levels] == [1, 2, 4, 8]
    assert "0.5 µm/px" in bench.widget.image_line.mpp_button.text()
    assert bench.widget.image_line.reader_button.isHidden()
    part = slide.read(0, 1000, 2040, 40, 20)
    assert np.array_equal(part, np.asarray(levels[0][1000:1040, 2040:2060]))
    assert watched[0].pixels < side * side / 4
    assert bench.session.mpp == pytest.approx(0.5)
    assert layer.multiscale


def test_the_reader_is_shown_and_another_is_taken_by_a_click(tmp_path, bench):
    path = tmp_path / "slide.tif"
    pixels = pyramid(path)
    (data, options, _) = get_reader(str(path))(str(path))[0]
    bench.open(data, **options)
    beneath = bench.viewer.add_image(np.zeros((20, 20)), name="another")
    line = bench.widget.image_line
    bench.until(line.reader_button.isVisible)
    assert line.reader_button.text() == "tifffile"
    menu = line.reader_button.menu()
    menu.aboutToShow.emit()
    names = [action.text() for action in menu.actions()]
    assert names[0] == "tifffile"
    assert "pillow" in names
    assert [action.text() for action in menu.actions() if action.isChecked()] == [
        "tifffile"
    ]
    menu.popup(line.reader_button.mapToGlobal(line.reader_button.rect().center()))
    menu.actions()[names.index("pillow")].trigger()
    menu.close()
    bench.until(lambda: bench.session.slide.reader == "pillow")
    bench.until(lambda: line.reader_button.text() == "pillow")
    bench.until(lambda: bench.widget.layers.image is not None)
    assert bench.names[:2] == ["slide.tif", "another"]
    assert bench.viewer.layers[1] == beneath
    assert line.layer == bench.viewer.layers[0]
    assert np.array_equal(bench.session.slide.read(0, 0, 0, 512, 768), pixels)
    bench.localize()
    assert middle(bench, line.layer) <= 1


def stack(path) -> np.ndarray:
    """(3, 2, 64, 64) uint8: three planes of two dyes, as OME-TIFF."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 2, 64, 64)).astype(np.uint8)
    dyes = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=dyes)
    return pixels


def test_a_stack_asks_which_plane_is_shown(tmp_path, bench):
    path = tmp_path / "stack.ome.tif"
    pixels = stack(path)

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        assert "stack.ome.tif" in dialog.findChild(QLabel).text()
        assert dialog.fields["channel"].choices == ("0 (DAPI)", "1 (GFP)")
        dialog.fields["Z"].value = "2"
        dialog.fields["channel"].value = "1 (GFP)"
        dialog.accept()

    QTimer.singleShot(0, answer)
    (data, options, _) = get_reader(str(path))(str(path))[0]
    bench.open(data, **options)
    shown = bench.session.slide.read(0, 0, 0, 64, 64)
    assert np.array_equal(shown[..., 0], pixels[2, 1])
    assert "Channel 1 (GFP) of 2" in bench.widget.image_line.words.toolTip()


@pytest.mark.usefixtures("bench")
def test_whoever_does_not_choose_is_told_what_to_do(tmp_path):
    path = tmp_path / "stack.ome.tif"
    stack(path)
    QTimer.singleShot(0, lambda: QApplication.activeModalWidget().reject())
    with pytest.raises(StackError, match="one plane is needed"):
        get_reader(str(path))(str(path))


def test_another_channel_is_taken_by_a_click(tmp_path, bench):
    path = tmp_path / "stack.ome.tif"
    pixels = stack(path)
    pick = Pick(channel=(0,), plane=(0,))
    (data, options, _) = read_slides(path, pick=pick)[0]
    bench.open(data, **options)
    menu = bench.widget.image_line.reader_button.menu()
    menu.aboutToShow.emit()
    chooser = bench.widget.controller.chooser
    menu.actions()[-1].trigger()
    bench.until(lambda: chooser.dialog is not None and chooser.dialog.isVisible())
    chooser.dialog.fields["Z"].value = "1"
    chooser.dialog.accept()
    bench.until(lambda: "Plane 1 of 3" in " ".join(bench.session.slide.notes))
    bench.until(lambda: bench.widget.layers.image is not None)
    assert chooser.dialog is None
    assert bench.names[0] == "stack.ome.tif"
    shown = bench.session.slide.read(0, 0, 0, 64, 64)
    assert np.array_equal(shown[..., 0], pixels[1, 0])


def test_an_image_of_one_picture_has_nothing_to_choose(tmp_path, bench):
    path = tmp_path / "grey.tif"
    tifffile.imwrite(path, np.full((64, 64), 7, np.uint8), photometric="minisblack")
    (data, options, _) = read_slides(path)[0]
    bench.open(data, **options)
    bench.widget.image_line.plane_wanted.emit()
    bench.until(lambda: "nothing to choose" in bench.widget.message.text())


def test_a_reader_that_fails_is_told_and_the_image_stays(tmp_path, bench):
    path = tmp_path / "slide.tif"
    pyramid(path)
    (data, options, _) = get_reader(str(path))(str(path))[0]
    layer = bench.open(data, **options)
    bench.widget.image_line.reader_chosen.emit("zarr")
    bench.until(lambda: "OME-Zarr" in bench.widget.message.text())
    line = bench.widget.image_line
    assert line.layer == layer
    assert bench.session.slide.reader == "tifffile"
    if sys.platform == "win32":
        return  # An open file cannot be taken away there.
    path.unlink()
    line.reader_button.menu().aboutToShow.emit()
    (told,) = line.reader_button.menu().actions()
    assert "There is no file" in told.text()
    assert not told.isEnabled()


def test_a_pixel_size_is_asked_for_once(tmp_path, bench):
    path = tmp_path / "slide.tif"
    pyramid(path)
    button = bench.widget.image_line.mpp_button
    for expected in ("set pixel size", "0.31 µm/px"):
        (data, options, _) = get_reader(str(path))(str(path))[0]
        layer = bench.open(data, **options)
        bench.until(lambda expected=expected: expected in button.text())
        bench.widget.image_line.mpp_chosen.emit(0.31)
        bench.until(lambda: "0.31 µm/px" in button.text())
        bench.until(lambda: not bench.session.is_busy)
        bench.viewer.layers.remove(layer)
    assert options["scale"] == (0.31, 0.31)


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
