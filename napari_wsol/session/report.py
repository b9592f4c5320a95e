"""The open image as one HTML file for people: nothing in it comes from outside."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from importlib.resources import files
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_wsol.config import FigureConfig
from napari_wsol.session.figures import write_made
from napari_wsol.session.maps import REFINED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from napari_wsol.export.figure import Panel
    from napari_wsol.jobs import Report
    from napari_wsol.session.facade import Parts
    from napari_wsol.session.figures import CutMap

MOST_BYTES = 2_900_000
"""Of the file: it can be sent."""
DPI, SIDE = 240, 960
"""Of its pictures, in pixels, unless they take too much."""


def report(
    parts: Parts, path: str | Path, cuts: Mapping[str, float] | None = None
) -> Future[Path]:
    """Image, maps, figures, strokes, rounds, model and provenance as one HTML file.

    Of the image's file the name is told, as in exports; of a film not even that.
    ``path`` and ``cuts`` are as for :func:`~napari_wsol.session.figures.figure`.
    """

    def make(rows: list[CutMap], _: str, tell: Report) -> str:
        side = float(SIDE)
        while True:
            tell(2, 3, "Drawing")
            html = _html(parts, rows, side, tell)
            size = len(html.encode())
            if size <= MOST_BYTES or side < 40:
                return html
            side *= 0.9 * math.sqrt(MOST_BYTES / size)

    return write_made(parts, path, cuts or {}, None, make)


def _html(parts: Parts, rows: list[CutMap], side: float, tell: Report) -> str:
    import jinja2

    from napari_wsol.evaluation.report import title_of
    from napari_wsol.export.figure import panels_of
    from napari_wsol.export.labels import STROKES
    from napari_wsol.export.provenance import NOTICE, plain, versions
    from napari_wsol.session.provenance import provenance_of

    document, current = parts.state.document, parts.state.current
    slide, mpp, shown, model = (
        document.slide, document.known_mpp, current.maps, current.model
    )  # fmt: skip
    reference, key = parts.comparison.reference, shown.exported
    of = shown.shown if key == REFINED else None
    records = {x: y.provenance for x, y in shown.kept.items()}
    if key in shown.live:
        told = provenance_of(
            slide, model, shown.result, method=key, mpp=mpp, current=of
        )
        records = {key: told, **records}
    area, maps = (
        reference and reference.area,
        [x for x in rows if x.heatmap is not None],
    )
    wide = max(8, round(side * min(1, slide.shape[1] / slide.shape[0])))
    every = [one.heatmap for one in maps if one.heatmap is not None]
    panels = panels_of(slide, every, wide, area, mpp=mpp)
    for place, one in enumerate(maps, start=1):
        panels[place] = replace(panels[place], cut=one.cut)
    if document.scribbles is not None:
        image = panels[0].image.copy()
        shape = image.shape[1], image.shape[0]
        labels = np.asarray(Image.fromarray(document.scribbles).resize(shape, 0))
        for label, (_, colour) in STROKES.items():
            image[labels == label] = colour
        panels.append(replace(panels[0], image=image, reference=None))
    pictures: list[str] = []
    for panel in panels:
        tell.check()
        pictures.append(_picture(panel))
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = files("napari_wsol.session").joinpath("report.html.jinja").read_text("utf-8")
    return env.from_string(text).render(
        notice=NOTICE, slide=slide, mpp=mpp, rows=rows, shown=shown, pictures=pictures,
        reference=reference, title_of=title_of, card=model and model.card,
        strokes=document.strokes, is_drawn=document.scribbles is not None,
        records=plain(records), software=versions(),
    )  # fmt: skip


def _picture(panel: Panel) -> str:
    """As JPEG in a data URI, drawn as *Figure…* draws it, without title and bar."""
    from napari_wsol.export.figure import Sheet

    height, width = panel.image.shape[:2]
    room = max(width, height // 3)  # of a strip: no sheet is so narrow
    beside = (0, 0), (0, room - width)
    panel = replace(panel, image=np.pad(panel.image, (*beside, (0, 0))))
    if panel.scores is not None:
        panel = replace(panel, scores=np.pad(panel.scores, beside))
    if panel.reference is not None:
        panel = replace(panel, reference=np.pad(panel.reference, beside))
    millimetres = min(300, max(30, room / DPI * 25.4))
    config = FigureConfig(
        width_mm=millimetres, dpi=DPI, letters=False, colour_bar=False
    )
    sheet, content = Sheet(1, config), BytesIO()
    with Image.open(BytesIO(sheet.drawn([panel], ".png"))) as drawn:
        top = drawn.height - round(sheet.panel * height / room)
        inner = drawn.convert("RGB").crop(
            (0, top, max(1, sheet.panel * width // room), drawn.height)
        )
    inner.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
