"""The window: images."""
