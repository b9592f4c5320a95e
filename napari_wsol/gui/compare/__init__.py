"""The window: compare."""
