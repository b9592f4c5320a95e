"""Pixels and geometry: slides of any kind and size, tiles, tissue, heatmaps."""
