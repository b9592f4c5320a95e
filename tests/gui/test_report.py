"""Report…, as a person presses it."""

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

pytestmark = [pytest.mark.gui]


def test_a_report_of_the_maps_as_they_are_cut(bench, tmp_path, monkeypatch):
    path = tmp_path / "a.html"
    # The system's own dialog, which no test can press.
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), "")
    )
    widget = bench.widget
    assert not widget.export_panel.more["Report…"].isEnabled()
    image = np.full((96, 128, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    bench.open(image, name="bright")
    bench.click(widget.localize_panel.localize_button)
    bench.until(widget.export_panel.more["Report…"].isEnabled)
    widget.compare_panel.amount_box.setValue(0.37)
    bench.click(widget.export_panel.more["Report…"])
    bench.until(path.exists)
    assert "at or above 0.37" in path.read_text("utf-8")
    bench.until(lambda: "a.html" in widget.message.text())
