"""Many images: which there are, and how far each is."""
