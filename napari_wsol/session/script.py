"""What was done to an image as a text that does it again: Python, or a command."""

from __future__ import annotations

import shlex
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from napari_wsol import __version__
from napari_wsol.errors import NoImageError, NoModelError, NoResultError
from napari_wsol.images.readers import told_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.session.state import Current

PYTHON, COMMAND = "script.py.jinja", "command.sh.jinja"


def script(kind: str, current: Current, told: Mapping[str, object]) -> str:
    """The same files again.

    ``told`` is what the template ``kind`` asks for beside; commands are for a POSIX
    shell. What cannot be told raises NoImageError, NoModelError or NoResultError.
    """
    import jinja2

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
    is_ours = getattr(told["export"], "method", "") in maps.live
    if not (is_ours and is_told) or (number and kind == COMMAND):
        raise NoResultError(
            "A command knows no strokes: Copy as Python, or go back to round 0. Nor can "
            "a text tell maps of other models or from elsewhere, strokes on other images "
            "and strokes that were taken back."
        )
    given = again.keywords if isinstance(again, partial) else {}
    leave = {"name", "rgb"} if getattr(slide, "shown", None) is not None else {"name"}
    strict = jinja2.StrictUndefined
    env = jinja2.Environment(trim_blocks=True, undefined=strict)  # noqa: S701
    env.filters |= {"repr": repr, "quote": lambda words: shlex.quote(str(words))}
    text = files("napari_wsol.session").joinpath(kind).read_text("utf-8")
    text = text.replace("\n", "") if kind == COMMAND else text
    return env.from_string(text).render(
        told, version=__version__, image=str(path.absolute()), mpp=document.mpp,
        opening={k: v for k, v in given.items() if v is not None and k not in leave},
        model=card.name if card.bundled else str(card.folder), round=number,
        methods=list(result.heatmaps), target=result.target, views=result.views,
        strokes=[known[one] | {"path": ()} for one in learnt], shown=shown,
        seen=document.looked_at,
    )  # fmt: skip
