"""The scribble loop on slides, tile by tile."""
