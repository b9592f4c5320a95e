"""The window: demo."""
