"""Real tissue that comes along with scikit-image: nothing is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image

NAME = "colon glands (immunohistochemistry)"


def immunohistochemistry() -> list[tuple[Any, dict[str, Any], str]]:
    """Colon glands, 512 × 512 RGB: the stain is not the one the models were taught."""
    from skimage import data

    return [(data.immunohistochemistry(), {"name": NAME, "rgb": True}, "image")]


def add_sample(viewer: napari.viewer.Viewer) -> Image:
    """Put the sample into a viewer."""
    pixels, options, _ = immunohistochemistry()[0]
    return cast("Image", viewer.add_image(pixels, **options))
