"""One person's work on one image."""
