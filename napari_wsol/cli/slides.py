"""Many images into one folder, by as many workers as there are, one line each."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from napari_wsol.cli.console import errors, output
from napari_wsol.errors import ClaimLostError, WsolError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

    from rich.progress import Task, TaskID

    from napari_wsol.batch import ImageJob, ResultsFolder, SlideSettings
    from napari_wsol.batch.results import Row
    from napari_wsol.methods import Model

POLL_SECONDS = 5.0
"""Between two looks at slides that other workers hold."""
INTERRUPTED = 130


class Speed(ProgressColumn):
    """Tiles a second."""

    def render(self, task: Task) -> Text:
        """Empty until it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} tiles/s")


def tile_bar() -> Progress:
    """A bar with tiles done, their speed and the time left, on standard error."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    )


def any_large(
    images: list[Path], model: Model, mpp: float | None, reader: str | None
) -> bool:
    """Whether one of them is read tile by tile; one that cannot be read is not."""
    from napari_wsol.images.readers import open_slide
    from napari_wsol.slides.large import is_large

    for path in images:
        try:
            slide = open_slide(path, reader=reader)
        except WsolError:
            continue  # its turn comes, and with it the sentence
        try:
            if is_large(slide, model, mpp):
                return True
        finally:
            slide.close()
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One call of the command over images that others may work on as well.

    Attributes:
        results: folder that all fill.
        settings: what is the same for all images.
        wait: whether to wait for images that others hold, and take them over when
            they are abandoned.
        row: where to write the row of the only image as JSON.
    """

    results: ResultsFolder
    settings: SlideSettings
    wait: bool = False
    row: Path | None = None

    def all(self, images: list[Path]) -> None:
        """Localizes every image that is not finished.

        Raises:
            typer.Exit: 1 where an image failed, 130 when it was interrupted.
        """
        rows: list[Row] = []
        # Of the run, not of a pass: what others finish meanwhile is not done again.
        started = self.results.now() if self.settings.overwrite else None
        try:
            with _terminable(), tile_bar() as bar:
                whole = bar.add_task("images", total=len(images))
                jobs = [self._job(path, started) for path in images]
                held = self._pass(jobs, rows, bar, whole)
                while held and self.wait:
                    time.sleep(POLL_SECONDS)
                    jobs = [self._job(job.path, started) for job in held]
                    held = self._pass(jobs, rows, bar, whole)
        except KeyboardInterrupt:
            self.results.write_summary()
            errors.print(
                "Stopped. What is finished is kept: give the same command again to go "
                "on."
            )
            raise typer.Exit(INTERRUPTED) from None
        self._report(images, rows, held)

    def _job(self, path: Path, started: float | None) -> ImageJob:
        from napari_wsol.batch import ImageJob

        return ImageJob(self.results, path, self.settings, started)

    def _pass(
        self, jobs: list[ImageJob], rows: list[Row], bar: Progress, whole: TaskID
    ) -> list[ImageJob]:
        """One look at each image; those that others hold."""
        held: list[ImageJob] = []
        for job in jobs:
            task = bar.add_task(escape(job.name), total=None)
            row = self._one(job, bar, task)
            bar.remove_task(task)
            if row is None:
                held.append(job)
                continue
            rows.append(row)
            bar.advance(whole)
        return held

    def _one(self, job: ImageJob, bar: Progress, task: TaskID) -> Row | None:
        def report(done: int, total: int, text: str) -> None:
            title = f"{job.name}: {text}" if text else job.name
            bar.update(
                task, completed=done, total=total or None, description=escape(title)
            )

        try:
            row = job.run(report)
        except ClaimLostError as error:
            errors.print(f"{escape(job.name)}: {escape(str(error))}")
            return None
        except WsolError as error:
            errors.print(f"[bold red]{escape(job.name)}:[/] {escape(str(error))}")
            return job.fail(str(error))
        if row is not None and self.row is not None:
            write_row(self.row, row)
        return row

    def _report(
        self, images: list[Path], rows: list[Row], held: list[ImageJob]
    ) -> None:
        summary = self.results.write_summary()
        failed = sum(row["status"] != "ok" for row in rows)
        for job in held:
            output.print(f"{escape(job.name)} is left to {job.holder}.")
        output.print(
            f"{len(rows) - failed} of {len(images)} images localized; "
            f"summary in {escape(str(summary))}"
        )
        if failed or (held and self.row is not None):
            raise typer.Exit(1)


@contextmanager
def _terminable() -> Generator[None]:
    """A cluster ends jobs with SIGTERM: they let go of their claims as at Ctrl+C."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
