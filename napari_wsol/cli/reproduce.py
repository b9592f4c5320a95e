"""``napari-wsol reproduce``: a paper's figures made again, beside those it prints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli.console import Failures, Listing, emit, note, output
from napari_wsol.cli.data import check_there
from napari_wsol.cli.installed import one_of, system_names
from napari_wsol.cli.options import INFERENCE, Device, option
from napari_wsol.cli.train import View, watched
from napari_wsol.data.published import recognised
from napari_wsol.files import check_folder
from napari_wsol.training.wish import Wish


def reproduce(
    system: Annotated[
        str,
        typer.Argument(
            callback=one_of("system", system_names), autocompletion=system_names
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set, as published.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for all results [reproduced/SYSTEM, SYSTEM-quick]."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few images only.")] = False,
    init: Annotated[Path | None, option(Wish, "init")] = None,
    device: Device = INFERENCE.device,
) -> None:
    """Make a paper's figures again: lists of images, trainings, evaluation, a table.

    SYSTEM: pcam-nih14, pylon-nih14, pixelcam-glas or pixelcam-camelyon. Ctrl+C saves a
    checkpoint and leaves; the same command goes on, and does nothing twice. An image
    that cannot be used is left out, and told; the exit status is then 1.
    """
    out = out or Path("reproduced") / (f"{system}-quick" if quick else system)
    check_folder(out)
    check_there(data)
    if published := recognised(data):
        note(published.said)
    from napari_wsol.cross_validation.reproduction import reproduce as run
    from napari_wsol.evaluation.report import shown, title_of
    from napari_wsol.training.run import Watcher

    view, failures = View(), Failures()
    watcher = Watcher(
        say=view.say, step=view.step, evaluated=view.evaluated, failed=failures.tell
    )

    made = partial(run, system, data, out, quick=quick, init=init, device=device)
    with watched(view, "The same command goes on from here."):
        rows, notes = made(watcher=watcher, begun=view.restart)
    table = Listing("model", "images", "figure", "class", "published", "here")
    for row, here in rows:
        printed = "" if row.value is None else f"{row.value:g}"
        figures = (title_of(row.figure), row.name, printed, shown(row.figure, here))
        table.add_row(row.model, row.images, *figures)
    output.print(table)
    for text in (*notes, f"Written: {out / 'table.csv'}"):
        output.print(text)
    figures = [{"published": row, "here": here} for row, here in rows]
    emit({"figures": figures, "notes": notes, "file": out / "table.csv"})
    failures.leave()
