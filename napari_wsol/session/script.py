"""What was done to an image as a text that does it again: Python, or a command."""

from __future__ import annotations

import shlex
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from napari_wsol import __version__
from napari_wsol.errors import NoImageError, NoModelError, NoResultError
from napari_wsol.images.readers import told_path
from napari_wsol.session.facade import parts_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.config import ExportConfig
    from napari_wsol.session.session import Session

PYTHON, COMMAND = "script.py.jinja", "command.sh.jinja"


def script(
    kind: str, session: Session, folder: Path, export: ExportConfig, *more: object
) -> str:
    """A text that opens, localizes, refines and exports again: gives the same files.

    ``kind`` is ``PYTHON`` or ``COMMAND``, for a POSIX shell; ``more`` are names of
    verbs and what they are given, at the end of the former. What cannot be told raises
    NoImageError, NoModelError or NoResultError.
    """
    import jinja2

    parts = parts_of(session)
    current = parts.state.current
    current.check_maps()
    (document, model), maps = current.need(), current.maps
    slide, card, result, shown = document.slide, model.card, maps.result, maps.shown
    if result is None:
        raise NoResultError("Localize first; then there is something to repeat.")
    path, again = told_path(slide), getattr(slide, "open_again", None)
    if path is None:
        raise NoImageError(
            "This image is an array, or a film whose file is not told. Save it as a "
            "picture and open that: then a text can name it."
        )
    if card is None or not card.folder.is_absolute():
        raise NoModelError(
            "This model was made in Python, or read from a checkpoint. Import it; then "
            "a text can name it."
        )
    number, learnt = (0, ()) if shown is None else (shown.index, shown.learnt_from)
    known = {stroke.number: stroke.to_dict() for stroke in document.strokes.strokes}
    is_told = known.keys() >= set(learnt) and not (shown and shown.others)
    is_drawn = document.scribbles is not None
    reference = parts.comparison.reference if more else None
    source = reference.source if reference is not None else None
    untold = {
        "a map from elsewhere or of another model. Choose one of the model in use": (
            export.method not in maps.live
        ),
        "strokes that were taken back, or are on other images. Choose another round": (
            not is_told
        ),
        "a tissue that was drawn": document.tissue is not None,
        "a pixel size that was set after the maps were made. Localize again": (
            maps.mpp != document.known_mpp
        ),
        "strokes, as a command. Copy as Python, or choose round 0, without OME-Zarr": (
            kind == COMMAND and (number or (is_drawn and "zarr" in export.formats))
        ),
        "a reference that was drawn or given as an array. Save it as a file and choose "
        "that": reference is not None and source is None,
    }
    for what, is_so in untold.items():
        if is_so:
            raise NoResultError(f"No text can tell {what}.")
    given = again.keywords if isinstance(again, partial) else {}
    leave = () if getattr(slide, "shown", None) is None else ("rgb",)  # the file's
    env = jinja2.Environment(trim_blocks=True)  # noqa: S701 - no page for a browser
    env.filters |= {"repr": repr, "quote": lambda words: shlex.quote(str(words))}
    text = files("napari_wsol.session").joinpath(kind).read_text("utf-8")
    text = text.replace("\n", "") if kind == COMMAND else text
    return env.from_string(text).render(
        config=session.config, slides=session.slide_config, threads=session.threads,
        folder=str(folder), export=export, more=more, version=__version__,
        image=str(path.absolute()), mpp=document.mpp, round=number,
        opening={k: v for k, v in given.items() if v is not None and k not in leave},
        model=card.name if card.bundled else str(card.folder),
        methods=list(result.heatmaps), target=result.target, views=result.views,
        strokes=[stroke | {"path": ()} for stroke in known.values()], shown=shown,
        learnt=len(learnt), is_drawn=is_drawn, seen=document.looked_at,
        reference=reference, source=source and str(source.absolute()),
    )  # fmt: skip
