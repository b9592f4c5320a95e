"""The open image as one HTML file for people: nothing in it comes from outside."""

from __future__ import annotations

import base64
from collections import Counter
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
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Report
    from napari_wsol.session.facade import Parts

MOST_BYTES = 2_900_000
"""Of the file: it can be sent."""
DPI = 240
SIDES = (960, 640, 480, 320, 200, 120)
"""Of its pictures, in pixels: the first that lets it be so small."""


def report(
    parts: Parts, path: str | Path, cuts: Mapping[str, float] | None = None
) -> Future[Path]:
    """Image, maps, figures, strokes, rounds, model and provenance as one HTML file.

    Of the image's file the name is told, as in exports; of a film not even that.

    Args:
        parts: of the session.
        path: of the file; gets a number where there is such a file.
        cuts: threshold of maps by their keys; 0.5 of others.
    """

    def make(maps: list[Heatmap], tell: Report) -> str:
        html = ""
        for side in SIDES:
            html = _html(
                parts, maps, {x.key: 0.5 for x in maps} | (cuts or {}), side, tell
            )
            if len(html.encode()) <= MOST_BYTES:
                break
        return html

    return write_made(parts, path, None, make)


def _html(
    parts: Parts,
    maps: list[Heatmap],
    cuts: Mapping[str, float],
    side: int,
    tell: Report,
) -> str:
    import jinja2

    from napari_wsol.evaluation.report import title_of
    from napari_wsol.export.figure import panels_of
    from napari_wsol.export.labels import STROKES
    from napari_wsol.export.provenance import NOTICE, plain, versions
    from napari_wsol.inference.whole_image import map_title
    from napari_wsol.session.provenance import provenance_of

    document, shown, model = (
        parts.state.document, parts.state.current.maps, parts.state.current.model
    )  # fmt: skip
    slide, mpp, reference = (
        document.slide,
        document.known_mpp,
        parts.comparison.reference,
    )
    key, records = shown.exported, {x: y.provenance for x, y in shown.kept.items()}
    if shown.live:
        of = shown.shown if key == REFINED else None
        told = {"method": key, "mpp": mpp, "current": of}
        records = {key: provenance_of(slide, model, shown.result, **told), **records}
    wide = max(120, round(side * min(1, slide.shape[1] / slide.shape[0])))
    area = None if reference is None else reference.area
    panels = panels_of(slide, maps, wide, area, mpp=mpp)
    for place, one in enumerate(maps, start=1):
        panels[place] = replace(panels[place], cut=cuts[one.key])
    drawn = document.scribbles
    if drawn is not None:
        image = panels[0].image.copy()
        labels = np.asarray(Image.fromarray(drawn).resize(image.shape[1::-1], 0))
        for label, (_, colour) in STROKES.items():
            image[labels == label] = colour
        panels.append(replace(panels[0], image=image, reference=None))
    pictures: list[str] = []
    for done, panel in enumerate(panels):
        tell(done, len(panels), "Drawing")
        pictures.append(_picture(panel))
    found = parts.comparison.figures()
    figures = {x: {**y.fixed, **y.at(cuts.get(x, 0.5))} for x, y in found.items()}
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = files(__package__).joinpath("report.html.jinja").read_text("utf-8")
    return env.from_string(text).render(
        notice=NOTICE, slide=slide, mpp=mpp, maps=shown, cuts=cuts, pictures=pictures,
        heatmaps={one.key: one for one in maps}, figures=figures, title=map_title,
        names=list(dict.fromkeys(name for row in figures.values() for name in row)),
        title_of=title_of, reference=reference, card=model and model.card,
        strokes=document.strokes.counts, is_drawn=drawn is not None,
        tools=Counter(str(stroke.tool) for stroke in document.strokes.strokes),
        records=plain(records), software=versions(),
    )  # fmt: skip


def _picture(panel: Panel) -> str:
    """As JPEG in a data URI, drawn as *Figure…* draws it, without title and bar."""
    from napari_wsol.export.figure import Sheet

    height, width = panel.image.shape[:2]
    millimetres = min(300, max(30, width / DPI * 25.4))  # a picture is some 10 cm wide
    config = FigureConfig(
        width_mm=millimetres, dpi=DPI, letters=False, colour_bar=False
    )
    sheet, content = Sheet(1, config), BytesIO()
    with Image.open(BytesIO(sheet.drawn([panel], ".png"))) as drawn:
        top = drawn.height - round(sheet.panel * height / width)
        inner = drawn.convert("RGB").crop((0, top, sheet.panel, drawn.height))
    inner.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
