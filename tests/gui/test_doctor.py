"""*Help › Doctor…*: the lines as they come, the bundle that is shown before it is written."""

from __future__ import annotations

import zipfile

import pytest
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog

from napari_wsol.gui.doctor import panel
from napari_wsol.gui.dock import WsolWidget

pytestmark = [pytest.mark.gui, pytest.mark.binding]


def test_help_opens_the_doctor_whose_bundle_is_shown_and_saved(
    make_napari_viewer, qtbot, tmp_path, monkeypatch
):
    viewer = make_napari_viewer()
    dock = WsolWidget(viewer)
    viewer.window.add_dock_widget(dock)
    entries = [
        item for item in viewer.window.help_menu.actions() if "Doctor" in item.text()
    ]
    assert len(entries) == 1
    entries[0].trigger()
    [doctor] = panel._shown
    assert doctor.isVisible()
    assert panel.LOOKING in doctor.lines.toPlainText()
    assert not doctor.save_button.isEnabled()
    qtbot.waitUntil(doctor.save_button.isEnabled, timeout=120_000)
    text = doctor.lines.toPlainText()
    assert panel.LOOKING not in text
    assert "Python 3." in text
    assert "torch: cpu computes what it must." in text
    assert {item.name for item in doctor.findings} >= {
        "Qt",
        "OpenGL",
        "rights",
        "models",
    }
    doctor.copy_button.click()
    assert QApplication.clipboard().text() == text
    doctor.save_button.click()
    qtbot.waitUntil(lambda: doctor.preview is not None)
    path = tmp_path / "bundle.zip"
    assert not path.exists()
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), "")
    )
    doctor.preview.findChild(QDialogButtonBox).button(
        QDialogButtonBox.StandardButton.Save
    ).click()
    qtbot.waitUntil(lambda: "was written" in doctor.lines.toPlainText())
    with zipfile.ZipFile(path) as archive:
        assert "report.txt" in archive.namelist()
    doctor.close()
    dock.end()
    QApplication.processEvents()
