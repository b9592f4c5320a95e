"""A plugin of napari-wsol: each module registers what it has when it is imported."""
