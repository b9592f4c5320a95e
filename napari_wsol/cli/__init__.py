"""The command line: the same core as the window, without it.

Exit status: 0 all went well, 1 something failed (one line says what), 2 wrong usage,
130 stopped.
"""

from napari_wsol.cli.app import app, main

__all__ = ["app", "main"]
