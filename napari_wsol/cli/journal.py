"""``napari-wsol journal``: what is recorded of the work on each image."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_wsol.cli.console import Listing, commands, emit, named, note, output
from napari_wsol.errors import UnknownNameError, UnreadableImageError
from napari_wsol.files import path_from, write_new
from napari_wsol.paths import journals_folder

if TYPE_CHECKING:
    from napari_wsol.journal import EarlierWork, Record
    from napari_wsol.journal.image import ImageFacts

app = commands("Strokes and rounds that were recorded.")

JOURNAL_HELP = (
    "Folder of a journal, a file in it, or the first digits of the image's fingerprint."
)


def _names() -> list[str]:
    folder = journals_folder()
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


Chosen = Annotated[
    str,
    typer.Argument(metavar="JOURNAL", help=JOURNAL_HELP, autocompletion=_names),
]
Folder = Annotated[
    Path | None, typer.Option(help="Folder of all journals [the user's own].")
]


@app.command("list")
def list_(journals: Folder = None) -> None:
    """All images that were worked on, the latest first."""
    from napari_wsol.journal import JournalLibrary

    store = JournalLibrary(journals)
    found = store.summaries()
    table = Listing("image", "strokes", "rounds", "status", "last change", "folder")
    for item in found:
        table.add_row(
            item.name or "?",
            str(item.strokes),
            str(item.rounds),
            item.status + (" (!)" if item.notes else ""),
            _local(item.last),
            item.folder.name,
        )
    if found:
        output.print(table)
    for item in found:
        _notes(item.notes, item.folder.name)
    noun = "journal" if len(found) == 1 else "journals"
    output.print(f"{len(found)} {noun} in {store.folder}")
    emit(found)


@app.command()
def show(journal: Chosen, journals: Folder = None) -> None:
    """What one journal says: the image, strokes, rounds and settings."""
    record = find_record(journal, journals)
    image = image_of(record)
    work = work_of(record)
    _notes(record.notes)
    made = Counter(f"{item.tool}" for item in work.strokes.strokes)
    foreground, background = work.strokes.counts
    facts = {
        "image": image.name,
        "file": image.path or "not told: it was an array, or a film in DICOM",
        "fingerprint": image.fingerprint,
        "size": f"{image.shape[1]} × {image.shape[0]} pixels",
        "strokes": f"{len(work.strokes.strokes)} count, {foreground} of foreground and "
        f"{background} of background show",
        "made with": ", ".join(f"{tool} {count}" for tool, count in made.items()),
        "status": work.status,
        "settings": ", ".join(
            f"{key} = {value}" for key, value in work.settings.items()
        ),
        "entries": str(len(record.entries)),
        "last change": _local(record.last_time),
        "folder": str(record.folder),
    }
    for key, value in facts.items():
        if value:
            output.print(named(key, value))
    if work.rounds:
        output.print(_rounds(work))
    told = {"image": image.to_dict(), "folder": record.folder, "notes": record.notes}
    told |= {"entries": len(record.entries), "last": record.last_time, "tools": made}
    told |= {"status": work.status, "settings": work.settings, "rounds": work.rounds}
    emit(told)


@app.command()
def export(
    journal: Chosen,
    out: Annotated[Path, typer.Option(help="The new GeoJSON file.")],
    journals: Folder = None,
) -> None:
    """Write the strokes that count as GeoJSON, which QuPath reads as annotations."""
    from napari_wsol.journal.geojson import write_strokes

    record = find_record(journal, journals)
    image, strokes = image_of(record), work_of(record).strokes
    _notes(record.notes)
    count = write_new(out, lambda path: write_strokes(path, strokes, image))
    output.print(f"{count} strokes in {out}")
    emit({"strokes": count, "file": out})


def find_record(journal: str, journals: Path | None = None) -> Record:
    """A journal by its folder, a file in it, or the beginning of a fingerprint.

    Of several on one image the newest is taken.

    Raises:
        UnknownNameError: there is none, or several images are meant.
    """
    from napari_wsol.journal import JournalLibrary, read_record
    from napari_wsol.journal.reading import segment_paths

    path = path_from(journal)
    folder = path.parent if path.is_file() else path
    if folder.is_dir() and segment_paths(folder):
        return read_record(folder)
    store = JournalLibrary(journals)
    found = [
        item
        for item in store.summaries()
        if journal
        and (item.fingerprint.startswith(journal) or item.folder.name == journal)
    ]
    images = {item.fingerprint for item in found}
    if len(images) == 1:
        return read_record(found[0].folder)
    what = "There is no journal" if not images else f"{len(images)} images begin with"
    raise UnknownNameError(
        f"{what} “{journal}” in “{store.folder}”. See napari-wsol journal list, or "
        "give a folder or more digits of the fingerprint."
    )


def image_of(record: Record) -> ImageFacts:
    """The image of a journal.

    Raises:
        UnreadableImageError: the journal does not say.
    """
    if record.image is None:
        raise UnreadableImageError(
            f"The journal in “{record.folder}” does not say which image it belongs to: "
            + " ".join(record.notes)
        )
    return record.image


def work_of(record: Record) -> EarlierWork:
    """What the entries of a journal come to."""
    from napari_wsol.journal import replayed

    return replayed(image_of(record).canvas_shape, record.entries)


def _rounds(work: EarlierWork) -> Listing:
    table = Listing("round", "model", "class", "strokes", "seconds", "made", "map")
    for made in work.rounds:
        seconds = made.facts.get("seconds")
        table.add_row(
            f"{made.index}" + (" (shown)" if made.index == work.shown else ""),
            made.model,
            made.target,
            str(len(made.strokes)),
            f"{seconds:.2f}" if isinstance(seconds, int | float) else "",
            _local(made.time),
            made.map_sha256[:12],
        )
    return table


def _notes(notes: tuple[str, ...] | list[str], name: str = "") -> None:
    for text in notes:
        note(f"{name}: {text}" if name else text, style="yellow")


def _local(time: str) -> str:
    """A time of a journal in the person's own time zone."""
    try:
        return f"{datetime.datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return time
