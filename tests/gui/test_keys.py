"""Keys: valid on every system, and no failure where one is not."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from app_model.types import OperatingSystem as System
from napari.components import ViewerModel
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import Qt

from napari_wsol.gui.keys import Key, Keys, is_key

pytestmark = [pytest.mark.gui, pytest.mark.binding]

SYSTEMS = (System.MACOS, System.LINUX, System.WINDOWS)
OF_THE_SYSTEM = {
    System.MACOS: {"Meta-Q", "Meta-W", "Meta-H", "Meta-M", "Meta-Tab", "Meta-Space"},
    System.WINDOWS: {"Alt-F4", "Control-Escape", "Alt-Tab", "Alt-Escape"},
    System.LINUX: {"Alt-F4", "Alt-Tab"},
}
"""What closes, hides or changes windows, or never arrives."""

ELSEWHERE = {
    "Control-Z": "Meta-Z",
    "Control-Shift-Z": "Meta-Shift-Z",
    "Meta-Z": "Control-Z",
    "Meta-Shift-Z": "Control-Shift-Z",
}
"""What is bound on another system in place of a key: macOS has a key more."""


def test_every_key_is_one_on_every_system(bench):
    names = {key.key for key in bench.widget.keys.known}
    assert {"F", "B", "E", "Enter"} <= names
    names |= {ELSEWHERE[name] for name in names if name in ELSEWHERE}
    for name in names:
        assert is_key(name)
        binding = coerce_keybinding(name)
        assert len(binding.parts) == 1
        for system in SYSTEMS:
            assert binding.to_text(system)
            assert name not in OF_THE_SYSTEM[system]


def test_what_is_no_key_is_a_warning_and_the_others_work(caplog):
    viewer, pressed = ViewerModel(), []
    keys = (
        Key("Hyper-Nonsense", "nothing", lambda: pressed.append("nothing")),
        Key("F", "something", lambda: pressed.append("something")),
    )
    with caplog.at_level(logging.WARNING, "napari_wsol"):
        made = Keys(viewer, keys)
    assert "Hyper-Nonsense" in caplog.text
    assert [key.key for key in made.taken] == ["Hyper-Nonsense"]
    assert "button works" in caplog.text
    (bound,) = viewer.keymap.values()
    bound(viewer)
    assert pressed == ["something"]
    made.close()
    assert not viewer.keymap


def bright(size: int = 128) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


def test_enter_localizes_whatever_layer_is_chosen_but_ends_a_shape_first(bench):
    bench.open(bright())
    kinds = ("labels", "shapes", "points")
    added = {
        "labels": bench.viewer.add_labels(np.zeros((128, 128), np.uint8)),
        "shapes": bench.viewer.add_shapes(),
        "points": bench.viewer.add_points(),
    }
    ids = []
    bench.session.job_changed.connect(lambda status: ids.append(status.id))
    for kind in kinds:
        bench.viewer.layers.selection.active = added[kind]
        ids.clear()
        bench.press_key("\r")
        bench.until(lambda: bool(ids))
        bench.until(lambda: not bench.session.is_busy)
    bench.until(lambda: len(bench.widget.layers.maps()) == 2)
    labels, before = added["labels"], dict(bench.widget.layers.heatmaps.pairs)
    bench.viewer.layers.selection.active = labels
    labels.mode = "polygon"
    for corner in ((20, 20), (20, 60), (60, 60)):
        bench.press(corner)
    ids.clear()
    bench.press_key("\r")
    assert labels.data[30, 50]  # napari filled its polygon
    assert not ids
    assert before == bench.widget.layers.heatmaps.pairs
    bench.press_key("\r")
    bench.until(lambda: bool(ids))


def test_keys_are_the_same_in_the_dock_but_for_what_is_typed(bench):
    bench.open(bright())
    bench.localize()
    widget, keys = bench.widget, bench.qtbot.keyClick
    strokes, jobs = widget.layers.strokes, []
    bench.viewer.add_labels(np.zeros((128, 128), np.uint8))  # has an F of its own
    bench.until(lambda: not bench.session.is_busy)
    bench.session.job_changed.connect(lambda status: jobs.append(status.kind))
    box = widget.localize_panel.model_box
    model = box.currentIndex()
    for part, key, tool in (
        (box, "f", "foreground"),
        (widget.compare_panel.regions, "b", "background"),
        (widget.compare_panel.slider, "e", "erase"),
        (widget.correct_panel.refine_button, "a", "outline"),
    ):
        keys(part, key)
        assert strokes.tool == tool
    assert box.currentIndex() == model
    number = widget.compare_panel.amount_box
    field = widget.export_panel.form.fields["folder"].line_edit.native
    widget.export_panel.expand(animate=False)
    bench.viewer.window._qt_window.activateWindow()
    for part in (number, field):
        part.setFocus()
        bench.until(lambda part=part: part.hasFocus())
        for key in ("f", "r", Qt.Key.Key_Return):
            keys(part, key)
    assert field.text().endswith("fr")
    assert strokes.tool == "outline"
    assert not jobs
    box.setFocus()
    keys(box, Qt.Key.Key_Return)
    bench.until(lambda: bool(jobs))


def test_the_question_mark_lists_what_is_true(bench):
    bench.open(bright())
    words = bench.widget.help_text
    row = "<b>F</b>&nbsp;&nbsp;</td><td>foreground brush</td>"
    assert row in words()
    bench.viewer.add_labels(np.zeros((128, 128), np.uint8), name="mine")
    assert row not in words()
    assert "foreground brush (in the dock; over the image “mine” has it now)" in words()
    assert "<td>Localize</td>" in words()  # Enter is ours on every layer
    bench.press_key("f")  # napari: fill
    assert bench.widget.layers.strokes.tool is None
    bench.qtbot.keyClick(bench.widget.correct_panel.refine_button, "f")
    assert bench.widget.layers.strokes.tool == "foreground"
    assert row in words()
    assert "has it now" not in words()
