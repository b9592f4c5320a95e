"""Threads of the window: whose answer is told, where, and whose is not any more."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest
from qtpy.QtCore import QObject

from napari_wsol.errors import JobCancelledError, UnknownNameError
from napari_wsol.gui.tasks import Tasks

pytestmark = [
    pytest.mark.gui,
    pytest.mark.binding,
    pytest.mark.usefixtures("qapp"),
]


@pytest.fixture
def tasks():
    made = Tasks()
    yield made
    made.close()


class Listener(QObject):
    def __init__(self) -> None:
        super().__init__()
        self.heard = []

    def hear(self, answer: object) -> None:
        self.heard.append((answer, threading.current_thread()))


def test_answers_arrive_on_the_thread_of_the_window(tasks, qtbot):
    listener = Listener()
    tasks.ask(threading.current_thread, listener.hear, kind="one")
    qtbot.waitUntil(lambda: bool(listener.heard))
    (asked_on, heard_on), here = listener.heard[0], threading.current_thread()
    assert asked_on is not here
    assert asked_on.name.startswith("napari-wsol one")
    assert heard_on is here


def test_a_newer_question_of_a_kind_takes_the_place_of_an_older_one(tasks, qtbot):
    go_on, heard = threading.Event(), []
    tasks.ask(go_on.wait, lambda _: heard.append("old"), kind="one")
    tasks.ask(lambda: None, lambda _: heard.append("other"), kind="one", about="it")
    tasks.ask(lambda: None, lambda _: heard.append("new"), kind="one")
    go_on.set()
    qtbot.waitUntil(lambda: "new" in heard)
    assert heard == ["other", "new"]


def test_a_long_question_stops_where_nobody_waits_for_it(tasks, qtbot):
    begun, stopped, heard = threading.Event(), threading.Event(), []

    def ask_for_ever() -> None:
        begun.set()
        try:
            while True:
                tasks.check()
        except JobCancelledError:
            stopped.set()
            raise

    tasks.ask(ask_for_ever, heard.append, heard.append, kind="one")
    assert begun.wait(30)
    tasks.close()
    assert stopped.wait(30)
    qtbot.wait(20)
    assert not heard


def test_nothing_is_told_after_the_end_nor_asked(tasks, qtbot):
    listener, job = Listener(), Future()
    tasks.follow(job, listener.hear)
    tasks.close()
    job.set_result(1)
    tasks.ask(lambda: 2, listener.hear, kind="one")
    qtbot.wait(20)
    assert not listener.heard


def test_nothing_is_told_to_what_is_gone(tasks, qtbot):
    parent, job, heard = QObject(), Future(), []
    listener = Listener()
    listener.setParent(parent)
    tasks.follow(job, listener.hear)
    job.set_result(1)  # queued by now
    del parent  # and with it its children
    tasks.ask(lambda: None, heard.append, kind="one")
    qtbot.waitUntil(lambda: bool(heard))
    assert not listener.heard


def test_the_end_of_a_job_is_told_once_and_never_if_it_was_taken_back(tasks, qtbot):
    jobs, heard = [Future() for _ in range(4)], []
    for job in jobs[:3]:
        tasks.follow(job, heard.append, heard.append, kind="opening")
    tasks.follow(jobs[3], heard.append)
    jobs[2].set_exception(wrong := UnknownNameError("No such thing."))
    jobs[0].set_result("stale")
    assert jobs[1].cancel()
    jobs[3].set_result("by itself")
    qtbot.waitUntil(lambda: len(heard) == 2)
    assert heard == [wrong, "by itself"]
