from napari_wsol import evaluation as evaluation
from napari_wsol.errors import WsolError as WsolError
from napari_wsol.images.heatmap import Heatmap as Heatmap
from napari_wsol.images.readers import open_slide as open_slide
from napari_wsol.inference.whole_image import localize as localize
from napari_wsol.methods import list_methods as list_methods
from napari_wsol.methods.wrap import wrap as wrap
from napari_wsol.session.session import Session as Session
from napari_wsol.zoo import list_models as list_models
from napari_wsol.zoo import load_model as load_model

__version__: str
__all__ = [
    "Heatmap",
    "Session",
    "WsolError",
    "evaluation",
    "list_methods",
    "list_models",
    "load_model",
    "localize",
    "open_slide",
    "wrap",
]
