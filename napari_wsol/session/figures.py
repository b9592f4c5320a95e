"""The maps of the open image for a paper: drawn side by side, and as a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_wsol.config import ExportConfig, FigureConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Report
    from napari_wsol.session.comparison import Comparison
    from napari_wsol.session.state import Current

_SAID = {"pxap": "PxAP {:.1f}", "image_iou": "IoU {:.2f}", "image_dice": "Dice {:.2f}"}
_COLUMNS = "Map", "Class", "p(class)", "Threshold", "Area (px)", "Area (mm²)", "Regions"


@dataclass(frozen=True, slots=True)
class Shown:
    """Which maps of the image, cut where; as ``SessionJobs.figure`` takes it."""

    kind: str
    cuts: Mapping[str, float]
    methods: Sequence[str] | None = None
    config: FigureConfig | None = None

    def figure(self, comparison: Comparison, report: Report, current: Current) -> bytes:
        """The image, then each map."""
        from napari_wsol.export.figure import Sheet, panels_of
        from napari_wsol.inference.whole_image import map_title

        maps, (document, _) = self._maps(current), current.need()
        config, reference = self.config or FigureConfig(), comparison.reference
        sheet = Sheet(1 + len(maps), config)
        report(0, 3, "Reading the image")
        box = document.looked_at if config.view == "seen" else None
        area, mpp = None if reference is None else reference.area, document.known_mpp
        panels = panels_of(document.slide, maps, sheet.panel, area, mpp=mpp, box=box)
        panels[0] = replace(panels[0], title=document.slide.name)
        report(1, 3, "Measuring the maps")
        for place, one in enumerate(maps, start=1):
            cut, found = self._measured(one.key, comparison)
            said = [words.format(found[x]) for x, words in _SAID.items() if x in found]
            pieces = [*said, f"threshold {cut:.2f}"]
            lines = tuple(
                " · ".join(pieces[at : at + 2]) for at in range(0, len(pieces), 2)
            )
            title = map_title(one)
            panels[place] = replace(panels[place], title=title, cut=cut, caption=lines)
        report(2, 3, "Drawing")
        return sheet.drawn(panels, self.kind)

    def table(self, comparison: Comparison, report: Report, current: Current) -> str:
        """A row a map, then what any should beat."""
        from napari_wsol.evaluation.report import title_of
        from napari_wsol.export import regions_of
        from napari_wsol.export.table import table_text
        from napari_wsol.inference.whole_image import map_title

        maps, (document, _) = self._maps(current), current.need()
        result, mpp, reference = (
            current.maps.result,
            document.known_mpp,
            comparison.reference,
        )
        rows = dict[str, list[object]]()
        for done, one in enumerate(maps):
            report(done, len(maps), "Measuring the maps")
            config, shape = (
                ExportConfig(threshold=self.cuts.get(one.key, 0.5)),
                one.image_shape,
            )
            regions = regions_of(one, shape, config, mpp, tick=report.check)
            area = float(sum(region.area_px for region in regions))
            score = None if result is None else result.scores.get(one.target)
            mm2 = None if mpp is None else area * mpp**2 / 1e6
            facts = [map_title(one), one.target, score, config.threshold, area, mm2]
            rows[one.key] = [*facts, len(regions)]
        for key in () if reference is None else reference.priors:
            rows[key] = [key, *[None] * (len(_COLUMNS) - 1)]
        found = {key: self._measured(key, comparison)[1] for key in rows}
        names = list(dict.fromkeys(name for one in found.values() for name in one))
        head = [*_COLUMNS, *map(title_of, names)]
        cells = [[*row, *map(found[key].get, names)] for key, row in rows.items()]
        return table_text([head, *cells], self.kind)

    def _maps(self, current: Current) -> list[Heatmap]:
        """Fails where there is none, or they are of other pixels."""
        current.check_maps()
        maps = current.maps
        keys = self.methods or list(maps.heatmaps) or [maps.exported]
        return [maps.heatmap(key) for key in keys]

    def _measured(
        self, key: str, comparison: Comparison
    ) -> tuple[float, Mapping[str, float]]:
        cut, found = self.cuts.get(key, 0.5), comparison.figures().get(key)
        return cut, {} if found is None else {**found.fixed, **found.at(cut)}
