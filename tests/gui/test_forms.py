"""Forms from settings: they show what the settings say, and give them back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QLabel, QWidget

from napari_wsol.config import (
    ExportConfig,
    FinetuneConfig,
    InferenceConfig,
    Option,
    Setting,
    SlideConfig,
    listed_settings,
)
from napari_wsol.gui.widgets.forms import Fields, Form
from napari_wsol.training.wish import Wish

pytestmark = [pytest.mark.gui, pytest.mark.binding]

OTHERS = [
    FinetuneConfig(
        steps=20_000, prior=1 / 3, reach=0.25, head="mlp", local=False, edges="guided"
    ),
    ExportConfig(method="pcam", min_area=12.5, formats=("csv", "zarr")),
    InferenceConfig(core=64, device="cuda:1", memory_bytes=2_500_000_000),
    SlideConfig(halo=0, batch=3, tissue_only=False),
    Wish(name="lungs", seed=2**31 - 1),
]


@pytest.fixture
def form(qtbot):
    """Makes a form that is shown, and lists what it tells."""

    def make(settings):
        made, told = Form(settings), []
        qtbot.addWidget(made)
        made.changed.connect(told.append)
        made.show()
        return made, told

    return make


def replaced(line, text, qtbot):
    """Types over what a line holds."""
    line.setFocus()
    line.selectAll()
    qtbot.keyClicks(line, text)
    qtbot.keyClick(line, Qt.Key.Key_Return)


@pytest.mark.parametrize("other", OTHERS, ids=lambda item: type(item).__name__)
def test_settings_come_back_as_they_went_in(form, other):
    made, told = form(type(other)())
    made.show_settings(other)
    assert made.settings == other
    assert not told  # showing is not choosing
    name, field = next(
        (name, field)
        for name, field in made.fields.items()
        if isinstance(field.value, str) or isinstance(getattr(other, name), int)
    )
    value = "else" if isinstance(field.value, str) else field.value + 1
    field.value = value
    assert told == [replace(other, **{name: value})]  # and nothing else has changed


def test_a_form_shows_what_the_settings_say(form):
    made, _ = form(FinetuneConfig())
    labels = {label.text(): label for label in made.findChildren(QLabel)}
    for name, setting in listed_settings(FinetuneConfig).items():
        option, field = setting.option, made.fields[name]
        assert field.value == getattr(FinetuneConfig(), name)
        assert field.native.toolTip() == setting.tip
        if setting.kind is bool:
            assert field.native.text() == option.label
            continue
        assert labels[option.label].toolTip() == setting.tip
        assert labels[option.label].buddy() is field.native
        if setting.kind in (int, float):
            most = option.offered if option.highest is None else option.highest
            times = 10.0**option.power
            assert field.native.minimum() * times == pytest.approx(option.least)
            assert field.native.maximum() * times == pytest.approx(most)


@pytest.mark.parametrize(("name", "typed"), [("steps", "0"), ("reach", "0")])
def test_what_is_not_allowed_cannot_be_typed(form, qtbot, name, typed):
    made, told = form(FinetuneConfig())
    box = made.fields[name].native
    before = box.value()
    replaced(box.lineEdit(), typed, qtbot)
    assert box.value() == before
    assert not told


def test_a_number_is_told_when_it_is_whole(form, qtbot):
    made, told = form(FinetuneConfig())
    line = made.fields["steps"].native.lineEdit()
    line.setFocus()
    line.selectAll()
    qtbot.keyClicks(line, "250")
    assert not told
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert told == [FinetuneConfig(steps=250)]


def test_what_cannot_be_is_a_sentence_and_changes_nothing(form, qtbot):
    made, told = form(ExportConfig(formats=("csv",)))
    box = made.fields["formats"].boxes["csv"].native
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    assert made.problem.isVisible()
    assert "one of png, tiff" in made.problem.text()
    assert not told
    assert made.settings.formats == ("csv",)
    box = made.fields["formats"].boxes["png"].native
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    assert not made.problem.isVisible()
    assert told == [ExportConfig(formats=("png",))]


def test_the_wheel_scrolls_the_form_and_no_value(form, qtbot):
    made, told = form(FinetuneConfig())
    for name in ("steps", "head"):
        box = made.fields[name].native
        QApplication.sendEvent(box, wheel(box))
    assert not told
    box = made.fields["steps"].native
    made.activateWindow()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus)
    QApplication.sendEvent(box, wheel(box))
    assert told == [FinetuneConfig(steps=110)]


def wheel(box):
    """One step up, over the middle of a field."""
    place = QPointF(box.rect().center())
    return QWheelEvent(
        place,
        QPointF(box.mapToGlobal(box.rect().center())),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )


def test_nothing_is_proposed_where_a_guess_would_be_wrong(qtbot):
    choices = {"gap": "gap", "maxpool": "maxpool"}
    rows, other = Fields(above=True), QWidget()
    qtbot.addWidget(rows)
    qtbot.addWidget(other)
    option = Option("Which?", choices=choices)
    field = rows.add("pooling", Setting(str, option, "Which one it was."))
    assert field.value is None
    rows.show()
    field.native.setParent(other)
    assert field.value is None
    rows.show_values(pooling="maxpool")
    assert rows.values == {"pooling": "maxpool"}


def test_a_path_may_be_left_out_and_begin_at_home(qtbot):
    rows = Fields()
    qtbot.addWidget(rows)
    rows.add("init", listed_settings(Wish)["init"])
    line = rows.fields["init"].line_edit.native
    assert rows.values["init"] is None
    assert line.placeholderText() == "random weights"
    line.setText(" ~/weights.pt ")
    assert rows.values["init"].is_absolute()
    line.setText("  ")
    assert rows.values["init"] is None


def test_the_form_fits_a_narrow_dock(form):
    made, _ = form(FinetuneConfig())
    made.resize(255, made.height())
    assert made.minimumSizeHint().width() <= 255
    for field in made.fields.values():
        box = field.native
        assert box.parent().rect().contains(box.geometry()), box
