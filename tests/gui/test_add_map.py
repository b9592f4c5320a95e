"""Add map…: maps from elsewhere and of former models among ours in the window."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

pytestmark = pytest.mark.gui

SHAPE = (300, 450)


def choose(monkeypatch, path) -> None:
    """The system's own dialog gives this file."""
    given = lambda *_: (str(path), "")  # noqa: E731
    monkeypatch.setattr(QFileDialog, "getOpenFileName", given)


def shown(bench) -> list[str]:
    return list(bench.widget.layers.heatmaps.pairs)


def test_corners_of_a_layer_lie_on_those_of_the_image(bench, tmp_path, monkeypatch):
    bench.open(np.full((*SHAPE, 3), 200, np.uint8))
    chooser = bench.widget.controller.chooser
    for step in (4.0, 16.0, 37.5):
        values = np.zeros([int(np.ceil(side / step)) for side in SHAPE], np.float32)
        values[np.ix_([0, -1], [0, -1])] = 1
        name = f"clam{step:.0f}"
        np.save(tmp_path / f"{name}.npy", values)
        choose(monkeypatch, tmp_path / f"{name}.npy")
        bench.click(bench.widget.localize_panel.map_button)
        bench.until(lambda: chooser.dialog is not None or name in shown(bench))  # noqa: B023
        if chooser.dialog is not None:  # it has not the image's proportions
            assert chooser.dialog.answer("translate") == "corner"
            chooser.dialog.fields["scale"].value = f"{step}"
            chooser.dialog.accept()
        bench.until(lambda: name in shown(bench))  # noqa: B023
        layer = bench.widget.layers.heatmaps.pairs[name].image
        assert layer.name == f"{name} · from elsewhere · evidence"
        world, half = layer.extent.world, layer.extent.step / 2
        assert np.allclose(world[0] - half, -0.5)
        assert np.allclose(world[1] + half, np.subtract(SHAPE, 0.5))
        assert np.allclose(layer.data_to_world(np.full(2, -0.5)), -0.5)
        assert min(layer.data[0, 0], layer.data[-1, 0], layer.data[0, -1]) > 0.5
        words = bench.widget.compare_panel.notes.text
        bench.until(lambda: f"{name}.npy, sha256" in words())  # noqa: B023


@pytest.mark.usefixtures("layers_model")
@pytest.mark.slow
def test_two_models_and_a_map_from_elsewhere_side_by_side(bench, tmp_path):
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[40:80, 60:100] = 250
    bench.open(pixels)
    bench.localize()
    bench.use("layers")
    former = ["pixelcam · tiny", "cam · tiny"]
    bench.until(lambda: shown(bench) == former)
    bench.localize_keys("cam", *former)
    np.save(tmp_path / "mine.npy", pixels[..., 0] / 255.0)
    bench.widget.controller.add_map(tmp_path / "mine.npy")
    keys = ["cam", *former, "mine"]
    bench.until(lambda: shown(bench) == keys)
    bench.until(lambda: not bench.widget.layers.is_adding)
    panel = bench.widget.compare_panel
    titles = ["CAM", "PixelCAM · tiny", "CAM · tiny", "mine · from elsewhere"]
    assert [panel.probe.item(row, 0).text() for row in range(4)] == titles
    assert [panel.method_box.itemData(k) for k in range(4)] == keys
    panel.probe.probe(bench.widget.layers.maps(), bench.widget.layers.cuts, (60, 80))
    value = float(panel.probe.item(3, 1).text()[:4])
    assert value == pytest.approx(250 / 255, abs=0.01)
    panel.side_by_side.click()
    bench.until(lambda: bench.widget.layers.wall is not None)
    captions = [words.split("\n") for words in bench.widget.layers.wall.captions]
    assert [words[0].split(" · ")[0] for words in captions[:3]] == [
        "CAM",
        "PixelCAM",
        "CAM",
    ]
    # Each says of which model it is, also that of the one in use.
    assert [words[1] for words in captions[:3]] == ["layers", "tiny", "tiny"]
    panel.overlay.click()
    # A layer that is deleted takes its map along; ours come again.
    bench.viewer.layers.remove(bench.widget.layers.heatmaps.pairs["mine"].image)
    bench.until(lambda: "mine" not in bench.session.heatmaps)
    bench.viewer.layers.remove(bench.widget.layers.heatmaps.pairs["cam"].image)
    bench.localize_keys("cam", *former)
    bench.widget.controller.add_map(tmp_path / "mine.npy")
    bench.until(lambda: shown(bench) == keys)
    bench.session.remove_map("mine")
    bench.until(lambda: shown(bench) == keys[:3])
