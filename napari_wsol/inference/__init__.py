"""One image in one piece: encoded once, read by every method."""
