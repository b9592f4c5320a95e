"""The two layers of one method, and how they follow its map."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.gui.layers.fine_map import needs_levels

if TYPE_CHECKING:
    from napari.layers import Image, Vectors

    from napari_wsol.gui.layers.fine_map import FineMap
    from napari_wsol.gui.layers.overlay import Place
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.slides.localize import SlideWork


@dataclass(slots=True)
class MethodLayers:
    """A method's heatmap and the two layers that show it."""

    heatmap: Heatmap
    image: Image
    contour: Vectors
    cut: float = 0.5
    fine: FineMap | None = None
    """Values between the cells of the heatmap, where a slide has more of them."""
    behind: SlideWork | None = None
    """What the layers have to be filled from when they are shown again."""

    @property
    def place(self) -> Place:
        """Scale and translate of the image layer, in level-0 pixels."""
        scale, translate = self.heatmap.scale, self.heatmap.translate
        if self.fine is None:
            return scale, translate
        small = (scale[0] / self.fine.step, scale[1] / self.fine.step)
        return small, (
            translate[0] - (scale[0] - small[0]) / 2,
            translate[1] - (scale[1] - small[1]) / 2,
        )

    def fits(self, heatmap: Heatmap, work: SlideWork | None) -> bool:
        """Whether these layers can show a map: napari fixes the number of levels."""
        if self.fine is None:
            return not self.image.multiscale and not needs_levels(work, heatmap)
        return self.fine.fits(work, heatmap)

    def fill(self, work: SlideWork | None) -> None:
        """Give the image layer the values of the map, in place."""
        self.behind = None
        if self.fine is not None:
            self.fine.show(work, self.heatmap)
            self.image.refresh(extent=False)
        elif self.image.data is not self.heatmap.values:
            self.image.data = self.heatmap.values
            self.image.contrast_limits = (0.0, 1.0)

    def peek(self, heatmap: Heatmap) -> bool:
        """Give the image layer other values on the same grid; false if none are seen.

        Only of maps that are not finer than they are shown: those of rounds.
        """
        if not self.image.visible or heatmap.values.shape != self.heatmap.values.shape:
            return False
        if self.fine is not None:
            self.fine.show(None, heatmap)
            self.image.refresh(extent=False)
        elif self.image.data is not heatmap.values:
            self.image.data = heatmap.values
            self.image.contrast_limits = (0.0, 1.0)
        return True

    def end(self) -> None:
        """The layers are not kept up to date any more."""
        if self.fine is not None:
            self.fine.close()
