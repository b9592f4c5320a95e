"""Other docks in the window: a second one of ours, and those of other plugins."""

from __future__ import annotations

import numpy as np
import pytest
from magicgui.widgets import Container, LineEdit
from qtpy.QtCore import Qt

from napari_wsol.gui.dock import WsolWidget

pytestmark = [pytest.mark.gui, pytest.mark.binding]


def square() -> np.ndarray:
    image = np.full((128, 128, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


@pytest.fixture
def second(bench):
    """A dock in the same viewer, on the same image."""
    bench.open(square())
    dock = WsolWidget(bench.proxy)
    dock.controller.prefer_model("tiny")
    dock.session.live = False
    bench.viewer.window.add_dock_widget(dock, name="second", area="right")
    bench.until(lambda: dock.layers.image is not None)
    bench.until(lambda: dock.session.model is not None)
    yield dock
    dock.end()
    dock.session.close(wait=True)


def test_of_two_docks_the_first_has_the_keys_and_the_other_one_after_it(bench, second):
    first, jobs = bench.widget, {"first": [], "second": []}
    for dock, heard in zip((first, second), jobs.values(), strict=True):
        dock.session.job_changed.connect(lambda job, to=heard: to.append(job.kind))
    bench.press_key("\r")
    bench.until(lambda: len(first.layers.maps()) == 2)
    bench.until(lambda: not first.session.is_busy)
    assert jobs["first"]
    assert not jobs["second"]
    bench.press_key("f")
    assert first.layers.strokes.tool == "foreground"
    bench.press_key("b")  # on the layer of strokes now
    assert first.layers.strokes.tool == "background"
    assert [x for x in bench.names if x.startswith("Strokes")] == ["Strokes"]
    assert "another plugin or dock has this key" in second.help_text()
    bench.viewer.window.remove_dock_widget(first)
    first.setParent(None)
    bench.viewer.layers.selection = {bench.layer("data")}
    bench.press_key("\r")
    bench.until(lambda: len(second.layers.maps()) == 2)
    bench.until(lambda: not second.session.is_busy)
    bench.press_key("e")
    assert second.layers.strokes.tool == "erase"
    assert "another plugin or dock" not in second.help_text()


def test_another_plugin_s_dock_keeps_its_letters_keys_and_layers(bench):
    bench.open(square())
    bench.localize()
    field, pressed = LineEdit(), []
    other = Container(widgets=[field])
    bench.viewer.window.add_dock_widget(other, name="of others", area="left")
    bench.viewer.bind_key("Q", lambda _: pressed.append("Q"))
    mine = bench.viewer.add_points([(3, 3)], name="of others")
    jobs = []
    bench.session.job_changed.connect(lambda job: jobs.append(job.kind))
    bench.viewer.window._qt_window.activateWindow()
    field.native.setFocus()
    bench.until(field.native.hasFocus)
    for key in ("f", "r", "q", Qt.Key.Key_Return):
        bench.qtbot.keyClick(field.native, key)
    assert field.value == "frq"
    assert not jobs
    assert bench.widget.layers.strokes.tool is None
    bench.press_key("q")
    assert pressed == ["Q"]
    bench.viewer.window.remove_dock_widget(bench.widget)
    bench.widget.setParent(None)
    bench.press_key("q")
    assert pressed == ["Q", "Q"]
    assert mine in bench.viewer.layers
    assert bench.viewer.window.dock_widgets["of others"] is other
