"""Models that weigh tiles: maps of two signs, their tiles, and bags of slides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures.bags import grid_corners, planted, write_h5
from fixtures.colours import tiles_model
from fixtures.dropped import drop
from PIL import Image
from qtpy.QtCore import Qt

from napari_wsol.config import ExportConfig
from napari_wsol.gui.images.reader import layer_of
from napari_wsol.images.colours import TWO_SIDED
from napari_wsol.jobs import JobKind
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.card import Card
from napari_wsol.zoo import save_model

pytestmark = pytest.mark.gui

TILE, ROWS, COLUMNS = 32, 5, 7
BRIGHT = [(0, 0), (2, 3), (4, 6)]
METHODS = ("attention_mil", "mil_tile", "mil_evidence")


def card_of(name: str, model: Model) -> Card:
    """What is said of a model of tiles."""
    return Card(
        name=name,
        title=f"Tiles {name}",
        summary="Weighs tiles. For tests.",
        spec=model.spec,
        methods=METHODS,
        primary="mil_evidence",
    )


def tissue() -> np.ndarray:
    """Dark tiles, of which three are bright."""
    light = np.random.default_rng(0).integers(20, 60, (ROWS, COLUMNS))
    for place in BRIGHT:
        light[place] = 230
    image = np.kron(light, np.ones((TILE, TILE), int))
    return np.repeat(image[..., None], 3, 2).astype(np.uint8)


@pytest.fixture
def tiles_bench(zoo, make_bench):
    """The dock with three maps of the model of bright tiles."""
    model = tiles_model(TILE)
    save_model(model, card_of("bright", model), zoo / "models")
    bench = make_bench()
    bench.open(tissue(), name="tissue")
    box = bench.widget.localize_panel.model_box
    bench.until(lambda: box.findData("bright") >= 0)
    bench.use("bright")
    bench.localize_keys(*METHODS)
    verdict = bench.widget.compare_panel.verdict
    bench.until(lambda: verdict.galleries[1].count() > 0)
    return bench


def pick(bench, gallery, place: int, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    """Click a picture."""
    bench.widget.scroll_area.ensureWidgetVisible(gallery)
    gallery.scrollToItem(gallery.item(place))
    at = gallery.visualItemRect(gallery.item(place)).center()
    button = Qt.MouseButton.LeftButton
    bench.qtbot.mouseClick(gallery.viewport(), button, modifier, at)


def test_the_verdict_counts_tiles_and_shows_those_for_it_beside_those_against(
    tiles_bench,
):
    bench, session = tiles_bench, tiles_bench.session
    verdict, result = bench.widget.compare_panel.verdict, session.result
    assert result.target == "dark"
    share = f"dark {100 * result.scores['dark']:.0f}\u00a0%"
    bias = session.heatmap("mil_evidence").bias
    assert (
        verdict.words.text() == f"{share} · 32 tiles for, 3 against, bias {bias:+.2f}"
    )
    speaks_for, against = verdict.galleries
    assert speaks_for.isVisible()
    assert against.isVisible()
    assert against.count() == 3
    assert speaks_for.item(0).text().startswith("+")
    assert against.item(0).text().startswith("-")
    assert "for dark" in against.item(0).toolTip()
    pick(bench, against, 0)
    y, x = bench.viewer.scene.camera.center[-2:]
    assert (int(y) // TILE, int(x) // TILE) in BRIGHT


def test_chosen_tiles_are_left_out_and_put_back_by_a_click(tiles_bench):
    bench, session = tiles_bench, tiles_bench.session
    verdict, maps = bench.widget.compare_panel.verdict, dict(session.heatmaps)
    assert not verdict.button.isEnabled()
    for place in range(3):
        pick(bench, verdict.galleries[1], place, Qt.KeyboardModifier.ControlModifier)
    assert len(verdict.chosen) == 3
    bench.click(verdict.button)
    bench.until(lambda: verdict.answer.text() != "")
    middles = [((r + 0.5) * TILE, (c + 0.5) * TILE) for r, c in BRIGHT]
    without, before = session.without_tiles(middles).result()
    now, was = (f"dark {100 * x['dark']:.0f}\u00a0%" for x in (without, before))
    assert verdict.answer.text() == f"Without 3 tiles: {now} (was {was})."
    assert without["dark"] > before["dark"]
    assert all(session.heatmaps[key] is maps[key] for key in maps)
    bench.click(verdict.button)
    assert verdict.answer.text() == ""
    bench.click(verdict.button)
    bench.until(lambda: verdict.answer.text() != "")
    pick(bench, verdict.galleries[0], 0)  # others: what was said is of those before
    assert verdict.answer.text() == ""


def test_a_signed_map_has_two_colours_lines_around_both_and_signed_words(
    tiles_bench, tmp_path
):
    bench = tiles_bench
    pair = bench.widget.layers.heatmaps.pairs["mil_evidence"]
    assert pair.image.visible
    table = np.asarray(pair.image.colormap.colors)
    assert np.allclose(table[[0, 255], :3], TWO_SIDED[[0, 5]], atol=0.01)
    assert table[127:129, 3].max() == 0
    cut = bench.widget.layers.cuts["mil_evidence"]
    assert cut == 0.5
    assert pair.cut == pytest.approx(0.75)  # half of the strongest evidence
    middles = (
        np.asarray(pair.contour.data)[:, 0] + np.asarray(pair.contour.data)[:, 1] / 2
    )
    for row, column in BRIGHT:  # against: their lines are there as those for it are
        near = np.hypot(*(middles - (row, column)).T)
        assert near.min() < 0.8
    probe = bench.widget.compare_panel.probe
    row = list(bench.widget.layers.heatmaps.pairs).index("mil_evidence")
    bench.move_to(((2 + 0.5) * TILE, (3 + 0.5) * TILE))
    bench.until(lambda: probe.item(row, 1).text().startswith("-"))
    assert probe.item(row, 1).text().endswith(" ●")  # against, as much as it needs
    wide = probe.fontMetrics().horizontalAdvance(probe.item(row, 1).text())
    assert wide < probe.columnWidth(1)  # no dots in the middle of a number
    regions = bench.widget.compare_panel.regions
    bench.until(lambda: regions.count() > 0)
    assert not regions.isColumnHidden(3)
    assert regions.item(0, 3).text().startswith("+")
    assert regions.item(0, 2).text().startswith("+")
    last = regions.count() - 1  # those against stand behind those for it
    assert regions.item(last, 2).text().startswith("-")
    assert regions.item(last, 3).text().startswith("-")
    assert "of them against" in bench.widget.compare_panel.summary.text()
    bench.session.set_pins([((2 + 0.5) * TILE, (3 + 0.5) * TILE)])
    pins = bench.widget.compare_panel.pins
    bench.until(lambda: pins.topLevelItemCount() == 1)
    assert pins.topLevelItem(0).child(row).text(3) == "●"
    # What is written is what the line goes around.
    shown = pair.heatmap.resized(tissue().shape[:2])
    settings = ExportConfig(method="mil_evidence", threshold=cut, formats=("png",))
    files = bench.session.export(tmp_path, config=settings).result()
    for what, wanted in (("mask", shown >= pair.cut), ("against", shown <= 0.25)):
        (file,) = (x for x in files if x.name.endswith(f"_{what}.png"))
        assert np.array_equal(np.asarray(Image.open(file)) > 0, wanted)
    bench.choose(bench.widget.compare_panel.method_box, "attention_mil")
    bench.until(lambda: regions.isColumnHidden(3))
    bench.until(lambda: bench.widget.compare_panel.verdict.galleries[1].count() == 0)


def test_cells_side_by_side_show_both_signs(tiles_bench):
    bench = tiles_bench
    bench.click(bench.widget.compare_panel.side_by_side)
    bench.until(lambda: bench.widget.layers.wall is not None)
    wall = bench.widget.layers.wall
    cell = next(x for x in wall._cells if x.heatmap.method == "mil_evidence")
    box = (0.0, 0.0, float(ROWS * TILE), float(COLUMNS * TILE))
    drawn, line = wall._map(cell, box)
    scale = drawn.width() / (COLUMNS * TILE)

    def colour_at(place):
        y, x = ((k + 0.5) * TILE * scale for k in place)
        return drawn.pixelColor(int(x), int(y))

    blue, yellow = colour_at((2, 3)), colour_at((1, 1))
    assert blue.blue() > blue.red() + 50
    assert yellow.red() > yellow.blue() + 50
    assert line is not None


@pytest.fixture
def slide_and_bag(tmp_path):
    """A picture, and vectors of its tiles in a folder where nobody looks."""
    path = tmp_path / "slides" / "case 7.png"
    path.parent.mkdir()
    Image.fromarray(tissue()).save(path)
    vectors, _ = planted(ROWS * COLUMNS, 16, 5, seed=1)
    corners = grid_corners(ROWS, COLUMNS, TILE)
    about = {"patch_size": TILE, "patch_size_level0": TILE}
    return path, write_h5(tmp_path / "elsewhere/case 7.h5", vectors, corners, **about)


@pytest.fixture
def vectors_bench(make_bench, slide_and_bag):
    """The dock with the slide, and a model of vectors that others made."""
    torch.manual_seed(0)
    classes = ("benign", "malignant")
    spec = ModelSpec(encoder="vectors:16", classes=classes, heads=("attention_mil",))
    model = Model(spec).eval()
    model.card = card_of("vectors", model)
    bench = make_bench()
    data, options, _ = layer_of(slide_and_bag[0])
    bench.open(data, **options)
    bench.session.use(model)
    panel = bench.widget.localize_panel
    bench.until(lambda: panel.card is not None and panel.card.name == "vectors")
    bench.until(lambda: set(panel.method_list.keys({})) == set(METHODS))
    return bench


def test_a_dropped_bag_is_read_until_it_is_not_used(vectors_bench, slide_and_bag):
    bench, bag = vectors_bench, slide_and_bag[1]
    panel = bench.widget.localize_panel
    bench.until(panel.bag_row.isVisible)  # it says what it needs when it is chosen
    assert "drop the slide's bag" in panel.bag_words.text()
    assert not panel.bag_button.isVisible()
    bench.click(panel.localize_button)
    bench.until(lambda: "give the slide's bag" in bench.widget.message.text())
    drop(bench.viewer.window._qt_viewer.canvas.native, bag)
    bench.until(panel.bag_button.isVisible)
    assert panel.bag_words.text() == "Tiles from case 7.h5, 35 vectors."
    bench.localize_keys(*METHODS)
    assert bench.session.bag.path == bag
    verdict = bench.widget.compare_panel.verdict
    bench.until(lambda: "tiles for" in verdict.words.text())
    bench.click(panel.bag_button)
    bench.until(lambda: not panel.bag_button.isVisible())
    assert bench.session.bag is None


def test_a_bag_of_another_slide_is_refused_in_words(vectors_bench, tmp_path):
    bench, (vectors, _) = vectors_bench, planted(40, 16, 5, seed=1)
    bag = write_h5(tmp_path / "other.h5", vectors, grid_corners(4, 10))
    drop(bench.viewer.window._qt_viewer.canvas.native, bag)
    bench.until(lambda: "bag of a slide of" in bench.widget.message.text())
    assert bench.session.bag is None


def test_a_dropped_map_of_scores_is_shown_as_a_map(tiles_bench, tmp_path):
    bench, path = tiles_bench, tmp_path / "scores.h5"
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["attention_scores"] = np.linspace(0, 1, ROWS * COLUMNS)
        file["coords"] = grid_corners(ROWS, COLUMNS, TILE)
    drop(bench.viewer.window._qt_viewer.canvas.native, path)
    bench.until(lambda: bench.session.job.kind is JobKind.ADD_MAP)
    assert bench.session.bag is None
