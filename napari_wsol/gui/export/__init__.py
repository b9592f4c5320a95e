"""The window: export."""
