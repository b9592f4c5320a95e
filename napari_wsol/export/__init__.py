"""What leaves the program: masks, regions, tables, heatmaps and their provenance."""

from napari_wsol.export.regions import Region, regions_of, why_empty
from napari_wsol.export.sets import Beside, export_heatmap

__all__ = ["Beside", "Region", "export_heatmap", "regions_of", "why_empty"]
