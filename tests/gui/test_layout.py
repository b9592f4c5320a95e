"""What stands where, and that it stays there while a person works."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QAbstractButton

from napari_wsol.gui.messages import Action

pytestmark = pytest.mark.gui


def places(widget) -> dict[str, QPoint]:
    """Where each button of the dock is that can be seen, by its tooltip."""
    return {
        button.toolTip(): button.mapTo(widget, QPoint(0, 0))
        for button in widget.findChildren(QAbstractButton)
        if button.isVisible() and not widget.message.isAncestorOf(button)
    }


def settled(bench) -> dict[str, QPoint]:
    """Where everything is once Qt has laid it out."""
    seen = [places(bench.widget)]
    while len(seen) < 10 or any(item != seen[-1] for item in seen[-10:]):
        bench.qtbot.wait(40)  # Qt lays out in several turns of the event loop
        seen.append(places(bench.widget))
    return seen[-1]


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
