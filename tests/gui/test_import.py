"""Import…: an authors' checkpoint becomes a model of the list, in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_wsol.encoders import build_encoder
from napari_wsol.methods import Model, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.gui


@pytest.fixture
def amil_file(tmp_path: Path) -> Path:
    """A bare state dict as A-MIL's code saves it: says all that is needed."""
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="amil_cnn",
        classes=("0", "1"),
        heads=("attention_mil",),
        options={"attention_mil": {"binary": True}},
        tile=28,
    )
    state = {
        key.removeprefix("encoder.backbone.").removeprefix("heads.attention_mil."): x
        for key, x in Model(spec).state_dict().items()
    }
    torch.save(state, tmp_path / "breast.pth")
    return tmp_path / "breast.pth"


@pytest.fixture
def baseline_file(tmp_path: Path) -> Path:
    """A classifier of PYLON's code without its config: the pooling is not told."""
    torch.manual_seed(0)
    encoder = build_encoder("resnet18")
    state = {f"net.{key}": value for key, value in encoder.state_dict().items()}
    state["out.weight"] = torch.randn(2, 512, 1, 1)
    state["out.bias"] = torch.zeros(2)
    folder = tmp_path / "chest"
    folder.mkdir()
    torch.save(state, folder / "model.pkl")
    return folder


def start(bench, path: Path) -> None:
    """As if the person had chosen a file: the system's own dialog is not ours."""
    bench.until(lambda: bench.widget.localize_panel.card is not None)
    bench.widget.localize_panel.import_wanted.emit(path)


def form(bench):
    importer = bench.widget.controller.importer
    bench.until(
        lambda: (
            importer.chooser.dialog is not None and importer.chooser.dialog.isVisible()
        )
    )
    return importer.chooser.dialog


def test_the_button_offers_a_file_a_folder_and_a_training(bench):
    menu = bench.widget.localize_panel.add_button.menu()
    words = [action.text() for action in menu.actions() if action.text()]
    assert words == ["Import a file…", "Import a folder…", "Train…"]


def test_a_checkpoint_becomes_the_chosen_model(bench, amil_file):
    bench.viewer.add_image(np.zeros((112, 84, 3), np.uint8))
    start(bench, amil_file)
    panel = bench.widget.localize_panel
    bench.until(lambda: panel.card.name == "breast")
    bench.until(lambda: "Imported" in bench.widget.message.text())
    bench.until(lambda: bench.session.model is not None)
    bench.until(lambda: bench.session.model.card.name == "breast")
    assert not bench.widget.message.is_warning
    assert panel.model_box.currentText() == panel.card.title
    bench.until(lambda: "attention_mil" in panel.method_list.boxes)
    expected = {"attention_mil", "mil_tile", "mil_evidence"}
    assert {*panel.method_list.ticked} == expected


def test_what_the_file_does_not_say_is_asked_for(bench, baseline_file):
    start(bench, baseline_file)
    dialog = form(bench)
    assert dialog.answer("name") == "chest"
    assert dialog.answer("pooling") == ""  # nothing is proposed
    assert not dialog.ok_button.isEnabled()
    box = dialog.fields["pooling"].native
    box.setCurrentIndex(box.findText("maxpool"))
    dialog.fields["name"].native.setText("lungs")
    assert dialog.ok_button.isEnabled()
    bench.qtbot.mouseClick(dialog.ok_button, left())
    bench.until(lambda: bench.widget.localize_panel.card.name == "lungs")
    bench.until(lambda: bench.session.model is not None)
    bench.until(lambda: bench.session.model.card.name == "lungs")
    assert "maxpool" in bench.session.model.heads
    assert not bench.widget.message.is_warning


def test_a_name_that_is_taken_is_asked_for_anew(bench, amil_file):
    taken = amil_file.rename(amil_file.with_name("tiny.pth"))
    start(bench, taken)
    dialog = form(bench)
    assert dialog.answer("name") == "tiny-2"
    bench.qtbot.mouseClick(dialog.ok_button, left())
    bench.until(lambda: bench.widget.localize_panel.card.name == "tiny-2")


def test_a_form_that_is_dismissed_leaves_everything_as_it_was(bench, baseline_file):
    start(bench, baseline_file)
    dialog = form(bench)
    dialog.reject()
    bench.until(lambda: bench.widget.controller.importer.chooser.dialog is None)
    assert bench.widget.localize_panel.card.name == "tiny"
    assert not bench.widget.message.is_warning


def test_a_file_that_is_no_checkpoint_gives_words(bench, tmp_path):
    path = tmp_path / "notes.pth"
    path.write_text("hello")
    start(bench, path)
    bench.until(lambda: bench.widget.message.is_warning)
    assert "notes.pth" in bench.widget.message.text()
    assert bench.widget.localize_panel.card.name == "tiny"


def test_an_own_network_is_asked_for_in_words(bench, tmp_path):
    """What was typed is still there where one answer cannot be."""
    torch.manual_seed(0)
    state = {
        f"net.{key}": x for key, x in build_encoder("resnet18").state_dict().items()
    }
    torch.save({**state, "top.weight": torch.rand(2, 512)}, tmp_path / "mine.pth")
    start(bench, tmp_path / "mine.pth")
    dialog = form(bench)
    box = dialog.fields["activation"].native
    box.setCurrentIndex(box.findText("softmax"))
    answers = {"classes": "healthy, ill", "size": "huge", "normalisation": "half"}
    for key, text in answers.items():
        dialog.fields[key].native.setText(text)
    bench.qtbot.mouseClick(dialog.ok_button, left())
    bench.until(
        lambda: bench.widget.controller.importer.chooser.dialog not in (None, dialog)
    )
    again = form(bench)
    assert again.answer("classes") == "healthy, ill"
    again.fields["size"].native.setText("64")
    bench.qtbot.mouseClick(again.ok_button, left())
    bench.until(lambda: bench.widget.localize_panel.card.name == "mine")
    bench.until(lambda: "Its classifier is `top`" in bench.widget.message.text())
    assert bench.widget.localize_panel.card.classes == ("healthy", "ill")


def left():
    from qtpy.QtCore import Qt

    return Qt.MouseButton.LeftButton
