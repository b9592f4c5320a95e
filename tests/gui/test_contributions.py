"""What napari offers of us outside the dock: menus, *Save…*, preferences, samples."""

from __future__ import annotations

import json
import pkgutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from imageio.v3 import imread
from napari._app_model import get_app_model
from napari._qt.dialogs.preferences_dialog import PreferencesDialog
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QLineEdit

from napari_wsol.errors import ExportError, NoResultError
from napari_wsol.export.writers import MAPS
from napari_wsol.gui import contributions
from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.napari_preferences import NapariPreferences
from napari_wsol.images.foreign_map import read_map
from napari_wsol.paths import preferences_file
from napari_wsol.preferences import DEFAULTS, Preferences, keep, stored

pytestmark = pytest.mark.gui

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = PluginManifest.from_file(ROOT / "napari.yaml")
PAGE = MANIFEST.contributions.configurations["preferences"].properties


@pytest.fixture
def known_to_napari():
    """Our manifest."""
    manager = PluginManager.instance()
    if "napari-wsol" not in manager:
        manager.register(MANIFEST)
    return manager


def square() -> np.ndarray:
    image = np.full((128, 128, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


# ------------------------------------------------------------------------- manifest


def test_menus_and_commands_are_those_that_napari_lets_plugins_have():
    from napari._app_model.constants._menus import is_menu_contributable

    menus = MANIFEST.contributions.menus
    assert all(map(is_menu_contributable, menus))
    assert {"visualize", "measure", "annotate"} <= {x.split("/")[-1] for x in menus}
    for command in MANIFEST.contributions.commands:
        assert callable(pkgutil.resolve_name(command.python_name))
    (writer,) = MANIFEST.contributions.writers
    assert writer.filename_extensions == list(MAPS)


def test_the_page_of_preferences_says_what_ours_are():
    (page,) = MANIFEST.contributions.configurations.values()
    told = {name: item.default for name, item in page.properties.items()}
    told["memory_bytes"] = told.pop("memory_gb") * 1e9
    assert told == DEFAULTS
    for device in page.properties["device"].enum:
        assert Preferences(device=device).device == device


def test_the_icon_is_in_the_package_and_in_the_pages():
    package, _, name = MANIFEST.icon.partition(":")
    inside = ROOT.joinpath(*package.split("."), name).read_bytes()
    assert b"<svg" in inside
    assert (ROOT / "docs" / "images" / "icon.svg").read_bytes() == inside


# ------------------------------------------------------------------ samples, menus


@pytest.mark.usefixtures("known_to_napari")
def test_both_samples_open_through_napari_also_twice(bench):
    for key, side in (("immunohistochemistry", 512), ("chest_film", 454)):
        for _ in range(2):
            (layer,) = bench.viewer.open_sample("napari-wsol", key)
            assert layer.data.shape[:2] == (side, side)
    first = bench.viewer.layers[0]  # what is worked on does not change unasked
    bench.until(lambda: bench.widget.layers.image == first)
    assert len(bench.names) == 4


@pytest.mark.usefixtures("known_to_napari")
def test_a_command_opens_the_dock_once_and_localizes_the_selected_image(
    make_napari_viewer, qtbot, monkeypatch
):
    monkeypatch.setenv("NAPARI_WSOL_MODEL", "tiny")
    monkeypatch.setenv("NAPARI_WSOL_LOOK", "beside")
    viewer = make_napari_viewer(show=True)
    first = viewer.add_image(square(), name="first")
    viewer.add_image(255 - square(), name="second")
    viewer.layers.selection = {first}
    get_app_model().commands.execute_command("napari-wsol.localize_image").result()
    (dock,) = viewer.window.dock_widgets.values()
    qtbot.waitUntil(lambda: len(dock.layers.maps()) == 2, timeout=60_000)
    assert dock.session.slide.name == "first"
    qtbot.waitUntil(dock.compare_panel.side_by_side.isChecked)
    dock.parentWidget().hide()
    get_app_model().commands.execute_command("napari-wsol.draw_strokes").result()
    assert dock.layers.strokes.tool == "foreground"
    assert dock.isVisible()
    assert len(viewer.window.dock_widgets) == 1
    dock.end()
    dock.session.close(wait=True)


def test_measure_compares_with_the_selected_labels_and_asks_for_them(bench):
    contributions.draw_strokes(bench.viewer)
    assert bench.widget.message.text() == contributions.NO_IMAGE
    truth = np.zeros((128, 128), np.uint8)
    truth[32:64, 64:96] = 1
    bench.open(square())
    contributions.compare_maps(bench.viewer)
    assert bench.session.reference is None
    labels = bench.viewer.add_labels(truth, name="truth")
    bench.viewer.layers.selection = {labels}
    contributions.compare_maps(bench.viewer)
    bench.until(lambda: len(bench.session.figures(wait=False)) >= 2)
    scores = bench.widget.controller.reference.scores
    assert scores.isVisible()
    assert bench.session.reference.name == "truth"
    scores.close()


# --------------------------------------------------------------------------- writer


@pytest.mark.usefixtures("known_to_napari")
def test_a_heatmap_is_saved_with_its_place_and_provenance_and_all_else_by_napari(
    bench, tmp_path
):
    photo = bench.open(square(), name="scan")
    bench.localize()
    layer, heatmap = bench.layer("CAM"), bench.session.heatmaps["cam"]
    records = []
    for ending in (*MAPS, *MAPS):  # the dialog asked before they are replaced
        path = tmp_path / f"scan{ending}"
        record = tmp_path / f"{path.name}_provenance.json"
        records.append(record.name)
        assert layer.save(str(path)) == [str(path), str(record)]
        told = json.loads(record.read_text())
        assert told["provenance"]["model"]["name"] == "tiny"
        assert told["files"][0]["name"].startswith(path.name)
        again = read_map(path, {}, (128, 128), None)
        assert again.scale == pytest.approx(heatmap.scale)
        assert again.translate == pytest.approx(heatmap.translate)
        assert np.allclose(again.values, heatmap.values, atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of imageio
        for name in ("a.png", "a"):
            (written,) = photo.save(str(tmp_path / name))
            assert np.array_equal(imread(written), photo.data)
    with pytest.raises(OSError, match="is no heatmap of napari-wsol"):
        photo.save(str(tmp_path / "photo.heatmap.tiff"))
    names = {x.name for x in tmp_path.glob("*.*")}
    assert names == {"a.png", "a.tif", *records, *(f"scan{x}" for x in MAPS)}
    given = [layer.as_layer_data_tuple()]
    with pytest.raises(ExportError, match="name it in full"):  # nobody asked
        contributions.save_heatmap(str(tmp_path / "scan"), given)
    bench.viewer.layers.remove("scan")
    bench.until(lambda: not bench.session.heatmaps)
    with pytest.raises(NoResultError, match="Localize its image again"):
        contributions.save_heatmap(str(path), given)


@pytest.mark.usefixtures("known_to_napari")
def test_what_of_others_is_saved_together_is_offered_no_writer_of_ours_first():
    for kinds in (["image"], ["image", "image"], ["image", "vectors"], ["labels"]):
        first, *_ = PluginManager.instance().iter_compatible_writers(kinds)
        assert first.plugin_name != "napari-wsol", kinds


@pytest.mark.usefixtures("known_to_napari")
@pytest.mark.slow
def test_a_heatmap_of_a_viewer_that_is_not_in_front_is_saved_too(make_bench, tmp_path):
    bench = make_bench()
    bench.open(square(), name="scan")
    bench.localize()
    make_bench()
    written = bench.layer("CAM").save(str(tmp_path / "scan.heatmap.tiff"))
    assert len(written) == 2


# ----------------------------------------------------------------------- preferences


@pytest.fixture
def page(known_to_napari):
    """napari's page of our preferences, as its dialog shows it."""
    del known_to_napari
    return pytest.importorskip("napari", "0.9").settings.get_plugin_settings(
        "napari-wsol"
    )


def test_what_is_chosen_in_napari_is_ours_and_the_other_way_round(page, qtbot):
    told, dock = [], QObject()
    joined = NapariPreferences(dock, told.append)
    shown = page.preferences
    shown.memory_gb, shown.model = 6.0, "glands"
    mine = {"memory_bytes": 6_000_000_000, "model": "glands"}
    qtbot.waitUntil(lambda: stored() == mine)
    keep(look="beside", memory_bytes=None)  # a command, elsewhere
    qtbot.waitUntil(lambda: (shown.look, shown.memory_gb) == ("beside", 4.0))
    page.reset()
    qtbot.waitUntil(lambda: stored() == {})
    shown.model = "closed at once"
    joined.close()
    assert stored() == {"model": "closed at once"}
    preferences_file().unlink()
    preferences_file().mkdir()
    shown.model = "cannot be kept"
    NapariPreferences(dock, told.append).close()
    assert "Check that you may write there" in str(told[0])
    assert shown.model == ""  # what is not kept is not shown


def test_where_no_dock_is_open_what_is_chosen_counts_and_what_napari_writes_does_not(
    page,
):
    dock = QObject()
    keep(device="cpu")
    NapariPreferences(dock, print).close()
    page.preferences.look = "beside"  # napari writes it at once
    NapariPreferences(dock, print).close()
    assert stored() == {"device": "cpu", "look": "beside"}
    keep(device="cuda")
    page.save()  # *OK* in napari's dialog, after a change of the theme
    NapariPreferences(dock, print).close()
    assert page.preferences.device == "cuda"
    assert "device: cuda" in page.config_path.read_text()


@pytest.mark.parametrize("memory", [2_000_000_000_000, 4_294_967_296])
def test_what_the_page_cannot_show_stays_while_something_else_is_chosen(
    page, qtbot, memory
):
    dock = QObject()
    keep(device="cuda:9", memory_bytes=memory)
    joined = NapariPreferences(dock, print)
    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    (line, *_) = [
        x
        for x in dialog.findChildren(QLineEdit)
        if x.toolTip() == PAGE["model"].description
    ]
    line.setText("glands")
    qtbot.waitUntil(lambda: "model" in stored())
    assert stored()["device"] == "cuda:9"
    assert stored()["memory_bytes"] == memory
    page.preferences.device = "cpu"
    qtbot.waitUntil(lambda: stored()["device"] == "cpu")
    joined.close()


def test_two_docks_and_a_command_agree_at_once_and_later(page, qtbot):
    parent = QObject()
    docks = [NapariPreferences(parent, print) for _ in range(2)]
    for look in ("beside", "over", "beside"):
        keep(look=look, model=look)  # faster than the dialog is read
        qtbot.wait(100)
    qtbot.waitUntil(lambda: page.preferences.model == "beside")
    qtbot.wait(700)
    assert stored() == {"look": "beside", "model": "beside"}
    docks[0].close()
    page.preferences.model = "layers"
    qtbot.waitUntil(lambda: stored()["model"] == "layers")
    docks[1].close()


def test_a_variable_that_counts_more_is_told(page, qtbot, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_DEVICE", "cpu")
    told, dock = [], QObject()
    joined = NapariPreferences(dock, told.append)
    page.preferences.device = "cuda"
    qtbot.waitUntil(lambda: stored() == {"device": "cuda"})
    qtbot.waitUntil(lambda: len(told) == 1)
    assert "NAPARI_WSOL_DEVICE counts more" in str(told[0])
    joined.close()


def test_a_preferred_folder_is_used_and_a_device_that_is_not_there_can_be_left(
    zoo, make_napari_viewer, qtbot
):
    folder = (zoo / "models" / "tiny").rename(zoo / "elsewhere")
    keep(model=str(folder), device="cuda:7")
    viewer = make_napari_viewer(show=True)
    dock = WsolWidget(viewer)
    viewer.window.add_dock_widget(dock)
    box = dock.localize_panel.device_box
    qtbot.waitUntil(lambda: "cuda:7" in dock.message.text(), timeout=60_000)
    assert box.isVisible()
    assert box.currentText() == "cuda:7"
    box.setCurrentIndex(box.findData("cpu"))
    box.activated.emit(box.currentIndex())
    qtbot.waitUntil(lambda: dock.session.model is not None, timeout=60_000)
    assert dock.session.model.card.folder == folder
    assert dock.message.text() == ""
    dock.controller.read_catalogue()  # a model was imported
    qtbot.wait(500)
    assert box.currentText() == "CPU"
    dock.end()
    dock.session.close(wait=True)
