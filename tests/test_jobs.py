import threading
import time
import weakref

import pytest
import torch

import napari_wsol.devices  # noqa: F401 - as whoever runs torch does
from napari_wsol.errors import DeviceMemoryError, ImageError, JobCancelledError
from napari_wsol.jobs import IDLE_SECONDS, JobKind, JobRunner, JobStatus, duration


@pytest.fixture
def seen() -> list[JobStatus]:
    return []


@pytest.fixture
def runner(seen):
    runner = JobRunner(seen.append)
    yield runner
    runner.close(wait=True)


def states(seen, kind):
    return [item.state for item in seen if item.kind is kind]


def test_jobs_run_in_order_on_one_thread(runner):
    threads, order = set(), []

    def work(number):
        def run(_report):
            threads.add(threading.current_thread().name)
            order.append(number)
            return number

        return run

    futures = [runner.submit(JobKind.EXPORT, work(number)) for number in range(5)]
    assert [future.result(5) for future in futures] == list(range(5))
    assert order == list(range(5))
    assert threads == {"napari-wsol worker"}


def test_progress_gives_done_total_and_time_left(runner, seen):
    def work(report):
        for done in range(1, 4):
            report(done, 3, f"part {done}")

    runner.submit(JobKind.EXPORT, work).result(5)
    last = seen[-1]
    assert (last.state, last.done, last.total) == ("done", 3, 3)
    assert last.message == "part 3"
    assert states(seen, JobKind.EXPORT)[0] == "queued"
    assert any(
        item.seconds_left is not None for item in seen if item.state == "running"
    )


def test_each_stage_of_a_job_has_its_own_pace(runner, seen):
    """A slow method after a quick encoding takes as long as it takes."""

    def work(report):
        for done in range(101):
            report(done, 100, "encoding")
        report(0, 0, "Score-CAM")
        told.append(seen[-1])
        report(1, 4, "")
        told.append(seen[-1])

    told = []
    runner.submit(JobKind.LOCALIZE, work).result(5)
    counts = [(item.done, item.total) for item in told]
    assert counts == [(0, 0), (1, 4)]  # told at once
    assert all(item.message == "Score-CAM" for item in told)
    # There is nothing to go by yet: the tiles were something else.
    assert all(item.seconds_left is None for item in told)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (42.4, "42 s"),
        (187, "3 min"),
        (3725, "62 min"),
        (6114, "1 h 42 min"),
    ],
)
def test_durations_are_said_as_people_do(seconds, words):
    assert duration(seconds) == words


def test_cancel_stops_the_running_job_and_those_that_wait(runner, seen):
    started = threading.Event()

    def endless(report):
        started.set()
        while True:
            report.check()

    running = runner.submit(JobKind.LOCALIZE, endless)
    waiting = runner.submit(JobKind.EXPORT, lambda _report: 1)
    assert started.wait(5)
    runner.cancel()
    for future in (running, waiting):
        with pytest.raises(JobCancelledError):
            future.result(0.5)
    assert states(seen, JobKind.LOCALIZE)[-1] == "cancelled"
    assert states(seen, JobKind.EXPORT) == ["queued", "cancelled"]
    assert not runner.is_busy


def test_a_newer_job_replaces_one_of_its_kind_only(runner):
    release = threading.Event()

    def wait(report):
        while not release.wait(0.01):
            report.check()
        return "kept"

    other = runner.submit(JobKind.EXPORT, wait)
    old = runner.submit(JobKind.REFINE, wait)
    new = runner.submit(JobKind.FOLLOW, lambda _r: "new")
    release.set()
    assert other.result(5) == "kept"
    assert new.result(5) == "new"
    with pytest.raises(JobCancelledError):
        old.result(5)


def test_failures_are_told_and_do_not_end_the_worker(runner, seen):
    def bad(_report):
        raise ImageError("The image is empty: open another one.")

    def bug(_report):
        raise ZeroDivisionError("oops")

    with pytest.raises(ImageError):
        runner.submit(JobKind.OPEN, bad).result(5)
    with pytest.raises(ZeroDivisionError):
        runner.submit(JobKind.LOCALIZE, bug).result(5)
    assert runner.submit(JobKind.EXPORT, lambda _r: 7).result(5) == 7
    messages = {item.kind: item.message for item in seen if item.state == "failed"}
    assert messages[JobKind.OPEN] == "The image is empty: open another one."
    assert "Localizing failed unexpectedly" in messages[JobKind.LOCALIZE]


def test_a_full_graphics_card_says_what_to_do(runner, seen):
    class Tensor:
        pass

    held = []

    def fill(_report):
        large = Tensor()
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with pytest.raises(DeviceMemoryError, match="device “cpu”") as caught:
        runner.submit(JobKind.LOCALIZE, fill).result(5)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert held[0]() is None  # what fills the memory is not kept with the error
    assert seen[-1].state == "failed"
    assert seen[-1].message == str(caught.value)


def test_nobody_is_busy_once_the_answer_is_there(runner):
    for _ in range(50):
        runner.submit(JobKind.EXPORT, lambda _r: None).result(5)
        assert not runner.is_busy


def test_a_closed_runner_takes_nothing_more(seen):
    runner = JobRunner(seen.append)
    runner.close(wait=True)
    runner.close(wait=True)
    with pytest.raises(JobCancelledError, match="closed"):
        runner.submit(JobKind.EXPORT, lambda _r: None)


def test_closing_waits_for_the_running_job_where_asked(seen):
    runner = JobRunner(seen.append)
    started, goes_on = threading.Event(), threading.Event()

    def slow(report):
        started.set()
        report.cancelled.wait(10)
        goes_on.wait(0.2)  # it stops, but not at once
        return "ended"

    future = runner.submit(JobKind.EXPORT, slow)
    assert started.wait(10)
    runner.close(wait=True)
    assert future.done()
    assert future.result() == "ended"


def test_closing_does_not_wait_otherwise(seen):
    runner = JobRunner(seen.append)
    started, closed = threading.Event(), threading.Event()

    def slow(_report):
        started.set()
        return closed.wait(2)

    future = runner.submit(JobKind.EXPORT, slow)
    assert started.wait(10)
    runner.close()
    closed.set()
    assert future.result(10)


def test_a_job_may_close_its_own_runner(seen):
    runner = JobRunner(seen.append)
    future = runner.submit(JobKind.EXPORT, lambda _report: runner.close(wait=True))
    assert future.result(10) is None
    runner.close(wait=True)
    assert not runner.is_busy


def test_a_thread_that_cannot_be_prepared_says_so_to_whoever_waits():
    def prepare():
        raise OverflowError("too many threads")

    def idle():
        raise AttributeError("of what was not prepared")

    runner = JobRunner(lambda _: None, prepare, idle)
    for _ in range(2):
        with pytest.raises(OverflowError, match="too many"):
            runner.submit(JobKind.OPEN, lambda _: 1).result(10)
        time.sleep(2 * IDLE_SECONDS)
    runner.close(wait=True)
