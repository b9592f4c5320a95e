"""Train…: a recipe and images become a model of the list, in the background."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QLineEdit

from napari_wsol.errors import ConfigError, JobCancelledError
from napari_wsol.gui.training.curves import EvaluationChart
from napari_wsol.gui.widgets.charts import polygon
from napari_wsol.training.published import find_published
from napari_wsol.zoo import list_models, load_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.gui

RECIPE = """
name = "toy"
[data]
train = "train"
validation = ["val"]
classes = ["plain", "striped"]
[model]
encoder = "mobilenet_v2"
taps = ["features.1", "features.3"]
heads = ["cam", "pixelcam"]
[seeds]
tap = "features.3"
foreground = "darker"
[train]
steps = 6
batch = 2
crop = 32
[card]
title = "Toy"
summary = "Finds dark discs."
"""
LONG = RECIPE.replace("steps = 6", "steps = 100000")
"""Never finishes by itself."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Dark discs, striped or plain, with labels of whole images."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    for split, count in (("train", 4), ("val", 2)):
        folder = root / split
        folder.mkdir(parents=True)
        lists = {"image_ids": [], "class_labels": [], "localization": []}
        for index in range(count):
            mask = (y - 24) ** 2 + (x - rng.integers(16, 32)) ** 2 < 12**2
            image = rng.normal(200, 8, (48, 48, 3))
            image[mask] -= 110
            image[mask & (x % 4 < 2)] += 50 * (index % 2)
            name, truth = f"{split}{index}.png", f"mask{index}.png"
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / truth)
            lists["image_ids"].append(name)
            lists["class_labels"].append(f"{name},{index % 2}")
            lists["localization"].append(f"{name},{truth}")
        for key, lines in lists.items():
            (folder / f"{key}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def dialog(bench):
    """The open dialog of a dock whose models are known."""
    bench.until(lambda: bench.session.model is not None)
    actions = bench.widget.localize_panel.add_button.menu().actions()
    next(item for item in actions if item.text() == "Train…").trigger()
    dialog = bench.widget.controller.training.dialog
    bench.until(dialog.isVisible)
    assert not dialog.isModal()
    return dialog


def fill_in(bench, dialog, recipe: Path, data: Path | None) -> None:
    """Choose, as if in the system's own dialogs, and wait for what is said of it."""
    dialog.form.choose_recipe(recipe)
    line = dialog.form.fields["data"].line_edit.native
    line.setText("" if data is None else str(data))
    bench.until(lambda: dialog.outlook is not None)
    bench.until(lambda: dialog.outlook.wish == dialog.form.wish)


def press(bench, button) -> None:
    assert button.isVisible()
    assert button.isEnabled()
    bench.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_recipe_becomes_a_model_of_the_list(bench, dialog, recipe, data, zoo):
    fill_in(bench, dialog, recipe, None)
    assert not dialog.train_button.isEnabled()
    assert "the folder with the images" in dialog.message.text()
    assert not dialog.message.is_warning  # nothing was done wrong
    assert "6 steps of 2 images" in dialog.summary.text()
    assert "plain, striped" in dialog.summary.text()
    fill_in(bench, dialog, recipe, data)
    before = bench.session.model
    press(bench, dialog.train_button)
    assert not dialog.form.isVisible()
    bench.until(lambda: not dialog.is_running)
    assert "is in the list of models now" in dialog.message.text()
    assert set(dialog.curves.losses.values) == {"cam", "pixelcam"}
    assert len(dialog.curves.accuracy.values["accuracy"]) == 6
    assert not (zoo / "trainings" / "toy").exists()
    assert (zoo / "models" / "toy" / "metrics.jsonl").is_file()
    box = bench.widget.localize_panel.model_box
    bench.until(lambda: box.findText("Toy") >= 0)
    assert bench.session.model is before  # what was loaded stays as it was
    bench.until(dialog.use_button.isEnabled)
    press(bench, dialog.use_button)
    bench.until(lambda: bench.session.model.card.name == "toy")
    assert box.currentText() == "Toy"
    assert bench.widget.message.text().startswith("“Toy” is trained")


EVALUATED = RECIPE.replace(
    "classes =", 'localization = "val"\nclassification = "val"\nclasses ='
).replace("batch = 2", 'batch = 2\nevaluate_every = 2\nselect = "localization"')


def test_evaluations_are_drawn_while_it_trains_and_when_it_is_resumed(
    bench, dialog, recipe, data, zoo
):
    recipe.write_text(EVALUATED.replace("steps = 6", "steps = 100000"))
    fill_in(bench, dialog, recipe, data)
    press(bench, dialog.train_button)
    scores, choice = dialog.curves.scores, dialog.curves.choice
    bench.until(lambda: len(scores.after) >= 2)
    assert scores.isVisible()
    assert not dialog.curves.other_loss.isVisible()  # it has no part in this recipe
    assert set(scores.values) == {"right place", "right class"}
    assert scores.after[:2] == (2, 4)
    assert scores.best in scores.after
    assert f"“right place” so far: after step {scores.best} " in choice.text()
    legends = {chart.legend for chart in dialog.curves.charts}
    assert len(legends) == 1  # the same step is above the same step
    press(bench, dialog.cancel_button)
    bench.until(lambda: dialog.train_button.text() == "Resume")
    log = (zoo / "trainings" / "toy" / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, log) if "evaluation" in row]
    seen = scores.after
    assert [row["step"] for row in rows] == list(seen)
    press(bench, dialog.train_button)
    assert scores.after[: len(seen)] == seen
    bench.until(lambda: len(scores.after) > len(seen))
    assert list(scores.after) == sorted(set(scores.after))
    press(bench, dialog.cancel_button)
    bench.until(lambda: not dialog.is_running)


def test_a_chart_of_evaluations_goes_back_with_the_training(qtbot):
    chart = EvaluationChart("On others", {"localization": "right place"})
    qtbot.addWidget(chart)
    for step, value in ((2, 50.0), (4, 70.0), (6, 60.0)):
        best = "localization" if step < 6 else ""
        chart.add_evaluation(step, {"localization": value, "loss": 1.0}, best=best)
    assert (chart.after, chart.best) == ((2, 4, 6), 4)
    assert chart.values == {"right place": (50.0, 70.0, 60.0)}
    chart.add_evaluation(4, {"localization": 80.0}, best="localization")
    assert chart.after == (2, 4)
    assert chart.values == {"right place": (50.0, 80.0)}


def save_as(path: Path) -> None:
    """What a person does in the system's dialog once it is open."""

    def answer() -> None:
        found = QApplication.activeModalWidget()
        if found is None:
            QTimer.singleShot(50, answer)
            return
        found.findChild(QLineEdit, "fileNameEdit").setText(str(path))
        buttons = found.findChild(QDialogButtonBox)
        buttons.button(QDialogButtonBox.StandardButton.Save).click()

    QTimer.singleShot(50, answer)


def test_a_training_starts_from_a_paper(bench, dialog, data, tmp_path):
    button, mine = dialog.form.paper_button, tmp_path / "mine.toml"
    action = next(x for x in button.menu().actions() if x.text() == "Attention MIL")
    save_as(mine)
    action.trigger()
    assert mine.read_text("utf-8") == find_published("attention-mil").text
    assert dialog.form.recipe_box.currentData() == mine
    bench.until(lambda: "Your copy is" in dialog.message.text())
    bench.until(lambda: "20 epochs in batches of 1 images" in dialog.summary.text())
    dialog.form.fields["data"].line_edit.native.setText(str(data))
    bench.until(lambda: "There is no “test”" in dialog.message.text())
    # The person edits it in another window and comes back.
    mine.write_text(RECIPE)
    other = QLineEdit()
    bench.qtbot.addWidget(other)
    other.show()
    other.activateWindow()
    bench.until(other.isActiveWindow)
    dialog.activateWindow()
    bench.until(dialog.train_button.isEnabled)
    assert "plain, striped" in dialog.summary.text()
    # What is there is never overwritten.
    save_as(mine)
    action.trigger()
    assert dialog.message.is_warning
    assert "nothing is replaced" in dialog.message.text()
    assert mine.read_text() == RECIPE


def test_a_training_is_stopped_and_resumed(bench, dialog, recipe, data, zoo):
    recipe.write_text(LONG)
    fill_in(bench, dialog, recipe, data)
    press(bench, dialog.train_button)
    bench.until(lambda: len(dialog.curves.losses.values.get("cam", ())) >= 2)
    assert "steps" in dialog.bar.format()
    assert dialog.waits.isVisible()
    press(bench, dialog.cancel_button)
    bench.until(dialog.train_button.isVisible)
    bench.until(lambda: dialog.train_button.text() == "Resume")
    assert "Resume goes on with it" in dialog.message.text()
    assert not dialog.message.is_warning
    done = len(dialog.curves.losses.values["cam"])
    assert (zoo / "trainings" / "toy" / "checkpoint.pt").is_file()
    press(bench, dialog.train_button)
    bench.until(lambda: len(dialog.curves.losses.values["cam"]) > done)
    dialog.close()  # it goes on
    bench.until(lambda: len(dialog.curves.losses.values["cam"]) > done + 1)
    bench.widget.localize_panel.train_wanted.emit()
    press(bench, dialog.cancel_button)
    bench.until(dialog.discard_button.isVisible)
    press(bench, dialog.discard_button)
    assert "Throw the" in dialog.message.text()
    press(bench, dialog.discard_button)
    bench.until(dialog.train_button.isEnabled)
    assert dialog.train_button.text() == "Train"
    assert not (zoo / "trainings" / "toy" / "checkpoint.pt").exists()


def test_other_jobs_wait_and_can_be_taken_back(bench, dialog, recipe, data):
    bench.open(np.zeros((32, 32, 3), np.uint8))
    recipe.write_text(LONG)
    fill_in(bench, dialog, recipe, data)
    press(bench, dialog.train_button)
    bench.until(lambda: bool(dialog.curves.losses.values))
    panel = bench.widget.localize_panel
    panel.localize_button.click()
    bench.until(lambda: "waits for its turn" in panel.job_bar.text())
    panel.job_bar.cancel_button.click()
    assert "The training goes on" in bench.widget.message.text()
    assert panel.localize_button.isVisibleTo(panel)
    steps = len(dialog.curves.losses.values["cam"])
    bench.until(lambda: len(dialog.curves.losses.values["cam"]) > steps)
    press(bench, dialog.cancel_button)
    bench.until(lambda: not bench.session.is_busy)
    assert bench.session.result is None


def test_strokes_do_not_wait_for_an_image_behind_a_training(
    bench, dialog, recipe, data
):
    bench.open(np.zeros((64, 64, 3), np.uint8), name="first")
    recipe.write_text(LONG)
    fill_in(bench, dialog, recipe, data)
    press(bench, dialog.train_button)
    bench.until(lambda: bool(dialog.curves.losses.values))
    stack = bench.viewer.add_image(np.zeros((2, 3, 4, 32, 32), np.uint8), name="5-D")
    box = bench.widget.image_line.box
    box.setCurrentIndex(box.findText("5-D"))
    box.activated.emit(box.currentIndex())
    strokes = bench.widget.layers.strokes
    strokes.choose("foreground")
    strokes.layer.data[10:14, 10:14] = 2
    strokes.flush()  # comes back at once
    press(bench, dialog.cancel_button)
    bench.until(lambda: bench.session.scribbles is not None)
    assert bench.session.scribbles.max() == 2
    bench.viewer.layers.remove(stack)


def test_the_end_of_the_dock_stops_a_training(bench, dialog, recipe, data, zoo):
    recipe.write_text(LONG)
    fill_in(bench, dialog, recipe, data)
    press(bench, dialog.train_button)
    bench.until(lambda: bool(dialog.curves.losses.values))
    bench.close_viewer()
    bench.session.close(wait=True)
    assert (zoo / "trainings" / "toy" / "checkpoint.pt").is_file()


def test_what_stands_in_the_way_is_said_before_the_start(
    bench, dialog, recipe, data, tmp_path
):
    form = dialog.form

    def said(words: str) -> None:
        bench.until(lambda: words in dialog.message.text())
        assert dialog.message.is_warning
        assert not dialog.train_button.isEnabled()

    wrong = tmp_path / "wrong.toml"
    wrong.write_text(RECIPE.replace("steps", "stepps"))
    fill_in(bench, dialog, wrong, data)
    said("unknown entry stepps")
    fill_in(bench, dialog, recipe, tmp_path)
    said("There is no “train” in")
    fill_in(bench, dialog, recipe, data)
    form.fields["name"].native.setText("tiny")
    said("There is a model “tiny” already")
    form.fields["name"].native.setText("no slash/es")
    said("cannot name a model")
    form.fields["name"].native.setText("")
    form.fields["init"].line_edit.native.setText(str(tmp_path / "none.pt"))
    said("no file")
    form.fields["init"].line_edit.native.setText("")
    bench.until(dialog.train_button.isEnabled)
    bench.until(lambda: not dialog.message.text())


def test_a_name_that_is_taken_is_never_proposed(bench, dialog, recipe, data):
    recipe.write_text(RECIPE.replace('"toy"', '"tiny"'))
    fill_in(bench, dialog, recipe, data)
    assert dialog.form.fields["name"].native.placeholderText() == "tiny-2"
    press(bench, dialog.train_button)
    bench.until(lambda: not dialog.is_running)
    card = next(card for card in list_models() if card.name == "tiny-2")
    assert card.title == "Toy (tiny-2)"
    assert load_model(card).card == card


def test_what_goes_wrong_in_a_training_is_said(bench, dialog, recipe, data):
    for image in (data / "train").rglob("*.png"):
        image.write_bytes(b"no image")
    fill_in(bench, dialog, recipe, data)
    press(bench, dialog.train_button)
    bench.until(lambda: not dialog.is_running)
    assert dialog.message.is_warning
    assert "is not an image" in dialog.message.text()
    bench.until(dialog.train_button.isEnabled)
    assert "is not an image" in dialog.message.text()
    assert dialog.train_button.text() == "Train"  # there is nothing to resume


def test_an_image_that_is_left_out_is_named_at_the_end(bench, dialog, recipe, data):
    (data / "train" / "train1.png").write_bytes(b"no image")
    fill_in(bench, dialog, recipe, data)
    press(bench, dialog.train_button)
    bench.until(lambda: not dialog.is_running)
    assert "is finished" in dialog.message.text()
    assert dialog.message.is_warning
    assert "left out: train1.png" in dialog.message.text()


def test_bundled_recipes_are_offered(dialog):
    box = dialog.form.recipe_box
    names = [box.itemText(place) for place in range(box.count())]
    assert any("Colon glands" in name for name in names)
    assert box.currentIndex() == -1


def test_elsewhere_a_model_is_not_in_the_list(bench, dialog, recipe, data, tmp_path):
    dialog.form.fields["out"].line_edit.native.setText(str(tmp_path / "elsewhere"))
    dialog.form.fields["seed"].native.setValue(3)
    fill_in(bench, dialog, recipe, data)
    press(bench, dialog.train_button)
    bench.until(lambda: not dialog.is_running)
    assert "not in the list" in dialog.message.text()
    assert not dialog.use_button.isVisible()
    text = (tmp_path / "elsewhere" / "toy" / "recipe.toml").read_text()
    assert "seed = 3" in text


def test_a_session_trains_and_goes_on_from_a_checkpoint(bench, recipe, data, zoo):
    session = bench.session
    steps = []
    session.train_step.connect(steps.append)
    recipe.write_text(LONG)
    future = session.train(recipe, data)
    bench.until(lambda: len(steps) >= 2)
    session.cancel()
    with pytest.raises(JobCancelledError):
        future.result(60)
    assert (zoo / "trainings" / "toy" / "checkpoint.pt").is_file()
    with pytest.raises(ConfigError, match="unfinished training"):
        session.train(recipe, data).result(60)
    shutil.rmtree(zoo / "trainings")
    recipe.write_text(RECIPE)
    card = session.train(recipe, data, seed=7).result(60)
    assert card.folder == zoo / "models" / "toy"
    with pytest.raises(ConfigError, match="already"):
        session.train(recipe, data).result(60)


def test_a_long_curve_has_no_more_points_than_can_be_seen():
    from qtpy.QtCore import QRect

    area = QRect(0, 0, 100, 50)
    values = [float(place % 7) for place in range(10_000)]
    points = polygon(values, area, (0.0, 6.0), len(values))
    assert 100 <= points.count() <= 400
    assert polygon([1.0, float("nan"), 0.0], area, (0.0, 1.0), 3).count() == 2
