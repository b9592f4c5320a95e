"""``napari-wsol cache``: the features of slides that are kept on the disk."""

from __future__ import annotations

import datetime

from napari_wsol.cli.console import Listing, commands, emit, output

app = commands("Kept features of slides.")


@app.command()
def show() -> None:
    """What is kept, the longest unused first."""
    from napari_wsol.slides.feature_disk import FeatureDisk

    disk = FeatureDisk()
    slides = disk.slides()
    table = Listing("slide", "MB", "last used", "in use")
    for item in slides:
        used = datetime.datetime.fromtimestamp(item.used, datetime.UTC).astimezone()
        size, held = f"{item.nbytes / 1e6:.0f}", "yes" if item.is_open else ""
        table.add_row(item.name, size, f"{used:%Y-%m-%d %H:%M}", held)
    if slides:
        output.print(table)
    total = sum(item.nbytes for item in slides)
    output.print(f"{total / 1e9:.2f} GB in {disk.folder}")
    emit({"folder": disk.folder, "bytes": total, "slides": slides})


@app.command()
def clear() -> None:
    """Remove all that is not in use; slides are read again when they are needed."""
    from napari_wsol.slides.feature_disk import FeatureDisk

    freed = FeatureDisk().clear()
    output.print(f"{freed / 1e9:.2f} GB became free")
    emit({"bytes": freed})
