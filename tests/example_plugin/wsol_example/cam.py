"""A method that looks like CAM where that is all there is to see."""

from napari_wsol.methods import register
from napari_wsol.methods.gradients import GradientMethod


@register
class ExampleCam(GradientMethod):
    """HiResCAM (Draelos and Carin 2020, arXiv 2011.08891), under another name."""

    name, title = "example-cam", "Example-CAM"

    def combine(self, activation, gradient):
        """The sum of the products of both, cell by cell."""
        return (gradient * activation).sum(1)
