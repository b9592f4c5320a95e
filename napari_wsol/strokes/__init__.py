"""Strokes: what a person drew, and the canvas that they lie on."""
