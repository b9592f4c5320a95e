"""The map follows the strokes; rounds are gone back to, blinked at and compared."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox

from napari_wsol.config import FinetuneConfig, SlideConfig, listed_settings
from napari_wsol.gui.correct.advanced import Advanced
from napari_wsol.gui.correct.rounds import RoundBox
from napari_wsol.gui.layers.difference import change
from napari_wsol.gui.layers.fine_map import SHOWN_CELLS
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.refinement.rounds import LeftOut, Round

pytestmark = pytest.mark.gui

STALE = "older than your last stroke"
BACKGROUND, FOREGROUND = 1, 2


def square(size: int = 128) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


def values(bench) -> np.ndarray:
    return np.array(bench.layer("PixelCAM · bright").data)


def names_of_jobs(bench) -> list[tuple[str, str]]:
    """Every state of every job from now on."""
    told = []
    bench.session.job_changed.connect(lambda job: told.append((job.name, job.state)))
    return told


def settled(bench, rounds: int):
    """All that is owed has been done."""

    def is_done() -> bool:
        live = bench.widget.controller.rounds.live
        return not live.is_due and not bench.session.is_busy

    bench.until(lambda: is_done() and len(bench.session.rounds) >= rounds)


def test_the_map_follows_strokes_without_a_button(bench):
    session, panel = bench.session, bench.widget.correct_panel
    bench.open(square())
    jobs = names_of_jobs(bench)
    session.live = True
    bench.until(panel.live.isChecked)
    # Strokes before the map is there are made up for when it is.
    session.localize()
    session.brush([(100, 10), (100, 40)], FOREGROUND, 8)
    session.brush([(45, 70), (45, 90)], BACKGROUND, 8)
    settled(bench, 2)
    assert jobs.index(("Following", "queued")) > jobs.index(("Localizing", "done"))
    bench.until(lambda: "pixelcam" in bench.widget.layers.heatmaps.pairs)
    bench.until(lambda: not any(STALE in name for name in bench.names))

    # Three in quick succession: the badge at once, one refit, the same map as by hand.
    del jobs[:]
    for row in (110, 115, 120):
        session.brush([(row, 10), (row, 40)], FOREGROUND, 4)
    bench.until(lambda: any(STALE in name for name in bench.names))
    settled(bench, 3)
    bench.until(lambda: not any(STALE in name for name in bench.names))
    assert jobs.count(("Following", "done")) == 1
    followed = session.heatmaps["pixelcam"].values
    by_hand = session.finetune().result(60).heatmap.values
    assert np.array_equal(followed, by_hand)

    # A stroke while a refit runs takes its place.
    session.finetune(live=True)
    session.brush([(5, 5), (5, 30)], BACKGROUND, 4)
    settled(bench, 4)
    assert session.rounds[-1].learnt_from == tuple(x.number for x in session.strokes)
    assert np.array_equal(
        session.heatmaps["pixelcam"].values,
        session.finetune().result(60).heatmap.values,
    )

    # Whoever goes back stays there until the next stroke.
    bench.until(lambda: len(panel.rounds.dots.buttons) == len(session.rounds))
    before = len(session.rounds)
    bench.click(panel.rounds.dots.buttons[1])
    bench.until(lambda: session.round_index == 1)
    bench.qtbot.wait(400)
    assert (session.round_index, len(session.rounds)) == (1, before)

    # With all strokes taken back, the model's own map is there again.
    own = session.rounds[0].heatmap.values
    while session.can_undo:
        session.undo()
    bench.until(lambda: session.round_index == 0)
    bench.until(lambda: np.array_equal(values(bench), own))
    assert not bench.widget.message.is_warning


def test_one_stroke_corrects_and_its_jump_can_be_taken_back(bench):
    session, panel = bench.session, bench.widget.correct_panel
    message = bench.widget.message
    bench.open(square())
    bench.localize()
    bench.click(panel.live)
    own = session.heatmaps["pixelcam"].values
    bench.press_key("b")
    bench.drag((48, 70), (48, 90))
    settled(bench, 2)
    after = session.heatmaps["pixelcam"].resized((128, 128))
    assert after[48, 70:90].max() < 0.5 < own.max()
    assert after[100:, :40].max() < 0.5  # and nowhere else anything
    assert panel.balance.text().startswith("1 stroke · all background.")
    assert "with foreground too, everywhere" in panel.balance.text()
    bench.until(lambda: "1 stroke" in panel.rounds.words.text())
    # All that was marked looks like the stroke: that is told, and can be taken back.
    bench.until(lambda: "has shrunk from" in message.text())
    assert not message.is_warning
    assert message.button.text() == "Undo"
    bench.click(message.button)
    bench.until(lambda: not session.strokes)
    bench.until(lambda: session.round_index == 0)
    assert np.array_equal(session.heatmaps["pixelcam"].values, own)
    assert message.text() == ""

    # Erased, painted over and cleared strokes count nowhere.
    bench.press_key("f")
    for row in (8, 24, 100):
        bench.drag((row, 10), (row, 40))
    panel.brush.setValue(60)  # over all of them
    bench.press_key("e")
    bench.drag((8, 5), (8, 45))
    bench.press_key("b")
    bench.drag((24, 5), (24, 45))
    settled(bench, 3)
    bench.until(lambda: session.rounds[-1].strokes == 2)
    assert "2 strokes · 1 foreground, 1 background" in panel.balance.text()
    bench.until(lambda: "2 strokes" in panel.rounds.words.text())
    assert sum(session.stroke_counts) == 2


def test_live_off_changes_nothing_and_failures_are_told_once(bench):
    session, panel = bench.session, bench.widget.correct_panel
    message = bench.widget.message
    bench.open(square())
    bench.localize()
    jobs = names_of_jobs(bench)
    assert not session.live
    session.brush([(100, 10), (100, 40)], FOREGROUND, 8)
    session.brush([(45, 70), (45, 90)], BACKGROUND, 8)
    bench.until(lambda: any(STALE in name for name in bench.names))
    bench.qtbot.wait(400)
    assert not jobs

    told = len(notification_manager.records)
    conv = session.model.heads["pixelcam"].conv4
    weight = conv.weight.detach().clone()
    conv.weight.data.fill_(float("nan"))
    bench.click(panel.live)  # what is owed is made up for
    bench.until(lambda: jobs.count(("Following", "failed")) == 1)
    bench.until(lambda: message.is_warning)
    assert "could not follow your stroke" in message.text()
    session.brush([(110, 10), (110, 40)], FOREGROUND, 8)
    bench.until(lambda: jobs.count(("Following", "failed")) == 2)
    bench.until(lambda: not session.is_busy)
    assert len(notification_manager.records) == told + 1
    assert session.live
    conv.weight.data.copy_(weight)
    session.brush([(120, 10), (120, 40)], FOREGROUND, 8)
    bench.until(lambda: len(session.rounds) == 2)


def see_earlier(bench, box):
    """By key and by button, also while a refit comes in."""
    session = bench.session
    canvas = bench.viewer.window._qt_viewer.canvas.native
    maps = [item.heatmap.values for item in session.rounds]
    bench.until(lambda: not session.is_busy)  # rounds are judged by then
    state = (session.job.id, session.round_index, session.heatmaps)
    bench.qtbot.keyPress(canvas, Qt.Key.Key_H)
    assert np.array_equal(values(bench), maps[1])
    assert "now seen: round 1 of 2" in box.words.text()
    bench.qtbot.keyRelease(canvas, Qt.Key.Key_H)
    assert np.array_equal(values(bench), maps[2])
    assert (session.job.id, session.round_index, session.heatmaps) == state
    assert box.words.text().startswith("round 2 of 2")

    bench.widget.scroll_area.ensureWidgetVisible(box.blink_button)
    bench.qtbot.mousePress(box.blink_button, Qt.MouseButton.LeftButton)
    assert np.array_equal(values(bench), maps[1])
    session.brush([(20, 10), (20, 60)], BACKGROUND, 8)
    newest = session.finetune().result(60).heatmap.values
    bench.until(lambda: bench.widget.controller.rounds.blink.seen is session.rounds[2])
    assert np.array_equal(values(bench), maps[2])
    bench.qtbot.mouseRelease(box.blink_button, Qt.MouseButton.LeftButton)
    assert np.array_equal(values(bench), newest)


def see_changes(bench, box):
    """The plain difference, where the map lies, following the round that is shown."""
    maps = [item.heatmap.values for item in bench.session.rounds]
    bench.click(box.difference)
    layer, over = bench.layer("What changed"), bench.layer("PixelCAM · bright")
    layers = bench.viewer.layers
    assert np.array_equal(layer.data, maps[3] - maps[2])
    assert tuple(layer.contrast_limits) == (-1, 1)
    for name in ("scale", "translate"):
        assert np.allclose(getattr(layer, name), getattr(over, name))
    assert layers.index(layer) > layers.index(over)
    assert layer.colormap.map(np.full(1, 0.5))[0, 3] == 0  # no change, in [-1, 1]
    assert layer.colormap.map(np.ones(1))[0, 3] == 1
    assert len(bench.widget.layers.maps()) == 2  # no evidence: not in the table
    bench.click(bench.widget.correct_panel.rounds.dots.buttons[2])
    bench.until(lambda: np.array_equal(layer.data, maps[2] - maps[1]))
    assert layer in layers
    bench.click(box.difference)
    assert layer not in layers
    bench.click(box.difference)
    layers.remove(bench.layer("What changed"))
    assert not box.difference.isChecked()


def test_blink_and_difference_show_what_a_round_has_changed(bench):
    session, box = bench.session, bench.widget.correct_panel.rounds
    bench.open(square(), scale=(0.5, 0.5), translate=(3, 4))
    bench.localize()
    session.brush([(100, 10), (100, 40)], FOREGROUND, 8)
    session.brush([(45, 70), (45, 90)], BACKGROUND, 8)
    session.finetune().result(60)
    session.brush([(10, 10), (10, 60)], FOREGROUND, 8)
    last = session.finetune().result(60).heatmap.values
    bench.until(lambda: np.array_equal(values(bench), last))
    bench.until(box.blink_button.isVisible)
    see_earlier(bench, box)
    see_changes(bench, box)

    # A stroke that is named can be flown to.
    box.stroke_wanted.emit(session.strokes[0].number)
    centre = np.asarray(bench.viewer.scene.camera.center[-2:])
    assert np.abs(centre - (3 + 100 * 0.5, 4 + 25 * 0.5)).max() < 0.6

    # Settings of the form are those of the next round.
    advanced = bench.widget.correct_panel.advanced
    advanced.form.fields["prior"].native.setValue(5.0)
    bench.until(lambda: session.settings.prior == 5.0)
    assert session.finetune().result(60).settings == session.settings

    bench.click(box.difference)
    assert any(name.startswith("What changed") for name in bench.names)
    bench.widget.image_line.choose(bench.viewer.add_image(square(96)))
    bench.until(lambda: session.slide.shape == (96, 96))
    bench.until(lambda: bench.widget.layers.image.data.shape[0] == 96)
    assert not any(name.startswith("What changed") for name in bench.names)
    bench.until(lambda: not box.dots.buttons)
    assert not box.blink_button.isEnabled()


def test_the_map_of_a_slide_follows_once_its_tiles_are_there(bench, monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 100_000)
    session, box = bench.session, bench.widget.correct_panel.rounds
    session.slide_config = SlideConfig(core=64)
    bench.open(square(384), name="slide")
    jobs = names_of_jobs(bench)
    session.live = True
    session.localize()
    session.brush([(300, 40), (300, 140)], FOREGROUND, 12)
    session.brush([(48, 70), (48, 90)], BACKGROUND, 12)
    settled(bench, 2)
    assert jobs.index(("Following", "queued")) > jobs.index(("Localizing", "done"))
    session.brush([(350, 40), (350, 140)], FOREGROUND, 12)
    settled(bench, 3)
    first, second = (item.heatmap.values for item in session.rounds[1:])
    bench.until(lambda: np.array_equal(values(bench), second))
    blink = bench.widget.controller.rounds.blink
    blink.hold()
    assert np.array_equal(values(bench), first)
    blink.let_go()
    assert np.array_equal(values(bench), second)
    bench.until(box.difference.isEnabled)
    box.difference.setChecked(True)
    assert np.array_equal(bench.layer("What changed").data, second - first)


def round_of(index: int, **facts) -> Round:
    rng = np.random.default_rng(index)
    heatmap = Heatmap(
        values=rng.random((4, 5), np.float32),
        scale=(4.0, 4.0),
        translate=(1.5, 1.5),
        image_shape=(16, 20),
        method="pixelcam",
        target="malignant",
        is_probability=True,
        round=index,
    )
    facts = {"strokes": index, "seconds": 0.11, "loss": (0.9, 0.2), **facts}
    return Round(index=index, heatmap=heatmap, **(facts if index else {}))


@pytest.fixture
def box(qtbot) -> RoundBox:
    made = RoundBox()
    qtbot.addWidget(made)
    made.resize(300, 120)
    made.show()
    return made


def test_rounds_are_dots_while_they_fit_and_a_slider_then(box, qtbot):
    asked = []
    box.dots.chosen.connect(asked.append)
    rounds = [round_of(k) for k in range(40)]
    box.show_rounds(rounds[:4], 3)
    assert len(box.dots.buttons) == 4
    assert not box.dots.slider.isVisible()
    qtbot.mouseClick(box.dots.buttons[1], Qt.MouseButton.LeftButton)
    assert asked == [1]
    box.show_rounds(rounds, 39)
    assert box.dots.slider.isVisible()
    assert not box.dots.buttons
    assert (box.dots.slider.maximum(), box.dots.slider.value()) == (39, 39)
    assert asked == [1]  # showing asks for nothing
    box.dots.slider.setValue(17)
    assert asked == [1, 17]
    box.show_rounds(rounds, 17)
    assert box.words.text().startswith("round 17 of 39 · 17 strokes · 0.11 s")
    box.resize(40 * 18 + 200, 120)  # a wide dock has room for all of them
    qtbot.waitUntil(lambda: len(box.dots.buttons) == 40)
    assert not box.dots.slider.isVisible()


def test_the_words_say_what_a_round_is_worth(box):
    left_out = (
        LeftOut(number=3, label=BACKGROUND, agreement=0.84),
        LeftOut(number=8, label=FOREGROUND, agreement=1.0),
    )
    good = round_of(
        7,
        left_out=left_out,
        before=MappingProxyType({"benign": 0.07, "malignant": 0.93}),
        after=MappingProxyType({"benign": 0.09, "malignant": 0.91}),
    )
    box.show_rounds([round_of(0), good], 7)
    assert box.words.text() == (
        "round 7 of 7 · 7 strokes · 0.11 s · left-out strokes: 92 % agree · "
        "whole image: malignant 0.93, now 0.91"
    )
    assert "left-out strokes: 92 % agree" in box.dots.buttons[1].toolTip()
    assert not box.warning.isVisible()

    against = (LeftOut(number=5, label=BACKGROUND, agreement=0.12), *left_out)
    sentence = "Your strokes contradict what the model says of the image."
    after = MappingProxyType({"benign": 0.8, "malignant": 0.2})
    odd = replace(good, index=8, left_out=against, warning=sentence, after=after)
    flown = []
    box.stroke_wanted.connect(flown.append)
    box.show_rounds([round_of(0), good, odd], 8)
    assert "malignant 0.93, now 0.20, most probable benign 0.80" in box.words.text()
    assert box.warning.isVisible()
    assert sentence in box.warning.text()
    assert "background stroke 5</a> (12 %)" in box.warning.text()
    assert "stroke 3" not in box.warning.text()
    box.warning.linkActivated.emit("5")
    assert flown == [5]
    sure = MappingProxyType({"benign": 0.001, "malignant": 0.999})
    box.show_rounds([round_of(0), replace(good, before=sure, after=sure)], 7)
    assert "whole image: malignant 1.00, as before" in box.words.text()
    box.show_rounds([round_of(0), good, odd], 0)
    assert not box.blink_button.isEnabled()  # nothing was before
    assert not box.warning.isVisible()


def test_large_maps_are_compared_by_blocks_in_the_right_place():
    shape = (4 * 900 - 1, 4 * 1201 - 3)

    def large(index, value):
        values = np.full((900, 1201), value, np.float32)
        made = round_of(index)
        heatmap = replace(made.heatmap, values=values, image_shape=shape)
        return replace(made, heatmap=heatmap)

    values, (scale, translate) = change(large(2, 0.75), large(1, 0.25))
    assert values.size <= SHOWN_CELLS
    assert np.all(values == 0.5)
    for axis in (0, 1):  # blocks begin and end where the image does
        low = translate[axis] - scale[axis] / 2
        assert low == pytest.approx(-0.5)
        assert low + scale[axis] * values.shape[axis] == pytest.approx(
            shape[axis] - 0.5
        )


def test_choices_have_words_and_small_numbers_their_digits(qtbot):
    advanced = Advanced()
    qtbot.addWidget(advanced)
    chosen = []
    advanced.changed.connect(chosen.append)
    fields = advanced.form.fields
    for name, setting in listed_settings(FinetuneConfig).items():
        values = tuple(setting.option.choices)
        if not values:
            continue
        box = fields[name].native
        assert tuple(box.itemData(k) for k in range(box.count())) == values
        assert all("_" not in box.itemText(k) for k in range(box.count()))
        box.setCurrentIndex(1)
        assert getattr(chosen[-1], name) == values[1]
    line = fields["learning_rate"].native.lineEdit()
    assert line.text() == "2.0 × 10⁻⁵"
    line.selectAll()
    qtbot.keyClicks(line, "0.5")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert chosen[-1].learning_rate == 0.000005
    advanced.show_settings(replace(chosen[-1], learning_rate=3e-7))
    assert line.text() == "0.03 × 10⁻⁵"
    assert fields["learning_rate"].value == 3e-7
    assert chosen[-1].head == "mlp"


def test_the_form_is_made_from_the_settings_and_back(qtbot):
    advanced = Advanced()
    qtbot.addWidget(advanced)
    chosen = []
    advanced.changed.connect(chosen.append)
    fields = advanced.form.fields
    assert set(fields) == set(FinetuneConfig.__dataclass_fields__)
    assert all(len(field.native.toolTip()) > 20 for field in fields.values())
    assert not advanced.defaults_button.isEnabled()
    fields["steps"].native.setValue(40)
    assert chosen == [FinetuneConfig(steps=40)]
    assert "changed" in advanced.fold.text()
    advanced.show_settings(FinetuneConfig(prior=0.125))
    assert fields["prior"].native.value() == 0.125
    assert len(chosen) == 1  # showing is not choosing
    advanced.defaults_button.click()
    assert chosen[-1] == FinetuneConfig()
    boxes = [x.native for x in fields.values() if isinstance(x.native, QCheckBox)]
    for number, tick in enumerate(boxes):
        tick.click()
        assert len(chosen) == 3 + number
