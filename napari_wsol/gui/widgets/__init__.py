"""The window: widgets."""
