"""Images with labels, and how they are split."""
