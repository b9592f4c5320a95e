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
from napari_wsol.errors import NoResultError
from napari_wsol.export.figure import Sheet, panels_of
from napari_wsol.export.labels import STROKES
from napari_wsol.export.provenance import NOTICE, plain, versions
from napari_wsol.session.maps import REFINED
from napari_wsol.session.provenance import provenance_of
from napari_wsol.strokes.stroke import now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.export.figure import Panel
    from napari_wsol.jobs import Report
    from napari_wsol.session.comparison import Comparison
    from napari_wsol.session.state import Current

MOST_BYTES = 2_900_000
"""Of the file: it can be sent."""
SIDES = (960, 640, 480, 320, 200, 120)
"""Of its pictures, in pixels: the first that lets it be so small."""


def report_of(
    cuts: Mapping[str, float], comparison: Comparison, tell: Report, current: Current
) -> str:
    """Image, maps, scores, reference, strokes, rounds, model and provenance.

    Of the image's file the name is told, as in provenance; of a film not even that.

    Args:
        cuts: threshold of maps by their keys; 0.5 of others.
        comparison: the reference, if any.
        tell: hears of the progress; may stop it.
        current: what is worked on.

    Raises:
        NoResultError: there is no map.
    """
    import jinja2

    from napari_wsol.evaluation.report import title_of
    from napari_wsol.inference.whole_image import map_title

    current.check_maps()
    document, model, maps = current.document, current.model, current.maps
    if document is None or not maps.heatmaps:
        raise NoResultError("Localize first; then there is something to report.")
    heatmaps, slide, mpp = maps.heatmaps, document.slide, document.known_mpp
    measured = comparison.figures()
    found = {x: {**y.fixed, **y.at(cuts.get(x, 0.5))} for x, y in measured.items()}
    records = {key: dict(one.provenance) for key, one in maps.kept.items()}
    for key in maps.live:
        shown = maps.shown if key == REFINED else None
        told = {"method": key, "mpp": mpp, "current": shown}
        records[key] = provenance_of(slide, model, maps.result, **told)
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = files(__package__).joinpath("report.html.jinja").read_text("utf-8")
    html = ""
    for side in SIDES:
        height, width = slide.shape
        wide = max(120, round(side * min(1, width / height)))
        area = None if comparison.reference is None else comparison.reference.area
        panels = panels_of(slide, [*heatmaps.values()], wide, area, mpp=mpp)
        pictures: list[str] = []
        for done, (panel, key) in enumerate(zip(panels, ("", *heatmaps), strict=True)):
            tell(done, len(panels), "Drawing")
            pictures.append(_picture(replace(panel, cut=cuts.get(key, 0.5))))
        drawn = document.scribbles
        if drawn is not None:
            shape = panels[0].image.shape[1::-1]
            labels = np.asarray(Image.fromarray(drawn).resize(shape, 0))
            image = panels[0].image.copy()
            for label, (_, colour) in STROKES.items():
                image[labels == label] = colour
            pictures.append(_picture(replace(panels[0], image=image)))
        html = env.from_string(text).render(
            notice=NOTICE, time=now()[:16].replace("T", " "), slide=slide, mpp=mpp,
            maps=maps, heatmaps=heatmaps, cuts=cuts, pictures=pictures, title=map_title,
            figures=found, names=list(dict.fromkeys(x for y in found.values() for x in y)),
            title_of=title_of, reference=comparison.reference, card=model and model.card,
            strokes=document.strokes.counts, is_drawn=drawn is not None,
            tools=Counter(str(stroke.tool) for stroke in document.strokes.strokes),
            records=plain(records), software=versions(),
        )  # fmt: skip
        if len(html.encode()) <= MOST_BYTES:
            break
    return html


def _picture(panel: Panel) -> str:
    """As JPEG in a data URI, drawn as *Figure…* draws it, without title and bar."""
    height, width = panel.image.shape[:2]
    config = FigureConfig(
        width_mm=min(300, max(30, width / 96 * 25.4)),
        dpi=96,
        font_size=6,
        letters=False,
        colour_bar=False,
    )
    sheet, content = Sheet(1, config), BytesIO()
    with Image.open(BytesIO(sheet.drawn([panel], ".png"))) as drawn:
        top = drawn.height - round(sheet.panel * height / width)
        drawn = drawn.convert("RGB").crop((0, top, sheet.panel, drawn.height))
    drawn.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
