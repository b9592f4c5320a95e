"""Slides in the window: tiles come in, where one looks first, and go on tomorrow."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_wsol.config import SlideConfig
from napari_wsol.errors import MethodUnavailableError
from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.layers.fine_map import FineMap
from napari_wsol.gui.layers.marks import MARK, our_layers
from napari_wsol.images.tiling import TileGrid
from napari_wsol.inference.encode import Geometry
from napari_wsol.preferences import preferences
from napari_wsol.slides.plan import SlidePlan

pytestmark = pytest.mark.gui

SIDE = 512
TILES = (SIDE // 64) ** 2


@pytest.fixture(autouse=True)
def _small_slides(monkeypatch):
    """Images of 512 pixels count as slides."""
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 100_000)
    monkeypatch.setattr("napari_wsol.slides.live.SHOW_EVERY", 0.02)


def tissue(side: int = SIDE) -> np.ndarray:
    """Dark everywhere, so that all of it counts, with one bright square."""
    image = np.full((side, side, 3), 40, np.uint8)
    image += np.random.default_rng(0).integers(0, 9, image.shape, np.uint8)
    image[128:192, 320:384] = 220
    return image


@pytest.fixture
def slide_bench(bench):
    """The dock on a slide, cut into 64 tiles."""
    bench.session.slide_config = SlideConfig(core=64)
    bench.open(tissue(), name="slide")
    bench.until(bench.widget.localize_panel.slide_box.isVisible)
    return bench


def finish(bench) -> None:
    """Press Localize and wait until all tiles are there and shown."""
    before = bench.session.job.id
    bench.click(bench.widget.localize_panel.localize_button)
    bench.until(lambda: bench.session.job.id > before and not bench.session.is_busy)
    assert bench.session.job.state == "done", bench.session.job.message
    # The window has heard of the end, too: what it says later is not overwritten.
    heard = bench.widget.controller
    bench.until(lambda: heard._last_state == (bench.session.job.id, "done"))
    bench.until(lambda: is_shown(bench))


def is_shown(bench) -> bool:
    shown, maps = bench.widget.layers.heatmaps.pairs, bench.session.heatmaps
    return (
        set(shown) == set(maps)
        and not bench.widget.layers.is_adding
        and all(pair.heatmap is maps[name] for name, pair in shown.items())
        and not our_layers(bench.viewer, "tiles")
    )


class Stopper:
    """Holds a slide after some tiles, on its thread, until Cancel is pressed."""

    def __init__(self, session, after: int) -> None:
        self.session, self.after, self.seen = session, after, []
        self.reached, self.pressed = threading.Event(), threading.Event()
        session.slide_moved.connect(self.look)

    def look(self, progress) -> None:
        self.seen.append(progress)
        if progress.done >= self.after and progress.rate:
            self.session.slide_moved.disconnect(self.look)
            self.reached.set()
            assert self.pressed.wait(30)


def stop_after(bench, count: int, widget: WsolWidget | None = None) -> Stopper:
    widget = widget or bench.widget
    stopper = Stopper(widget.session, count)
    widget.controller.localize()
    bench.until(stopper.reached.is_set)
    widget.controller.cancel()
    stopper.pressed.set()
    bench.until(lambda: not widget.session.is_busy)
    assert widget.session.job.state == "cancelled"
    return stopper


def test_the_panel_says_what_the_slide_is(slide_bench):
    box = slide_bench.widget.localize_panel.slide_box
    assert f"{TILES} tiles" in box.words.text()
    assert box.power_buttons[20].isVisible()  # nobody knows the size of a pixel
    slide_bench.click(box.power_buttons[20])
    slide_bench.until(lambda: "0.5 µm a pixel" in box.words.text())
    assert not box.power_buttons[20].isVisible()
    assert slide_bench.session.mpp == 0.5


def test_maps_sharpen_in_place_and_the_veil_goes(slide_bench):
    bench = slide_bench
    layers, states = set(), []
    bench.session.slide_moved.connect(states.append)
    inserted = bench.viewer.layers.events.inserted
    inserted.connect(lambda event: layers.add(event.value))
    finish(bench)
    assert len(states) > 3
    roles = [layer.metadata[MARK]["role"] for layer in layers]
    assert sorted(roles) == ["contour"] * 2 + ["heatmap"] * 2 + ["tiles"]
    shown = bench.layer("PixelCAM").data
    assert np.isfinite(shown).all()
    assert shown[40, 88] > 0.9
    assert shown[100, 20] < 0.1
    assert np.array_equal(shown, bench.session.heatmaps["pixelcam"].values)


def test_cancel_keeps_the_tiles_and_localize_goes_on(slide_bench):
    bench = slide_bench
    stop_after(bench, 5)
    message, kept = bench.widget.message, bench.session.work.done
    assert 5 <= kept < TILES
    bench.until(lambda: f"{kept} of {TILES} tiles are kept" in message.text())
    (veil,) = our_layers(bench.viewer, "tiles")
    bench.until(lambda: int((veil.data == 2).sum()) == kept)
    assert int((veil.data == 1).sum()) == TILES - kept
    below = list(bench.viewer.layers).index(veil)
    assert bench.viewer.layers[below - 1] == bench.widget.layers.image
    finish(bench)
    assert bench.session.work.run.encoded == TILES - kept


def test_the_veil_ends_exactly_where_the_image_ends(bench):
    bench.session.slide_config = SlideConfig(core=64)
    source = bench.open(tissue(500), name="odd")
    stop_after(bench, 3)
    (veil,) = our_layers(bench.viewer, "tiles")
    assert np.abs(outline(veil) - outline(source)).max() < 1e-6


def outline(layer) -> np.ndarray:
    """Upper left and lower right corner of a layer in the world."""
    return layer._extent_data_augmented * layer.scale + layer.translate


def test_a_second_dock_finds_the_veil_and_the_finished_tiles(slide_bench):
    bench = slide_bench
    stop_after(bench, 5)
    kept = bench.session.work.done
    (veil,) = our_layers(bench.viewer, "tiles")
    bench.widget.end()
    bench.session.close(wait=True)
    again = WsolWidget(bench.viewer)
    again.controller.prefer_model("tiny")
    bench.qtbot.addWidget(again)
    again.session.slide_config = SlideConfig(core=64)
    bench.until(lambda: bool(again.localize_panel.slide_box.words.text()))
    stopper = stop_after(bench, kept + 3, again)
    bench.until(lambda: int((veil.data == 2).sum()) == again.session.work.done)
    assert our_layers(bench.viewer, "tiles") == [veil]
    assert stopper.seen[0].done == kept
    again.end()
    again.session.close(wait=True)


def test_what_is_seen_comes_first(slide_bench):
    bench = slide_bench
    camera = bench.viewer.scene.camera
    camera.zoom = 8
    camera.center = (480, 480)
    asked = []
    look_at = bench.session.look_at

    def hold(_progress) -> None:
        # The first tiles wait until the window has said where it looks.
        until = time.perf_counter() + 20
        while not asked and time.perf_counter() < until:
            time.sleep(0.01)

    def watch(*rectangle) -> None:
        asked.append(rectangle)
        look_at(*rectangle)

    bench.session.look_at = watch
    bench.session.slide_moved.connect(hold)
    stopper = stop_after(bench, 12)
    top, left, bottom, right = asked[0]
    assert top < 480 < bottom
    assert left < 480 < right
    assert stopper.seen[-1].state[7, 7] == 2
    assert stopper.seen[-1].state[1, 0] == 1


@pytest.mark.slow
def test_estimate_names_time_and_disk_and_keeps_its_tiles(slide_bench):
    bench = slide_bench
    box = bench.widget.localize_panel.slide_box
    bench.click(box.estimate_button)
    bench.until(box.cost.isVisible)
    assert box.cost.text().startswith(f"{TILES - 3} tiles left · about ")
    assert "on disk" in box.cost.text()
    bench.until(lambda: not bench.session.is_busy)
    finish(bench)
    assert bench.session.work.run.encoded == TILES - 3
    assert not box.cost.isVisible()


@pytest.mark.slow
def test_drawn_tissue_is_obeyed_until_its_layer_is_deleted(slide_bench):
    bench = slide_bench
    box = bench.widget.localize_panel.slide_box
    bench.click(box.tissue_button)
    bench.until(lambda: len(our_layers(bench.viewer, "tissue")) == 1)
    (layer,) = our_layers(bench.viewer, "tissue")
    assert layer.data.mean() > 0.9
    layer.data_setitem(np.nonzero(np.ones((SIDE, SIDE))), 0)
    bench.click(bench.widget.localize_panel.localize_button)
    bench.until(lambda: bench.widget.message.is_warning)
    assert "paint some" in bench.widget.message.text()
    bench.viewer.layers.selection.active = layer
    layer.brush_size = 20
    bench.drag((160, 340), (160, 360))  # inside one tile
    bench.until(lambda: "1 tile " in box.words.text())
    finish(bench)
    assert bench.session.work.count == 1
    bench.viewer.layers.remove(layer)
    bench.until(lambda: f"{TILES} tiles" in box.words.text())
    finish(bench)
    assert bench.session.work.count == TILES


def test_shares_of_tissue_and_the_estimate_follow_the_painted_tissue(slide_bench):
    bench = slide_bench
    box, layers = bench.widget.localize_panel.slide_box, bench.widget.layers
    bench.until(box.estimate_button.isEnabled)
    bench.click(box.estimate_button)
    bench.until(box.cost.isVisible)
    assert box.cost.text().startswith(f"{TILES - 3} tiles left")
    bench.until(lambda: layers.tissue is not None)
    bench.click(box.tissue_button)
    bench.until(lambda: len(our_layers(bench.viewer, "tissue")) == 1)
    (layer,) = our_layers(bench.viewer, "tissue")
    half = np.zeros(layer.data.shape, np.uint8)
    half[:, half.shape[1] // 2 :] = 1
    layer.data_setitem(np.nonzero(half == 0), 0)
    bench.until(lambda: f"{TILES // 2} tiles" in box.words.text())
    left = f"{TILES // 2 - 3} tiles left"
    bench.until(lambda: box.cost.isVisible() and box.cost.text().startswith(left))
    bench.until(lambda: layers.tissue is not None and layers.tissue.mean() < 0.6)
    bench.viewer.layers.remove(layer)
    bench.until(lambda: layers.tissue is not None and layers.tissue.mean() > 0.6)


@pytest.mark.slow
def test_a_click_in_the_gallery_flies_to_the_place(slide_bench):
    bench = slide_bench
    finish(bench)
    gallery = bench.widget.compare_panel.gallery
    bench.until(lambda: gallery.count() > 0)
    gallery.itemClicked.emit(gallery.item(0))
    y, x = bench.viewer.scene.camera.center[-2:]
    # Windows are larger than the square: the highest holds it.
    assert abs(y - 160) < 128
    assert abs(x - 352) < 128


@pytest.mark.slow
def test_a_map_that_was_deleted_stays_away_until_localize(slide_bench):
    bench = slide_bench
    stop_after(bench, 5)
    bench.until(lambda: len(bench.widget.layers.heatmaps.pairs) == 2)
    bench.viewer.layers.remove(bench.layer("CAM · bright"))
    bench.session.localized.emit()
    bench.qtbot.wait(200)
    assert not [name for name in bench.names if name.startswith("CAM ·")]
    finish(bench)
    assert [x for x in bench.names if x.startswith("CAM · bright")]


@pytest.mark.slow
def test_large_maps_are_shown_at_full_resolution_where_one_looks(
    slide_bench, monkeypatch
):
    monkeypatch.setattr("napari_wsol.slides.live.LIVE_CELLS", 2000)
    bench = slide_bench
    finish(bench)
    pair = bench.widget.layers.heatmaps.pairs["pixelcam"]
    work = bench.session.work
    assert work.live["pixelcam"].step > 1
    assert isinstance(pair.fine, FineMap)
    assert pair.image.multiscale
    full = np.asarray(work.full("pixelcam"))
    camera = bench.viewer.scene.camera
    camera.zoom, camera.center = 12, (160, 352)

    def fine() -> bool:
        read = pair.fine.levels[0][30:50, 78:98]
        return np.allclose(read, full[30:50, 78:98], atol=1e-6)

    bench.until(fine)
    assert pair.image.data_level == 0
    # Centres of the first cells of 4 pixels, as pixel centres are integers.
    assert np.allclose(pair.image.extent.world[0], (1.5, 1.5))
    assert np.abs(pair.image.scale - 4).max() < 1e-9


@pytest.mark.slow
def test_fine_maps_end_exactly_where_the_slide_ends(bench, monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.live.LIVE_CELLS", 2000)
    bench.session.slide_config = SlideConfig(core=64)
    source = bench.open(tissue(500)[:, :471], name="odd")
    finish(bench)
    pair, work = bench.widget.layers.heatmaps.pairs["pixelcam"], bench.session.work
    assert pair.image.multiscale
    assert np.abs(outline(pair.image) - outline(source)).max() < 1e-6
    full, level = np.asarray(work.full("pixelcam")), pair.fine.levels[0]
    place = pair.fine.place

    def fine() -> bool:
        """Every cell has the value of the finished tile in which its centre lies."""
        read = level[25:55, 70:105]
        rows, columns = (
            np.round((np.arange(*span) * place[0][k] + place[1][k] - 1.5) / 4)
            for k, span in enumerate(((25, 55), (70, 105)))
        )
        wanted = full[np.ix_(rows.astype(int), columns.astype(int))]
        return bool((np.abs(read - wanted) < 0.05).mean() > 0.9)

    bench.until(fine)


@pytest.mark.slow
def test_contours_of_large_maps_come_from_a_thread(slide_bench, monkeypatch):
    monkeypatch.setattr("napari_wsol.gui.layers.heatmaps.LARGE_CELLS", 1000)
    monkeypatch.setattr("napari_wsol.gui.layers.contours.BAND_CELLS", 700)
    bench = slide_bench
    finish(bench)
    contour = bench.widget.layers.heatmaps.pairs["pixelcam"].contour
    bench.until(lambda: contour.visible and len(contour.data) > 0)
    where = np.asarray(contour.data)[:, 0] * 4
    assert np.abs(where - (160, 352)).max() < 40  # around the square, nowhere else


class Endless:
    """100 000 × 100 000 pixels that exist where one reads them."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, side: int) -> None:
        self.shape = (side, side, 3)
        self.size = 3 * side * side

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key) -> np.ndarray:
        keys = (*key, *[slice(None)] * 3)[:3] if isinstance(key, tuple) else (key,)
        keys = (*keys, *[slice(None)] * (3 - len(keys)))
        spans = [
            range(*item.indices(side)) if isinstance(item, slice) else [int(item)]
            for item, side in zip(keys, self.shape, strict=True)
        ]
        return np.full([len(span) for span in spans], 120, np.uint8)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        del copy
        return self[:, :, :].astype(dtype or np.uint8)


def test_strokes_are_painted_on_a_slide_of_any_size(bench):
    sides = [100_000 >> shift for shift in (0, 2, 4, 6, 8)]
    bench.open([Endless(side) for side in sides], name="endless", rgb=True,
               multiscale=True, contrast_limits=(0, 255))  # fmt: skip
    bench.until(lambda: not bench.session.is_busy)
    bench.click(bench.widget.correct_panel.tools["foreground"])
    layer = bench.widget.layers.strokes.layer
    centre = np.array(layer.data.shape) // 2
    for step in range(8):
        layer.paint((centre[0], centre[1] + 3 * step), 2)
    assert layer.data[centre[0], centre[1] : centre[1] + 22].all()


def test_closing_the_viewer_while_tiles_come_in_is_clean(slide_bench):
    session, stopper = slide_bench.session, Stopper(slide_bench.session, 4)
    slide_bench.widget.controller.localize()
    slide_bench.until(stopper.reached.is_set)
    # Whoever closes waits for what is being told, and this holds it.
    threading.Timer(8, stopper.pressed.set).start()
    slide_bench.close_viewer()
    slide_bench.until(lambda: not session.is_busy)
    assert session.job.state == "cancelled"
    assert session.work.done < TILES


def test_strokes_refine_a_slide_in_place(slide_bench):
    bench = slide_bench
    finish(bench)
    layer, before = bench.layer("PixelCAM"), np.array(bench.layer("PixelCAM").data)
    bench.click(bench.widget.correct_panel.tools["foreground"])
    bench.drag((400, 60), (400, 200))
    bench.click(bench.widget.correct_panel.tools["background"])
    bench.drag((160, 330), (160, 370))
    bench.until(lambda: set(np.unique(bench.session.scribbles)) == {0, 1, 2})
    bench.refine()
    bench.until(lambda: layer.metadata[MARK]["round"] == 1)
    assert bench.layer("PixelCAM") == layer
    bench.until(lambda: np.abs(np.asarray(layer.data) - before).max() > 0.2)


def test_words_and_units():
    from napari_wsol.gui.localize.slide_box import cost_words, size_words, slide_words
    from napari_wsol.gui.widgets.job_bar import describe
    from napari_wsol.jobs import JobKind, JobStatus
    from napari_wsol.slides.cost import Cost

    status = JobStatus(
        id=1,
        kind=JobKind.LOCALIZE,
        state="running",
        done=400,
        total=1000,
        message="3 tiles/s",
        seconds_left=5.0,
    )
    assert describe(status, 3.0) == "400/1\u202f000 tiles · 3 tiles/s · 3 min left"
    assert describe(status) == "400/1\u202f000 tiles · 3 tiles/s"
    slow = replace(
        status, done=64, total=2048, message="Score-CAM (2 of 3)", seconds_left=6114.0
    )
    assert describe(slow) == "Score-CAM (2 of 3) · 1 h 42 min left · 64/2\u202f048"
    quick = replace(slow, done=0, total=0, message="CAM (1 of 3)", seconds_left=None)
    assert describe(quick) == "CAM (1 of 3)"
    cost = Cost(
        tiles=412, seconds=840.0, disk_bytes=60_000_000, memory_bytes=24_000_000
    )
    assert cost_words(cost).startswith("412 tiles left · about 14 min · 60 MB on disk")
    assert [size_words(10**k) for k in (2, 5, 7, 9)] == [
        "100 bytes", "100 kB", "10 MB", "1.0 GB",
    ]  # fmt: skip
    assert cost_words(replace(cost, disk_bytes=0)).count("·") == 2
    plan = SlidePlan(
        seen=Geometry((1.0, 1.0), (64, 128)),
        grid=TileGrid((64, 128), core=64, halo=0, stride=1),
        wanted=np.array([[True, False]]),
        margin=0,
    )
    assert "1 tile of" in slide_words(plan, 0.5)
    plan = replace(plan, wanted=plan.wanted | True, last=plan.wanted)
    assert "2 tiles, the 1 with tissue first" in slide_words(plan, 0.5)


@pytest.mark.slow
def test_the_tiles_that_are_told_are_those_that_are_done(bench):
    """Below 2 GB a slide is cut into smaller tiles: told, planned and done alike."""
    session = bench.session
    session.set_memory(1_500_000_000).result(30)
    bench.open(tissue(1536), name="slide")
    words = bench.widget.localize_panel.slide_box.words
    bench.until(lambda: "tiles" in words.text())
    bench.until(lambda: session.slide is not None and session.plan().count == 9)
    assert "9 tiles" in words.text()
    finish(bench)
    assert session.work.count == 9


def test_another_memory_budget_tells_the_tiles_anew(bench, monkeypatch):
    monkeypatch.delenv("NAPARI_WSOL_MEMORY", raising=False)
    bench.open(tissue(1536), name="slide")
    box = bench.widget.localize_panel.slide_box
    bench.until(lambda: "4 tiles" in box.words.text())
    box.memory.setValue(1.5)
    bench.until(lambda: "9 tiles" in box.words.text())


def test_the_memory_budget_is_chosen_once(bench, monkeypatch):
    monkeypatch.delenv("NAPARI_WSOL_MEMORY", raising=False)
    box, session = bench.widget.localize_panel.slide_box, bench.widget.session
    assert box.memory.value() == session.config.memory_bytes / 1e9
    box.memory.setValue(1.5)
    bench.until(lambda: preferences().memory_bytes == 1_500_000_000)
    assert session.config.memory_bytes == 1_500_000_000
    assert session.config.tile_bytes < 100_000_000


@pytest.mark.slow
def test_the_average_of_views_is_taken_where_an_image_is_read_at_once(bench, tmp_path):
    small = bench.open(tissue()[64:192, 256:384], name="small")
    panel, session = bench.widget.localize_panel, bench.session
    box, passes = panel.views_box, []
    bench.until(lambda: box.isEnabled() and not session.is_busy)
    assert box.currentText() == "one"
    session.model.encoder.register_forward_hook(lambda *_: passes.append(1))
    for words in ("average of 4 views, 4 × slower", "average of 12 views, 12 × slower"):
        bench.qtbot.keyClick(box, Qt.Key.Key_Down)
        assert box.currentText() == words
    finish(bench)
    assert session.result.views == len(passes) == 12
    bench.until(lambda: "12 views" in bench.widget.compare_panel.notes.text())
    *_, record = session.export(tmp_path, formats=("png",)).result(60)
    said = json.loads(record.read_text("utf-8"))
    assert said["provenance"]["views"] == 12
    assert any("12 views" in note for note in said["notes"])

    session.slide_config = SlideConfig(core=64)
    large = bench.viewer.add_image(tissue(), name="slide")
    bench.choose(bench.widget.image_line.box, large)
    bench.until(lambda: not box.isEnabled())
    assert "read tile by tile" in box.toolTip()
    finish(bench)
    assert session.result.views == 1
    refused = session.localize(views=12)
    with pytest.raises(MethodUnavailableError, match="choose one view"):
        refused.result(60)
    bench.choose(bench.widget.image_line.box, small)
    bench.until(box.isEnabled)
    assert panel.views == 12


@pytest.mark.slow
def test_an_image_that_takes_long_comes_in_as_a_slide_does(bench, monkeypatch):
    """It is held whole: only how it comes in is that of a slide."""
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 12_000_000)
    monkeypatch.setattr("napari_wsol.slides.expected.GRADUAL_SECONDS", 0.0)
    session, box = bench.session, bench.widget.localize_panel.slide_box
    bench.open(tissue(1536), name="long")  # nine tiles
    bench.until(box.isVisible)
    assert not session.is_large
    assert "9 tiles, the 9 with tissue first" in box.words.text()
    bench.click(box.estimate_button)
    bench.until(box.cost.isVisible)
    assert box.cost.text().startswith("6 tiles left · about ")
    bench.until(lambda: not session.is_busy)
    stop_after(bench, 4)
    bench.until(lambda: "goes on from there" in bench.widget.message.text())
    (veil,) = our_layers(bench.viewer, "tiles")
    finish(bench)
    assert veil not in bench.viewer.layers
    assert session.work is None
    assert np.array_equal(
        bench.layer("PixelCAM").data, session.heatmaps["pixelcam"].values
    )
    bench.click(box.tissue_button)
    bench.until(lambda: len(our_layers(bench.viewer, "tissue")) == 1)
    bench.until(lambda: "read first" in bench.widget.message.text())
