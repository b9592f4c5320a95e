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
from napari_wsol.errors import ConfigError
from napari_wsol.session.figures import panels_of_rows, write_made

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    parts: Parts,
    path: str | Path,
    cuts: Mapping[str, float] | None = None,
    methods: Sequence[str] | None = None,
) -> Future[Path]:
    """Image, maps, figures, strokes, rounds, model and provenance as one HTML file.

    Of the image's file the name is told, as in exports; of a film not even that.
    ``path`` ends in .html; all else is as for
    :func:`~napari_wsol.session.figures.figure`.
    """

    def make(rows: list[CutMap], kind: str, tell: Report) -> str:
        if kind != ".html":
            raise ConfigError(f"A report ends in .html, not in “{kind}”.")
        side = float(SIDE)
        while True:
            tell(2, 3, "Drawing")
            html = _html(parts, rows, side, tell)
            size = len(html.encode())
            if size <= MOST_BYTES or side < 40:
                return html
            side *= 0.9 * math.sqrt(MOST_BYTES / size)

    return write_made(parts, path, cuts or {}, methods, make)


def _html(parts: Parts, rows: list[CutMap], side: float, tell: Report) -> str:
    import jinja2

    from napari_wsol.evaluation.report import LOW_IS_GOOD, title_of
    from napari_wsol.export.labels import STROKES
    from napari_wsol.export.provenance import NOTICE, plain, versions
    from napari_wsol.session.provenance import provenance_of

    document, current = parts.state.document, parts.state.current
    slide, shown, model = document.slide, current.maps, current.model
    mpp, key = document.known_mpp, shown.exported
    records = {x: y.provenance for x, y in shown.kept.items()}
    if key in shown.live:
        told = slide, model, shown.result
        made = provenance_of(*told, method=key, mpp=mpp, shown=shown.shown)
        records = {key: made, **records}
    wide = max(8, round(side * min(1, slide.shape[1] / slide.shape[0])))
    panels = panels_of_rows(parts, rows, wide)
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
    maps = [row.found for row in rows if row.heatmap is not None]

    def best_of(name: str) -> float | None:
        best = min if name in LOW_IS_GOOD else max
        return best((x[name] for x in maps if name in x), default=None)

    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = files("napari_wsol.session").joinpath("report.html.jinja").read_text("utf-8")
    return env.from_string(text).render(
        notice=NOTICE, slide=slide, mpp=mpp, rows=rows, shown=shown, pictures=pictures,
        reference=parts.comparison.reference, card=model and model.card,
        strokes=document.strokes, is_drawn=document.scribbles is not None,
        records=plain(records), software=versions(), title_of=title_of, best_of=best_of,
    )  # fmt: skip


def _picture(panel: Panel) -> str:
    """As JPEG in a data URI, drawn as *Figure…* draws it, but for the words."""
    from napari_wsol.export.figure import Sheet

    width, content = panel.image.shape[1], BytesIO()
    dpi = min(DPI, max(72, width // 4))  # a strip is as narrow as a sheet can be
    config = FigureConfig(
        width_mm=max(30, width / dpi * 25.4),
        dpi=dpi,
        letters=False,
        colour_bar=False,
        scores=False,
    )
    png = Sheet(1, config).drawn([replace(panel, title="")], ".png")
    with Image.open(BytesIO(png)) as drawn:
        drawn.convert("RGB").save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
