"""A class that its entry point names: nothing here registers it."""

from napari_wsol.methods.cam import Cam


class Bare(Cam):
    """CAM under another name."""

    name, title = "example-bare", "Example-Bare"


class Untitled:
    """No method, though it has a name."""

    name = "example-untitled"
