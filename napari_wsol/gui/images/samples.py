"""Real images that come along; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image

    from napari_wsol.gui.images.reader import LayerData

NAME = "colon glands (immunohistochemistry)"
FILM = Path(__file__).with_name("chest_film.jpg")


def immunohistochemistry() -> LayerData:
    """Colon glands, 512 × 512 RGB: the stain is not the one the models were taught."""
    from skimage import data

    return [(data.immunohistochemistry(), {"name": NAME, "rgb": True}, "image")]


def chest_film() -> LayerData:
    """A mass in a lung, 454 × 454 grey; ``chest_film.md`` says where it is from."""
    from napari_wsol.gui.images.reader import read_slides

    return read_slides(FILM)


def add_sample(viewer: napari.viewer.Viewer) -> Image:
    """Put the sample of tissue into a viewer."""
    pixels, options, _ = immunohistochemistry()[0]
    return cast("Image", viewer.add_image(pixels, **options))
