"""The window: correct."""
