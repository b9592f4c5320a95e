"""*Help, Doctor…*: the lines as they come, a bundle is shown before it is saved."""

from __future__ import annotations

import zipfile

import pytest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.doctor import panel

pytestmark = pytest.mark.gui


def test_help_opens_the_doctor_whose_bundle_is_shown_and_saved(
    make_napari_viewer, qtbot, tmp_path, monkeypatch
):
    viewer = make_napari_viewer()
    dock = WsolWidget(viewer)
    viewer.window.add_dock_widget(dock)
    help_menu = viewer.window.help_menu
    [entry] = [item for item in help_menu.actions() if "Doctor" in item.text()]
    entry.trigger()
    [doctor] = panel._shown
    assert doctor.isVisible()
    assert doctor.lines.toPlainText() == panel.LOOKING
    assert not doctor.bundle_button.isEnabled()
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
    doctor.again_button.click()
    assert panel.LOOKING in doctor.lines.toPlainText()
    doctor.close()
    dock.end()
    QApplication.processEvents()
    assert not [item for item in help_menu.actions() if "Doctor" in item.text()]
