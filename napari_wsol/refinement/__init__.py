"""The scribble loop: strokes teach the pixel head."""
