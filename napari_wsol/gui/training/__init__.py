"""The window: training."""
