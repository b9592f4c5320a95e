"""The window in napari: the only place that knows Qt."""
