"""``napari-wsol replay``: does a recorded round give the same map again?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import typer

from napari_wsol.cli.console import emit, note, output
from napari_wsol.cli.journal import Chosen, Folder, find_record, image_of, work_of
from napari_wsol.cli.options import OutFolder
from napari_wsol.cli.verify import Images, Model
from napari_wsol.errors import ExportError, NoResultError
from napari_wsol.files import check_new, file_set, make_folder, unwritable

if TYPE_CHECKING:
    from napari_wsol.journal import ImageFacts, Record, RoundMade
    from napari_wsol.session.session import Session

HEATMAP, STROKES, REPORT = "heatmap.tiff", "strokes.geojson", "replay.json"
"""What is written; the last one is there when all are."""


def replay(
    journal: Chosen,
    out: OutFolder,
    image: Images = None,
    number: Annotated[
        int | None,
        typer.Option("--round", min=1, help="Which round [the last]."),
    ] = None,
    model: Model = None,
    journals: Folder = None,
) -> None:
    """Learn a round again from its strokes, and compare its map with the recorded one.

    On the CPU the map is the same bit for bit, with the same version of torch on the
    same kind of processor. The exit status is 1 where it differs. Writes the map, the
    strokes and what was compared.
    """
    record = find_record(journal, journals)
    made = _wanted(record, number)
    for name in (HEATMAP, STROKES, REPORT):
        check_new(out / name)
    from napari_wsol.export.masks import Grid
    from napari_wsol.export.provenance import write_record
    from napari_wsol.export.writers import Parts, write_heatmap_tiff
    from napari_wsol.journal.geojson import write_strokes
    from napari_wsol.session.again import Again, strokes_of
    from napari_wsol.session.maps import REFINED
    from napari_wsol.strokes.stroke import StrokeList

    facts, told = image_of(record), _told(made, image_of(record))
    strokes = strokes_of(record, made.strokes, f"Round {made.index}")
    again = Again(image, model, record.folder.parent)
    with (
        again.slide(told, Path(facts.path or "").parent) as slide,
        again.session(told, slide, (facts, strokes)) as session,
    ):
        result = _compared(made, session)
        result |= {
            "round": made.index,
            "image": facts.to_dict(),
            "model": told["model"],
            "target": made.target,
            "strokes": list(made.strokes),
        }
        heatmap = session.heatmap(REFINED)
        parts = Parts(  # a heatmap that no mask is cut from
            mask=np.zeros((0, 0), np.bool_),
            grid=Grid(heatmap.image_shape),
            regions=[],
            heatmap=heatmap,
            mpp=facts.mpp,
            fingerprint=facts.fingerprint,
        )
        drawn = StrokeList.empty(facts.canvas_shape).add(*strokes)
        to_do = ". Choose a folder that may be written to and has room."
        with unwritable(f"“{out}” cannot be written to", to_do):
            make_folder(out)
            with file_set(out, "replay") as files:
                write_heatmap_tiff(files.add(HEATMAP), parts)
                write_strokes(files.add(STROKES), drawn, facts)
                write_record(files.add(REPORT), result)
                files.publish()
    emit({**result, "out": out})
    word = "identical" if result["identical"] else "differs"
    output.print(f"round {made.index}: {word}")
    output.print(f"in {out}")
    if not result["identical"]:
        for reason in cast("list[str]", result["differences"]):
            note(reason, style="yellow")
        raise typer.Exit(1)


def _wanted(record: Record, number: int | None) -> RoundMade:
    """The last round, or the last one of that number."""
    rounds = work_of(record).rounds
    found = [made for made in rounds if number in (None, made.index)]
    if not found:
        there = ", ".join(str(made.index) for made in rounds) or "none"
        what = "There is no round" if number is None else f"There is no round {number}"
        raise NoResultError(f"{what} in the journal; it has: {there}.")
    return found[-1]


def _told(made: RoundMade, image: ImageFacts) -> dict[str, Any]:
    """The provenance of a round of a journal, as exports have it."""
    digest, mpp = made.facts.get("strokes_sha256"), made.facts.get("mpp", image.mpp)
    lesson = {"learnt_from": made.strokes, "strokes_sha256": digest}
    lesson |= {"others_sha256": made.others, "settings": made.settings}
    threads, file = made.facts.get("threads"), image.path and Path(image.path).name
    return {
        "image": {**image.to_dict(), "mpp": mpp, "file": file, "reader": ""},
        "model": {"name": made.model, "sha256": made.model_sha256},
        "target": made.target,
        "made": {"methods": (), "threads": threads, "round": lesson},
    }


def _compared(made: RoundMade, session: Session) -> dict[str, object]:
    """What was recorded, what came out now, and whether the maps are the same."""
    from napari_wsol.journal import read_record

    journal = session.journal
    if journal is None or not journal.flush():
        raise ExportError("The round could not be written down: make room, and again.")
    now = work_of(read_record(journal.folder)).rounds[-1]
    recorded, replayed = (
        {
            "map_sha256": one.map_sha256,
            "head_sha256": one.head_sha256,
            "strokes_sha256": one.facts.get("strokes_sha256"),
            "settings": one.settings,
            "threads": one.facts.get("threads"),
            "versions": one.facts.get("versions"),
        }
        for one in (made, now)
    )
    return {
        "identical": now.map_sha256 == made.map_sha256,
        "differences": [
            f"{key}: {_said(value)} then, {_said(replayed[key])} now."
            for key, value in recorded.items()
            if value and value != replayed[key]
        ],
        "recorded": recorded,
        "replayed": replayed,
    }


def _said(value: object) -> str:
    return f"{value[:12]}…" if isinstance(value, str) else str(value)
