"""What leaves the program: masks, regions, tables, heatmaps and their provenance."""

from napari_wsol.export.regions import Region, regions_of, why_empty
from napari_wsol.export.sets import export_heatmap

__all__ = ["Region", "export_heatmap", "regions_of", "why_empty"]
