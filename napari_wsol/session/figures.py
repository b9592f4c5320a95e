"""The maps of the open image for a paper: drawn side by side, and as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_wsol.config import ExportConfig, FigureConfig
from napari_wsol.files import free_name, path_from, write_whole
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Report
    from napari_wsol.session.facade import Parts

_SAID = {"pxap": "PxAP {:.1f}", "image_iou": "IoU {:.2f}", "image_dice": "Dice {:.2f}"}
_COLUMNS = "Map", "Class", "p(class)", "Threshold", "Area (px)", "Area (mm²)", "Regions"


def figure(
    parts: Parts,
    path: str | Path,
    config: FigureConfig | None = None,
    cuts: Mapping[str, float] | None = None,
    methods: Sequence[str] | None = None,
) -> Future[Path]:
    """Draws the image and its maps beside each other, for print.

    Args:
        parts: of the session.
        path: ends in .pdf, .svg or .png; gets a number where there is such a file.
        config: how it is drawn; what is seen is what ``look_at`` was told.
        cuts: threshold of maps by their keys; 0.5 of others.
        methods: keys of the maps, in their order; all by default.
    """
    how, kind = config or FigureConfig(), path_from(path).suffix.lower()

    def draw(maps: list[Heatmap], report: Report) -> bytes:
        from napari_wsol.export.figure import Sheet, panels_of
        from napari_wsol.inference.whole_image import map_title

        document, reference = parts.state.document, parts.comparison.reference
        sheet, area = Sheet(1 + len(maps), how), reference and reference.area
        report(0, 3, "Reading the image")
        box, mpp = document.looked_at, document.known_mpp
        box = box if how.view == "seen" else None
        panels = panels_of(document.slide, maps, sheet.panel, area, mpp=mpp, box=box)
        panels[0] = replace(panels[0], title=document.slide.name)
        report(1, 3, "Measuring the maps")
        for place, one in enumerate(maps, start=1):
            cut = (cuts or {}).get(one.key, 0.5)
            found = _measured(parts, one.key, cut)
            said = [words.format(found[x]) for x, words in _SAID.items() if x in found]
            told = [" · ".join(said[:2]), *said[2:], f"threshold {cut:.2f}"]
            title, told = map_title(one), tuple(filter(None, told))
            panels[place] = replace(panels[place], title=title, cut=cut, caption=told)
        report(2, 3, "Drawing")
        return sheet.drawn(panels, kind)

    return write_made(parts, path, methods, draw)


def table(
    parts: Parts,
    path: str | Path,
    cuts: Mapping[str, float] | None = None,
    methods: Sequence[str] | None = None,
) -> Future[Path]:
    """Area and regions above the threshold of each map, and its figures.

    ``path`` ends in .csv, .md or .tex; all else is as for :func:`figure`.
    """

    def tabulate(maps: list[Heatmap], report: Report) -> str:
        from napari_wsol.evaluation.report import title_of
        from napari_wsol.export import regions_of
        from napari_wsol.export.table import table_text
        from napari_wsol.inference.whole_image import map_title

        mpp, result = parts.state.document.known_mpp, parts.state.current.maps.result
        rows: list[tuple[list[object], Mapping[str, float]]] = []
        for done, one in enumerate(maps):
            report(done, len(maps), "Measuring the maps")
            cut = (cuts or {}).get(one.key, 0.5)
            config, shape = ExportConfig(threshold=cut), one.image_shape
            regions = regions_of(one, shape, config, mpp, tick=report.check)
            area = float(sum(region.area_px for region in regions))
            mm2 = None if mpp is None else area * mpp**2 / 1e6
            score = None if result is None else result.scores.get(one.target)
            row = [map_title(one), one.target, score, cut, area, mm2, len(regions)]
            rows.append((row, _measured(parts, one.key, cut)))
        reference = parts.comparison.reference
        for key in () if reference is None else reference.priors:
            row = [key.replace("_", " "), *[None] * (len(_COLUMNS) - 1)]
            rows.append((row, _measured(parts, key, 0.5)))
        names = list(dict.fromkeys(name for _, found in rows for name in found))
        head = [*_COLUMNS, *map(title_of, names)]
        cells = ([*row, *map(found.get, names)] for row, found in rows)
        return table_text([head, *cells], path_from(path).suffix.lower())

    return write_made(parts, path, methods, tabulate)


def _measured(parts: Parts, key: str, cut: float) -> Mapping[str, float]:
    found = parts.comparison.figures().get(key)
    return {} if found is None else {**found.fixed, **found.at(cut)}


def write_made(
    parts: Parts,
    path: str | Path,
    methods: Sequence[str] | None,
    make: Callable[[list[Heatmap], Report], bytes | str],
) -> Future[Path]:
    """Writes what is made of the maps, under a name that is free."""

    def work(report: Report) -> Path:
        parts.state.current.check_maps()
        maps = parts.state.current.maps
        keys = methods or list(maps.heatmaps) or [maps.exported]
        content = make([maps.heatmap(key) for key in keys], report)
        free = free_name(path_from(path).absolute())
        write_whole(free, content)
        parts.jobs.exported.emit((free,))
        return free

    return parts.jobs.submit(JobKind.EXPORT, work)
