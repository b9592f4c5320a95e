"""The window: localize."""
