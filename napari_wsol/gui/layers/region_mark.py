"""Numbers on the image: of pins; of the region that was clicked, with its outline."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import shapely
from napari.layers import Points
from qtpy.QtGui import QGuiApplication

from napari_wsol.gui.compat import fill
from napari_wsol.gui.layers.marks import REGION, raise_in_order
from napari_wsol.gui.layers.overlay import ZoomedOverlay
from napari_wsol.gui.layers.placement import screen_a_pixel
from napari_wsol.gui.widgets.colours import LINE_ON_BRIGHT, LINE_ON_DARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer
    import numpy.typing as npt

    from napari_wsol.export import Region

NAME = "Region"

BEAD, BADGE = 6, 26
"""Pixels on the screen across a bead, and across the disc under the number."""

SPACING = 9.0
"""Pixels on the screen from bead to bead."""

MOST = 1500
"""Beads of one region."""


class Badges(ZoomedOverlay[Points]):
    """Numbers in black badges and white beads, as large at any zoom, above the maps."""

    def draw(
        self, points: npt.ArrayLike, words: Sequence[str], name: str, symbol: str
    ) -> None:
        """Draw (N, 2) level-0 pixels: badges, or beads where the words are empty."""
        points = np.asarray(points, float)
        if not len(points):
            self.take_away()
            return
        number = np.array(words, object)
        layer = self.find()
        if layer is not None:
            fill(layer, points)
        layer = self.hold(
            points.shape,
            ((1.0, 1.0), (0.0, 0.0)),
            lambda how: Points(
                points,
                ndim=2,
                features={"number": number},
                text={
                    "string": "{number}",
                    "size": 11,
                    "color": "white",
                    "anchor": "center",
                },
                blending="translucent_no_depth",
                border_width=0.25,
                symbol=symbol,
                **how,
            ),
        )
        if layer is None:
            return
        is_badge = number != ""
        layer.features = {"number": number}
        # Sizes are bounded on the screen: the disc from above, beads from below.
        layer.size = np.where(is_badge, 1e6, 1e-6)
        ratio = screen_ratio()  # napari bounds them in the screen's own pixels
        layer.canvas_size_limits = (round(BEAD * ratio), round(BADGE * ratio))
        light, dark = LINE_ON_DARK, LINE_ON_BRIGHT
        layer.face_color = [dark if badge else light for badge in is_badge]
        layer.border_color = [light if badge else dark for badge in is_badge]
        layer.border_width = np.where(is_badge, 0.08, 0.25)
        layer.name = name
        layer.selected_data = set()
        layer.visible = True
        raise_in_order(self._viewer, [layer])


class RegionMark(Badges):
    """One region at a time, above the maps; hidden where none is marked.

    White beads with a black rim are seen on light and dark ground, and are no line as
    contours and ring are.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, REGION, 120)
        self._region: Region | None = None

    def show(self, region: Region | None) -> None:
        """Mark a region, or none."""
        self._region = region
        if region is not None:
            self._fit()
        elif self.find() is not None and self.layer is not None:
            self.layer.visible = False

    def _fit(self) -> None:
        region, image = self._region, self._image
        if region is None or image is None:
            return
        step = SPACING / screen_a_pixel(self._viewer, image)
        points = np.concatenate([middle_of(region), beads(region, step)])
        words = [str(region.id)] + [""] * (len(points) - 1)
        self.draw(points, words, f"{NAME} {region.id}", "disc")


def screen_ratio() -> float:
    """Pixels of the screen along one of the window's."""
    return cast("QGuiApplication", QGuiApplication.instance()).devicePixelRatio()


def beads(region: Region, step: float) -> npt.NDArray[np.float64]:
    """Points along the outlines of a region: (N, 2) y and x, integers at centres.

    Args:
        region: with its outline and holes.
        step: level-0 pixels from one to the next; more where there were too many.
    """
    polygon = region.polygon
    length = polygon.length
    step = max(step, length / MOST)
    found = []
    for line in (polygon.exterior, *polygon.interiors):
        count = max(3, round(line.length / step))
        places = np.arange(count) * (line.length / count)
        found.append(shapely.line_interpolate_point(line, places))
    return shapely.get_coordinates(np.concatenate(found))[:, ::-1] - 0.5


def middle_of(region: Region) -> npt.NDArray[np.float64]:
    """A place well inside a region: (1, 2) y and x, integers at centres."""
    return shapely.get_coordinates(region.polygon.representative_point())[:, ::-1] - 0.5
