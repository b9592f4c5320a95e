"""*Help, Doctor…*: the lines as they come, a bundle is shown before it is saved."""

from __future__ import annotations

import zipfile

import pytest
from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.doctor import panel

pytestmark = pytest.mark.gui


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
    assert dialog.lines.toPlainText() == panel.LOOKING
    assert not dialog.bundle_button.isEnabled()
    yield dialog
    dialog.close()
    dock.end()
    qtbot.waitUntil(lambda: not entries() and not isalive(dialog))


def test_lines_come_one_after_the_other(doctor, qtbot):
    qtbot.waitUntil(lambda: "✓ clock: It is" in doctor.lines.toPlainText())
    doctor.again_button.click()
    assert doctor.lines.toPlainText() == panel.LOOKING
    qtbot.waitUntil(lambda: "✓ Python: 3." in doctor.lines.toPlainText())


@pytest.mark.slow
def test_a_bundle_is_shown_and_saved(doctor, qtbot, tmp_path, monkeypatch):
    qtbot.waitUntil(doctor.bundle_button.isEnabled, timeout=120_000)
    text = doctor.lines.toPlainText()
    assert panel.LOOKING not in text
    assert "! Qt: " in text or "✓ Qt: " in text
    assert "✓ torch: torch 2" in text
    doctor.copy_button.click()
    assert QApplication.clipboard().text() == text
    assert not doctor.save_button.isEnabled()
    doctor.bundle_button.click()
    qtbot.waitUntil(doctor.save_button.isEnabled)
    assert "———— report.txt" in doctor.lines.toPlainText()
    path = tmp_path / "bundle.zip"
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), "")
    )
    doctor.save_button.click()
    qtbot.waitUntil(lambda: "was written" in doctor.lines.toPlainText())
    with zipfile.ZipFile(path) as archive:
        assert "report.txt" in archive.namelist()
