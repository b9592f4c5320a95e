"""Many images into one folder, by as many workers as there are, one line each."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import ProgressColumn
from rich.text import Text

from napari_wsol.cli.console import (
    INTERRUPTED,
    emit,
    errors,
    named,
    note,
    on_signals,
    output,
    progress_bar,
    steps,
)
from napari_wsol.errors import ClaimLostError, one_of_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, Task, TaskID

    from napari_wsol.batch import ImageJob, SlideSettings
    from napari_wsol.batch.results import Row

POLL_SECONDS = 5.0
"""Between two looks at slides that other workers hold."""


class Speed(ProgressColumn):
    """Tiles a second."""

    def render(self, task: Task) -> Text:
        """Empty until it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} tiles/s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One call of the command.

    Small images are done one after another, their files side by side. Where one of them
    is a slide, each gets a folder, and others may work on them as well.

    Attributes:
        out: folder that all fill.
        settings: what is the same for all images.
        is_shared: whether small images get folders too.
        wait: whether to wait for images that others hold, and take them over when
            they are abandoned.
        row: where to write the row of the only image as JSON.
    """

    out: Path
    settings: SlideSettings
    is_shared: bool = False
    wait: bool = False
    row: Path | None = None

    def all(self, images: list[Path]) -> None:
        """Localizes every image that is not finished.

        Raises:
            typer.Exit: 1 where an image failed, 130 when it was interrupted.
        """
        from napari_wsol.batch import ImageJob, ResultsFolder, any_large
        from napari_wsol.batch.job import flat_columns

        results = ResultsFolder(self.out)
        # Of the run, not of a pass: what others finish meanwhile is not done again.
        started = results.now() if self.settings.overwrite else None
        jobs = [ImageJob(results, path, self.settings, started) for path in images]
        if self.is_shared or any_large(jobs):
            again = "give the same command again to go on."
            self._do(jobs, results.add_to_summary, results.write_summary, again)
            return
        for job in jobs:
            job.is_flat = True
        table = results.new_summary(flat_columns(self.settings))
        again = f"{table.path} names it. With --resume a run can go on."
        self._do(jobs, table.add, lambda: table.path, again)

    def _do(
        self,
        jobs: list[ImageJob],
        add: Callable[[Row], None],
        finish: Callable[[], Path],
        again: str,
    ) -> None:
        """One image after another; each row is in the table before the next begins."""
        rows: list[Row] = []

        def keep(row: Row) -> None:
            rows.append(row)
            add(row)

        try:
            # A cluster ends jobs with SIGTERM: they let go of claims as at Ctrl+C.
            with on_signals(_stop, signal.SIGTERM), progress_bar(Speed()) as bar:
                whole = bar.add_task("images", total=len(jobs))
                held = self._pass(jobs, keep, bar, whole)
                while held and self.wait:
                    time.sleep(POLL_SECONDS)
                    held = self._pass(held, keep, bar, whole)
        except KeyboardInterrupt:
            finish()
            errors.print(f"Stopped. What is finished is kept: {again}")
            raise typer.Exit(INTERRUPTED) from None
        summary = finish()
        for job in held:
            note(f"{job.name} is left to {job.holder}.")
        emit({"summary": summary, "images": rows, "left": [job.name for job in held]})
        _say(jobs, rows, summary)
        if held and self.row is not None:
            raise typer.Exit(1)

    def _pass(
        self,
        jobs: list[ImageJob],
        keep: Callable[[Row], None],
        bar: Progress,
        whole: TaskID,
    ) -> list[ImageJob]:
        """One look at each image; those that others hold."""
        held: list[ImageJob] = []
        for job in jobs:
            task = bar.add_task(job.name, total=None)
            row = self._one(job, bar, task)
            bar.remove_task(task)
            if row is None:
                held.append(job)
                continue
            keep(row)
            bar.advance(whole)
        return held

    def _one(self, job: ImageJob, bar: Progress, task: TaskID) -> Row | None:
        def report(done: int, total: int, text: str) -> None:
            title = f"{job.name}: {text}" if text else job.name
            if title != bar.tasks[bar.task_ids.index(task)].description:
                steps.info(title)
            bar.update(task, completed=done, total=total or None, description=title)

        row: Row | None = None

        def failed(reason: str) -> None:
            nonlocal row
            errors.print(named(job.name, reason, "bold red"))
            row = job.fail(reason)

        with one_of_many(failed):
            try:
                row = job.run(report)
            except ClaimLostError as error:
                note(named(job.name, error, ""))
                return None
        if row is not None and row.get("notes"):
            note(named(job.name, row["notes"], ""))
        if self.row is not None and row is not None and row["status"] == "ok":
            from napari_wsol.batch.results import write_row

            write_row(self.row, row)
        return row


def _stop() -> None:
    raise KeyboardInterrupt


def _say(jobs: list[ImageJob], rows: list[Row], summary: Path) -> None:
    failed = sum(row["status"] != "ok" for row in rows)
    done = "encoded" if any(job.settings.make_bag for job in jobs) else "localized"
    output.print(
        f"{len(rows) - failed} of {len(jobs)} images {done}; summary in {summary}"
    )
    if failed:
        raise typer.Exit(1)
