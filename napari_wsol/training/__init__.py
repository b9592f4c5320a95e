"""Learning: image-level training, seeds, and the scribble loop."""
