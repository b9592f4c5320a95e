"""Where the commands write: results to standard output, the rest to standard error."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

output = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)


def progress_bar(*more: ProgressColumn) -> Progress:
    """A bar with done, total, what else is told and time left, on standard error."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    )
