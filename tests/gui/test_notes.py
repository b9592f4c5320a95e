"""Whatever must be known of an image or a map stands in the window.

Of console, table and provenance: ``tests/cli/test_notes.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures.colours import colour_model
from PIL import Image
from qtpy.QtWidgets import QLabel

from napari_wsol.gui.images.reader import layer_of
from napari_wsol.inference.appearance import appearance_of
from napari_wsol.jobs import JobKind
from napari_wsol.methods.card import Card
from napari_wsol.zoo import save_model

pytestmark = pytest.mark.gui


def said(bench) -> str:
    """All that is written in the dock, and what stands in its tooltips."""
    labels = bench.widget.findChildren(QLabel)
    seen = [label for label in labels if not label.isHidden()]
    return " ".join(f"{label.text()} {label.toolTip()}" for label in seen)


def open_file(bench, path):
    data, options, _ = layer_of(path)
    return bench.open(data, **options)


@pytest.fixture(autouse=True)
def never(zoo):
    """A model in which all that is bright speaks against the class “bright”."""
    model = colour_model(("dark", "bright"), (-1.0, -1.0, -1.0), 90.0)
    with torch.no_grad():
        model.heads["pixelcam"].conv4.weight.zero_()
        model.heads["pixelcam"].conv4.bias.copy_(torch.tensor([20.0, -20.0]))
    methods = {"methods": ("pixelcam", "cam", "gradcam"), "primary": "pixelcam"}
    about = {"title": "Never", "summary": "For tests.", **methods}
    save_model(model, Card(name="never", spec=model.spec, **about), zoo / "models")


def test_every_note_of_an_image_stands_at_the_image(bench, tmp_path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    path = tmp_path / "a.png"
    frames[0].save(path, dpi=(72, 72), save_all=True, append_images=frames[1:])
    open_file(bench, path)
    bench.until(lambda: "px" in bench.widget.image_line.words.text())
    assert len(bench.session.slide.notes) == 3
    assert "no microscope gives" in bench.widget.image_line.notes.text()
    for note in bench.session.slide.notes:
        assert note in said(bench)


@pytest.mark.slow
def test_every_note_of_a_map_stands_there_as_long_as_the_map_does(bench):
    image = np.full((96, 96, 3), 200, np.uint8)
    image[20:60, 30:70] = 250
    bench.open(image)
    bench.use("never")
    bench.choose(bench.widget.localize_panel.class_box, "bright")
    bench.localize_keys("pixelcam", "cam", "gradcam")
    notes = bench.widget.compare_panel.notes
    maps = bench.session.heatmaps
    assert all(heatmap.target == "bright" for heatmap in maps.values())
    bench.until(lambda: "PixelCAM finds “bright” nowhere" in notes.text())
    assert "Grad-CAM: The map is 0 everywhere: every channel speaks" in notes.text()
    for heatmap in maps.values():
        for note in heatmap.notes:
            assert note in said(bench)
    for note in bench.session.result.notes:
        assert note in said(bench)
    box, summary = (
        bench.widget.compare_panel.method_box,
        bench.widget.compare_panel.summary,
    )
    bench.choose(box, "gradcam")
    bench.until(lambda: "no threshold gives regions" in summary.text())
    assert "Lower" not in summary.text()
    bench.choose(box, "pixelcam")
    bench.until(lambda: "no threshold gives regions" in summary.text())
    bench.choose(box, "cam")
    bench.until(lambda: "region" in summary.text() and "no " not in summary.text())
    bench.use("tiny")
    kept = [f"{name} · never" for name in ("pixelcam", "cam", "gradcam")]
    bench.until(lambda: "Grad-CAM · never: The map is 0 everywhere" in notes.text())
    assert [*bench.session.kept] == kept
    for key in kept:
        bench.session.remove_map(key).result()
    bench.until(lambda: not notes.text())
    assert notes.isHidden()


def test_an_image_of_another_kind_is_told_before_localize(bench, zoo, tmp_path):
    """A hint with ways out; nothing of images alike, a line where nothing is known."""
    rng, paths = np.random.default_rng(0), []
    for number in range(13):
        pink = rng.integers((190, 90, 150), (250, 150, 210), (48, 48, 3))
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pink.astype(np.uint8)).save(paths[-1])
    *taught, alike = paths
    model = colour_model(("dark", "bright"), (1.0, 1.0, 1.0), 20.0)
    card = Card(
        name="pink",
        title="Pink",
        summary="Finds bright things in pink images. Made for tests.",
        spec=model.spec,
        methods=("pixelcam", "cam"),
        primary="pixelcam",
        appearance=appearance_of(model, taught, "pink"),
    )
    save_model(model, card, zoo / "models")
    panel, box = bench.widget.localize_panel, bench.widget.localize_panel.likeness_box
    layer = open_file(bench, alike)
    bench.until(lambda: box.isVisible() and "not checked" in box.words.text())
    assert "not noticed" in box.words.toolTip()  # of “tiny”, which does not know
    assert not box.import_button.isVisible()

    bench.widget.controller.read_catalogue()
    bench.until(lambda: panel.model_box.findData("pink") >= 0)
    bench.use("pink")
    bench.until(lambda: bench.session.job.kind is JobKind.COMPARE)
    bench.until(lambda: not bench.session.is_busy)
    assert not box.isVisible()

    green = np.zeros((48, 48, 3), np.uint8) + np.array([20, 200, 40], np.uint8)
    strange = bench.viewer.add_image(green, name="green")
    bench.choose(bench.widget.image_line.box, strange)
    bench.until(lambda: box.isVisible() and box.import_button.isVisible())
    assert "looks different" in box.words.text()
    assert "pink images" in box.words.toolTip()
    assert panel.localize_button.isEnabled()
    bench.click(box.train_button)
    bench.until(lambda: bench.widget.controller.training.dialog is not None)
    bench.widget.controller.training.dialog.close()
    bench.click(panel.localize_button)
    bench.until(lambda: bench.session.result is not None)
    assert box.isVisible()
    bench.click(box.go_on_button)
    assert not box.isVisible()
    for chosen in (layer, strange):
        bench.choose(bench.widget.image_line.box, chosen)
        bench.until(lambda chosen=chosen: bench.widget.layers.image == chosen)
        bench.until(lambda: not bench.session.is_busy)
    assert not box.isVisible()
