"""What stands where, and that it stays there while a person works."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QAbstractButton

from napari_wsol.gui.messages import Action

pytestmark = pytest.mark.gui


def places(widget) -> dict[QAbstractButton, QPoint]:
    """Where each button of the dock is that can be seen."""
    return {
        button: button.mapTo(widget, QPoint(0, 0))
        for button in widget.findChildren(QAbstractButton)
        if button.isVisible() and not widget.message.isAncestorOf(button)
    }


def settled(bench) -> dict[QAbstractButton, QPoint]:
    """Where everything is once Qt has laid it out."""
    seen = [places(bench.widget)]
    while len(seen) < 10 or any(item != seen[-1] for item in seen[-10:]):
        bench.qtbot.wait(40)  # Qt lays out in several turns of the event loop
        seen.append(places(bench.widget))
    return seen[-1]


@pytest.mark.binding
def test_a_message_is_seen_wherever_the_dock_is_scrolled_and_moves_nothing(bench):
    widget, pressed = bench.widget, []
    bench.until(widget.localize_panel.card_button.isEnabled)
    bench.until(lambda: not bench.session.is_busy)
    bar = widget.scroll_area.verticalScrollBar()
    bar.setValue(bar.maximum())
    before, messages = settled(bench), widget._context.messages
    long = "The marked area has grown by more than a third. " * 9
    messages.warn(long, Action("Undo", lambda: pressed.append(messages.say("Gone."))))
    line = widget.message
    assert line.visibleRegion().boundingRect() == line.rect()
    assert line.text() == long
    assert line.is_warning
    assert settled(bench) == before
    bench.click(line.button)
    assert pressed
    assert line.text() == "Gone."
    assert not line.is_warning
    assert not line.button.isVisible()
    messages.say("")
    assert settled(bench) == before


def test_nothing_moves_while_strokes_teach(bench):
    image = np.full((128, 128, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    bench.open(image)
    bench.localize()
    widget = bench.widget
    bench.until(lambda: widget.compare_panel.regions.count() == 1)
    bench.until(lambda: not widget.controller.proposals.is_old)
    bar = widget.scroll_area.verticalScrollBar()
    bar.setValue(bar.maximum())
    dots = widget.correct_panel.rounds.dots
    before = {x: at for x, at in settled(bench).items() if not dots.isAncestorOf(x)}
    assert widget.correct_panel.tools["foreground"] in before
    steps = (
        lambda: bench.press_key("f"),
        lambda: bench.drag((100, 10), (100, 40)),
        lambda: bench.press_key("w"),
        lambda: bench.press_key("b"),
        lambda: bench.drag((45, 70), (45, 90)),
        lambda: bench.click(widget.correct_panel.refine_button),
        lambda: bench.until(lambda: len(bench.session.rounds) == 2),
        lambda: bench.click(widget.correct_panel.rounds.difference),
        lambda: bench.click(dots.buttons[0]),
        lambda: widget.compare_panel.amount_box.setValue(0.999),
        lambda: bench.click(widget.correct_panel.more_tools.undo),
    )
    for step in steps:
        step()
        now = settled(bench)
        assert {button: now.get(button) for button in before} == before
