"""The option that chooses who reads the images."""

from __future__ import annotations

from napari_wsol.errors import choices

READER_HELP = (
    "Who reads the images: openslide, pillow, tifffile, wsidicom or zarr "
    "[the first that can]."
)


def check_reader(name: str | None) -> None:
    """Refuses a name at once, not once for every image.

    Raises:
        UnknownNameError: no such reader; names the choices.
    """
    from napari_wsol.images.readers import list_readers

    if name is not None and name not in list_readers():
        raise choices("reader", name, list_readers())
