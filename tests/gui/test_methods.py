"""The list of methods: what a model can do, at which layer, and why not the rest."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

import napari_wsol as wsol
from tests.methods.test_wrap import CLASSES, ResLike

pytestmark = pytest.mark.gui


def square(size: int = 128) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


def words_in(widget) -> str:
    return " ".join(label.text() for label in widget.findChildren(QLabel))


@pytest.fixture
def methods(bench):
    """The list of the tiny model, loaded."""
    bench.open(square())
    found = bench.widget.localize_panel.method_list
    bench.until(lambda: "gradcam" in found.boxes)
    return found


def test_the_model_s_own_methods_come_first_and_are_ticked(methods):
    assert list(methods.boxes)[:2] == ["pixelcam", "cam"]
    assert methods.ticked == ["pixelcam", "cam"]
    assert "More methods" in methods.more_fold.text()
    assert not methods.boxes["gradcam"].isVisible()  # behind the fold


def test_slow_methods_say_so_and_come_last(methods):
    box = methods.boxes["scorecam"]
    assert box.text() == "Score-CAM (slow)"
    assert "Cancel" in box.toolTip()
    names = list(methods.boxes)
    assert names.index("scorecam") > names.index("xgradcam")


def test_what_the_model_cannot_do_is_listed_with_its_reason(bench, methods):
    fold = methods.why_fold
    assert not fold.content.isVisible()
    bench.click(fold)
    assert fold.content.isVisible()
    words = words_in(fold.content)
    assert "PCAM" in words
    assert "not trained with" in words
    listed = int(fold.text().partition("(")[2].rstrip(")"))
    assert listed >= 10
    assert "pcam" not in methods.boxes


@pytest.mark.usefixtures("layers_model")
def test_ticks_stay_when_the_model_changes(bench, methods):
    bench.click(methods.more_fold)
    bench.click(methods.boxes["gradcam"])
    bench.click(methods.boxes["pixelcam"])
    bench.use("layers")
    assert "pixelcam" not in methods.boxes
    assert methods.ticked == ["cam", "gradcam"]
    bench.use("tiny")
    assert methods.ticked == ["cam", "gradcam"]


@pytest.mark.usefixtures("layers_model")
def test_a_layer_can_be_chosen_once_something_reads_layers(bench, methods):
    bench.click(methods.more_fold)
    bench.click(methods.boxes["layercam"])
    assert not methods.layer_box.isEnabled()  # the tiny model has one layer
    assert "last layer only" in methods.layer_box.toolTip()
    bench.use("layers")
    assert methods.layer_box.isEnabled()
    assert methods.layer_box.currentText() == "last (coarse)"
    bench.click(methods.boxes["layercam"])
    assert not methods.layer_box.isEnabled()
    assert "Tick a method" in methods.layer_box.toolTip()


@pytest.mark.usefixtures("layers_model")
def test_two_layers_of_one_method_stand_side_by_side(bench, methods):
    bench.use("layers")
    bench.click(methods.more_fold)
    bench.click(methods.boxes["layercam"])
    bench.localize_keys("cam", "layercam")
    bench.choose(methods.layer_box, "fine")
    keys = ["cam", "layercam", "layercam@fine"]
    bench.localize_keys(*keys)
    assert list(bench.widget.layers.heatmaps.pairs) == keys
    layer = bench.layer("LayerCAM at fine · ")
    assert layer.data.shape == (64, 64)
    assert layer.metadata["napari-wsol"]["layer"] == "fine"
    bench.click(bench.widget.compare_panel.side_by_side)
    captions = bench.widget.layers.wall.captions
    assert [words.split(" · ")[0] for words in captions] == [
        "CAM",
        "LayerCAM",
        "LayerCAM at fine",
    ]
    table = bench.widget.compare_panel.probe
    bench.until(lambda: table.rowCount() == 3)
    assert table.item(2, 0).text() == "LayerCAM at fine"


def test_all_ticked_methods_share_one_encoding(bench, methods):
    passes = []
    encoder = bench.session.model.encoder
    encoder.register_forward_hook(lambda *_: passes.append(1))
    bench.click(methods.more_fold)
    for name in ("gradcam", "gradcam++", "layercam", "eigencam"):
        bench.click(methods.boxes[name])
    bench.localize_keys(
        "pixelcam", "cam", "gradcam", "gradcam++", "layercam", "eigencam"
    )
    assert len(passes) == 1


@pytest.mark.usefixtures("layers_model")
def test_score_cam_shows_how_far_it_is_and_can_be_stopped(bench):
    bench.open(square(512))
    bench.use("layers")
    panel = bench.widget.localize_panel
    bench.click(panel.method_list.more_fold)
    bench.click(panel.method_list.boxes["scorecam"])
    names = bench.names
    bench.click(panel.localize_button)
    words = r"Score-CAM \(2 of 2\)( · .+ left)? · [\d\u202f]+/[\d\u202f]+"
    bench.until(lambda: re.fullmatch(words, panel.job_bar.text()))
    bench.click(panel.job_bar.cancel_button)
    bench.until(lambda: not bench.session.is_busy)
    bench.until(panel.localize_button.isVisible)
    assert bench.session.job.state == "cancelled"
    assert bench.names == names


@pytest.mark.usefixtures("methods")
def test_layers_say_method_and_class_and_the_rest_in_their_tooltip(bench):
    bench.localize()
    names = [name for name in bench.names if "bright" in name]
    assert {"PixelCAM · bright", "CAM · bright"} <= set(names)
    listed = bench.viewer.window._qt_viewer.layers.model()
    tips = [
        listed.data(listed.index(row, 0), Qt.ItemDataRole.ToolTipRole)
        for row in range(listed.rowCount())
    ]
    told = [tip for tip in tips if tip and "CAM · bright" in tip]
    assert any("PixelCAM · bright\nprobability" in tip for tip in told)
    assert any("\nscore, normalised per image" in tip for tip in told)
    known = bench.layer("CAM · bright").metadata["napari-wsol"]
    assert known["method"] == "cam"
    assert known["title"] == "CAM"
    assert known["layer"] is None
    assert known["target"] == "bright"
    assert known["is_probability"] is False
    low, high = known["raw_range"]
    assert high > low
    known = bench.layer("PixelCAM · bright").metadata["napari-wsol"]
    assert known["is_probability"] is True


@pytest.mark.slow
def test_a_network_wrapped_in_python_is_a_model_like_any_other(bench, methods):
    torch.manual_seed(0)
    model = wsol.wrap(ResLike(), "layer4", CLASSES)
    bench.session.use(model)
    panel = bench.widget.localize_panel
    bench.until(lambda: panel.card == model.card)
    bench.until(lambda: methods.ticked == ["cam", "gradcam"])
    assert panel.model_box.currentText() == "ResLike (wrapped)"
    assert "logits that are a linear layer" not in words_in(methods.why_fold.content)
    bench.localize()
    assert "Grad-CAM" in " ".join(bench.names)
    bench.use("tiny")
    assert "pixelcam" in methods.boxes
    bench.use(model.card.name)
    assert bench.session.model is model
