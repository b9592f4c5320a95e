"""The maps of the open image for a paper: drawn side by side, and as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from napari_wsol.config import ExportConfig, FigureConfig
from napari_wsol.files import free_name, path_from, unwritable, write_whole
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from napari_wsol.export.figure import Panel
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Report
    from napari_wsol.session.facade import Parts

_SAID = {"pxap": "PxAP {:.1f}", "image_iou": "IoU {:.2f}", "image_dice": "Dice {:.2f}"}
_COLUMNS = "Map", "Class", "p(class)", "Threshold", "Area (px)", "Area (mm²)", "Regions"


class CutMap(NamedTuple):
    """One map, cut, with its figures; without a heatmap what any should beat."""

    title: str
    heatmap: Heatmap | None
    cut: float
    found: Mapping[str, float]


def figure(
    parts: Parts,
    path: str | Path,
    config: FigureConfig | None = None,
    cuts: Mapping[str, float] | None = None,
    methods: Sequence[str] | None = None,
    *,
    box: tuple[float, float, float, float] | None = None,
) -> Future[Path]:
    """Draws the image and its maps beside each other, for print.

    Args:
        parts: of the session.
        path: ends in .pdf, .svg or .png; gets a number where there is such a file.
        config: how it is drawn.
        cuts: threshold of maps and priors by their keys, as of exports; 0.5 of others.
        methods: keys of the maps, in their order; all by default.
        box: what is seen, where that is drawn, as of ``look_at``; what that was told
            last if None.
    """
    how = config or FigureConfig()

    def draw(rows: list[CutMap], kind: str, report: Report) -> bytes:
        from napari_wsol.export.figure import Sheet

        sheet = Sheet(1 + sum(row.heatmap is not None for row in rows), how)
        seen = box or parts.state.document.looked_at if how.view == "seen" else None
        report(0, 0, "Reading the image")
        panels = panels_of_rows(parts, rows, sheet.panel, seen)
        report(0, 0, "Drawing")
        return sheet.drawn(panels, kind)

    return write_made(parts, path, cuts or {}, methods, draw)


def panels_of_rows(
    parts: Parts,
    rows: Sequence[CutMap],
    width: int,
    box: tuple[float, float, float, float] | None = None,
) -> list[Panel]:
    """The image and its maps, cut, with names and figures, ``width`` pixels wide."""
    from napari_wsol.export.figure import panels_of

    document, reference = parts.state.document, parts.comparison.reference
    maps = [row.heatmap for row in rows if row.heatmap is not None]
    area, mpp = reference and reference.area, document.known_mpp
    panels = panels_of(document.slide, maps, width, area, mpp=mpp, box=box)
    panels[0] = replace(panels[0], title=document.slide.name)
    for place, (title, _, cut, found) in enumerate(rows[: len(maps)], start=1):
        said = [words.format(found[x]) for x, words in _SAID.items() if x in found]
        told = *filter(None, [" · ".join(said[:2])]), *said[2:]
        told = *told, f"threshold {cut:.2f}"
        panels[place] = replace(panels[place], title=title, cut=cut, caption=told)
    return panels


def table(
    parts: Parts,
    path: str | Path,
    cuts: Mapping[str, float] | None = None,
    methods: Sequence[str] | None = None,
    config: ExportConfig | None = None,
) -> Future[Path]:
    """Area and regions above the threshold of each map, and its figures.

    ``path`` ends in .csv, .md or .tex; ``config`` says which regions and holes are left
    out; all else is as for :func:`figure`.
    """
    clean_up = config or ExportConfig()

    def tabulate(rows: list[CutMap], kind: str, report: Report) -> str:
        from napari_wsol.evaluation.report import title_of
        from napari_wsol.export import regions_of
        from napari_wsol.export.table import table_text

        mpp, maps = parts.state.document.known_mpp, parts.state.current.maps
        result = maps.result
        names = list(dict.fromkeys(name for row in rows for name in row.found))
        cells: list[list[object]] = [[*_COLUMNS, *map(title_of, names)]]
        for title, one, cut, found in rows:
            told: list[object] = [title, *[None] * (len(_COLUMNS) - 1)]
            if one is not None:
                how, shape = replace(clean_up, threshold=cut), one.image_shape
                regions = regions_of(one, shape, how, mpp, tick=report.check)
                regions = [region for region in regions if not region.against]
                area = float(sum(region.area_px for region in regions))
                mm2 = None if mpp is None else area * mpp**2 / 1e6
                scores = result.scores if result and one.key in maps.live else {}
                score = scores.get(one.target)  # others' did not tell it
                told = [title, one.target, score, cut, area, mm2, len(regions)]
            cells.append([*told, *map(found.get, names)])
        return table_text(cells, kind)

    return write_made(parts, path, cuts or {}, methods, tabulate)


def write_made(
    parts: Parts,
    path: str | Path,
    cuts: Mapping[str, float],
    methods: Sequence[str] | None,
    make: Callable[[list[CutMap], str, Report], bytes | str],
) -> Future[Path]:
    """Writes what is made of the maps and priors, under a name that is free.

    A threshold outside 0 to 1 is a ConfigError, that of no map a NoResultError.
    """
    for cut in cuts.values():
        ExportConfig(threshold=cut)

    def work(report: Report) -> Path:
        from napari_wsol.evaluation.benchmark.baselines import TITLES
        from napari_wsol.inference.whole_image import map_title

        parts.state.current.check_maps()
        maps, free = parts.state.current.maps, path_from(path).absolute()
        keys = methods or list(maps.heatmaps) or [maps.exported]
        titles = {key: map_title(maps.heatmap(key)) for key in keys}
        report(0, 0, "Measuring the maps")
        figures, rows = parts.comparison.figures(), list[CutMap]()
        priors = sorted(figures.keys() - maps.heatmaps)
        for key in cuts.keys() - {*priors}:
            maps.heatmap(key)
        for key, title in {**titles, **{key: TITLES[key] for key in priors}}.items():
            cut, told = cuts.get(key, 0.5), figures.get(key)
            found = {} if told is None else {**told.fixed, **told.at(cut)}
            rows.append(CutMap(title, maps.heatmaps.get(key), cut, found))
        made = make(rows, free.suffix.lower(), report)
        with unwritable(f"“{free}” cannot be written", ". Choose another folder."):
            write_whole(free := free_name(free), made)
        parts.jobs.exported.emit((free,))
        return free

    return parts.jobs.submit(JobKind.EXPORT, work)
