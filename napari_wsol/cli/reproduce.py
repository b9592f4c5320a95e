"""``napari-wsol reproduce``: a paper's figures made again, beside those it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli.console import Failures, errors, output, show_figures
from napari_wsol.cli.options import INFERENCE, Device, option
from napari_wsol.cli.train import View, stopping
from napari_wsol.data.published import recognised
from napari_wsol.files import check_folder
from napari_wsol.training.wish import Wish


def reproduce(
    system: Annotated[
        str,
        typer.Argument(
            help="pcam-nih14, pylon-nih14, pixelcam-glas or pixelcam-camelyon."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set, as published.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for lists, models, figures and the table [reproduced/SYSTEM, "
            "or SYSTEM-quick]."
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="The same on a few small images, in minutes: whether all works.",
        ),
    ] = False,
    init: Annotated[Path | None, option(Wish, "init")] = None,
    device: Device = INFERENCE.device,
) -> None:
    """Make a paper's figures again: lists of images, trainings, evaluation, a table.

    Ctrl+C saves a checkpoint and leaves; the same command goes on from there, and does
    nothing twice that is done. An image that cannot be used is left out, and told; the
    exit status is then 1.
    """
    out = out or Path("reproduced") / (f"{system}-quick" if quick else system)
    check_folder(out)
    published = recognised(data)
    if published is not None:
        errors.print(published.said)
    from napari_wsol.cross_validation import reproduce as run
    from napari_wsol.training.run import Watcher

    view, failures = View(), Failures()
    watcher = Watcher(
        say=view.say,
        step=view.step,
        evaluated=view.evaluated,
        failed=failures.tell,
    )
    try:
        with stopping(view), view.live():
            found = run(
                system,
                data,
                out,
                quick=quick,
                init=init,
                device=device,
                watcher=watcher,
                begun=view.begin,
            )
    except KeyboardInterrupt:
        errors.print("Stopped. The same command goes on from here.")
        raise typer.Exit(1) from None
    show_figures(system, found)
    output.print(f"Written: {out / 'table.csv'}")
    failures.leave()
