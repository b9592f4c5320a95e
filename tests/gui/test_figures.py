"""Figure…, Table…, Copy as Python and Copy as command, as a person presses them."""

import csv

import numpy as np
import pytest
from PIL import Image
from qtpy.QtWidgets import QApplication, QFileDialog

pytestmark = [pytest.mark.gui]


@pytest.fixture
def localized(bench, tmp_path):
    """A file on the disk, shown and localized."""
    from napari_wsol.gui.images.reader import read_slides

    image = np.full((96, 128, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    Image.fromarray(image).save(tmp_path / "bright µ.png")
    for data, options, _ in read_slides(tmp_path / "bright µ.png"):
        bench.open(data, **options)
    bench.click(bench.widget.localize_panel.localize_button)
    bench.until(bench.widget.export_panel.more["Figure…"].isEnabled)
    bench.widget.export_panel.form.show_values(
        folder=tmp_path / "out", formats=("csv",)
    )
    return bench


def answer(monkeypatch, path):
    """What the person says in the system's own dialog, which no test can press."""
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), "")
    )


def test_figure_and_table_are_written_and_told(localized, tmp_path, monkeypatch):
    panel = localized.widget.export_panel
    for name, file in (("Figure…", "a.svg"), ("Table…", "b.csv")):
        answer(monkeypatch, tmp_path / file)
        localized.click(panel.more[name])
        localized.until((tmp_path / file).exists)
        localized.until(lambda file=file: file in localized.widget.message.text())
    assert "PixelCAM" in (tmp_path / "a.svg").read_text("utf-8")
    with (tmp_path / "b.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert {row["Map"] for row in rows} == {"PixelCAM", "CAM"}
    assert panel.recent.item(0).text().endswith("b.csv")


def test_what_is_published_is_as_it_is_shown(localized, tmp_path, monkeypatch):
    """In the order of the wall, cleaned up as an export, with an ending of its own."""
    widget, panel = localized.widget, localized.widget.export_panel
    keys = [heatmap.key for heatmap in widget.layers.maps()][::-1]
    widget.layers.set_order(keys)
    panel.form.show_values(min_area=10_000.0)
    answer(monkeypatch, tmp_path / "typed")
    localized.click(panel.more["Table…"])
    localized.until((tmp_path / "typed.csv").exists)
    with (tmp_path / "typed.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    titles = [widget.layers.titles[key] for key in keys]
    assert [row["Map"] for row in rows] == titles
    assert {row["Regions"] for row in rows} == {"0"}

    def is_copied():
        localized.click(panel.more["Copy as Python"])
        return "typed.csv" in QApplication.clipboard().text()

    localized.until(is_copied)
    localized.click(widget.localize_panel.localize_button)
    localized.until(lambda: not widget.session.is_busy)
    localized.until(lambda: not is_copied())  # that table was of other maps


def test_the_form_says_how_figures_look(localized, tmp_path, monkeypatch):
    panel = localized.widget.export_panel
    panel.figure_form.fields["width_mm"].native.setValue(85)
    panel.figure_form.fields["dpi"].native.setValue(100)
    panel.figure_form.fields["view"].value = "seen"
    answer(monkeypatch, tmp_path / "a.png")
    localized.click(panel.more["Figure…"])
    localized.until((tmp_path / "a.png").exists)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == round(85 / 25.4 * 100)
    answer(monkeypatch, "")  # thought better of it
    localized.click(panel.more["Figure…"])
    assert len(list(tmp_path.glob("*.p??"))) == 2


@pytest.mark.slow
def test_what_was_done_is_copied_and_runs(localized, tmp_path, monkeypatch):
    widget = localized.widget
    widget.compare_panel.amount_box.setValue(0.37)
    answer(monkeypatch, tmp_path / "f.pdf")
    localized.click(widget.export_panel.more["Figure…"])
    localized.until((tmp_path / "f.pdf").exists)
    localized.click(widget.export_panel.export_button)
    localized.until(lambda: localized.widget.export_panel.recent.count() == 2)
    localized.click(widget.export_panel.more["Copy as Python"])
    text = QApplication.clipboard().text()
    assert "Copied" in widget.message.text()
    assert "threshold=0.37" in text
    exec(compile(text, "copied", "exec"), {})
    assert (tmp_path / "f-2.pdf").read_bytes() == (tmp_path / "f.pdf").read_bytes()
    first, second = sorted((tmp_path / "out").glob("*regions*.csv"))
    assert first.read_bytes() == second.read_bytes()
    localized.click(widget.export_panel.more["Copy as command"])
    assert "napari-wsol localize" in QApplication.clipboard().text()
    widget.session.brush([(50, 80)], 2, 9.0)
    widget.session.brush([(10, 20)], 1, 9.0)
    widget.session.finetune().result(60)
    localized.click(widget.export_panel.more["Copy as command"])
    assert "Copy as Python" in widget.message.text()
