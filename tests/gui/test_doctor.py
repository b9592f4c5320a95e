"""*Help, Doctor…*: the lines as they come, a bundle is shown before it is saved."""

from __future__ import annotations

import zipfile

import pytest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.doctor import panel

pytestmark = pytest.mark.gui
WAIT = 60_000


@pytest.fixture
def doctor(make_napari_viewer, qtbot):
    """The dialog, opened from the menu of a viewer with the dock."""
    viewer = make_napari_viewer()
    dock = WsolWidget(viewer)
    viewer.window.add_dock_widget(dock)
    menu = viewer.window.help_menu

    def entries():
        return [item for item in menu.actions() if "Doctor" in item.text()]

    [entry] = entries()
    entry.trigger()
    [dialog] = panel._shown
    assert dialog.isVisible()
    assert "looking" in dialog.windowTitle()
    assert not dialog.save_button.isEnabled()
    yield dialog
    dialog.close()
    dock.end()
    qtbot.waitUntil(lambda: not entries())


def test_lines_come_while_the_doctor_looks(doctor, qtbot):
    qtbot.waitUntil(lambda: "clock: It is" in doctor.lines.toPlainText(), timeout=WAIT)
    assert "looking" in doctor.windowTitle()
    panel.show_doctor()  # twice: it is the same, and goes on
    assert panel._shown == [doctor]
    assert "clock: It is" in doctor.lines.toPlainText()
    doctor.again_button.click()
    assert not doctor.lines.toPlainText()
    qtbot.waitUntil(lambda: "Python: 3." in doctor.lines.toPlainText(), timeout=WAIT)
    doctor.copy_button.click()
    assert QApplication.clipboard().text().startswith("ok")


@pytest.mark.slow
def test_a_bundle_is_shown_and_saved(doctor, qtbot, tmp_path, monkeypatch):
    qtbot.waitUntil(doctor.save_button.isEnabled, timeout=2 * WAIT)
    assert doctor.windowTitle() == "Doctor"
    assert "torch: torch 2" in doctor.lines.toPlainText()
    path = tmp_path / "bundle.zip"
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), "")
    )
    doctor.save_button.click()
    assert not doctor.write_button.isEnabled()
    qtbot.waitUntil(doctor.write_button.isEnabled, timeout=2 * WAIT)
    assert "report.txt, " in doctor.lines.toPlainText()
    assert not path.exists()
    doctor.write_button.click()
    qtbot.waitUntil(doctor.save_button.isEnabled, timeout=WAIT)
    assert f"{path} was written." in doctor.lines.toPlainText()
    with zipfile.ZipFile(path) as archive:
        assert "report.txt" in archive.namelist()
