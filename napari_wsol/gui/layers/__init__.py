"""The window: layers."""
